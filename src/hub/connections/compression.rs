//! Decides which events are compressed, and counts the work. There is one compressor and one
//! decompressor for all connections (`hub::compressor`), and a connection has one bit: no window is
//! kept between two messages.
//!
//! What one client alone gets is sent plain: replies, member lists, and the cached event of a channel.

use super::Connections;
use crate::config::Compression;
use crate::hub::ids::{ConnId, SocketId};
use crate::hub::peer::Mark;
use crate::hub::work::{COMPRESSION_UNITS, DECOMPRESSION_UNITS};
use crate::proto::websocket::{self, Frame, Inflated};

impl<T> Connections<T> {
    /// Whether a client with this `User-Agent` that offers compression gets it.
    pub(in crate::hub) fn accepts_deflate(&self, user_agent: &[u8]) -> bool {
        let Compression { enabled, safari, .. } = self.compressor.settings;
        cfg!(feature = "deflate") && enabled && (safari || !is_apple(user_agent))
    }

    /// A client has negotiated compression.
    pub(in crate::hub) fn set_deflate(&mut self, id: ConnId) {
        if let Some(peer) = self.slab.get_mut(id.0 as usize)
            && !peer.marks.has(Mark::Deflate)
        {
            peer.marks.set(Mark::Deflate);
            self.compressor.clients += 1;
        }
    }

    /// Whether a connection has negotiated permessage-deflate.
    pub(in crate::hub) fn has_deflate(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(|peer| peer.marks.has(Mark::Deflate))
    }

    /// The compressed form of an event for these members, if enough of them negotiated it and it is
    /// shorter. While a turn is over its budget, nothing is compressed.
    pub(super) fn compress_for(
        &mut self,
        members: &[ConnId],
        frame: &Frame,
        except: Option<SocketId>,
    ) -> Option<Frame> {
        let Compression { enabled, minimum_bytes, subscribers, .. } = self.compressor.settings;
        let enough = subscribers as usize;
        if self.compressor.clients < subscribers || members.len() < enough || !enabled {
            return None;
        }
        let len = websocket::payload(frame).len();
        if len < minimum_bytes || self.work.is_turn_over() {
            return None;
        }
        let receives = |id: &&ConnId| {
            self.has_deflate(**id)
                && self.subscriber(**id).is_some_and(|one| except != Some(one.socket_id))
        };
        if members.iter().filter(receives).take(enough).count() < enough {
            return None;
        }
        self.work.add(COMPRESSION_UNITS.of(len, 1));
        let shorter = self.compressor.deflater.compress(frame)?;
        let counters = &mut self.counters.process;
        counters.events_compressed += 1;
        counters.compression_bytes_in += frame.len() as u64;
        counters.compression_bytes_out += shorter.len() as u64;
        Some(shorter)
    }

    /// Counts a message that was decompressed since the last call.
    pub(in crate::hub) fn count_decompressed(&mut self) {
        if let Some(Inflated { bytes, blocks }) = self.compressor.inflater.take_last() {
            self.work.add(DECOMPRESSION_UNITS.of(bytes, blocks));
            self.counters.process.messages_decompressed += 1;
        }
    }
}

/// Whether a client has Apple's implementation of WebSockets: Safari, all browsers on iOS, and apps
/// with `URLSession`. Chrome names `AppleWebKit` as well.
fn is_apple(user_agent: &[u8]) -> bool {
    let names = |name: &[u8]| user_agent.windows(name.len()).any(|part| part == name);
    names(b"CFNetwork") || names(b"AppleWebKit/") && !names(b"Chrome/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_of_safari_is_known_by_its_name() {
        let webkit = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15";
        for (user_agent, expected) in [
            (format!("{webkit} (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"), true),
            (format!("{webkit} (KHTML, like Gecko) CriOS/141.0.0.0 Mobile/15E148"), true),
            ("Shop/7 CFNetwork/1490.0.4 Darwin/23.2.0".into(), true),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/141.0.0.0 Safari/537.36"
                    .into(),
                false,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
                false,
            ),
            ("okhttp/4.12.0".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_apple(user_agent.as_bytes()), expected, "{user_agent}");
        }
    }
}
