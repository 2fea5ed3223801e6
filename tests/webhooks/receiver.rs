//! An HTTP server that receives webhooks, as an application would. A test decides how it answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Queue, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{APP, DEADLINE, hmac_hex};

/// A request to a webhook.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// The headers, in their order and spelling.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the server does with a request.
pub enum Answer {
    /// Responds with this status and no body, and keeps the connection.
    Status(u16),
    /// Sends these bytes, and keeps the connection.
    Raw(Vec<u8>),
    /// Sends these bytes one by one, and keeps the connection.
    Slowly(Vec<u8>),
    /// Sends these bytes, and closes the connection.
    Last(Vec<u8>),
    /// Does not respond, until the client closes the connection.
    Nothing,
}

type Answers = Arc<dyn Fn(&Request, usize) -> Answer + Send + Sync>;

/// A server on a free port of this machine, until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    requests: Mutex<Queue<Request>>,
    connections: Arc<AtomicUsize>,
    /// The connections that are open, and the most so far.
    open: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Receiver {
    /// A server that acknowledges every request.
    pub fn start() -> Self {
        Receiver::answering(|_, _| Answer::Status(200))
    }

    /// A server that answers by this function, which gets the request and its number, from 0.
    pub fn answering(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        Receiver::over(answer, plain)
    }

    /// A server that fails until the flag is set.
    pub fn failing() -> (Self, Arc<AtomicBool>) {
        let is_up = Arc::new(AtomicBool::new(false));
        let up = Arc::clone(&is_up);
        let receiver = Receiver::answering(move |_, _| match up.load(Ordering::Relaxed) {
            true => Answer::Status(200),
            false => Answer::Status(503),
        });
        (receiver, is_up)
    }

    /// A server whose connections `wrap` changes, such as into TLS sessions.
    pub fn over(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
        wrap: fn(TcpStream) -> Box<dyn Connection>,
    ) -> Self {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer, wrap)
    }

    /// A server on this socket.
    pub fn on(
        listener: TcpListener,
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
        wrap: fn(TcpStream) -> Box<dyn Connection>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        let connections = Arc::<AtomicUsize>::default();
        let open = Arc::<(AtomicUsize, AtomicUsize)>::default();
        let counted = Arc::clone(&open);
        let (count, numbers) = (Arc::clone(&connections), Arc::<AtomicUsize>::default());
        let answer: Answers = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                let (numbers, open) = (Arc::clone(&numbers), Arc::clone(&counted));
                open.1.fetch_max(1 + open.0.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                let thread = thread::Builder::new().stack_size(65_536);
                let serve = move || {
                    let _ = stream.set_nodelay(true);
                    serve(&mut *wrap(stream), &sender, &numbers, &answer);
                    open.0.fetch_sub(1, Ordering::Relaxed);
                };
                thread.spawn(serve).unwrap();
            }
        });
        Receiver { address, requests: Mutex::new(requests), connections, open }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The most connections that were open at once. The end of one is noticed a little later.
    pub fn most_open(&self) -> usize {
        self.open.1.load(Ordering::Relaxed)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The next request; its signature and headers are valid.
    #[track_caller]
    pub fn request(&self) -> Request {
        let request = self.requests.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        request.is_valid();
        request
    }

    /// The next request, if one arrives before this time.
    pub fn request_until(&self, end: Instant) -> Option<Request> {
        let left = end.saturating_duration_since(Instant::now());
        match self.requests.lock().unwrap().recv_timeout(left) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the receiver has ended"),
        }
    }

    /// The events of all requests until there are this many.
    #[track_caller]
    pub fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        let end = Instant::now() + DEADLINE;
        while events.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            let request = self.requests.lock().unwrap().recv_timeout(left);
            let Ok(request) = request else { panic!("only {} events: {events:?}", events.len()) };
            request.is_valid();
            events.extend(request.events());
        }
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    /// Fails if a request arrives within this time.
    #[track_caller]
    pub fn nothing_for(&self, time: Duration) {
        let request = self.request_until(Instant::now() + time);
        assert!(request.is_none(), "{request:?}");
    }
}

/// A connection of a client.
pub trait Connection: BufRead + Send {
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

impl Connection for BufReader<TcpStream> {
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.get_mut().write_all(bytes)
    }
}

/// A connection without TLS.
pub fn plain(stream: TcpStream) -> Box<dyn Connection> {
    Box::new(BufReader::new(stream))
}

fn serve(
    connection: &mut dyn Connection,
    sender: &Sender<Request>,
    numbers: &AtomicUsize,
    answer: &Answers,
) {
    while let Some(request) = read(connection) {
        let answer = answer(&request, numbers.fetch_add(1, Ordering::Relaxed));
        // The test may have ended.
        if sender.send(request).is_err() {
            return;
        }
        let head = |status| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let sent = match answer {
            Answer::Status(status) => connection.send(head(status).as_bytes()),
            Answer::Raw(bytes) => connection.send(&bytes),
            Answer::Slowly(bytes) => bytes.chunks(1).try_for_each(|byte| {
                thread::sleep(Duration::from_millis(2));
                connection.send(byte)
            }),
            Answer::Last(bytes) => {
                let _ = connection.send(&bytes);
                return;
            }
            Answer::Nothing => {
                while !connection.fill_buf().is_ok_and(<[u8]>::is_empty) {
                    let len = connection.fill_buf().map_or(0, <[u8]>::len);
                    connection.consume(len);
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads a request; `None` at the end of the connection.
fn read(connection: &mut dyn Connection) -> Option<Request> {
    let line = |connection: &mut dyn Connection| {
        let mut line = String::new();
        connection.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    let first = line(connection)?;
    let path = first.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = line(connection)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "Content-Length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8(body).ok()? })
}

impl Request {
    /// The value of a header, whose name has this spelling.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(other, _)| other == name);
        &header.unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }

    pub fn delivery(&self) -> &str {
        self.header("X-Reverb-Delivery")
    }

    /// The events of the body.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
        body["events"].as_array().unwrap().clone()
    }

    /// Fails unless the headers are those of Pusher for [`APP`].
    #[track_caller]
    pub fn is_valid(&self) {
        assert_eq!(self.header("Content-Type"), "application/json");
        assert_eq!(self.header("X-Pusher-Key"), APP.key);
        assert_eq!(self.header("X-Pusher-Signature"), hmac_hex(APP.secret, &self.body));
        assert!(!self.delivery().is_empty());
    }
}
