//! The commands with a server that speaks TLS.

use serde_json::json;

use super::run::Folder;
use crate::tls::{certificates, options, setup};

#[test]
fn a_server_with_tls_is_used_by_its_address_and_by_its_name() {
    let certificates = certificates::Folder::new();
    let folder = Folder::start(setup(options(&certificates), json!({})));
    let port = folder.server.address().port();
    // The configuration is that of the server, so the certificate need not be verified.
    let mut local = folder.begin(&["subscribe", "a"]);
    local.notes("subscribed to a");
    let url = format!("wss://localhost:{port}");
    let run = folder.run(&["publish", "a", "hello", "1", "--url", &url]);
    run.fails(1, &["the issuer of its certificate is not trusted", "SSL_CERT_FILE"]);
    folder.run(&["subscribe", "a", "--url", &url]).fails(1, &["is not trusted"]);
    folder.env("SSL_CERT_FILE", &certificates.path("ca.pem"));
    let mut elsewhere = folder.begin(&["subscribe", "private-a", "--url", &url]);
    elsewhere.notes("subscribed to private-a");
    folder.run(&["publish", "a", "hello", "1", "--url", &url]).is(0, "", "");
    folder.run(&["publish", "private-a", "hello", "2"]).is(0, "", "");
    assert_eq!(
        (local.line().as_str(), elsewhere.line().as_str()),
        ("a hello 1", "private-a hello 2")
    );
}
