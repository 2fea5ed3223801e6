//! `reverb check`: its output for working servers, apps and connections, and for each problem, with
//! the variable to change.

#[cfg(feature = "tls")]
mod certificates;
mod health;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

#[cfg(feature = "redis")]
use crate::redis::daemon::Redis;
#[cfg(feature = "redis")]
use crate::redis::sentinels::Sentinels;
#[cfg(feature = "redis")]
use crate::redis::shards::Shards;
use crate::support::{APP, Server, Setup};
#[cfg(all(feature = "redis", feature = "tls"))]
use crate::tls::certificates::Folder;
#[cfg(feature = "webhooks")]
use crate::webhooks::receiver::{Answer, Receiver};

/// The folder of a Laravel app, removed after the test.
struct LaravelApp(PathBuf);

impl LaravelApp {
    /// A folder whose `.env` is that of `reverb install` for this port, with these further lines.
    fn new(port: u16, further: &str) -> LaravelApp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-check-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let vite: String = further
            .lines()
            .filter(|line| line.starts_with("VITE_"))
            .fold(String::new(), |v, l| v + l + "\n");
        // The last of two lines for one variable counts.
        let text = format!(
            "APP_URL=http://localhost\nBROADCAST_CONNECTION=reverb\n\
             REVERB_APP_ID={}\nREVERB_APP_KEY={}\nREVERB_APP_SECRET={}\n\
             REVERB_HOST=localhost\nREVERB_PORT={port}\nREVERB_SCHEME=http\n\
             REVERB_SERVER_HOST=127.0.0.1\nREVERB_SERVER_PORT={port}\n{further}\n\
             VITE_REVERB_APP_KEY=\"${{REVERB_APP_KEY}}\"\nVITE_REVERB_HOST=\"${{REVERB_HOST}}\"\n\
             VITE_REVERB_PORT=\"${{REVERB_PORT}}\"\nVITE_REVERB_SCHEME=\"${{REVERB_SCHEME}}\"\n{vite}",
            APP.id, APP.key, APP.secret
        );
        fs::write(folder.join(".env"), text).unwrap();
        LaravelApp(folder)
    }

    /// The output and the exit code.
    fn check(&self) -> (String, i32) {
        let output = Command::new(crate::support::binary())
            .arg("check")
            .current_dir(&self.0)
            .env_clear()
            .output()
            .unwrap();
        let out =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        assert!(!out.contains(APP.secret), "{out}");
        (out, output.status.code().unwrap())
    }

    /// Fails unless `reverb check` finds no problem.
    #[track_caller]
    fn is_fine(&self) -> String {
        let (out, code) = self.check();
        assert_eq!(code, 0, "{out}");
        assert!(!out.contains("WRONG"), "{out}");
        out
    }

    /// Fails unless `reverb check` reports a problem in a line with all these parts.
    #[track_caller]
    fn is_wrong(&self, parts: &[&str]) {
        let (out, code) = self.check();
        assert_eq!(code, 1, "{out}");
        let wrong: Vec<&str> = out.lines().filter(|line| line.starts_with("WRONG")).collect();
        assert!(
            wrong.iter().any(|line| parts.iter().all(|part| line.contains(part))),
            "{parts:?}\n{out}"
        );
        assert!(out.ends_with(" failed\n"), "{out}");
    }
}

impl Drop for LaravelApp {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_broadcasting_file_without_the_connection_is_reported() {
    let server = Server::start();
    let app = LaravelApp::new(server.address().port(), "");
    fs::create_dir_all(app.0.join("config")).unwrap();
    let write = |connections: &str| {
        let php = format!("<?php return ['connections' => [{connections}'null' => []]];");
        fs::write(app.0.join("config/broadcasting.php"), php).unwrap();
    };
    write("");
    app.is_wrong(&["config/broadcasting.php: has no connection reverb", "reverb:install"]);
    let (out, _) = app.check();
    assert!(out.contains("ok     publishers reach "), "{out}");
    assert!(!out.contains("Laravel publishes") && !out.contains("settings of Laravel"), "{out}");
    write("'reverb' => ['driver' => 'reverb'], ");
    app.is_fine();
}

#[test]
fn check_reports_no_problem_for_a_working_app_and_server() {
    let server = Server::start();
    let app = LaravelApp::new(server.address().port(), "");
    let out = app.is_fine();
    for part in [
        ".env: read",
        "the settings of Laravel and of browsers match",
        "the running server may open ",
        "answers, and accepts the app configured",
        "Laravel publishes to http://localhost:",
        "browsers connect to http://localhost:",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(server.stderr().is_empty(), "the server logged: {}", server.stderr());
}

#[test]
fn a_server_that_does_not_run_is_reported_and_the_other_checks_run() {
    let app = LaravelApp::new(1, "VITE_REVERB_APP_KEY=other");
    app.is_wrong(&["no server listens at 127.0.0.1:1", "`reverb start`"]);
    app.is_wrong(&["VITE_REVERB_APP_KEY differs from REVERB_APP_KEY"]);
    app.is_wrong(&["Laravel publishes to http://localhost:1", "Connection refused"]);
}

#[test]
fn each_wrong_variable_is_named() {
    let server = Server::start();
    let port = server.address().port();
    for (line, parts) in [
        ("BROADCAST_CONNECTION=log", &["BROADCAST_CONNECTION is log", "set it to reverb"][..]),
        ("BROADCAST_CONNECTION=", &["BROADCAST_CONNECTION is not set"]),
        ("REVERB_HOST=", &["REVERB_HOST is not set", "Pusher's own servers"]),
        ("REVERB_HOST=0.0.0.0", &["REVERB_HOST is 0.0.0.0", "which is an address to listen on"]),
        ("REVERB_PORT=443", &["REVERB_PORT 443 does not match the scheme"]),
        ("REVERB_SCHEME=https", &["Laravel publishes to https://localhost", "REVERB_SCHEME=http"]),
        (
            "REVERB_PORT=1",
            &["Laravel publishes to", "the server listens on port", "set REVERB_PORT="],
        ),
        ("VITE_REVERB_PORT=1", &["browsers connect to", "set VITE_REVERB_PORT="]),
        (
            "VITE_REVERB_HOST=\"${REVERB_HOTS}\"",
            &["VITE_REVERB_HOST refers to a variable that is not set"],
        ),
        ("REVERB_APP_SECRET=new", &["rejects the app", "it answers 401", "run `reverb reload`"]),
        ("REVERB_APP_KEY=new", &["rejects the app", "it answers 401", "run `reverb reload`"]),
        (
            "VITE_REVERB_APP_KEY=older",
            &["browsers connect to", "4001 Application does not exist", "VITE_REVERB_APP_KEY"],
        ),
        (
            "REVERB_HOST=\"http://127.0.0.1\"",
            &["REVERB_HOST contains a scheme", "set it to 127.0.0.1, and REVERB_SCHEME to http"],
        ),
        ("VITE_REVERB_HOST=ws.test:80", &["VITE_REVERB_HOST contains a port", "set it to ws.test"]),
        ("REVERB_APP_PING_INTERVALL=1", &["did you mean REVERB_APP_PING_INTERVAL?"]),
        ("REVERB_LIMIT_CONNECTIONS=9999999", &["allows 9999999", "LimitNOFILE"]),
        (
            "APP_URL=https://shop.example\nREVERB_HOST=ws.invalid",
            &["APP_URL begins with https", "VITE_REVERB_SCHEME=https"],
        ),
    ] {
        LaravelApp::new(port, line).is_wrong(parts);
    }
}

#[test]
fn the_advice_continues_the_sentence_of_the_response() {
    let server = Server::start();
    let app = LaravelApp::new(server.address().port(), "REVERB_APP_ID=other");
    app.is_wrong(&["No matching application for ID [other]; the running server has other"]);
}

#[test]
fn a_changed_secret_is_reported_once_and_nothing_else_is() {
    let server = Server::start();
    let (out, _) = LaravelApp::new(server.address().port(), "REVERB_APP_SECRET=new").check();
    assert_eq!(out.matches("WRONG").count(), 1, "{out}");
    assert!(out.contains("run `reverb reload`\n") && !out.contains("REVERB_HOST"), "{out}");
    assert!(out.contains("ok     browsers connect to"), "{out}");
}

#[test]
fn missing_variables_of_vite_are_a_note() {
    let server = Server::start();
    let lines = "VITE_REVERB_APP_KEY=\nVITE_REVERB_HOST=";
    let out = LaravelApp::new(server.address().port(), lines).is_fine();
    let note = "note   VITE_REVERB_APP_KEY and VITE_REVERB_HOST are not set, so Laravel Echo";
    assert!(out.contains(note), "{out}");
}

#[test]
fn the_port_of_a_web_server_is_named_without_its_page() {
    let server = Server::start();
    for (header, owner) in [
        ("Set-Cookie: laravel_session=x", "this is the port of the Laravel app"),
        ("Server: nginx", "this is the port of a web server"),
    ] {
        let web = web_server(header);
        let line = format!("REVERB_PORT={web}");
        let app = LaravelApp::new(server.address().port(), &line);
        let hint = format!("set REVERB_PORT={}", server.address().port());
        app.is_wrong(&["Laravel publishes to", "404 Not Found with a web page", owner, &hint]);
        app.is_wrong(&["browsers connect to", owner]);
        let (out, _) = app.check();
        assert!(!out.contains('<') && !out.contains("DOCTYPE"), "{out}");
    }
}

/// The port of a web server that answers each request with this header and a page.
fn web_server(header: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let page = "<!DOCTYPE html><html lang=\"en\">Not Found</html>";
            let head = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=UTF-8";
            _ = stream.read(&mut [0; 4_096]);
            _ = write!(stream, "{head}\r\n{header}\r\nConnection: close\r\n\r\n{page}");
        }
    });
    port
}

#[test]
fn an_origin_that_is_not_allowed_is_reported() {
    let server = Server::with(&[("REVERB_APP_ALLOWED_ORIGINS", "shop.example")]);
    let port = server.address().port();
    let advice = "add the host of APP_URL to REVERB_APP_ALLOWED_ORIGINS";
    LaravelApp::new(port, "").is_wrong(&["browsers connect to", "4009 Origin not allowed", advice]);
    LaravelApp::new(port, "APP_URL=http://shop.example/start").is_fine();
}

#[test]
fn the_app_in_the_environment_is_compared_with_the_file() {
    let server = Server::start();
    let app = LaravelApp::new(server.address().port(), "");
    let json = |secret: &str| {
        let (id, key) = (APP.id, APP.key);
        let text = format!(
            r#"{{"apps":{{"apps":[{{"app_id":"{id}","key":"{key}","secret":"{secret}"}}]}}}}"#
        );
        fs::write(app.0.join("reverb.json"), text).unwrap();
    };
    json(APP.secret);
    app.is_fine();
    json("other");
    app.is_wrong(&["REVERB_APP_SECRET: has no effect, because reverb.json has another secret"]);
}

#[test]
fn an_invalid_configuration_exits_with_status_2() {
    let (out, code) = LaravelApp::new(1, "REVERB_APP_PING_INTERVAL=x").check();
    assert_eq!(code, 2, "{out}");
    assert!(out.starts_with("reverb: .env:") && out.contains("REVERB_APP_PING_INTERVAL"), "{out}");
}

#[test]
fn another_process_on_the_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It closes each connection without a response, as a server of another protocol might.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    LaravelApp::new(port, "").is_wrong(&[" listens at 127.0.0.1:", &process::id().to_string()]);
}

#[test]
fn a_server_on_an_ipv6_address_is_checked() {
    let server = Setup::new().host("127.0.0.1,::1").start();
    let (_, after) = server.announced().split_once("[::1]:").unwrap();
    let port = after.split_once(' ').unwrap().0.parse().unwrap();
    let app = LaravelApp::new(port, "REVERB_SERVER_HOST=::1\nREVERB_HOST=::1");
    let out = app.is_fine();
    assert!(out.contains(&format!("ok     http://[::1]:{port} answers")), "{out}");
    assert!(out.contains(&format!("browsers connect to http://[::1]:{port}")), "{out}");
}

#[test]
fn a_unix_socket_is_checked() {
    let file = env::temp_dir().join(format!("reverb-check-{}.sock", process::id()));
    let hosts = format!("127.0.0.1,{}", file.display());
    let server = Setup::new().host(Box::leak(hosts.clone().into_boxed_str())).start();
    let app = LaravelApp::new(server.address().port(), &format!("REVERB_SERVER_HOST={hosts}"));
    assert!(app.is_fine().contains(&format!("{} answers", file.display())));
}

#[cfg(feature = "redis")]
#[test]
fn a_too_low_limit_for_messages_between_nodes_is_reported() {
    let lines = "REVERB_SCALING_ENABLED=true\nREVERB_MAX_REQUEST_SIZE=40000000";
    let (out, code) = LaravelApp::new(1, lines).check();
    assert_eq!(code, 2, "{out}");
    let expected =
        "redis_reply_bytes: is 33554432, but max_request_size allows messages of 40081920";
    assert!(out.contains(expected), "{out}");
}

#[cfg(feature = "redis")]
#[test]
fn check_connects_to_redis_with_the_configured_credentials() {
    let redis = Redis::with_password("hush");
    let server = Server::start();
    let lines = |password: &str| {
        let port = redis.port();
        format!(
            "CACHE_STORE=redis\nREVERB_SCALING_ENABLED=true\nREDIS_PORT={port}\nREDIS_PASSWORD={password}"
        )
    };
    let port = server.address().port();
    let out = LaravelApp::new(port, &lines("hush")).is_fine();
    assert!(
        out.contains("answers, for nodes") && out.contains("answers, for Laravel's cache"),
        "{out}"
    );
    let wrong = LaravelApp::new(port, &lines("hushed"));
    wrong.is_wrong(&["WRONGPASS", "REDIS_PASSWORD", "(for nodes)"]);
    assert!(!wrong.check().0.contains("hushed"));
    redis.kill();
    LaravelApp::new(port, &lines("hush"))
        .is_wrong(&["Connection refused", "(for Laravel's cache)"]);
}

#[cfg(feature = "redis")]
#[test]
fn check_asks_the_sentinels_for_the_master_and_compares_their_patience_with_the_lease() {
    let sentinels = Sentinels::with(5_000, &[], "hush");
    let server = Server::start();
    let app = |further: &str| {
        let addresses = sentinels.addresses();
        let lines = format!(
            "CACHE_STORE=redis\nREVERB_SCALING_ENABLED=true\nREDIS_HOST=redis.invalid\n\
             REVERB_SCALING_SENTINELS={addresses}\nREDIS_SENTINEL_PASSWORD=hush\n{further}"
        );
        LaravelApp::new(server.address().port(), &lines)
    };
    let out = app("").is_fine();
    let master = format!("names the master 127.0.0.1:{}", sentinels.redis[0].port());
    assert_eq!(out.matches(&master).count(), 3, "{out}");
    assert!(out.contains("Redis mymaster (Sentinel 127.0.0.1:"), "{out}");
    assert!(out.contains("answers, for nodes"), "{out}");
    assert!(out.contains("answers, for Laravel's cache"), "{out}");

    let lease = "REVERB_LIMIT_NODE_LEASE_MS=8000";
    app(lease).is_wrong(&["down-after-milliseconds 4999", "NODE_LEASE_MS to more than 8000"]);
    app("REVERB_LIMIT_NODE_LEASE_MS=8001").is_fine();
    app("REDIS_SENTINEL_PASSWORD=hushed").is_wrong(&["WRONGPASS", "REDIS_SENTINEL_PASSWORD"]);
    app("REDIS_SENTINEL_SERVICE=other").is_wrong(&["no master named", "REDIS_SENTINEL_SERVICE"]);
    sentinels.sentinels[0].kill();
    let first = format!("Sentinel 127.0.0.1:{}: Connection refused", sentinels.sentinels[0].port());
    app("").is_wrong(&[&first]);
    // The others are asked.
    assert!(app("").check().0.contains("answers, for nodes"));
}

#[cfg(feature = "redis")]
#[test]
fn check_follows_a_redis_cluster() {
    let shards = Shards::start();
    let server = Server::start();
    let lines = format!(
        "CACHE_STORE=redis\nREVERB_SCALING_ENABLED=true\nREVERB_SCALING_CLUSTER=true\n\
         REDIS_HOST=127.0.0.1\nREDIS_PORT={}\nREDIS_CLUSTER=redis",
        shards.servers[0].port()
    );
    let out = LaravelApp::new(server.address().port(), &lines).is_fine();
    assert!(out.contains("answers, for Laravel's cache"), "{out}");
}

#[cfg(all(feature = "redis", feature = "tls"))]
#[test]
fn check_verifies_the_certificate_as_a_browser_does() {
    let folder = Folder::new();
    let config = |certificate: &str| {
        let (file, key) = (folder.path(certificate), folder.path("server.key"));
        let tls = serde_json::json!({"local_cert": file, "local_pk": key});
        serde_json::json!({"servers": {"reverb": {"options": {"tls": tls}}}})
    };
    let server = Setup::new().config(config("server.pem")).start();
    let port = server.address().port();
    let app = |further: &str| {
        let app = LaravelApp::new(port, &format!("REVERB_SCHEME=https\n{further}"));
        fs::write(app.0.join("reverb.json"), config("server.pem").to_string()).unwrap();
        app
    };
    let trusts = format!("SSL_CERT_FILE={}", folder.path("ca.pem"));
    let out = app(&trusts).is_fine();
    assert!(out.contains("server.pem: valid until "), "{out}");
    assert!(out.contains("browsers connect to https://localhost"), "{out}");
    folder.authority("stranger");
    let strange = format!("SSL_CERT_FILE={}", folder.path("stranger.pem"));
    app(&strange)
        .is_wrong(&["Laravel publishes to https://", "issuer of its certificate is not trusted"]);
    app(&format!("{trusts}\nREVERB_SCHEME=http")).is_wrong(&["set REVERB_SCHEME=https"]);
    app(&format!("{trusts}\nREVERB_HOST=ws.invalid"))
        .is_wrong(&["server.pem: is not valid for ws.invalid"]);
    folder.openssl(&format!(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 3 -extfile server.ext -out {}",
        folder.path("server.pem")
    ));
    app(&trusts).is_wrong(&["expires on ", "renew it"]);
}

#[cfg(feature = "webhooks")]
#[test]
fn check_posts_an_empty_batch_to_each_webhook() {
    let receiver = Receiver::answering(|request, _| match request.path.as_str() {
        "/moved" => Answer::Raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/csrf" => Answer::Status(419),
        _ => Answer::Status(204),
    });
    let server = Server::start();
    let port = server.address().port();
    let url = receiver.url("/hook?secret=1");
    let out = LaravelApp::new(port, &format!("REVERB_APP_WEBHOOK_URL={url}")).is_fine();
    let line = out.lines().find(|line| line.contains("webhook")).unwrap();
    assert!(
        line.contains("/hook of the app app-id answers 204 in ") && line.ends_with(" ms"),
        "{out}"
    );
    assert!(receiver.request().events().is_empty());
    for (path, parts) in [
        ("/moved", ["answers 302", "redirects are not followed"]),
        ("/csrf", ["answers 419", "CSRF"]),
    ] {
        let line = format!("REVERB_APP_WEBHOOK_URL={}", receiver.url(path));
        LaravelApp::new(port, &line).is_wrong(&parts);
    }
    LaravelApp::new(port, "REVERB_APP_WEBHOOK_URL=http://127.0.0.1:1/hook")
        .is_wrong(&["http://127.0.0.1:1/hook of the app app-id does not answer", "refused"]);
}
