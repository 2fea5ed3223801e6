//! The log lines about clients and publishers that an app rejects, and with `--debug` those about
//! published events.

use serde_json::json;

use crate::support::{APP, App, Client, Server, Setup};

/// The server's log after it has ended.
fn log_of(server: Server) -> String {
    let log = server.killed();
    assert!(!log.contains("app-secret") && !log.contains("other-secret"), "{log}");
    log
}

#[track_caller]
fn has_line(log: &str, parts: &[&str]) {
    let found = log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
    assert_eq!(found, 1, "{parts:?}\n{log}");
}

#[test]
fn an_unknown_key_has_one_line_with_the_right_key() {
    let server = Server::start();
    for _ in 0..3 {
        Client::open(&server, "/app/old-key", "Origin: https://shop.test\r\n").drain();
    }
    let log = log_of(server);
    has_line(
        &log,
        &[
            "[WARN] rejected a WebSocket of 127.0.0.1 with the origin \"https://shop.test\" (4001)",
            "no app has the key \"old-key\"; the key of this server's app is \"app-key\"",
        ],
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn an_unknown_key_of_a_server_with_several_apps_has_a_suggestion() {
    let other = App { id: "2", key: "shop-key", secret: "other-secret" };
    let server = Setup::bare().apps(&[(&APP, json!({})), (&other, json!({}))]).start();
    Client::open(&server, "/app/shop-kye", "").drain();
    has_line(&log_of(server), &["this server has 2 apps; did you mean shop-key?"]);
}

#[test]
fn a_refused_origin_has_one_line_with_the_allowed_ones() {
    let server = Server::with(&[("REVERB_APP_ALLOWED_ORIGINS", "a.test,*.b.test")]);
    for origin in ["Origin: https://evil.test\r\n", "Origin: https://evil.test\r\n", ""] {
        Client::open(&server, "/app/app-key", origin).drain();
    }
    let log = log_of(server);
    has_line(
        &log,
        &[
            "[WARN] app app-id: rejected a WebSocket of 127.0.0.1 with the origin \
             \"https://evil.test\" (4009)",
            "allowed are \"a.test\", \"*.b.test\"",
            "REVERB_APP_ALLOWED_ORIGINS",
        ],
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_wrong_signature_of_a_publisher_has_one_line() {
    let server = Server::start();
    let wrong = App { secret: "other-secret", ..APP };
    for _ in 0..3 {
        server.post_as(&wrong, "/apps/app-id/events", "{}").is_error(401);
    }
    let log = log_of(server);
    has_line(
        &log,
        &[
            "[WARN] app app-id: rejected POST \"/apps/app-id/events\" of 127.0.0.1 (401)",
            "Authentication signature invalid; a publisher must sign with the key \"app-key\" and \
             the secret",
            "run `php artisan reverb:reload` if artisan has started the server, otherwise `reverb \
             reload`",
        ],
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_request_with_a_large_body_and_a_wrong_signature_has_a_line_too() {
    let server = Server::start();
    let mut http = crate::support::Http::connect(&server);
    let head = "POST /apps/app-id/events?auth_key=app-key HTTP/1.1\r\nHost: x\r\n";
    http.send(format!("{head}Content-Length: 100000\r\n\r\n"));
    http.response().is_error(401);
    has_line(&log_of(server), &["app app-id: rejected POST", "auth_version must be 1.0"]);
}

#[test]
fn a_wrong_signature_of_a_subscription_has_one_line() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for auth in ["app-key:00", "other:00", "none"] {
        client.send(json!({
            "event": "pusher:subscribe",
            "data": {"channel": "private-orders\n", "auth": auth},
        }));
        client.refused("private-orders\n");
    }
    let log = log_of(server);
    has_line(
        &log,
        &[
            "[WARN] app app-id: rejected a subscription to \"private-orders\" of 127.0.0.1 (4009)",
            "wrong signature; the Laravel app must sign with the key \"app-key\" and the secret",
        ],
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn with_debug_a_publish_names_its_channels_and_recipients() {
    let server = Setup::new().arg("--debug").start();
    let mut clients = [(); 2].map(|()| Client::connect(&server));
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let body = json!({"name": "sale", "channels": ["news", "empty"], "data": "d"});
    server.post("/apps/app-id/events", body).is(200, json!({}));
    let batch = json!({"batch": [{"name": "over", "channel": "news", "data": "d"}]});
    server.post("/apps/app-id/batch_events", batch).is(200, json!({}));
    let log = log_of(server);
    has_line(
        &log,
        &[
            "app app-id: event \"sale\", \"news\": 2 subscribers here, \"empty\": 0 subscribers here; \
             other nodes: 0",
        ],
    );
    has_line(&log, &["app app-id: event \"over\", \"news\": 2 subscribers here; other nodes: 0"]);
}
