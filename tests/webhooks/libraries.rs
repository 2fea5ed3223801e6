//! The rules by which the libraries of PHP and Go accept a webhook, written out: their order of
//! checks and the spelling of names that they look up. The libraries of Node and Python run in
//! `tests/clients`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::{env, fs, process, thread};

use serde_json::json;

use super::receiver::Receiver;
use super::{server_for, with_webhooks};
use crate::support::{APP, Client, DEADLINE, hmac_hex};

/// PHP's own web server with a script that does what `Pusher::webhook` does: it looks the headers up
/// by their exact spelling, and prints the events of a valid request to its log.
const SCRIPT: &str = r#"<?php
$headers = getallheaders();
$body = file_get_contents('php://input');
$ok = isset($headers['X-Pusher-Key'], $headers['X-Pusher-Signature'])
    && $headers['X-Pusher-Key'] === getenv('KEY')
    && $headers['X-Pusher-Signature'] === hash_hmac('sha256', $body, getenv('SECRET'), false);
if (!$ok) { http_response_code(401); error_log('REFUSED '.json_encode($headers)); return true; }
foreach (json_decode($body, false, 512, JSON_THROW_ON_ERROR)->events as $event) {
    error_log('EVENT '.json_encode($event));
}
return true;
"#;

/// A running `php -S`, ended with the test.
struct Php {
    child: Child,
    script: PathBuf,
    port: u16,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Php {
    fn start() -> Self {
        let script = env::temp_dir().join(format!("reverb-webhook-{}.php", process::id()));
        fs::write(&script, SCRIPT).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("php")
            .args(["-d", "display_errors=0", "-d", "log_errors=1", "-S"])
            .arg(format!("127.0.0.1:{port}"))
            .arg(&script)
            .env("KEY", APP.key)
            .env("SECRET", APP.secret)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let php = Php { child, script, port, lines };
        php.line("Development Server");
        php
    }

    /// The next line of its log that contains this text.
    #[track_caller]
    fn line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no {text}"));
            assert!(!line.contains("REFUSED"), "{line}");
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.script);
    }
}

#[test]
fn php_accepts_the_headers_as_they_are_spelled() {
    let php = Php::start();
    let url = format!("http://127.0.0.1:{}/hook", php.port);
    let server = with_webhooks(json!([{"url": url, "batch_ms": 1}])).start();
    let mut client = Client::connect(&server);
    client.join("presence-é/\"room", "7");
    let line = php.line("EVENT ");
    let (_, event) = line.split_once("EVENT ").unwrap();
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!(event, json!({"name": "channel_occupied", "channel": "presence-é/\"room"}));
    let line = php.line("EVENT ");
    assert!(line.contains("member_added") && line.contains(r#""user_id":"7""#), "{line}");
}

/// `http.Header` of Go has canonical names, and the library reads the map by `X-Pusher-Key` and
/// `X-Pusher-Signature`; each key of the request is compared, then the HMAC of the raw body.
#[test]
fn go_accepts_the_headers_after_their_names_are_made_canonical() {
    let canonical = |name: &str| {
        let words = name.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + &rest.to_lowercase()
        });
        words.collect::<Vec<_>>().join("-")
    };
    let receiver = Receiver::start();
    let server = server_for(&receiver);
    Client::connect(&server).subscribe("news");
    let request = receiver.request();
    let values = |name: &str| -> Vec<String> {
        let named = request.headers.iter().filter(|(other, _)| canonical(other) == name);
        named.map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(values("X-Pusher-Key"), [APP.key]);
    assert_eq!(values("X-Pusher-Signature"), [hmac_hex(APP.secret, &request.body)]);
}
