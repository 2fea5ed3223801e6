//! Replies: texts and errors, the answers of sentinels, and the slots of a Redis Cluster. Messages
//! and their framing are in the parent.

use redis::{ServerError, Value};

use super::cluster::{ClusterNode, SlotRange};
use crate::config::HostPort;

/// The reply of a sentinel to `get-master-addr-by-name`: the address of the master; `None` if the
/// sentinel does not monitor a master of that name.
///
/// # Errors
///
/// The error reply of the sentinel, or a sentence about the reply.
pub(super) fn master(value: &Value) -> Result<Option<HostPort>, String> {
    let Some(words) = words(value)? else { return Ok(None) };
    let [host, port] = words.as_slice() else { return Err(UNEXPECTED.to_owned()) };
    let port = port.parse().map_err(|_| UNEXPECTED)?;
    match ClusterNode::new(host, port) {
        Some(ClusterNode { host: Some(host), port }) => Ok(Some(HostPort { host, port })),
        _ => Err(UNEXPECTED.to_owned()),
    }
}

/// The value of a field in a reply that is a list of names and values, or a map; `None` if it has
/// no such field.
///
/// # Errors
///
/// Those of [`master`].
pub(super) fn field(value: &Value, name: &str) -> Result<Option<String>, String> {
    let Some(words) = words(value)? else { return Ok(None) };
    let (pairs, _) = words.as_chunks::<2>();
    Ok(pairs.iter().find(|[key, _]| key == name).map(|[_, value]| value.clone()))
}

/// A list of texts; `None` for null.
fn words(value: &Value) -> Result<Option<Vec<String>>, String> {
    let word = |value: &Value| Some(String::from_utf8_lossy(text(value)?).into_owned());
    let words = match value {
        Value::Nil => return Ok(None),
        Value::ServerError(error) => return Err(error_text(error)),
        Value::Array(values) => values.iter().map(word).collect(),
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(key, value)| [word(key), word(value)]).collect()
        }
        _ => None,
    };
    let words: Option<Vec<String>> = words;
    words.map(Some).ok_or_else(|| UNEXPECTED.to_owned())
}

/// The reply to `CLUSTER SLOTS`; `None` if it is another reply.
pub(super) fn slots(values: &[Value]) -> Option<Vec<SlotRange>> {
    if values.is_empty() {
        return None;
    }
    values.iter().map(slot_range).collect()
}

fn slot_range(value: &Value) -> Option<SlotRange> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), servers @ ..] = parts.as_slice() else { return None };
    let mut servers = servers.iter().map(server);
    let master = servers.next()??;
    let replicas = servers.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    Some(SlotRange {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        master,
        replicas,
    })
}

/// A server in the reply; `Some(None)` if its address is unknown.
fn server(value: &Value) -> Option<Option<ClusterNode>> {
    let Value::Array(parts) = value else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    let host = match host {
        Value::Nil => "",
        host => std::str::from_utf8(text(host)?).ok()?,
    };
    Some(ClusterNode::new(host, *port))
}

const UNEXPECTED: &str = "the reply is not that of a sentinel";

pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A reply: its text, empty if the reply has another type; `None` for null; or the error.
pub type Answer = Result<Option<Vec<u8>>, String>;

pub(super) fn answer(value: Value) -> Answer {
    match value {
        Value::BulkString(text) => Ok(Some(text)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Nil => Ok(None),
        Value::ServerError(error) => Err(error_text(&error)),
        _ => Ok(Some(Vec::new())),
    }
}

pub(super) fn error_text(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}
