//! Requests of the publisher to the API of the hub, on one connection.

use reverb::proto::auth::md5_hex;
use serde_json::Value;

use super::{World, take};

impl World {
    pub fn get(&mut self, path: &str) -> Value {
        self.get_with(path, "")
    }

    pub fn get_with(&mut self, path: &str, info: &str) -> Value {
        self.call_api("GET", path, info, "")
    }

    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Value {
        self.call_api(method, path, "", body)
    }

    fn call_api(&mut self, method: &str, path: &str, info: &str, body: &str) -> Value {
        let (status, answer) = self.call("key", method, path, info, body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// A request signed with the key of an app. Returns the status and the body of the response.
    pub fn call(
        &mut self,
        key: &str,
        method: &str,
        path: &str,
        info: &str,
        body: &str,
    ) -> (u16, String) {
        let time = self.now.unix_s;
        let mut query = format!("auth_key={key}&auth_timestamp={time}&auth_version=1.0");
        if !body.is_empty() {
            query += &format!("&body_md5={}", md5_hex(body.as_bytes()));
        }
        if !info.is_empty() {
            query += &format!("&{info}");
        }
        let signature = self.signer.sign(&[method, "\n", path, "\n", &query]);
        let request = format!(
            "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let publisher = self.publisher;
        self.receive(publisher, request.as_bytes());
        let answer = String::from_utf8(take(&mut self.hub, publisher)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
        (status.unwrap(), body.to_owned())
    }
}
