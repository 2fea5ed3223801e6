//! Certificates are replaced while the server runs, without an effect on connected clients.

use serde_json::json;

use super::certificates::Folder;
use super::client::Client;
use super::{logged, options, setup, start, until};
use crate::support::Server;

/// Waits until new connections get another certificate than this one.
#[track_caller]
fn until_renewed(server: &Server, folder: &Folder, old: &[u8]) {
    until("a new certificate", || shown(server, folder) != old);
}

/// The certificate that a new connection gets.
#[track_caller]
fn shown(server: &Server, folder: &Folder) -> Vec<u8> {
    let client = Client::connect(server, folder);
    client.tls.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn sighup_reloads_the_certificates_and_keeps_all_clients() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.renew();
    assert_eq!(shown(&server, &folder), old, "the server has not checked yet");
    server.signal("HUP");
    until_renewed(&server, &folder, &old);
    assert_eq!(shown(&server, &folder), folder.certificate("server").to_vec());
    early.ping();
    // A session continues under a new configuration, too.
    let file = server.directory().join("reverb.json");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("\"app-secret\"", "\"new-secret\"")).unwrap();
    server.signal("HUP");
    logged(&server, &["applied the configuration"]);
    early.ping();
    early.subscribe("news");
}

#[test]
fn changed_files_are_reloaded() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"certificate_check_ms": 100})).start();
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.renew();
    until_renewed(&server, &folder, &old);
    early.ping();
}

#[test]
fn the_interval_of_file_checks_can_be_changed() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"certificate_check_ms": 86_400_000})).start();
    let file = server.directory().join("reverb.json");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("86400000", "100")).unwrap();
    server.signal("HUP");
    logged(&server, &["reloaded the certificates"]);
    let old = shown(&server, &folder);
    folder.renew();
    until_renewed(&server, &folder, &old);
}

#[test]
fn an_invalid_new_file_is_logged_and_the_old_certificate_stays() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"certificate_check_ms": 100})).start();
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.write("server.pem", "nonsense");
    let line = logged(&server, &["[ERROR]", "cannot reload the certificates"]);
    assert!(line.contains("server.pem: local_cert: is not PEM"), "{line}");
    assert_eq!(shown(&server, &folder), old);
    early.ping();
    // The next valid files are loaded.
    folder.renew();
    until_renewed(&server, &folder, &old);
    early.ping();
}

/// The code in the error event that a client receives before it is closed.
fn error_code(client: &mut Client) -> serde_json::Value {
    let event = client.event();
    assert_eq!(event["event"], "pusher:error", "{event}");
    event["data"]["code"].clone()
}

#[test]
fn a_newer_binary_disconnects_tls_sessions_and_keeps_plain_connections() {
    let folder = Folder::new();
    let file = std::env::temp_dir().join(format!("reverb-{}-tls.sock", std::process::id()));
    let host: &'static str = format!("127.0.0.1,{}", file.display()).leak();
    let server = setup(options(&folder), json!({"drain_linger_ms": 300})).host(host).start();
    let mut clients: Vec<Client> = (0..30).map(|_| Client::open(&server, &folder)).collect();
    let mut plain = std::os::unix::net::UnixStream::connect(&file).unwrap();
    let up = "GET /up HTTP/1.1\r\nHost: x\r\n";
    std::io::Write::write_all(&mut plain, up.as_bytes()).unwrap();
    server.signal("USR2");
    for client in &mut clients {
        assert_eq!(error_code(client), 4200);
        client.send(crate::support::frame(0x88, &4200_u16.to_be_bytes()));
        while client.fill().is_none() {}
    }
    logged(&server, &["took over"]);
    std::io::Write::write_all(&mut plain, b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut plain, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Client::open(&server, &folder).ping();
}
