//! The records of the spool: what a server that is killed needs to continue with its webhooks. Their
//! bytes are in `file`, the file itself in `net`, the meaning of a record in the hub.

mod file;

use std::rc::Rc;

use super::snapshot::{Codec, DecodeResult};
pub(crate) use file::append;
pub use file::{HEADER, SpoolFile, UnknownFormat, compact, decode, encode};

/// A record, in the order in which the hub has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolRecord {
    /// A batch waits for its webhook.
    Queued(SpooledBatch),
    /// The batch with this delivery id was sent or dropped.
    Ended(DeliveryId),
    /// What was reported to the app about a channel or a user of it. A later record about the same
    /// replaces this one; one with `is_present` false removes it.
    Told(SpooledState),
}

/// The id of a batch: the same in every attempt to send it. Prints as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeliveryId(pub u128);

impl DeliveryId {
    /// Encodes or decodes the id.
    ///
    /// # Errors
    ///
    /// The bytes are incomplete or invalid.
    pub fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let (mut high, mut low) = ((self.0 >> 64) as u64, self.0 as u64);
        c.number(&mut high)?;
        c.number(&mut low)?;
        self.0 = u128::from(high) << 64 | u128::from(low);
        Ok(())
    }
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A batch that waits. Its headers follow from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledBatch {
    /// Its delivery id.
    pub delivery: DeliveryId,
    /// The id of the app.
    pub app: String,
    /// The whole URL ([`Url::text`](crate::config::Url::text)).
    pub url: String,
    /// When it was written, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The body of the request.
    pub body: Rc<[u8]>,
}

/// A channel, or a user of it. The state that a reload saves has them as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SpooledSubject {
    /// The id of the app.
    pub app: String,
    /// The name of the channel.
    pub channel: String,
    /// The user; `None` for the channel.
    pub user: Option<String>,
}

impl SpooledSubject {
    /// Encodes or decodes the names.
    ///
    /// # Errors
    ///
    /// The bytes are incomplete or invalid.
    pub fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.app)?;
        c.text(&mut self.channel)?;
        c.option(&mut self.user, Codec::text)
    }
}

/// What was reported to the app: that a channel is occupied, or that a user is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpooledState {
    /// What the record is about.
    pub subject: SpooledSubject,
    /// Whether the channel is occupied, or the user is in it.
    pub is_present: bool,
}

impl SpooledState {
    /// Encodes or decodes the state.
    ///
    /// # Errors
    ///
    /// The bytes are incomplete or invalid.
    pub fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        self.subject.snapshot(c)?;
        c.flag(&mut self.is_present)
    }
}
