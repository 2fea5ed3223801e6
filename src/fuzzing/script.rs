//! The input of a hub fuzzer as a script: each byte chooses a step, or a value for one. The steps are
//! in `hub` and `bus`.

/// The channels that scripts choose from: one of each kind, and one with a name that needs escaping.
pub(super) const CHANNELS: [&str; 9] = [
    "a",
    "cache-c",
    "private-p",
    "private-cache-q",
    "presence-a",
    "presence-cache-b",
    "private-encrypted-e",
    "#server-to-user-1",
    "odd \"é",
];
/// The user ids that scripts choose from.
pub(super) const USERS: [&str; 4] = ["1", "2", "ann", "b/\""];

/// The bytes of a script that have not been read.
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Script(bytes)
    }

    /// The next byte; `None` at the end.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The element that the next byte selects; the first at the end of the script.
    pub(super) fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte().unwrap_or(0)) % of.len()]
    }

    /// The following bytes; the next byte is their number. Fewer at the end of the script.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or(0));
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// The same as text; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}
