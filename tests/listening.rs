//! The addresses of the server: several at the same time, Unix sockets, a port shared by servers.

use crate::support::{Http, Server, Setup, binary};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

const UP: &[u8] = b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A new file name for one test. The path of a Unix socket may have about a hundred bytes.
fn file() -> &'static str {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path: PathBuf = env::temp_dir().join(format!("reverb-{}-{number}.sock", process::id()));
    path.to_str().unwrap().to_owned().leak()
}

/// The response to `GET /up` at the Unix socket.
#[track_caller]
fn up(file: &str) -> String {
    let mut stream = UnixStream::connect(file).unwrap();
    stream.write_all(UP).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The addresses that a server has announced.
fn addresses(server: &Server) -> Vec<SocketAddr> {
    let (_, places) = server.announced().split_once("listening on ").unwrap();
    let (places, _) = places.split_once(" for ").unwrap();
    places.split(", ").filter_map(|place| place.parse().ok()).collect()
}

#[test]
fn a_server_listens_on_several_addresses_and_a_unix_socket() {
    let file = file();
    let hosts = format!("127.0.0.1,[::1],{file}").leak();
    let mut server = Setup::new().host(hosts).start();
    let addresses = addresses(&server);
    assert_eq!(addresses.len(), 2, "{}", server.announced());
    assert!(addresses[1].is_ipv6() && server.announced().contains(&format!("unix:{file}")));
    for address in addresses {
        let mut http = Http::connect_to(address);
        http.send(UP);
        http.response().is(200, json!({"health": "OK"}));
    }
    assert!(up(file).ends_with(r#"{"health":"OK"}"#));
    // Several WebSockets of a Unix socket at the same time.
    let mut held: Vec<UnixStream> = (0..3).map(|_| UnixStream::connect(file).unwrap()).collect();
    for stream in &mut held {
        stream
            .write_all(
                b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\
                  \r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 101");
    }
    server.get("/apps/app-id/connections", "").is(200, json!({"connections": 3}));
    drop(held);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!Path::new(file).exists(), "the server removes its file");
}

#[test]
fn a_server_listens_on_all_addresses_of_ipv4_and_ipv6() {
    let both = Setup::new().host("0.0.0.0,::").start();
    for address in addresses(&both) {
        let own = if address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
        let mut http = Http::connect_to(format!("{own}:{}", address.port()).parse().unwrap());
        http.send(UP);
        http.response().is(200, json!({"health": "OK"}));
    }
    // The unspecified address of IPv6 alone accepts clients of both.
    let mut command = both.command();
    command.args(["start", "--host", "::", "--port", "0"]);
    command.envs([("REVERB_APP_ID", "1"), ("REVERB_APP_KEY", "k"), ("REVERB_APP_SECRET", "s")]);
    let mut child = command.stdout(process::Stdio::piped()).spawn().unwrap();
    let mut line = [0; 200];
    let length = child.stdout.take().unwrap().read(&mut line).unwrap();
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    let port = line.split_once("[::]:").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    let reached = TcpStream::connect(("127.0.0.1", port)).map(|_| ());
    child.kill().unwrap();
    child.wait().unwrap();
    reached.unwrap();
}

#[test]
fn a_stale_socket_file_is_replaced_and_one_in_use_is_not() {
    let file = file();
    let hosts = format!("127.0.0.1,{file}").leak();
    // A listener that is dropped leaves its file, as a crash does.
    drop(UnixListener::bind(file).unwrap());
    let server = Setup::new().host(hosts).start();
    assert!(up(file).starts_with("HTTP/1.1 200"));
    let second = server.command().args(["start", "--host", file]).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("cannot listen on {file}: ")), "{error}");
    assert!(up(file).starts_with("HTTP/1.1 200"));
    let plain = server.directory().join("plain");
    fs::write(&plain, "mine").unwrap();
    let third = server.command().args(["start", "--host", plain.to_str().unwrap()]).output();
    assert_eq!(third.unwrap().status.code(), Some(1));
    assert_eq!(fs::read_to_string(plain).unwrap(), "mine");
}

#[test]
fn the_restart_command_finds_the_server_of_a_unix_socket() {
    let file = file();
    let mut server = Setup::new().host(format!("127.0.0.1,{file}").leak()).start();
    let output = server.command().args(["restart", "--host", file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_command_finds_a_server_that_has_its_own_name() {
    let folder = env::temp_dir().join(format!("reverb-{}-name", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("push-server");
    _ = fs::remove_file(&program);
    symlink(binary(), &program).unwrap();
    let mut server = Setup::new().program(&program).start();
    let port = server.address().port().to_string();
    let arguments = ["restart", "--host", "127.0.0.1", "--port", &port];
    let output = server.command().args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("push-server (process "), "{error}");
    assert!(error.contains("not reverb"), "{error}");
    let mut command = process::Command::new(&program);
    let output = command.args(arguments).current_dir(server.directory()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.wait().code(), Some(0));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn servers_with_reuse_port_share_a_port() {
    let shared = Setup::new().env("REVERB_SERVER_REUSE_PORT", "true").start();
    let port = shared.address().port().to_string();
    let start = |reuse: &str| {
        let mut command = shared.command();
        command.args(["start", "--host", "127.0.0.1", "--port", &port]);
        command.env("REVERB_SERVER_REUSE_PORT", reuse).stdout(process::Stdio::piped());
        command.spawn().unwrap()
    };
    assert_eq!(start("false").wait().unwrap().code(), Some(1));
    let mut second = start("true");
    let mut line = [0; 200];
    let length = second.stdout.take().unwrap().read(&mut line).unwrap();
    let announced = String::from_utf8_lossy(&line[..length]).into_owned();
    // The command stops both.
    let mut shared = shared;
    let output = shared
        .command()
        .args(["restart", "--host", "127.0.0.1", "--port", &port])
        .output()
        .unwrap();
    let stopped = String::from_utf8_lossy(&output.stdout);
    assert_eq!(second.wait().unwrap().code(), Some(0), "{stopped}");
    assert_eq!(shared.wait().code(), Some(0), "{stopped}");
    assert!(
        announced.contains("listening on") && stopped.lines().count() == 2,
        "{announced}{stopped}"
    );
}
