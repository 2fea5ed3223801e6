//! Replays one scenario against a new server.

use super::fixture::Scenario;
use crate::support::{
    APP, App, Client, Got, Http, Response, Server, Setup, assert_same, frame, hmac_hex, md5_hex,
    now,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::thread;

const TARGET: &str = "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false";
const SECOND: App = App { id: "id2", key: "key2", secret: "secret2" };

/// A client, and the frames it has received that no step has checked yet.
struct Conn {
    client: Client,
    app: &'static App,
    pending: VecDeque<Got>,
}

impl Conn {
    #[track_caller]
    fn next(&mut self) -> Got {
        self.pending.pop_front().unwrap_or_else(|| self.client.receive())
    }

    /// Receives everything in transit: it arrives before the pong to this ping. A control frame,
    /// because it counts as no message, and the app does not answer it.
    fn settle(&mut self) {
        self.client.frame(0x89, b"settle");
        loop {
            match self.client.receive() {
                Got::Pong(payload) if payload == b"settle" => return,
                got @ (Got::Close(..) | Got::End) => return self.pending.push_back(got),
                got => self.pending.push_back(got),
            }
        }
    }
}

/// A scenario during its replay. Prints the step that fails.
struct Replay<'s> {
    server: Server,
    conns: BTreeMap<String, Conn>,
    ids: BTreeMap<String, String>,
    /// The client that sent last. A step with `nothing` waits until the server has handled it.
    sender: String,
    at: (String, &'s Value),
}

/// The `data` of an error as the object that the recorded string holds (D7).
fn with_error_object(mut message: Value) -> Value {
    if message["event"] == "pusher:error"
        && let Some(object) = message["data"].as_str().and_then(|s| serde_json::from_str(s).ok())
    {
        message["data"] = object;
    }
    message
}

/// Laravel Reverb forwards client events on public channels; in this server that is a setting.
fn with_public_events(apps: &Value) -> Value {
    let mut apps = apps.clone();
    for app in apps.as_array_mut().into_iter().flatten() {
        app["client_events_on_public_channels"] = json!(true);
    }
    apps
}

/// Replays a scenario from the first step to the last.
pub fn play(name: &str, scenario: &Scenario) {
    let mut setup = match scenario.head.get("apps") {
        Some(apps) => Setup::bare().config(json!({"apps": {"apps": with_public_events(apps)}})),
        None => Setup::new().env("REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS", "true"),
    };
    for (variable, value) in scenario.head["env"].as_object().into_iter().flatten() {
        setup = setup.env(variable, value.as_str().unwrap());
    }
    for arg in scenario.head["args"].as_array().into_iter().flatten() {
        setup = setup.arg(arg.as_str().unwrap());
    }
    let mut replay = Replay {
        server: setup.start(),
        conns: BTreeMap::new(),
        ids: BTreeMap::new(),
        sender: String::new(),
        at: (name.to_owned(), &scenario.head),
    };
    for step in &scenario.steps {
        if let Some(note) = step["note"].as_str() {
            replay.at.0 = format!("{name}: {note}");
        }
        replay.at.1 = step;
        replay.step(step);
    }
    if scenario.head["partial"] != true {
        replay.expect_nothing_more();
    }
    replay.server.is_up();
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {}\n    {}", self.at.0, self.at.1);
        }
    }
}

impl Replay<'_> {
    fn step(&mut self, step: &Value) {
        if let Some(name) = step["open"].as_str() {
            return self.open(name, step);
        }
        if step.get("request").is_some()
            || step.get("raw").is_some()
            || step.get("raw hex").is_some()
        {
            return self.http(step);
        }
        for (key, value) in step.as_object().unwrap() {
            if let Some(name) = key.strip_suffix('<') {
                return self.expect_message(name, value);
            }
            if let Some((name, how)) = key.split_once('>') {
                self.sender = name.to_owned();
                return self.send(name, how.trim(), value);
            }
        }
        assert!(step.get("note").is_some(), "no such step");
    }

    fn open(&mut self, name: &str, step: &Value) {
        let target = step["target"].as_str().unwrap_or(TARGET);
        let headers = step["headers"].as_str().unwrap_or_default();
        let app = if target.contains(SECOND.key) { &SECOND } else { &APP };
        let mut client = Client::open(&self.server, target, headers);
        let first = client.event();
        if first["event"] == "pusher:connection_established" {
            let data: Value = serde_json::from_str(first["data"].as_str().unwrap()).unwrap();
            self.ids.insert(name.to_owned(), data["socket_id"].as_str().unwrap().to_owned());
        }
        let data = format!(r#"{{"socket_id":"$({name})","activity_timeout":30}}"#);
        let established = json!({"event": "pusher:connection_established", "data": data});
        let expected = self.fill(step.get("first").unwrap_or(&established));
        assert_same(&first, &with_error_object(expected));
        self.conns.insert(name.to_owned(), Conn { client, app, pending: VecDeque::new() });
    }

    fn send(&mut self, name: &str, how: &str, what: &Value) {
        let what = self.fill(what);
        let conn = self.conns.get_mut(name).unwrap();
        match (how, &what) {
            ("", Value::String(text)) => {
                let text = sign_subscription(text, conn.app, self.ids.get(name));
                conn.client.text(&text);
            }
            ("frames", Value::String(hex)) => conn.client.raw(&unhex(hex)),
            ("frames", Value::Array(frames)) => {
                for pair in frames {
                    let first = pair[0].as_u64().unwrap() as u8;
                    conn.client.raw(&frame(first, pair[1].as_str().unwrap().as_bytes()));
                }
            }
            ("end", how) if how == "finish" => conn.client.finish(),
            ("end", how) => {
                let conn = self.conns.remove(name).unwrap();
                if how == "reset" {
                    conn.client.reset();
                }
            }
            _ => panic!("no such step"),
        }
    }

    fn expect_message(&mut self, name: &str, what: &Value) {
        let what = self.fill(what);
        if what == "nothing" {
            return self.expect_nothing(name);
        }
        let conn = self.conns.get_mut(name).unwrap();
        if let Some(code) = what["close"].as_u64() {
            assert!(conn.pending.is_empty(), "received {:?}", conn.pending);
            conn.client.closed(code as u16);
            self.conns.remove(name);
            return;
        }
        match conn.next() {
            Got::End if what == "end" => drop(self.conns.remove(name)),
            Got::Ping(payload) => assert_eq!(payload, unhex(what["ping"].as_str().unwrap())),
            Got::Pong(payload) => assert_eq!(payload, unhex(what["pong"].as_str().unwrap())),
            Got::Text(text) if what.get("length").is_some() => {
                assert_eq!(what["length"], text.len())
            }
            Got::Text(text) => {
                assert_same(&serde_json::from_str(&text).unwrap(), &with_error_object(what));
            }
            got => panic!("received {got:?}"),
        }
    }

    fn expect_nothing(&mut self, name: &str) {
        for name in [&self.sender, name] {
            if let Some(conn) = self.conns.get_mut(name) {
                conn.settle();
            }
        }
        let pending = &self.conns[name].pending;
        assert!(pending.is_empty(), "received {pending:?}");
    }

    fn expect_nothing_more(&mut self) {
        for (name, conn) in &mut self.conns {
            conn.settle();
            assert!(conn.pending.is_empty(), "{name} received more: {:?}", conn.pending);
        }
    }

    fn http(&mut self, step: &Value) {
        let mut http = Http::connect(&self.server);
        let parts = self.request(step);
        // The body after `Expect: 100-continue` waits for the response to it.
        let (now, later) = parts.split_at(if step["status"] == 100 { 1 } else { parts.len() });
        now.iter().for_each(|part| http.try_send(part));
        let head = parts[0].starts_with(b"HEAD ");
        check(&if head { http.head() } else { http.response() }, step, head);
        later.iter().for_each(|part| http.try_send(part));
        for more in step["more"].as_array().into_iter().flatten() {
            check(&http.response(), more, false);
        }
    }

    /// The bytes of a request, in the pieces in which they are sent.
    fn request(&self, step: &Value) -> Vec<Vec<u8>> {
        if let Some(hex) = step["raw hex"].as_str() {
            return vec![unhex(hex)];
        }
        let step = self.fill(step);
        if let Some(line) = step["request"].as_str() {
            let (method, path) = line.split_once(' ').unwrap();
            let app = if step["key"] == SECOND.key { &SECOND } else { &APP };
            let params = step["params"].as_str().unwrap_or_default();
            let body = match step["body hex"].as_str() {
                Some(hex) => unhex(hex),
                None => step["body"].as_str().unwrap_or_default().into(),
            };
            return vec![signed_request(app, method, path, params, &body)];
        }
        let raw = match &step["raw"] {
            Value::String(whole) => vec![whole.clone()],
            parts => serde_json::from_value(parts.clone()).unwrap(),
        };
        let auth = "auth_key=app-key&auth_timestamp=$now&auth_version=1.0";
        let now = now().to_string();
        let timed = |text: &str| text.replace("$auth", auth).replace("$now", &now);
        let raw: Vec<String> = raw.iter().map(|part| timed(part)).collect();
        let text = match step["sign"].as_str() {
            Some(text) => timed(text),
            None => to_sign(&raw.concat()),
        };
        let signature = hmac_hex(APP.secret, &text);
        let signed = |part: &String| {
            let part = part.replace("$signature", &signature);
            part.replace("$SIGNATURE", &signature.to_uppercase()).into_bytes()
        };
        raw.iter().map(signed).collect()
    }

    /// The value with the socket ids filled in.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let fill = |text: String, (name, id): (&String, &String)| {
                    text.replace(&format!("$({name})"), id)
                };
                Value::String(self.ids.iter().fold(text.clone(), fill))
            }
            Value::Array(list) => list.iter().map(|value| self.fill(value)).collect(),
            Value::Object(object) => {
                object.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect()
            }
            other => other.clone(),
        }
    }
}

/// Fails unless the response has the expected status and body.
#[track_caller]
fn check(response: &Response, expected: &Value, head: bool) {
    let body = String::from_utf8_lossy(&response.body);
    assert_eq!(expected["status"], response.status, "{body}");
    match expected.get("answer") {
        Some(answer) => assert_same(&response.json(), answer),
        None if head || response.status < 200 => assert!(response.body.is_empty()),
        None => assert!(!response.body.is_empty(), "the response has no body"),
    }
}

/// The text that a valid request of these bytes signs.
fn to_sign(raw: &str) -> String {
    let mut words = raw.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs: Vec<&str> =
        query.split('&').filter(|pair| !pair.starts_with("auth_signature")).collect();
    format!("{method}\n{path}\n{}", pairs.join("&"))
}

/// A signed request, as the client libraries send it.
fn signed_request(app: &App, method: &str, path: &str, params: &str, body: &[u8]) -> Vec<u8> {
    let mut query = format!("auth_key={}&auth_timestamp={}&auth_version=1.0", app.key, now());
    if !params.is_empty() {
        query = format!("{query}&{params}");
    }
    if !body.is_empty() {
        query = format!("{query}&body_md5={}", md5_hex(body));
    }
    let mut pairs: Vec<String> = query.split('&').map(decode).collect();
    pairs.sort();
    let signature = hmac_hex(app.secret, &format!("{method}\n{path}\n{}", pairs.join("&")));
    let length = body.len();
    let head = format!(
        "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The message with the signatures filled in.
fn sign_subscription(text: &str, app: &App, id: Option<&String>) -> String {
    if !text.contains("$sign") && !text.contains("$bare") {
        return text.to_owned();
    }
    let message: Value = serde_json::from_str(text).unwrap();
    let data = &message["data"];
    let bare = format!("{}:{}", id.unwrap(), data["channel"].as_str().unwrap());
    let full = match data["channel_data"].as_str() {
        Some(channel_data) if !channel_data.is_empty() => format!("{bare}:{channel_data}"),
        _ => bare.clone(),
    };
    text.replace("$sign", &hmac_hex(app.secret, &full))
        .replace("$bare", &hmac_hex(app.secret, &bare))
}

/// Undoes percent-encoding and `+`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
