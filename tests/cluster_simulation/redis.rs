//! A Redis in memory, and the connections of nodes to it: bytes in two directions, which arrive in
//! pieces, late, or not at all. It supports the few commands that nodes send.

/// The server that relays the messages of the nodes.
#[derive(Default)]
pub struct Redis {
    pub is_up: bool,
    /// Until then, commands stay unread.
    pub paused_until_ms: u64,
    /// If set to n, every nth PUBLISH is delivered twice.
    pub doubles: Option<usize>,
    pub published: usize,
    /// The places of nodes that may not use inboxes, as bits.
    pub without_inboxes: u64,
}

/// One node's two connections: the subscriber and the publisher.
pub type Pair = [Connection; 2];

/// A connection of a node.
#[derive(Default)]
pub struct Connection {
    pub to_redis: Vec<u8>,
    pub to_node: Vec<u8>,
    channels: Vec<Vec<u8>>,
}

impl Redis {
    /// Executes the commands that have arrived whole.
    pub fn serve(&mut self, pairs: &mut [Option<Pair>]) {
        for at in 0..pairs.len() {
            for link in 0..2 {
                while let Some(parts) = pairs[at].as_mut().and_then(|pair| pair[link].command()) {
                    self.answer(at, link, &parts, pairs);
                }
            }
        }
    }

    fn answer(&mut self, at: usize, link: usize, parts: &[Vec<u8>], pairs: &mut [Option<Pair>]) {
        let connection = &mut pairs[at].as_mut().unwrap()[link];
        let is_inbox = parts.get(1).is_some_and(|channel| channel.contains(&b':'));
        if is_inbox && self.without_inboxes >> at & 1 == 1 {
            return connection.to_node.extend(b"-NOPERM No permissions to access a channel\r\n");
        }
        match &*parts[0] {
            b"HELLO" => connection.to_node.extend(b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
            b"SUBSCRIBE" => {
                connection.channels.push(parts[1].clone());
                let push = push(&[b"subscribe", &parts[1]]);
                connection.to_node.extend(push);
                connection.to_node.extend(b":1\r\n");
            }
            b"PUBLISH" => {
                self.published += 1;
                let is_double =
                    self.doubles.is_some_and(|every| self.published.is_multiple_of(every));
                let message = [push(&[b"message", &parts[1]]), bulk(&parts[2])].concat();
                let mut receivers = 0;
                for connection in pairs.iter_mut().flatten().flatten() {
                    if !connection.channels.contains(&parts[1]) {
                        continue;
                    }
                    receivers += 1;
                    for _ in 0..1 + usize::from(is_double) {
                        connection.to_node.extend(&message);
                    }
                }
                let reply = format!(":{receivers}\r\n");
                pairs[at].as_mut().unwrap()[link].to_node.extend(reply.as_bytes());
            }
            other => panic!("{} is not a command that nodes send", String::from_utf8_lossy(other)),
        }
    }
}

impl Connection {
    /// Takes the first command, if it has arrived whole.
    fn command(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut at = 0;
        let count = number(&self.to_redis, &mut at, b'*')?;
        let mut parts = Vec::new();
        for _ in 0..count {
            let len = number(&self.to_redis, &mut at, b'$')?;
            parts.push(self.to_redis.get(at..at + len)?.to_vec());
            at += len + 2;
        }
        if at > self.to_redis.len() {
            return None;
        }
        self.to_redis.drain(..at);
        Some(parts)
    }
}

/// The number on the line that begins with this sign.
fn number(bytes: &[u8], at: &mut usize, sign: u8) -> Option<usize> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(rest[0], sign, "a list of strings");
    *at += end + 2;
    Some(std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap())
}

/// The beginning of a push of three.
fn push(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b">3\r\n".to_vec();
    parts.iter().for_each(|part| bytes.extend(bulk(part)));
    bytes
}

fn bulk(part: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
}
