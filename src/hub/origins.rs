//! The origins of the connected clients. Most clients have one of a few origins, so each text is
//! stored once. This file does not decide which origins an app allows; see `upgrade`.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::rc::Rc;

use super::random::Hashing;

/// The `Origin` header of a handshake. A thin pointer: a wide one would make every connection larger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::rc_buffer, reason = "Rc<str> is twice as wide")]
pub(crate) struct Origin(Rc<String>);

impl Origin {
    /// An origin that shares its text with no other.
    pub(crate) fn new(text: String) -> Self {
        Origin(Rc::new(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Origin {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The texts that connections share.
pub(crate) struct Origins {
    texts: HashSet<Origin, Hashing>,
    /// With this many texts, those that no connection has are removed.
    sweep_at: usize,
}

impl Origins {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Origins { texts: HashSet::with_hasher(hashing), sweep_at: SWEEP_MIN }
    }

    /// The origin with this text; `None` if it is longer than [`ORIGIN_BYTES_MAX`].
    pub(crate) fn share(&mut self, text: &str) -> Option<Origin> {
        if text.len() > ORIGIN_BYTES_MAX {
            return None;
        }
        if let Some(origin) = self.texts.get(text) {
            return Some(origin.clone());
        }
        if self.texts.len() >= self.sweep_at {
            self.sweep();
        }
        let origin = Origin::new(text.into());
        self.texts.insert(origin.clone());
        Some(origin)
    }

    /// Removes unused texts. The next sweep is due after as many insertions as texts are left, so
    /// that an insertion costs the same on average, however many there are.
    fn sweep(&mut self) {
        self.texts.retain(|origin| Rc::strong_count(&origin.0) > 1);
        self.texts.shrink_to(SWEEP_MIN);
        self.sweep_at = SWEEP_MIN.max(self.texts.len() * 2);
    }
}

/// The longest origin that is stored: a scheme, a host of 253 bytes (RFC 1035 section 2.3.4) and a
/// port need fewer. Without a limit, each client could make the server store a whole header.
const ORIGIN_BYTES_MAX: usize = 300;
/// With fewer texts, unused ones stay: 64 x 300 B = 19 KB at most.
const SWEEP_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::random::Random;

    fn origins() -> Origins {
        Origins::new(Random::new([1; 32]).hashing())
    }

    #[test]
    fn connections_with_one_origin_share_its_text() {
        let mut origins = origins();
        let [a, b] = [(); 2].map(|()| origins.share("https://a.test").unwrap());
        assert!(Rc::ptr_eq(&a.0, &b.0));
        assert_eq!(a.as_str(), "https://a.test");
        assert_eq!(size_of::<Option<Origin>>(), size_of::<usize>());
    }

    #[test]
    fn unused_texts_are_removed() {
        let mut origins = origins();
        let kept: Vec<_> = (0..100).map(|n| origins.share(&format!("kept-{n}")).unwrap()).collect();
        (0..10_000).for_each(|n| _ = origins.share(&format!("left-{n}")));
        assert!(origins.texts.len() <= 2 * kept.len(), "{}", origins.texts.len());
        let again = origins.share("kept-7").unwrap();
        assert!(Rc::ptr_eq(&again.0, &kept[7].0));
    }

    #[test]
    fn an_origin_longer_than_any_host_is_not_stored() {
        assert_eq!(origins().share(&"a".repeat(301)), None);
    }
}
