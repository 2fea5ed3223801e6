//! Secrets must not reach clients, and text from clients must not reach responses and logs
//! unescaped. Signatures, origins and limits have their own files.

use crate::support::{APP, App, Client, Http, Server, Setup, frame, in_terminal, signed};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const OTHER: App = App { id: "other-id", key: "other-key", secret: "other-secret" };

/// A server with two apps, the other of which has an occupied channel.
fn two_apps() -> (Server, Client) {
    let server = Setup::bare().arg("--debug").apps(&[(&APP, json!({})), (&OTHER, json!({}))]);
    let server = server.start();
    let mut client = Client::connect_to(&server, "/app/other-key");
    client.subscribe("other-channel");
    (server, client)
}

#[test]
fn responses_reveal_nothing_about_other_apps() {
    let (server, _client) = two_apps();
    let reveals_nothing = |text: &str| assert!(!text.contains("other-"), "{text}");
    let request = |method: &str, target: &str| {
        server.request(&format!("{method} {target} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"))
    };
    for target in ["/up", "/", "/apps", "/apps/app-id/events", "/apps/nobody/events", "/app/x"] {
        for method in ["GET", "POST", "PUT"] {
            let response = request(method, target);
            reveals_nothing(&format!("{response:?} {}", response.text()));
        }
    }
    for (path, params) in [
        ("/apps/app-id/channels", ""),
        ("/apps/app-id/channels", "filter_by_prefix=&info=subscription_count"),
        ("/apps/app-id/connections", ""),
        ("/apps/app-id/channels/other%2Dchannel", "info=subscription_count"),
    ] {
        reveals_nothing(server.get(path, params).text());
    }
    server.get("/apps/app-id/connections", "").is(200, json!({"connections": 0}));
    // A request that one app signed for the other.
    let target = signed(&APP, "GET", "/apps/other-id/channels", "", b"");
    let refusal = request("GET", &target);
    assert_eq!(refusal.status, 401);
    reveals_nothing(refusal.text());
}

#[test]
fn no_name_can_add_a_line_to_a_response() {
    let server = Server::start();
    let evil = "%0d%0aX-Evil:%20yes%0d%0a%0d%0a<script>";
    for (method, target) in [
        ("GET", format!("/{evil}")),
        ("GET", format!("/app/{evil}")),
        ("GET", format!("/apps/{evil}/channels")),
        ("GET", signed(&APP, "GET", &format!("/apps/app-id/channels/{evil}"), "", b"")),
        ("GET", signed(&APP, "GET", &format!("/apps/app-id/channels/{evil}/users"), "", b"")),
        ("GET", signed(&APP, "GET", "/apps/app-id/channels", "info=%0d%0aX-Evil:%20yes", b"")),
        (
            "POST",
            signed(
                &APP,
                "POST",
                &format!("/apps/app-id/users/{evil}/terminate_connections"),
                "",
                b"",
            ),
        ),
    ] {
        let mut http = Http::connect(&server);
        http.send(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let response = http.response();
        assert_eq!(response.header("X-Evil"), None, "{response:?}");
        assert!(!response.text().contains('\r') && !response.text().contains('\n'), "{response:?}");
        // The next response or the end of the stream follows.
        http.try_send(b"GET /up HTTP/1.1\r\nConnection: close\r\n\r\n");
        if response.header("Connection") != Some("close") {
            http.response().is(200, json!({"health": "OK"}));
        }
        http.end_or_reset();
    }
}

#[test]
fn no_name_can_start_a_line_in_the_log() {
    let public = "REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS";
    let server = Setup::new().env(public, "true").arg("--debug").start();
    let mut client = Client::connect(&server);
    let evil = "x\r\n2026-01-01 00:00:00.000Z [ERROR] made up\u{1b}[2J\u{85}\u{2028}";
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": evil}}));
    client.subscribed(evil);
    client.send(json!({"event": "client-x\n[ERROR] made up", "channel": evil, "data": evil}));
    client.ask_to_join("presence-a", &json!({"user_id": evil}).to_string());
    client.joined("presence-a");
    client.frame(0x88, &[&1000_u16.to_be_bytes()[..], b"x\n[ERROR] made up"].concat());
    let path = format!("/apps/{}/events", "%0a[ERROR]%20made%20up");
    server.request(&format!("GET {path} HTTP/1.1\r\nOrigin: \u{9b}x\r\n\r\n"));
    server.is_up();
    let log = server.killed();
    assert!(log.contains("made up"), "{log}");
    for line in log.lines() {
        assert!(line.starts_with("20") && line.contains("Z ["), "a line of its own: {line:?}");
        assert!(!line.contains("Z [ERROR]") || line.contains("[DEBUG]"), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn configuration_errors_contain_no_secrets() {
    const SECRET: &str = "s3cr3t-of-mine";
    let run = |folder: &str, file: &str, text: &str| {
        let folder = std::env::temp_dir().join(format!("{folder}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
        let output = Command::new(crate::support::binary())
            .args(["start", "--host", "127.0.0.1", "--port", "0", "--debug"])
            .current_dir(&folder)
            .env_clear()
            .output()
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let output = [output.stdout, output.stderr].concat();
        let output = String::from_utf8(output).unwrap();
        assert!(output.len() > 20, "{output}");
        assert!(!output.contains(SECRET), "{output}");
    };
    let app = |app: Value| json!({"apps": {"apps": [app]}}).to_string();
    for text in [
        app(json!({"app_id": "i", "secret": SECRET})),
        app(json!({"app_id": "i", "key": "k", "secret": [SECRET]})),
        app(json!({"app_id": "i", "key": "k", "secret": {"value": SECRET}})),
        app(json!({"app_id": "i", "key": "k", "secret": SECRET, "ping_interval": "x"})),
        format!(r#"{{"apps": {{"apps": [{{"app_id": "i", "secret": "{SECRET}" "key": "k"}}]}}}}"#),
        format!(r#"{{"apps": {{"apps": [{{"app_id": "i", "secret": "{SECRET}"#),
        json!({"servers": {"reverb": {"options": {"tls": {"local_cert": "/x", "passphrase": [SECRET]}}}}})
            .to_string(),
    ] {
        run("reverb-secret-json", "reverb.json", &text);
    }
    for text in [
        format!("REVERB_APP_SECRET=\"{SECRET}"),
        format!("REVERB_APP_SECRET='{SECRET}\nREVERB_APP_KEY=k"),
        format!("REVERB_APP_SECRET={SECRET} and more\n"),
        format!("REVERB_APP_ID=i\nREVERB_APP_SECRET={SECRET}\n"),
        format!("REVERB_APP_SECRET {SECRET}"),
    ] {
        run("reverb-secret-env", ".env", &text);
    }
}

#[test]
fn other_users_cannot_see_secrets_of_the_process() {
    let (server, _client) = two_apps();
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap();
    assert!(arguments.contains("start") && !arguments.contains("secret"), "{arguments}");
    // The server starts no other process, which would inherit the environment.
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    assert_eq!(fs::read_to_string(children).unwrap(), "");
    let log = server.killed();
    assert!(!log.contains("app-secret") && !log.contains("other-secret"), "{log}");
}

#[test]
fn reserved_channel_names_are_rejected() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for name in ["#server-to-user-1", "#server-to-user-", "#signed-in-1", "#watching-1", "#", "#x"]
    {
        for channel_data in [None, Some(r#"{"user_id":"1"}"#)] {
            let auth = crate::support::channel_auth(
                &APP,
                &client.socket_id,
                name,
                channel_data.unwrap_or(""),
            );
            let data = json!({"channel": name, "auth": auth, "channel_data": channel_data});
            client.send(json!({"event": "pusher:subscribe", "data": data}));
            client.refused(name);
        }
        client.send(json!({"event": "client-x", "channel": name, "data": {}}));
        assert_eq!(client.event()["event"], "pusher:error");
    }
    server.get("/apps/app-id/channels", "").is(200, json!({"channels": {}}));
}

#[test]
fn a_close_reason_is_echoed_unchanged() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.raw(&frame(0x88, &[&1000_u16.to_be_bytes()[..], b"a\r\nb"].concat()));
    client.drain();
    server.is_up();
}

#[test]
fn pages_of_other_origins_cannot_read_responses() {
    let server = Server::start();
    for target in ["/up", "/apps/app-id/channels", "/app/app-key"] {
        let request = format!("GET {target} HTTP/1.1\r\nOrigin: http://evil.test\r\n\r\n");
        let response = server.request(&request);
        let lets = |(name, _): &(String, String)| name.to_lowercase().starts_with("access-control");
        assert!(!response.headers.iter().any(lets), "{response:?}");
    }
}

#[test]
fn generated_credentials_are_printed_to_a_terminal_only() {
    let mut server = Setup::bare().start();
    assert!(server.line().contains("run `reverb install`"));
    server.signal("TERM");
    let (rest, _) = server.ended();
    assert_eq!(rest, [""; 0]);

    let printed = in_terminal(server.directory(), "REVERB_APP_SECRET=");
    assert!(printed.contains("No app is configured"), "{printed}");
}
