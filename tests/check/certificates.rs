//! Certificates that browsers reject, and what `reverb check` says of them.

use super::LaravelApp;
use crate::tls::certificates::Folder;

#[test]
fn a_certificate_that_browsers_reject_is_explained_in_words() {
    let folder = Folder::new();
    folder.authority("self");
    folder.issue("expired", "ca", "DNS:localhost", -1);
    folder.issue("other", "ca", "DNS:other.test,DNS:*.other.test", 30);
    for (name, words) in [
        ("self", "its certificate is self-signed, or one of an authority"),
        ("expired", "its certificate has expired"),
        ("other", "its certificate is for other.test, *.other.test, not for localhost"),
    ] {
        let port = tls_server(&folder, name);
        let lines = format!("REVERB_SCHEME=https\nSSL_CERT_FILE={}", folder.path("ca.pem"));
        let app = LaravelApp::new(port, &lines);
        let advice = "; browsers and Laravel need a certificate for localhost";
        app.is_wrong(&["Laravel publishes to https://localhost:", words, advice]);
        let (out, _) = app.check();
        assert!(!out.contains("OtherError") && !out.contains("REVERB_SCHEME"), "{out}");
    }
}

/// The port of a server with this certificate, which completes handshakes and sends nothing.
fn tls_server(folder: &Folder, name: &str) -> u16 {
    let config = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![folder.certificate(name)], folder.key(name)).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            _ = session.complete_io(&mut stream);
        }
    });
    port
}
