//! The spool: what waits survives kill -9.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, process};

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::with_webhooks;
use crate::reload::reload;
use crate::support::{Client, Server, Setup, logged, until};

/// A folder for a spool, removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Folder(env::temp_dir().join(format!("reverb-spool-{}-{number}", process::id())))
    }

    fn file(&self) -> PathBuf {
        self.0.join("webhooks.spool")
    }

    /// Waits until the file contains this text.
    #[track_caller]
    fn contains(&self, text: &str) {
        until(&format!("{text} in the spool"), || has(&self.file(), text));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn has(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn spooled(folder: &Folder, url: &str) -> Setup {
    with_webhooks(json!([{"url": url, "batch_ms": 1}]))
        .env("REVERB_WEBHOOK_SPOOL", folder.0.display())
}

/// A URL that no server listens at.
fn unused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/hook")
}

#[test]
fn what_waits_is_sent_after_kill_9() {
    let folder = Folder::new();
    let (receiver, is_up) = Receiver::failing();
    let url = receiver.url("/hook");
    let server = spooled(&folder, &url).start();
    let mut client = Client::connect(&server);
    client.subscribe("first");
    let sent = receiver.request();
    client.subscribe("second");
    folder.contains("second");
    server.killed();
    is_up.store(true, Ordering::Relaxed);
    let _server = spooled(&folder, &url).start();
    let again = receiver.request();
    assert_eq!((again.delivery(), &again.body), (sent.delivery(), &sent.body));
    let second = receiver.request();
    assert_eq!(second.events(), [json!({"name": "channel_occupied", "channel": "second"})]);
}

#[test]
fn a_file_that_ends_within_a_record_is_read_up_to_there() {
    let folder = Folder::new();
    let url = unused();
    let server = spooled(&folder, &url).start();
    let mut client = Client::connect(&server);
    client.subscribe("whole");
    folder.contains("whole");
    server.killed();
    let mut bytes = fs::read(folder.file()).unwrap();
    bytes.extend_from_within(18..40);
    fs::write(folder.file(), bytes).unwrap();
    let server = spooled(&folder, &url).start();
    logged(&server, &["the webhook spool", "22 bytes of an incomplete record"]);
    assert!(has(&folder.file(), "whole"));
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let url = receiver.url("/hook");
    let server = spooled(&folder, &url).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    receiver.events(1);
    client.subscribe("b");
    receiver.events(1);
    // The record of the end follows the response. A channel in the file is the barrier.
    client.subscribe("c");
    receiver.events(1);
    client.subscribe("d");
    folder.contains("\"d\"");
    receiver.events(1);
    server.killed();
    let server = spooled(&folder, &url).start();
    let mut client = Client::connect(&server);
    client.subscribe("e");
    let mut channels: Vec<Value> = Vec::new();
    while channels.last() != Some(&json!("e")) {
        channels.extend(receiver.request().events().iter().map(|event| event["channel"].clone()));
    }
    // Only the last batches, whose end may not have been written, may come twice.
    assert!(!channels.contains(&json!("a")), "{channels:?}");
}

#[test]
fn a_reload_keeps_the_spool_and_what_waits() {
    let folder = Folder::new();
    let (receiver, is_up) = Receiver::failing();
    let server = spooled(&folder, &receiver.url("/hook")).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    logged(&server, &["webhook", "503"]);
    reload(&server);
    client.subscribe("b");
    folder.contains("\"b\"");
    is_up.store(true, Ordering::Relaxed);
    let mut events = Vec::new();
    while events.len() < 2 {
        let request = receiver.request();
        events.extend(request.events().iter().map(|event| event["channel"].clone()));
        events.dedup();
    }
    assert_eq!(events, ["a", "b"]);
}

#[test]
fn the_folder_is_private_and_belongs_to_one_server() {
    let folder = Folder::new();
    let url = unused();
    let server = spooled(&folder, &url).start();
    assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    let output = server
        .command()
        .args(["start", "--port", "0"])
        .env("REVERB_WEBHOOK_SPOOL", &folder.0)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("is in use by another server"), "{text}");
    assert!(text.contains("REVERB_WEBHOOK_SPOOL"), "{text}");
}

#[test]
fn a_file_of_another_version_is_kept_aside() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.file(), "reverb webhooks 999\n...").unwrap();
    let url = unused();
    let server: Server = spooled(&folder, &url).start();
    logged(&server, &["is not a webhook spool of this version", "webhooks.unknown"]);
    assert!(has(&folder.0.join("webhooks.unknown"), "999"));
}
