//! Webhooks over TLS.
#![cfg(feature = "tls")]

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::receiver::{Answer, Connection, Receiver};
use super::with_webhooks;
use crate::support::{APP, Client, logged};
use crate::tls::certificates::Folder;

/// The certificates of all receivers here.
fn certificates() -> &'static (Folder, Arc<ServerConfig>) {
    static CERTIFICATES: OnceLock<(Folder, Arc<ServerConfig>)> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let folder = Folder::new();
        let chain = CertificateDer::pem_file_iter(folder.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.path("server.key")).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        (folder, Arc::new(config))
    })
}

impl Connection for BufReader<StreamOwned<ServerConnection, TcpStream>> {
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.get_mut().write_all(bytes)
    }
}

fn secure() -> Receiver {
    Receiver::on(
        TcpListener::bind("0.0.0.0:0").unwrap(),
        |_, _| Answer::Status(200),
        |stream| {
            let session = ServerConnection::new(Arc::clone(&certificates().1)).unwrap();
            Box::new(BufReader::new(StreamOwned::new(session, stream)))
        },
    )
}

fn url(receiver: &Receiver, host: &str) -> String {
    format!("https://{host}:{}/hook", receiver.port())
}

#[test]
fn a_certificate_of_a_trusted_authority_is_accepted() {
    let receiver = secure();
    let authority = certificates().0.path("ca.pem");
    for host in ["localhost", "127.0.0.1"] {
        let server = with_webhooks(json!([{"url": url(&receiver, host), "batch_ms": 1}]))
            .env("SSL_CERT_FILE", &authority)
            .start();
        let mut client = Client::connect(&server);
        for n in 0..3 {
            client.subscribe(&format!("c{n}"));
            receiver.events(1);
        }
    }
    assert_eq!(receiver.connections(), 2, "a session is kept");
}

#[test]
fn an_app_that_is_added_may_be_the_first_with_a_secure_webhook() {
    let receiver = secure();
    let folder = crate::apps_folder::Folder::new();
    let app = |id: &str, key: &str, webhooks: Value| json!({"app_id": id, "key": key, "secret": APP.secret, "webhooks": webhooks});
    folder.put("other.json", app("other", "other", json!([])));
    let server = folder.setup().env("SSL_CERT_FILE", certificates().0.path("ca.pem")).start();
    let url = url(&receiver, "localhost");
    let webhook = json!({"url": url, "events": ["channel_occupied"], "batch_ms": 1});
    folder.put("app.json", app(APP.id, APP.key, json!([webhook])));
    server.signal("HUP");
    logged(&server, &["apps_dir: 1 added"]);
    Client::connect(&server).subscribe("news");
    assert_eq!(receiver.events(1)[0]["channel"], "news");
}

#[test]
fn another_certificate_is_rejected_and_the_log_names_the_setting() {
    let receiver = secure();
    let (folder, _) = certificates();
    folder.authority("stranger");
    let server = with_webhooks(json!([{"url": url(&receiver, "localhost"), "batch_ms": 1}]))
        .env("SSL_CERT_FILE", folder.path("stranger.pem"))
        .start();
    Client::connect(&server).subscribe("news");
    logged(&server, &["webhook", "issuer of its certificate is not trusted", "SSL_CERT_FILE"]);
    let server = with_webhooks(json!([{"url": url(&receiver, "127.0.0.2"), "batch_ms": 1}]))
        .env("SSL_CERT_FILE", folder.path("ca.pem"))
        .start();
    Client::connect(&server).subscribe("news");
    logged(&server, &["webhook", "127.0.0.2", "its certificate is for"]);
}
