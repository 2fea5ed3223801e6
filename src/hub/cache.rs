//! The cache of an app: the last event of each cache channel, with or without subscribers, limited
//! in time and in bytes (protocol section 9). Which events are cached is decided in `publish` and
//! `cluster`.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::random::Hashing;
use crate::proto::envelope::Version;
use crate::proto::snapshot::{Codec, DecodeResult};
use crate::proto::websocket::Frame;

/// The cached events of an app; the oldest is dropped first.
pub(crate) struct Cache {
    events: HashMap<Rc<str>, CachedEvent, Hashing>,
    /// The channels and numbers of the stored events, oldest first. The entry of a replaced event
    /// stays until it is at the front or `drop_replaced` removes it; its number no longer matches.
    order: VecDeque<(Rc<str>, u64)>,
    number: u64,
    bytes: usize,
    ttl_ms: u64,
    bytes_max: usize,
}

/// The last event of a channel.
pub(crate) struct CachedEvent {
    pub frame: Frame,
    /// Its number in `Cache::order`.
    number: u64,
    pub expires_ms: u64,
    pub version: Version,
}

impl Cache {
    pub(crate) fn new(hashing: Hashing, ttl_ms: u64, bytes_max: usize) -> Self {
        Cache {
            events: HashMap::with_hasher(hashing),
            order: VecDeque::new(),
            number: 0,
            bytes: 0,
            ttl_ms,
            bytes_max,
        }
    }

    /// Drops all events.
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.events.shrink_to_fit();
        (self.order, self.bytes) = (VecDeque::new(), 0);
    }

    /// Stores an event in place of the channel's previous one, unless the previous one has a
    /// greater version: then it was published later, possibly at another node.
    pub(crate) fn store(&mut self, channel: &str, frame: Frame, version: Version, now_ms: u64) {
        self.store_remote(channel, frame, self.ttl_ms, version, now_ms);
    }

    /// Stores an event that another node has cached and keeps for another `ttl_ms`.
    pub(crate) fn store_remote(
        &mut self,
        channel: &str,
        frame: Frame,
        ttl_ms: u64,
        version: Version,
        now_ms: u64,
    ) {
        let before = self.events.get(channel);
        if before.is_some_and(|b| b.version > version && b.expires_ms > now_ms) {
            return;
        }
        self.number += 1;
        let (number, expires_ms) = (self.number, now_ms + ttl_ms.min(self.ttl_ms));
        self.bytes += cost(channel, &frame);
        let name = match self.events.remove_entry(channel) {
            Some((name, before)) => {
                self.bytes -= cost(channel, &before.frame);
                name
            }
            None => channel.into(),
        };
        self.order.push_back((Rc::clone(&name), number));
        self.events.insert(name, CachedEvent { frame, number, expires_ms, version });
        self.expire(now_ms);
    }

    /// The cached event of a channel, and for how many more seconds it is kept.
    pub(crate) fn event(&self, channel: &str, now_ms: u64) -> Option<(&Frame, u64)> {
        let event = self.events.get(channel)?;
        let left_ms = event.expires_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
        Some((&event.frame, left_ms.div_ceil(1_000)))
    }

    /// The cached events after this number, in order, with their numbers and channels.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &str, &CachedEvent)> {
        let from = self.order.partition_point(|(_, at)| *at <= number);
        self.order.range(from..).filter_map(|(channel, number)| {
            let event = self.events.get(channel).filter(|event| event.number == *number)?;
            Some((*number, &**channel, event))
        })
    }

    /// Encodes the events, or decodes and stores them.
    pub(super) fn snapshot(&mut self, c: &mut Codec, now_ms: u64) -> DecodeResult {
        let mut all: Vec<(String, Option<Frame>, u64, Version)> = self
            .after(0)
            .map(|(_, channel, event)| {
                let frame = Some(Frame::clone(&event.frame));
                (channel.to_owned(), frame, event.expires_ms, event.version)
            })
            .collect();
        c.list(&mut all, |c, (channel, frame, expires_ms, version)| {
            c.text(channel)?;
            c.frame(frame.get_or_insert_with(|| Frame::from(&[][..])))?;
            c.number(expires_ms)?;
            c.number(&mut version.0)?;
            c.number(&mut version.1)
        })?;
        for (channel, frame, expires_ms, version) in all.into_iter().filter(|_| c.reads()) {
            if let (Some(frame), Some(ttl_ms)) = (frame, expires_ms.checked_sub(now_ms)) {
                self.store_remote(&channel, frame, ttl_ms, version, now_ms);
            }
        }
        Ok(())
    }

    /// Resets the versions of the stored events, so that the next event of each channel replaces
    /// the stored one. Versions are only comparable among nodes that are connected to each other.
    pub(super) fn reset_versions(&mut self) {
        self.events.values_mut().for_each(|event| event.version = (0, 0));
    }

    /// Drops events from the front of the order: expired ones, and others while the cache exceeds
    /// its byte limit. The amortized cost per stored event is constant: its entry is removed once,
    /// and `drop_replaced` visits at most two entries for each that it removes.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((channel, number)) = self.order.front() {
            let event = self.events.get(channel).filter(|event| event.number == *number);
            let stays = event.is_some_and(|event| event.expires_ms > now_ms);
            if stays && self.bytes <= self.bytes_max {
                // Replaced entries of a busy channel collect after an entry that stays: drop them
                // when they outnumber the stored events by more than 64.
                if self.order.len() <= 2 * self.events.len() + 64 {
                    return;
                }
                self.drop_replaced();
                return;
            }
            if let Some(event) = event {
                self.bytes -= cost(channel, &event.frame);
                let channel = Rc::clone(channel);
                self.events.remove(&channel);
            }
            self.order.pop_front();
        }
    }

    /// Whether the count of bytes is right, and each event is in the order once.
    pub(super) fn is_sound(&self) -> bool {
        let bytes: usize = self.events.iter().map(|(name, event)| cost(name, &event.frame)).sum();
        let is_live = |(channel, number): &&(Rc<str>, u64)| {
            self.events.get(channel).is_some_and(|event| event.number == *number)
        };
        let live = self.order.iter().filter(is_live).count();
        self.bytes == bytes && self.bytes <= self.bytes_max && live == self.events.len()
    }

    /// Whether the cache is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.order.is_empty() && self.bytes == 0
    }

    fn drop_replaced(&mut self) {
        let events = &self.events;
        self.order.retain(|(channel, number)| {
            events.get(channel).is_some_and(|event| event.number == *number)
        });
    }
}

/// The bytes that an event counts as: those of its texts, and an estimate for its table entries.
fn cost(channel: &str, frame: &Frame) -> usize {
    frame.len() + channel.len() + 128
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn cache(bytes_max: usize) -> Cache {
        Cache::new(Random::new([0; 32]).hashing(), 10_000, bytes_max)
    }

    fn frame(len: usize) -> Frame {
        vec![b'x'; len].into()
    }

    #[test]
    fn an_event_is_cached_until_it_expires() {
        let mut cache = cache(10_000);
        cache.store("a", frame(1), (0, 0), 0);
        cache.store("a", frame(2), (0, 0), 5_000);
        assert_eq!(cache.event("a", 5_001), Some((&frame(2), 10)));
        assert_eq!(cache.event("a", 14_999), Some((&frame(2), 1)));
        assert_eq!(cache.event("a", 15_000), None);
        assert_eq!(cache.event("b", 0), None);
        cache.expire(15_000);
        assert_eq!((cache.bytes, cache.events.len(), cache.order.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_events_are_dropped_over_the_byte_limit() {
        let mut cache = cache(1_000);
        cache.store("a", frame(400), (0, 0), 0);
        cache.store("b", frame(300), (0, 0), 1);
        cache.store("a", frame(300), (0, 0), 2);
        assert!(cache.event("b", 3).is_some());
        cache.store("c", frame(300), (0, 0), 3);
        assert_eq!(cache.event("b", 3), None);
        assert!(cache.event("a", 3).is_some() && cache.event("c", 3).is_some());
    }

    #[test]
    fn a_busy_channel_does_not_fill_the_order() {
        let mut cache = cache(1_000_000);
        cache.store("quiet", frame(1), (0, 0), 0);
        (0..10_000).for_each(|_| cache.store("busy", frame(1), (0, 0), 1));
        assert!(cache.order.len() <= 68, "{}", cache.order.len());
        assert!(cache.event("quiet", 2).is_some());
    }
}
