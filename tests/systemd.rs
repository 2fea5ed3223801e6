//! The server under systemd: notifications and socket activation. The test acts as systemd,
//! following `sd_notify(3)` and `sd_listen_fds(3)`.

use crate::support::{DEADLINE, Setup};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::{env, fs, process};

/// The socket that receives notifications.
struct Systemd(UnixDatagram);

impl Systemd {
    /// A socket in the abstract namespace.
    fn new(name: &str) -> (Systemd, String) {
        let name = format!("reverb-{}-{name}", process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        (Systemd(socket), format!("@{name}"))
    }

    #[track_caller]
    fn next_notification(&self) -> String {
        let mut notice = [0; 4096];
        let length = self.0.recv(&mut notice).unwrap();
        String::from_utf8_lossy(&notice[..length]).into_owned()
    }
}

#[test]
fn systemd_is_notified_of_ready_reload_and_stop() {
    let (systemd, place) = Systemd::new("life");
    let mut server = Setup::new().env("NOTIFY_SOCKET", place).start();
    assert_eq!(systemd.next_notification(), "READY=1");
    server.signal("HUP");
    let reloading = systemd.next_notification();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(systemd.next_notification(), "READY=1");
    server.signal("TERM");
    let stopping = systemd.next_notification();
    let time = stopping.strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=").expect(&stopping);
    // 2 s of `drain_window_ms` and 3 s of `close_timeout_ms`, in microseconds.
    assert_eq!(time, "5000000");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_event_loop_sends_watchdog_notifications_at_the_requested_interval() {
    let path = env::temp_dir().join(format!("reverb-{}-notify", process::id()));
    let systemd = Systemd(UnixDatagram::bind(&path).unwrap());
    systemd.0.set_read_timeout(Some(DEADLINE)).unwrap();
    let server =
        Setup::new().env("NOTIFY_SOCKET", path.display()).env("WATCHDOG_USEC", 200_000).start();
    assert_eq!(systemd.next_notification(), "READY=1");
    for _ in 0..5 {
        assert_eq!(systemd.next_notification(), "WATCHDOG=1");
    }
    // A suspended event loop sends nothing; notifications from before are read first.
    server.signal("STOP");
    systemd.0.set_read_timeout(Some(std::time::Duration::from_millis(1_000))).unwrap();
    let mut received = 0;
    while systemd.0.recv(&mut [0; 64]).is_ok() {
        received += 1;
        assert!(received < 100, "a suspended server sends no watchdog notifications");
    }
    server.signal("CONT");
    systemd.0.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(systemd.next_notification(), "WATCHDOG=1");
    fs::remove_file(path).unwrap();
}

/// Starts the server with this socket as its descriptor 3, and returns its first line of output.
/// `exec` keeps the process id, which `LISTEN_PID` must name.
fn handed(socket: OwnedFd, pid: &str) -> (process::Child, String) {
    let script = format!(r#"export LISTEN_PID={pid} LISTEN_FDS=1; exec "$0" "$@" 3<&0"#);
    let mut child = Command::new("/bin/sh")
        .args(["-c", &script, crate::support::binary(), "start", "--port", "0"])
        .current_dir(env::temp_dir())
        .env_clear()
        .envs([("REVERB_APP_ID", "1"), ("REVERB_APP_KEY", "k"), ("REVERB_APP_SECRET", "s")])
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

const UP: &[u8] = b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn answer(mut stream: impl Read + Write) -> String {
    stream.write_all(UP).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_passed_listening_socket_is_used_with_its_backlog() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let early = TcpStream::connect(address).unwrap();
    let (mut child, line) = handed(listener.into(), "$$");
    assert!(line.contains(&format!("listening on {address} for 1 app")), "{line}");
    assert!(answer(early).starts_with("HTTP/1.1 200"));
    child.kill().unwrap();
    child.wait().unwrap();

    let path = env::temp_dir().join(format!("reverb-{}-handed.sock", process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let early = UnixStream::connect(&path).unwrap();
    let (mut child, line) = handed(listener.into(), "$$");
    assert!(line.contains(&format!("listening on unix:{} for", path.display())), "{line}");
    assert!(answer(early).starts_with("HTTP/1.1 200"));
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(path.exists(), "systemd owns the file");
    fs::remove_file(path).unwrap();
}

#[test]
fn sockets_for_another_process_are_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut child, line) = handed(listener.into(), "1");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!line.contains(&address.to_string()), "{line}");
}
