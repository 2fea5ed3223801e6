//! The effect of each option of PHP's SSL context.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use super::certificates::{Folder, NAMES};
use super::client::{BOTH, Client, UP, config};
use super::{logged, options, setup};
use crate::support::{Server, Setup, in_terminal};

/// The options of a folder and one more.
fn with(folder: &Folder, key: &str, value: Value) -> Value {
    let mut options = options(folder);
    options[key] = value;
    options
}

#[track_caller]
fn is_up(server: &Server, folder: &Folder) {
    assert_eq!(Client::connect(server, folder).request(UP).0, 200);
}

#[test]
fn the_key_may_be_in_the_file_of_the_certificate() {
    let folder = Folder::new();
    folder.write("both.pem", folder.read("server.key") + &folder.read("server.pem"));
    is_up(&setup(json!({"local_cert": folder.path("both.pem")}), json!({})).start(), &folder);
}

#[test]
fn a_key_of_each_kind_is_read() {
    for make in [
        "genrsa -out server.key 2048",
        "genrsa -traditional -out server.key 2048",
        "genpkey -algorithm ED25519 -out server.key",
        "ecparam -name secp384r1 -genkey -out server.key",
        "genpkey -aes256 -pass pass:hush -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \
         server.key",
    ] {
        let folder = Folder::new();
        folder.openssl(make);
        folder.openssl("req -new -key server.key -passin pass:hush -subj /CN=x -out server.csr");
        folder.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -extfile server.ext -out server.pem",
        );
        is_up(&setup(with(&folder, "passphrase", json!("hush")), json!({})).start(), &folder);
    }
}

#[test]
fn an_encrypted_key_of_each_scheme_is_read() {
    for scheme in
        ["-v2 aes-128-cbc -v2prf hmacWithSHA256", "-v2 aes-256-cbc -iter 100000", "-scrypt"]
    {
        let folder = Folder::new();
        folder.openssl(&format!(
            "pkcs8 -topk8 -in server.key -out sealed.key -passout pass:hush {scheme}"
        ));
        std::fs::rename(folder.path("sealed.key"), folder.path("server.key")).unwrap();
        is_up(&setup(with(&folder, "passphrase", json!("hush")), json!({})).start(), &folder);
    }
}

#[test]
fn protocol_versions_are_limited_by_every_option_of_php() {
    let folder = Folder::new();
    for (key, value, spoken) in [
        ("crypto_method", json!(120), [true, true]),
        ("crypto_method", json!(32), [true, false]),
        ("crypto_method", json!(64), [false, true]),
        ("crypto_method", json!("STREAM_CRYPTO_METHOD_TLSv1_2_SERVER"), [true, false]),
        ("min_proto_version", json!("TLSv1.3"), [false, true]),
        ("max_proto_version", json!(32), [true, false]),
    ] {
        let server = setup(with(&folder, key, value.clone()), json!({})).start();
        for (version, spoken) in [&TLS12, &TLS13].into_iter().zip(spoken) {
            let client = Client::with(&server, config(&folder, &[version]), "localhost");
            assert_eq!(client.is_ok(), spoken, "{key} {value} {version:?}");
        }
        if spoken != [true, true] {
            logged(&server, &["TLS handshake failed", "incompatible"]);
        }
    }
}

#[test]
fn only_the_configured_cipher_suites_are_negotiated() {
    let folder = Folder::new();
    let list = "ECDHE-ECDSA-CHACHA20-POLY1305:TLS_AES_128_GCM_SHA256:!aNULL";
    let server = setup(with(&folder, "ciphers", json!(list)), json!({})).start();
    for (version, suite) in [
        (&TLS12, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        (&TLS13, "TLS13_AES_128_GCM_SHA256"),
    ] {
        let client = Client::with(&server, config(&folder, &[version]), "localhost").unwrap();
        let suite_spoken = client.tls.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite_spoken.as_str(), Some(suite));
    }
}

#[test]
fn the_cipher_order_of_the_server_wins_if_configured() {
    let folder = Folder::new();
    let list = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384";
    for (honor, suite) in [
        (true, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        (false, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let mut options = with(&folder, "ciphers", json!(list));
        options["honor_cipher_order"] = json!(honor);
        let server = setup(options, json!({})).start();
        let client = Client::with(&server, config(&folder, &[&TLS12]), "localhost").unwrap();
        let spoken = client.tls.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(spoken.as_str(), Some(suite));
    }
}

#[test]
fn an_alpn_protocol_is_negotiated() {
    let folder = Folder::new();
    let server = setup(with(&folder, "alpn_protocols", json!("http/1.1")), json!({})).start();
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Ok(Some("http/1.1"))),
        (&[], Ok(None)),
        (&["h2"], Err("NoApplicationProtocol")),
    ] {
        let mut config = config(&folder, BOTH);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        match (Client::with(&server, config, "localhost"), agreed) {
            (Ok(client), Ok(agreed)) => {
                assert_eq!(client.tls.alpn_protocol(), agreed.map(str::as_bytes));
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (client, _) => panic!("{offered:?}: {:?}", client.err()),
        }
    }
}

#[test]
fn each_host_name_gets_its_own_certificate() {
    let folder = Folder::new();
    folder.issue("one", "ca", "DNS:one.test", 30);
    folder.issue("wild", "ca", "DNS:*.wild.test", 30);
    folder.write("wild.both", folder.read("wild.pem") + &folder.read("wild.key"));
    let names = json!({
        "One.test": {"local_cert": folder.path("one.pem"), "local_pk": folder.path("one.key")},
        "*.wild.test": folder.path("wild.both"),
    });
    let server = setup(with(&folder, "SNI_server_certs", names), json!({})).start();
    for (name, certificate) in
        [("one.test", "one"), ("a.wild.test", "wild"), ("localhost", "server")]
    {
        let client = Client::with(&server, config(&folder, BOTH), name).unwrap();
        let shown = client.tls.peer_certificates().unwrap();
        assert_eq!(shown[0], folder.certificate(certificate), "{name}");
    }
    // A wildcard covers one level, not two.
    assert!(Client::with(&server, config(&folder, BOTH), "a.b.wild.test").is_err());
}

/// A client with a certificate.
fn with_certificate(folder: &Folder, name: &str) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(BOTH)
        .unwrap()
        .with_root_certificates(folder.roots("ca"))
        .with_client_auth_cert(vec![folder.certificate(name)], folder.key(name))
        .unwrap()
}

#[test]
fn clients_must_send_a_certificate_if_the_server_requires_one() {
    let folder = Folder::new();
    folder.authority("clients");
    folder.issue("client", "clients", NAMES, 30);
    folder.issue("stranger", "ca", NAMES, 30);
    folder.write("folder/clients.pem", folder.read("clients.pem"));
    for (key, path) in [("cafile", "clients.pem"), ("capath", "folder")] {
        let mut options = with(&folder, "verify_peer", json!(true));
        options[key] = json!(folder.path(path));
        let server = setup(options, json!({})).start();
        // In TLS 1.3 the server rejects the client after the client has finished the handshake.
        let status = |config| {
            let mut client = Client::with(&server, config, "localhost")?;
            client.send(UP);
            client.answer()
        };
        assert_eq!(status(with_certificate(&folder, "client")), Ok(200));
        assert!(status(config(&folder, BOTH)).unwrap_err().contains("CertificateRequired"));
        logged(&server, &["TLS handshake failed", "peer sent no certificates"]);
        assert!(status(with_certificate(&folder, "stranger")).unwrap_err().contains("UnknownCA"));
        logged(&server, &["TLS handshake failed (host name localhost)", "UnknownIssuer"]);
    }
}

#[test]
fn the_certificate_of_herd_or_valet_enables_tls() {
    let folder = Folder::new();
    folder.issue("shop.test", "ca", "DNS:shop.test", 30);
    let herd = "Library/Application Support/Herd/config/valet/Certificates";
    for (home, place) in [("herd", herd), ("valet", ".config/valet/Certificates")] {
        for (made, kind) in [("pem", "crt"), ("key", "key")] {
            let text = folder.read(&format!("shop.test.{made}"));
            folder.write(&format!("{home}/{place}/shop.test.{kind}"), text);
        }
        let home = folder.path(home);
        let flag = ["--hostname", "shop.test"];
        for (env, args) in
            [(None, &flag[..]), (Some("shop.test"), &[]), (Some("https://shop.test:8080"), &[])]
        {
            assert!(first_line(&home, env, args).contains(" (secure) for 1 app"));
            let mut setup = Setup::new().env("HOME", &home);
            setup = env.into_iter().fold(setup, |setup, name| setup.env("REVERB_HOST", name));
            let server = args.iter().fold(setup, |setup, arg| setup.arg(arg)).start();
            let mut client = Client::with(&server, config(&folder, BOTH), "shop.test").unwrap();
            assert_eq!(client.request(UP).0, 200);
        }
        // A name without a certificate, or one with a path to another folder, has no effect.
        for name in ["other.test", "../Certificates/shop.test"] {
            assert!(!first_line(&home, Some(name), &[]).contains("secure"));
            Setup::new().env("HOME", &home).env("REVERB_HOST", name).start().is_up();
        }
    }
}

/// The first line of a server with this home directory and this `REVERB_HOST`.
fn first_line(home: &str, host: Option<&str>, args: &[&str]) -> String {
    let env = [("HOME", home), ("REVERB_APP_ID", "1"), ("REVERB_APP_KEY", "k")];
    let mut child = Command::new(crate::support::binary())
        .args(["start", "--host", "127.0.0.1", "--port", "0"])
        .args(args)
        .current_dir(home)
        .env_clear()
        .envs(env)
        .env("REVERB_APP_SECRET", "s")
        .envs(host.map(|host| ("REVERB_HOST", host)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line
}

#[test]
fn a_configured_certificate_takes_precedence_over_that_of_the_host_name() {
    let folder = Folder::new();
    folder.issue("shop.test", "ca", "DNS:shop.test", 30);
    folder.write(".config/valet/Certificates/shop.test.crt", folder.read("shop.test.pem"));
    folder.write(".config/valet/Certificates/shop.test.key", folder.read("shop.test.key"));
    let setup = setup(options(&folder), json!({}));
    let server = setup.env("HOME", folder.path("")).env("REVERB_HOST", "shop.test").start();
    is_up(&server, &folder);
}

#[test]
fn a_generated_app_is_printed_with_its_scheme() {
    let folder = Folder::new();
    let config = json!({"servers": {"reverb": {"options": {"tls": options(&folder)}}}});
    folder.write("reverb.json", config.to_string());
    let printed = in_terminal(Path::new(&folder.path("")), "REVERB_SCHEME=");
    assert!(printed.ends_with("\nREVERB_SCHEME=https\n"), "{printed}");
}
