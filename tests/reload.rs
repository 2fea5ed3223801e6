//! Reloads: the real binary replaces itself while clients stay connected, some of them within a
//! message.

use crate::support::{APP, DEADLINE};
use crate::support::{App, Client, Got, HANDSHAKE, Http, Server, Setup, binary, signed};
use reverb::hub::state_version;
use serde_json::{Value, json};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, process, thread};

/// Runs `reverb reload`.
fn try_to_reload(server: &Server) -> Output {
    let port = server.address().port().to_string();
    server.command().args(["reload", "--host", "127.0.0.1", "--port", &port]).output().unwrap()
}

/// Reloads this server, and waits until it has.
#[track_caller]
pub fn reload(server: &Server) {
    let output = try_to_reload(server);
    assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", server.stderr());
    let message = String::from_utf8(output.stdout).unwrap();
    assert!(message.starts_with("Reloaded the server on "), "{message}");
}

/// Fails unless the reload fails with this reason.
#[track_caller]
fn reload_fails(server: &Server, why: &str) {
    let output = try_to_reload(server);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("was not reloaded") && message.contains(why), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    server.logs(why);
}

/// A copy of the binary in its own folder, which is removed when it is dropped.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("reverb-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copy = Copy(folder.join("reverb"));
        copy.put(Path::new(binary()));
        copy
    }

    /// Replaces it with a program, as a deployment does. Another process writes the file: a child
    /// of another test may briefly inherit a descriptor that this process has open, and the file
    /// cannot be executed as long as it is open for writing.
    fn put(&self, program: &Path) {
        let new = self.0.with_extension("new");
        let install = Command::new("install").args([program, &new]).status().unwrap();
        assert!(install.success());
        fs::rename(new, &self.0).unwrap();
    }

    /// The same with a script of this text.
    fn replace(&self, text: &str) {
        let file = self.0.with_extension("text");
        fs::write(&file, text).unwrap();
        self.put(&file);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn number(event: &Value) -> u64 {
    event["data"].as_str().unwrap().parse().unwrap()
}

#[test]
fn events_published_during_reloads_arrive_once_and_in_order() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let (is_over, pid) = (AtomicBool::new(false), server.pid());
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                server.publish("news", "tick", &count.to_string());
                count += 1;
            }
            count
        });
        (0..5).for_each(|_| reload(&server));
        is_over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    assert!(published > 5, "{published}");
    for client in &mut clients {
        (0..published).for_each(|n| assert_eq!(number(&client.event()), n));
        client.nothing();
    }
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "reverb\n");
    // The 20 clients, and the publisher if it was connected just then.
    server.logs("took over 2");
}

#[test]
fn incomplete_messages_handshakes_and_requests_survive_a_reload() {
    let limit = json!({"enabled": true, "max_attempts": 8, "decay_seconds": 600});
    let app = json!({"rate_limiting": limit});
    let server = Setup::bare().apps(&[(&APP, app)]).start();
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    assert_eq!(first.join("presence-a", "anna")["count"], 1);
    assert_eq!(second.join("presence-a", "bert")["count"], 2);
    assert_eq!(first.event()["event"], "pusher_internal:member_added");
    let user = json!({"id": "7"}).to_string();
    crate::signin::sign_in(&mut first, &user);
    server.publish("cache-news", "kept", "kept");

    // An incomplete message, frame, handshake and request body.
    let ping = br#"{"event":"pusher:ping","data":{}}"#;
    let whole = crate::support::frame(0x81, ping);
    second.raw(&whole[..20]);
    let mut guest = Http::connect(&server);
    let handshake = format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n");
    guest.send(&handshake[..50]);
    let body = json!({"name": "late", "channel": "presence-a", "data": "late"}).to_string();
    let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
    let mut publisher = Http::connect(&server);
    publisher.send(format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        &body[..9]
    ));
    first.nothing();

    reload(&server);
    second.raw(&whole[20..]);
    second.expect(json!({"event": "pusher:pong"}));
    publisher.send(&body[9..]);
    publisher.response().is(200, json!({}));
    for client in [&mut first, &mut second] {
        assert_eq!(client.event()["data"], "late");
    }
    guest.send(&handshake[50..]);
    assert_eq!(guest.head().status, 101);
    second.send(json!({"event": "pusher:subscribe", "data": {"channel": "cache-news"}}));
    second.subscribed("cache-news");
    assert_eq!(second.event()["data"], "kept");
    // The reload sent no member events; a later leave does.
    let users = server.get("/apps/app-id/channels/presence-a/users", "");
    assert_eq!(users.json()["users"], json!([{"id": "anna"}, {"id": "bert"}]));
    // The three messages before the reload still count.
    (0..5).for_each(|_| first.nothing());
    first.ping();
    first.error(4301, "Rate limit exceeded");
    server.post("/apps/app-id/users/7/terminate_connections", json!({})).is(200, json!({}));
    first.error(4009, "Connection terminated by the application");
    drop(first);
    let left = second.event();
    assert_eq!(left["event"], "pusher_internal:member_removed");
}

#[test]
fn the_backlog_of_a_slow_client_survives_a_reload() {
    let server = Server::start();
    let mut slow = Client::connect(&server);
    slow.subscribe("news");
    // More than the sockets' buffers hold, and less than the limit of the outbox.
    let data = "x".repeat(9_000);
    (0..800).for_each(|_| server.publish("news", "long", &data));
    reload(&server);
    server.publish("news", "last", "last");
    for _ in 0..800 {
        assert_eq!(slow.event()["data"].as_str().map(str::len), Some(data.len()));
    }
    assert_eq!(slow.event()["data"], "last");
    slow.nothing();
}

#[test]
fn a_broken_binary_or_configuration_leaves_the_old_process_serving() {
    let copy = Copy::new("broken");
    let server = Setup::bare().program(&copy.0).apps(&[(&APP, json!({}))]).start();
    let mut client = Client::connect(&server);
    let config = server.directory().join("reverb.json");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("app-secret\"", "app-secret\", \"ping_interval\": \"no\""))
        .unwrap();
    // The command reads the configuration, too, to find the server; a signal does not.
    assert_eq!(try_to_reload(&server).status.code(), Some(2));
    server.signal("USR2");
    server.logs("reload: reverb.json: apps.apps[0].ping_interval: ");
    client.nothing();
    fs::write(&config, good).unwrap();
    // The binary passes the check, and then cannot be executed.
    let unexecutable = format!("#!/bin/sh\necho reads state {}; rm \"$0\"\n", state_version());
    for (text, why) in [
        ("garbage", "cannot run"),
        ("#!/bin/sh\nexit 3\n", "exit status: 3"),
        (
            "#!/bin/sh\necho reverb 9.9.9\n",
            "unexpected output from the new binary: \"reverb 9.9.9\"",
        ),
        (&unexecutable, "cannot execute the new binary"),
    ] {
        copy.replace(text);
        reload_fails(&server, why);
        client.nothing();
        server.is_up();
    }
    // A signal triggers the same reload.
    server.signal("USR2");
    server.logs("No such file");
    copy.put(Path::new(binary()));
    reload(&server);
    client.nothing();
}

#[test]
fn an_incompatible_binary_gets_the_listening_socket_and_clients_reconnect() {
    let copy = Copy::new("other");
    let server = Setup::new().program(&copy.0).start();
    let mut client = Client::connect(&server);
    copy.replace(&format!(
        "#!/bin/sh\n[ \"$1\" = successor ] && {{ echo reads state 999; exit; }}\nexec {} \"$@\"\n",
        binary()
    ));
    let pid = server.pid();
    let output = thread::scope(|scope| {
        let reload = scope.spawn(|| try_to_reload(&server));
        client.error(4100, "Server is restarting");
        client.closed(4100);
        reload.join().unwrap()
    });
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    server.logs("reads state version 999, not ");
    Client::connect(&server).nothing();
    assert_eq!(server.pid(), pid);
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).unwrap(), Path::new(binary()));
}

#[test]
fn clients_of_a_removed_app_are_disconnected_and_an_added_app_accepts_clients() {
    const OTHER: App = App { id: "other-id", key: "other-key", secret: "other-secret" };
    const NEW: App = App { id: "new-id", key: "new-key", secret: "new-secret" };
    let entry = |app: &App| json!({"app_id": app.id, "key": app.key, "secret": app.secret});
    let server = Setup::bare().apps(&[(&OTHER, json!({})), (&APP, json!({}))]).start();
    let mut stays = Client::connect(&server);
    stays.subscribe("news");
    let mut removed = Client::connect_to(&server, "/app/other-key");
    let config = json!({"apps": {"apps": [entry(&APP), entry(&NEW)]}});
    fs::write(server.directory().join("reverb.json"), config.to_string()).unwrap();
    reload(&server);
    removed.error(4200, "Application was removed");
    removed.closed(4200);
    let mut back = Client::open(&server, "/app/other-key", "");
    back.error(4001, "Application does not exist");
    server.publish("news", "e", "stays");
    assert_eq!(stays.event()["data"], "stays");
    Client::connect_to(&server, "/app/new-key").nothing();
}

#[test]
fn systemd_is_notified_of_a_reload_and_the_watchdog_continues() {
    let name = format!("reverb-{}-reload", process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let next_notification = || {
        let mut notice = [0; 256];
        let length = manager.recv(&mut notice).unwrap();
        String::from_utf8_lossy(&notice[..length]).into_owned()
    };
    let server =
        Setup::new().env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", 200_000).start();
    let next_except_watchdog = || loop {
        let notice = next_notification();
        if notice != "WATCHDOG=1" {
            return notice;
        }
    };
    assert_eq!(next_except_watchdog(), "READY=1");
    reload(&server);
    assert!(next_except_watchdog().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next_except_watchdog(), "READY=1");
    while next_notification() != "WATCHDOG=1" {}
}

#[test]
fn a_unix_socket_and_the_metrics_port_stay_open() {
    let file = env::temp_dir().join(format!("reverb-{}-reload.sock", process::id()));
    let host: &'static str = format!("127.0.0.1,{}", file.display()).leak();
    let mut server = Setup::new().host(host).arg("--metrics=127.0.0.1:0").start();
    let metrics = server.line();
    let mut before = Http::connect_to(address(&metrics));
    reload(&server);
    assert!(
        server.line().contains(&file.display().to_string()),
        "the server listens at the same addresses"
    );
    assert_eq!(server.line(), metrics);
    assert!(file.exists());
    for http in [&mut before, &mut Http::connect_to(address(&metrics))] {
        http.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(http.response().status, 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!file.exists(), "the server removes its socket file");
}

/// The address in `metrics at http://127.0.0.1:41234/metrics`.
fn address(line: &str) -> std::net::SocketAddr {
    line.split('/').nth(2).unwrap().parse().unwrap()
}

#[test]
fn a_stop_signal_sent_with_a_reload_signal_stops_the_server() {
    let mut server = Server::start();
    let mut client = Client::connect(&server);
    server.signal("USR2");
    server.signal("TERM");
    loop {
        match client.receive() {
            Got::Close(code, _) => break assert_eq!(code, Some(4100)),
            Got::End => panic!("the connection ended without a close frame"),
            _ => {}
        }
    }
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

/// The error output of a failed `reverb reload`.
#[track_caller]
fn refusal(server: &Server) -> String {
    let output = try_to_reload(server);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_reload_reports_that_the_server_is_stopping_or_has_exited() {
    let copy = Copy::new("ends");
    let server = Setup::new().program(&copy.0).start();
    // The new binary passes the check, and then exits instead of serving.
    let reads = format!("echo reads state {}", state_version());
    let program = format!("[ \"$1\" = successor ] && {reads}");
    copy.replace(&format!("#!/bin/sh\n{program}\n"));
    let message = refusal(&server);
    assert!(message.contains("has ended"), "{message}");

    let server = Setup::new().env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000).start();
    let _clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    server.signal("TERM");
    server.logs("stopping: ");
    let message = refusal(&server);
    assert!(message.contains("it was asked to stop"), "{message}");
}

#[test]
fn sighup_reloads_the_configuration_and_keeps_all_clients() {
    const NEW: App = App { id: "new-id", key: "new-key", secret: "new-secret" };
    let entry = |app: &App| json!({"app_id": app.id, "key": app.key, "secret": app.secret});
    let server = Setup::bare().apps(&[(&APP, json!({}))]).start();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(&server)).collect();
    // Connection ids are reused, so that they are not in the order of connecting.
    drop(clients.remove(1));
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let whole = crate::support::frame(0x81, br#"{"event":"pusher:ping","data":{}}"#);
    clients[3].raw(&whole[..9]);
    clients[2].nothing();
    let file = server.directory().join("reverb.json");
    let config = |app: Value| json!({"apps": {"apps": [entry(&NEW), app]}}).to_string();

    fs::write(&file, "{").unwrap();
    server.signal("HUP");
    server.logs("reload: reverb.json");
    let mut changed = entry(&APP);
    changed["max_message_size"] = json!(100);
    fs::write(&file, config(changed)).unwrap();
    server.signal("HUP");
    server.logs("applied the configuration, for 2 apps");
    clients[3].raw(&whole[9..]);
    clients[3].expect(json!({"event": "pusher:pong"}));
    server.publish("news", "e", "after");
    for client in &mut clients {
        assert_eq!(client.event()["data"], "after");
        client.nothing();
    }
    clients[0].text(&"x".repeat(101));
    clients[0].closed(1009);
    let mut new = Client::connect_to(&server, "/app/new-key");
    new.nothing();

    let config =
        json!({"apps": {"apps": [entry(&NEW)]}, "servers": {"reverb": {"metrics": "127.0.0.1:9"}}});
    fs::write(&file, config.to_string()).unwrap();
    server.signal("HUP");
    server.logs("the listen addresses need a restart");
    for client in &mut clients[1..] {
        client.error(4200, "Application was removed");
        client.closed(4200);
    }
    new.nothing();
    server.is_up();
}
