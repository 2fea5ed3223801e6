//! Connections with TLS. The `openssl` program makes the certificates.

use super::daemon::{Redis, logged, node, nodes_connect};
use super::startup_error;
use crate::redis::daemon::{self, next_port};
use crate::tls::certificates::{Folder, NAMES};

/// A Redis server with the certificate `server` of a folder, and these arguments.
#[track_caller]
fn redis(folder: &Folder, further: &[&str]) -> Redis {
    let files = ["server.pem", "server.key", "ca.pem"].map(|name| folder.path(name));
    let mut arguments = vec!["--port", "0", "--tls-port", "{port}", "--tls-cert-file", &files[0]];
    arguments.extend(["--tls-key-file", &files[1], "--tls-ca-cert-file", &files[2]]);
    arguments.extend(further);
    Redis::with(&arguments)
}

const ANYBODY: [&str; 2] = ["--tls-auth-clients", "no"];

#[test]
fn nodes_connect_over_tls_with_a_configured_authority() {
    let folder = Folder::new();
    let redis = redis(&folder, &ANYBODY);
    let (authority, port) = (folder.path("ca.pem"), redis.port().to_string());
    let url = format!("rediss://localhost:{port}");
    nodes_connect(&[("REDIS_URL", &url), ("REDIS_TLS_CAFILE", &authority)]);
    // An address is a valid name, too, and OpenSSL's variable is supported.
    let address = [("REDIS_HOST", "tls://127.0.0.1"), ("REDIS_PORT", port.as_str())];
    nodes_connect(&[address[0], address[1], ("SSL_CERT_FILE", &authority)]);
}

#[test]
fn an_unknown_authority_and_a_wrong_host_name_are_logged() {
    let folder = Folder::new();
    folder.issue("server", "ca", "DNS:redis.example", 30);
    folder.authority("stranger");
    let redis = redis(&folder, &ANYBODY);
    let url = format!("tls://:hush@localhost:{}", redis.port());
    let (authority, stranger) = (folder.path("ca.pem"), folder.path("stranger.pem"));
    let url = ("REDIS_URL", url.as_str());

    let line = logged(&node(&[url, ("REDIS_TLS_CAFILE", &stranger)]), &["[WARN] Redis: "]);
    assert!(line.contains("the issuer of its certificate is not trusted"), "{line}");
    let line = logged(&node(&[url, ("REDIS_TLS_CAFILE", &authority)]), &["[WARN] Redis: "]);
    assert!(line.contains("certificate is for redis.example, not for localhost"), "{line}");
    assert!(line.contains("REDIS_TLS_PEER_NAME"), "{line}");

    let name = ("REDIS_TLS_PEER_NAME", "redis.example");
    nodes_connect(&[url, ("REDIS_TLS_CAFILE", &authority), name]);
    nodes_connect(&[url, ("REDIS_TLS_VERIFY_PEER", "false")]);
}

#[test]
fn a_node_sends_its_certificate_to_a_redis_that_requires_one() {
    let folder = Folder::new();
    folder.issue("client", "ca", NAMES, 30);
    let redis = redis(&folder, &["--tls-auth-clients", "yes"]);
    let url = format!("rediss://localhost:{}", redis.port());
    let (authority, certificate) = (folder.path("ca.pem"), folder.path("client.pem"));
    let key = folder.path("client.key");
    let common = [("REDIS_URL", url.as_str()), ("REDIS_TLS_CAFILE", authority.as_str())];

    let line = logged(&node(&common), &["[WARN] Redis: "]);
    assert!(line.contains("REDIS_TLS_LOCAL_CERT"), "{line}");
    let shown = [("REDIS_TLS_LOCAL_CERT", certificate.as_str()), ("REDIS_TLS_LOCAL_PK", &key)];
    nodes_connect(&[common[0], common[1], shown[0], shown[1]]);
}

#[test]
fn sighup_reloads_the_authority() {
    let folder = Folder::new();
    folder.authority("stranger");
    folder.write("trusted.pem", folder.read("stranger.pem"));
    let redis = redis(&folder, &ANYBODY);
    let url = format!("rediss://localhost:{}", redis.port());
    let trusted = folder.path("trusted.pem");
    let node = node(&[("REDIS_URL", &url), ("REDIS_TLS_CAFILE", &trusted)]);
    logged(&node, &["[WARN] Redis: ", "is not trusted"]);
    folder.write("trusted.pem", "no certificate");
    node.signal("HUP");
    logged(&node, &["cannot reload the certificates for Redis", "trusted.pem"]);
    folder.write("trusted.pem", folder.read("ca.pem"));
    node.signal("HUP");
    logged(&node, &["Redis is back"]);
}

#[test]
fn a_mismatch_of_tls_on_either_side_is_logged() {
    let folder = Folder::new();
    let secure = redis(&folder, &ANYBODY);
    let line = logged(
        &node(&[("REDIS_URL", &format!("redis://localhost:{}", secure.port()))]),
        &["[WARN] Redis: "],
    );
    assert!(line.contains("if it requires TLS, its URL must begin with rediss://"), "{line}");
    // A Redis server without TLS takes the ClientHello for an incomplete command.
    let plain = Redis::with(&["--port", "{port}"]);
    let url = format!("rediss://localhost:{}", plain.port());
    let variables = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_TLS_VERIFY_PEER", "false"),
        ("REVERB_LIMIT_REDIS_CONNECT_TIMEOUT_MS", "300"),
    ];
    logged(&node(&variables), &["[WARN] Redis: ", "redis_connect_timeout_ms"]);
}

#[test]
fn an_unusable_certificate_file_prevents_the_start() {
    let url = ("REDIS_URL", "rediss://localhost");
    let line = startup_error(&[url, ("REDIS_TLS_CAFILE", "/nowhere/ca.pem")]);
    assert_eq!(line, "/nowhere/ca.pem: cafile: does not exist");
    let folder = Folder::new();
    let authority = folder.path("ca.pem");
    let common = [url, ("REDIS_TLS_CAFILE", authority.as_str())];
    let certificate = folder.path("server.pem");
    let line = startup_error(&[common[0], common[1], ("REDIS_TLS_LOCAL_CERT", &certificate)]);
    assert!(line.starts_with(&format!("{certificate}: local_cert: has no private key")), "{line}");
}

#[test]
fn sentinels_and_their_master_are_reached_over_tls() {
    let folder = Folder::new();
    let files = ["server.pem", "server.key", "ca.pem"].map(|name| folder.path(name));
    let ports = [next_port(), next_port()].map(|port| port.to_string());
    let options = |port: &str| {
        let options = [("tls-port", port), ("tls-cert-file", &files[0])];
        let more = [("tls-key-file", &files[1]), ("tls-ca-cert-file", &files[2])];
        let switches = [("tls-auth-clients", "no"), ("tls-replication", "yes")];
        let all = options.into_iter().chain(more.map(|(name, file)| (name, file.as_str())));
        all.chain(switches).map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>()
    };
    let arguments: Vec<String> =
        options(&ports[0]).iter().map(|line| format!("--{line}")).collect();
    let arguments: Vec<&str> = arguments.iter().flat_map(|line| line.split(' ')).collect();
    let _master = daemon::Redis::with(&arguments);
    let monitor = format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", ports[0]);
    let _sentinel = daemon::Redis::sentinel(&(monitor + &options(&ports[1]).join("\n") + "\n"));

    // The certificate is valid for the name of the sentinel and for the address of the master.
    let sentinels = format!("localhost:{}", ports[1]);
    let variables = [
        ("REVERB_SCALING_SENTINELS", sentinels.as_str()),
        ("REDIS_SCHEME", "tls"),
        ("REDIS_TLS_CAFILE", &files[2]),
    ];
    nodes_connect(&variables);
    let node = node(&variables);
    let mut check = node.command();
    check.arg("check").envs(variables).env("REVERB_SCALING_ENABLED", "true");
    let output = String::from_utf8(check.output().unwrap().stdout).unwrap();
    let named = format!("Sentinel {sentinels} names the master 127.0.0.1:{}", ports[0]);
    assert!(output.contains(&named), "{output}");
    assert!(output.contains("answers, for nodes"), "{output}");

    folder.authority("stranger");
    let stranger = folder.path("stranger.pem");
    let node = self::node(&[variables[0], variables[1], ("REDIS_TLS_CAFILE", &stranger)]);
    logged(&node, &["[WARN] Redis: mymaster", &sentinels, "is not trusted"]);
    let plain = self::node(&variables[..1]);
    logged(&plain, &["[WARN] Redis: mymaster", &sentinels]);
}
