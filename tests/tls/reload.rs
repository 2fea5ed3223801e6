//! Certificates are replaced while the server runs, and nobody who is connected notices.

use serde_json::json;

use super::certificates::Folder;
use super::client::Client;
use super::{logged, options, setup, start, until};
use crate::support::Server;

/// Waits until new connections are shown another certificate than this one.
#[track_caller]
fn until_renewed(server: &Server, folder: &Folder, old: &[u8]) {
    until("a new certificate", || shown(server, folder) != old);
}

/// The certificate a new connection is shown.
#[track_caller]
fn shown(server: &Server, folder: &Folder) -> Vec<u8> {
    let client = Client::connect(server, folder);
    client.tls.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_signal_loads_the_certificates_anew_and_drops_nobody() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.renew();
    assert_eq!(shown(&server, &folder), old, "nobody has looked yet");
    server.signal("HUP");
    until_renewed(&server, &folder, &old);
    assert_eq!(shown(&server, &folder), folder.certificate("server").to_vec());
    early.ping();
}

#[test]
fn files_that_change_are_loaded_anew() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"certificate_check_ms": 100})).start();
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.renew();
    until_renewed(&server, &folder, &old);
    early.ping();
}

#[test]
fn a_bad_new_file_is_logged_and_the_old_certificate_stays() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"certificate_check_ms": 100})).start();
    let mut early = Client::open(&server, &folder);
    let old = shown(&server, &folder);
    folder.write("server.pem", "nonsense");
    let line = logged(&server, &["[ERROR]", "the certificates stay as they were"]);
    assert!(line.contains("server.pem: local_cert: is not PEM"), "{line}");
    assert_eq!(shown(&server, &folder), old);
    early.ping();
    // The next good files are taken all the same.
    folder.renew();
    until_renewed(&server, &folder, &old);
    early.ping();
}
