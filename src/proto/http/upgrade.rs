//! The handshake of a WebSocket from the side of the client (RFC 6455 section 4.1). That of the server
//! is in `response`.

use super::{ResponseReader, is};

/// The headers that request a WebSocket. The key is the example of the RFC: a random one would only
/// show that no cache has answered, which the first message of the server shows as well.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Whether the response to [`UPGRADE`] is that of a WebSocket server.
pub fn is_accepted(response: &ResponseReader) -> bool {
    let head = std::str::from_utf8(response.head()).unwrap_or_default();
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    response.status() == Some(101)
        && headers.any(|(name, value)| is(name, "sec-websocket-accept") && value.trim() == ACCEPT)
}

/// The answer to the key of [`UPGRADE`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::switching_protocols;

    #[test]
    fn the_answer_of_this_server_is_accepted() {
        let key = UPGRADE.split("Key: ").nth(1).unwrap().trim_end();
        let accepted = switching_protocols(key.as_bytes(), None).to_vec();
        for (bytes, expected) in [
            (accepted, true),
            (switching_protocols(b"another key", None).to_vec(), false),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), false),
            (format!("HTTP/1.1 200 OK\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").into(), false),
        ] {
            let mut response = ResponseReader::endless();
            response.receive(&bytes).unwrap();
            assert_eq!(is_accepted(&response), expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
