//! Apps that are added, changed and removed while the app of the model is served, with guests who
//! connect to them; and hubs that continue with another configuration or in another process.
//!
//! A guest whose app was removed or disabled, or does not allow its origin any more, must be closed,
//! and no other. Until then it may receive what is published.

use std::collections::BTreeMap;

use reverb::config::{App, Config};
use reverb::hub::{ConnId, Hub};
use serde_json::json;

use super::{SECRET, World, take};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ORIGINS: [&str; 2] = ["one.test", "two.test"];

/// The apps besides the first one, and their guests.
#[derive(Default)]
pub struct Apps {
    served: BTreeMap<&'static str, App>,
    guests: Vec<Guest>,
}

/// A client of one of these apps, subscribed to one channel.
struct Guest {
    id: ConnId,
    app: &'static str,
    origin: &'static str,
    /// Events that it should have received since the last comparison.
    expected: usize,
    /// Since when it must be closed, if it must, and how many comparisons there were since then.
    doomed: Option<(u64, u32)>,
    /// Whether it had to be closed at any time since the last comparison.
    was_doomed: bool,
}

impl World {
    /// The configuration with all apps that are served now, in either order.
    fn settings(&mut self) -> Config {
        let mut config = self.config.clone();
        config.apps.extend(self.apps.served.values().cloned());
        if self.below(2) == 0 {
            config.apps.reverse();
        }
        config
    }

    /// Reads the configuration again, as SIGHUP does.
    pub fn reconfigure(&mut self) {
        let config = self.settings();
        let ids = self.hub.reconfigure(&config, self.now).unwrap();
        self.rename(&ids);
    }

    /// Continues in another process.
    pub fn hand_over(&mut self) {
        let mut ids = Vec::new();
        let state = self.hub.save(self.now, |id, ()| {
            ids.push(id);
            ids.len() as u64
        });
        let config = self.settings();
        self.hub = Hub::new(&config, [self.below(256) as u8; 32], self.now);
        self.hub.restore(state.unwrap(), self.now, |_| Some(())).unwrap();
        self.rename(&ids);
    }

    /// Each connection has the place of its id in this list as its new id.
    fn rename(&mut self, ids: &[ConnId]) {
        let rename = |old: &mut ConnId| {
            *old = ConnId(ids.iter().position(|id| id == old).unwrap() as u32);
        };
        self.clients.iter_mut().map(|client| &mut client.id).for_each(rename);
        for guest in &mut self.apps.guests {
            rename(&mut guest.id);
            // The period in which they are closed begins again.
            guest.doomed = guest.doomed.map(|_| (self.now.ms, 0));
        }
        rename(&mut self.publisher);
        assert_eq!(self.hub.audit(), Ok(()));
        while self.hub.next_read(self.now).is_some() {}
    }

    /// Something happens to one of the apps.
    pub fn act_on_app(&mut self) {
        match self.below(8) {
            0 => self.remove_app(),
            1..=2 => self.put_app(),
            3 => self.dismiss(),
            4..=5 => self.connect_guest(),
            _ => self.publish_to_app(),
        }
    }

    fn remove_app(&mut self) {
        let name = NAMES[self.below(NAMES.len())];
        let was_served = self.apps.served.remove(name).is_some();
        assert_eq!(self.hub.remove_app(name, self.now), was_served);
        self.judge();
    }

    fn put_app(&mut self) {
        let name = NAMES[self.below(NAMES.len())];
        let mut app = App::new(name, format!("key-{name}-{}", self.below(2)), SECRET);
        app.enabled = self.below(4) > 0;
        app.max_connections = [None, Some(2)][self.below(2)];
        app.max_message_size = [10_000, 20_000][self.below(2)];
        app.ping_interval_s = 86_400;
        if self.below(3) == 0 {
            app.allowed_origins = vec![ORIGINS[self.below(2)].to_owned()];
        }
        assert!(self.hub.put_app(app.clone(), self.now));
        self.apps.served.insert(name, app);
        self.judge();
    }

    /// Decides which guests must be closed.
    fn judge(&mut self) {
        for guest in &mut self.apps.guests {
            let app = self.apps.served.get(guest.app);
            match app.is_some_and(|app| app.enabled && allows(app, guest.origin)) {
                true => guest.doomed = None,
                false => {
                    guest.doomed.get_or_insert((self.now.ms, 0));
                    guest.was_doomed = true;
                }
            }
        }
    }

    fn connect_guest(&mut self) {
        let name = NAMES[self.below(NAMES.len())];
        let origin = ORIGINS[self.below(2)];
        let app = self.apps.served.get(name).cloned();
        let key = app.as_ref().map_or_else(|| format!("key-{name}-0"), |app| app.key.clone());
        let id = self.hub.open((), None, self.now);
        let request = format!(
            "GET /app/{key} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Origin: http://{origin}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        self.receive(id, request.as_bytes());
        let answer = String::from_utf8_lossy(&take(&mut self.hub, id)).into_owned();
        let others = || self.apps.guests.iter().filter(|guest| guest.app == name);
        let is_full =
            |app: &App| app.max_connections.is_some_and(|max| others().count() >= max as usize);
        let expected = match &app {
            None => "4001",
            Some(app) if !app.enabled => "4003",
            Some(app) if !allows(app, origin) => "4009",
            // Whether those are still counted is not known here.
            Some(app) if is_full(app) && others().any(|guest| guest.was_doomed) => "",
            Some(app) if is_full(app) => "4004",
            Some(_) => "connection_established",
        };
        assert!(answer.contains(expected), "{expected}: {answer}");
        if !answer.contains("connection_established") {
            self.hub.close(id, self.now);
            return;
        }
        let subscription = json!({"event": "pusher:subscribe", "data": {"channel": "news"}});
        self.send_to(id, &subscription);
        let answer = String::from_utf8_lossy(&take(&mut self.hub, id)).into_owned();
        assert!(answer.contains("subscription_succeeded"), "{answer}");
        let (doomed, was_doomed) = (None, false);
        self.apps.guests.push(Guest { id, app: name, origin, expected: 0, doomed, was_doomed });
    }

    /// A guest disconnects.
    fn dismiss(&mut self) {
        if !self.apps.guests.is_empty() {
            let n = self.below(self.apps.guests.len());
            let guest = self.apps.guests.remove(n);
            self.hub.close(guest.id, self.now);
        }
    }

    /// Publishes an event with the connection that publishes to the first app as well.
    fn publish_to_app(&mut self) {
        let name = NAMES[self.below(NAMES.len())];
        let app = self.apps.served.get(name);
        let expected = app.map_or(404, |app| if app.enabled { 200 } else { 403 });
        let key = app.map_or("none".to_owned(), |app| app.key.clone());
        let body = json!({"name": "e", "channels": ["news"], "data": "x"}).to_string();
        let path = format!("/apps/{name}/events");
        let (status, _) = self.call(&key, "POST", &path, "", &body);
        assert_eq!(status, expected);
        if status != 200 {
            // The server closes the connection if it has not read the body.
            self.hub.close(self.publisher, self.now);
            self.publisher = self.hub.open((), None, self.now);
        } else {
            let guests = self.apps.guests.iter_mut().filter(|guest| guest.app == name);
            guests.for_each(|guest| guest.expected += 1);
        }
    }

    /// Compares what the guests have received.
    pub fn compare_guests(&mut self) {
        let mut guests = std::mem::take(&mut self.apps.guests);
        guests.retain_mut(|guest| {
            let (events, is_closed) = events(&take(&mut self.hub, guest.id));
            let expected = std::mem::take(&mut guest.expected);
            if is_closed {
                assert!(guest.was_doomed, "a guest of {} was closed", guest.app);
                self.hub.close(guest.id, self.now);
                return false;
            }
            match guest.was_doomed {
                true => assert!(events <= expected, "{events} of {expected}"),
                false => assert_eq!(events, expected),
            }
            if let Some((since_ms, comparisons)) = &mut guest.doomed {
                *comparisons += 1;
                let is_late = *comparisons > 2 && self.now.ms > *since_ms + 5_000;
                assert!(!is_late, "a guest of {} was not closed", guest.app);
            }
            guest.was_doomed = guest.doomed.is_some();
            true
        });
        self.apps.guests = guests;
    }

    /// All guests have left.
    pub fn dismiss_all(&mut self) {
        while !self.apps.guests.is_empty() {
            self.dismiss();
        }
    }
}

fn allows(app: &App, origin: &str) -> bool {
    app.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
}

/// The number of events in frames of the server, and whether a close frame follows.
fn events(mut bytes: &[u8]) -> (usize, bool) {
    let mut events = 0;
    while let [0x81, short, rest @ ..] = bytes {
        let (len, rest) = match short {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            len => (*len as usize, rest),
        };
        let text = std::str::from_utf8(&rest[..len]).unwrap();
        // Before a close frame its reason is sent as a message.
        events += usize::from(text.contains(r#""event":"e""#));
        bytes = &rest[len..];
    }
    assert!(matches!(bytes, [] | [0x88, ..]), "{bytes:?}");
    (events, !bytes.is_empty())
}
