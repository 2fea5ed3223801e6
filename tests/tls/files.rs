//! Invalid files and options, which the server reports at the start.

use std::process::Command;

use serde_json::{Value, json};

use super::certificates::{Folder, NAMES};
use super::{options, setup};

/// The error of a server that does not start with these options.
#[track_caller]
fn startup_error(folder: &Folder, options: Value) -> String {
    let config = json!({
        "servers": {"reverb": {"options": {"tls": options}}},
        "apps": {"apps": [{"app_id": "1", "key": "k", "secret": "s"}]},
    });
    folder.write("reverb.json", config.to_string());
    let output = Command::new(crate::support::binary())
        .args(["start", "--host", "127.0.0.1", "--port", "0"])
        .current_dir(folder.path(""))
        .env_clear()
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty(), "the server does not listen");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains("hush"), "{error}");
    error.strip_prefix("reverb: ").unwrap().trim_end().to_owned()
}

/// The options with these files of a folder as certificate and key.
fn with(folder: &Folder, local_cert: &str, local_pk: &str) -> Value {
    let mut options = options(folder);
    options["local_cert"] = json!(folder.path(local_cert));
    options["local_pk"] = json!(folder.path(local_pk));
    options
}

#[test]
fn each_invalid_certificate_is_reported_with_its_file() {
    let folder = Folder::new();
    folder.write("empty", "");
    folder.write("der", [0x30, 0x82, 1, 2]);
    folder.write("cut", &folder.read("server.pem")[..200]);
    folder.write("long", "x".repeat(1_048_577));
    folder.write("garbage", "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n");
    folder.write("folder/file", "");
    for (file, fault) in [
        ("none", "does not exist"),
        ("folder", "is not a file"),
        ("empty", "is not PEM: no line begins with -----BEGIN"),
        ("der", "is not PEM: no line begins with -----BEGIN"),
        ("cut", "is broken PEM: a section has no end, or is not base64"),
        ("long", "is longer than 1048576 bytes"),
        ("garbage", "has a certificate that cannot be parsed"),
        ("server.key", "has no certificate: no line is -----BEGIN CERTIFICATE-----"),
    ] {
        let error = startup_error(&folder, with(&folder, file, "server.key"));
        assert_eq!(error, format!("{}: local_cert: {fault}", folder.path(file)));
    }
}

#[test]
fn each_invalid_key_is_reported_with_its_file() {
    let folder = Folder::new();
    folder.issue("other", "ca", NAMES, 30);
    folder.write("empty", "");
    folder.write("garbage", "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n");
    folder.openssl("pkcs8 -topk8 -in server.key -out sealed.key -passout pass:secret");
    folder.openssl("ec -in server.key -aes256 -out old.key -passout pass:secret");
    folder.openssl("genrsa -out weak.key 1024");
    let unknown = "has a key of an unsupported kind: RSA of 2048 to 8192 bits, ECDSA on P-256 and \
                   P-384, and Ed25519 are supported";
    let other = format!("its key does not belong to the certificate {}", folder.path("server.pem"));
    for (file, fault) in [
        ("none", "does not exist"),
        ("empty", "is not PEM: no line begins with -----BEGIN"),
        ("server.pem", "has no private key: no line is -----BEGIN PRIVATE KEY-----"),
        ("garbage", unknown),
        ("weak.key", unknown),
        ("other.key", &other),
        ("sealed.key", "is encrypted and needs passphrase"),
        (
            "old.key",
            "is encrypted in the old format of OpenSSL; convert it with `openssl pkcs8 -topk8 -in \
             OLD -out NEW`",
        ),
    ] {
        let error = startup_error(&folder, with(&folder, "server.pem", file));
        assert_eq!(error, format!("{}: local_pk: {fault}", folder.path(file)));
    }
    let mut options = with(&folder, "server.pem", "sealed.key");
    options["passphrase"] = json!("hush");
    let error = startup_error(&folder, options);
    assert!(
        error.ends_with("sealed.key: local_pk: cannot be decrypted: wrong passphrase?"),
        "{error}"
    );
}

#[test]
fn an_expired_certificate_is_reported_with_its_date() {
    let folder = Folder::new();
    folder.issue("old", "ca", NAMES, -1);
    let error = startup_error(&folder, with(&folder, "old.pem", "old.key"));
    let dates = folder.openssl("x509 -in old.pem -noout -enddate -dateopt iso_8601").stdout;
    let date = String::from_utf8(dates).unwrap();
    let date = date.trim().strip_prefix("notAfter=").unwrap().trim_end_matches('Z').to_owned();
    assert_eq!(error, format!("{}: local_cert: expired on {date} UTC", folder.path("old.pem")));
}

#[test]
fn an_invalid_certificate_for_one_host_name_is_reported() {
    let folder = Folder::new();
    let mut options = options(&folder);
    options["SNI_server_certs"] = json!({"a.test": folder.path("none")});
    assert_eq!(
        startup_error(&folder, options),
        format!("{}: local_cert: does not exist", folder.path("none"))
    );
}

#[test]
fn an_invalid_authority_is_reported_with_its_file() {
    let folder = Folder::new();
    folder.write("empty/.keep", "");
    std::fs::remove_file(folder.path("empty/.keep")).unwrap();
    folder.write("mixed/readme.txt", "hello");
    for (key, file, at, fault) in [
        ("cafile", "none", "none", "does not exist"),
        ("cafile", "server.key", "server.key", "has no certificate"),
        ("capath", "none", "none", "does not exist"),
        ("capath", "empty", "empty", "has no files"),
        ("capath", "mixed", "mixed/readme.txt", "is not PEM"),
    ] {
        let mut options = options(&folder);
        options["verify_peer"] = json!(true);
        options[key] = json!(folder.path(file));
        let error = startup_error(&folder, options);
        let expected = format!("{}: {key}: {fault}", folder.path(at));
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn an_invalid_option_is_an_error_with_its_path() {
    let folder = Folder::new();
    for (key, value, fault) in [
        ("verify_peer", json!(true), "requires client certificates, so it needs cafile"),
        ("crypto_method", json!(16), ""),
        ("crypto_method", json!(33), "\"33\" is not one of PHP's methods for servers"),
        ("alpn_protocols", json!("h2"), "\"h2\" is not supported; use http/1.1"),
        ("ciphers", json!("RC4-SHA"), "has no supported cipher suite; supported are "),
    ] {
        let mut options = options(&folder);
        options[key] = value;
        let error = startup_error(&folder, options);
        let place = "reverb.json: servers.reverb.options.tls";
        let expected = match fault {
            "" => format!("{place}: leave no supported version of TLS: only 1.2 and 1.3"),
            fault => format!("{place}.{key}: {fault}"),
        };
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = startup_error(&folder, json!({"local_pk": "a"}));
    assert!(error.ends_with("options.tls.local_pk: needs local_cert as well"), "{error}");
    let names = json!({"SNI_server_certs": {"a.test": "a.pem"}});
    let error = startup_error(&folder, names);
    assert!(error.contains("options.tls: needs local_cert, or a hostname"), "{error}");
}

#[test]
fn an_option_without_effect_is_logged_and_the_server_starts() {
    let folder = Folder::new();
    let place = "reverb.json: servers.reverb.options.tls";
    for (key, value, finding) in [
        ("peer_name", json!("a"), "has no effect: it is the name that a client expects"),
        ("disable_compression", json!(true), "has no effect: TLS is never compressed"),
        ("loacl_pk", json!("a"), "is not a known key, so it has no effect; did you mean local_pk?"),
        ("cafile", json!("a"), "has no effect without verify_peer: it is for client certificates"),
    ] {
        let mut options = options(&folder);
        options[key] = value;
        let server = setup(options, json!({})).start();
        assert!(server.announced().contains(" (secure) "), "{}", server.announced());
        server.logs(&format!("{place}.{key}: {finding}"));
    }
    let server = setup(json!({"passphrase": "hush"}), json!({})).start();
    server.is_up();
    server.logs("servers.reverb.options.tls: has no effect without local_cert, or a hostname");
}
