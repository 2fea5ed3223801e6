//! The member list of a presence channel, in the encoded form that each new subscriber receives.
//! The list is encoded in segments, which all queued lists share until their users change. So a
//! join encodes only one segment, and ten thousand queued lists take the memory of one. Segments
//! are dropped a second after they were last sent, by `presence_lists`.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::proto::message::{self, push_escaped, push_json_string};
use crate::proto::websocket::{self, Frame};

/// The segments of one list, keyed by the place of their first user.
#[derive(Debug, Default)]
pub(crate) struct MemberList {
    segments: BTreeMap<u64, Segment>,
    /// When the list was last sent.
    pub used_ms: u64,
}

/// The encoding of consecutive users, as JSON within a JSON string.
#[derive(Debug)]
struct Segment {
    /// The place of the last user in it.
    last: u64,
    /// Each user as `\"id\"`, separated by commas; with a leading comma unless `is_first`.
    ids: Frame,
    /// Each user as `\"id\":info`, with commas as in `ids`.
    infos: Frame,
    is_first: bool,
    /// Whether the segment is complete: a user that joins later goes into a later segment.
    is_closed: bool,
}

/// The most users in a segment. 64 users are about 6 KB of a list; a list of ten thousand users is
/// queued as about 320 pieces.
const SEGMENT_USERS: usize = 64;
/// A segment with more bytes of infos is complete, even with fewer users.
const SEGMENT_BYTES: usize = 16_384;
/// The place of a user, its id and its info.
type User<'a> = (u64, &'a Rc<str>, Option<&'a str>);

impl MemberList {
    /// Whether a list of this size is sent in segments; a shorter list is encoded as one frame.
    pub(crate) fn needs_segments(users: usize, bytes: usize) -> bool {
        users > SEGMENT_USERS || bytes > SEGMENT_BYTES
    }

    /// Drops the segment of a user that has left; it is encoded again when the list is next sent.
    pub(crate) fn drop_segment(&mut self, place: u64) {
        if let Some((&first, segment)) = self.segments.range(..=place).next_back()
            && segment.last >= place
        {
            self.segments.remove(&first);
        }
    }

    /// Returns the confirmation of a subscription, in pieces, and how many bytes had to be encoded
    /// for it. `after` returns the users from a place on, in order.
    pub(crate) fn message<'a, I: Iterator<Item = User<'a>>>(
        &mut self,
        channel: &str,
        count: usize,
        after: impl Fn(u64) -> I,
    ) -> (Vec<Frame>, usize) {
        let (mut firsts, mut encoded_bytes, mut place) = (Vec::new(), 0, 0);
        while let Some((first, ..)) = after(place).next() {
            let is_first = firsts.is_empty();
            let existing = self.segments.get(&first).filter(|segment| {
                let is_current = segment.is_closed || after(segment.last + 1).next().is_none();
                segment.is_first == is_first && is_current
            });
            let last = match existing {
                Some(segment) => segment.last,
                None => {
                    let segment = self.encode(first, is_first, after(first));
                    encoded_bytes += segment.ids.len() + segment.infos.len();
                    let last = segment.last;
                    self.segments.retain(|other, _| *other < first || *other > last);
                    self.segments.insert(first, segment);
                    last
                }
            };
            firsts.push(first);
            place = last + 1;
        }
        let segments: Vec<&Segment> =
            firsts.iter().filter_map(|first| self.segments.get(first)).collect();
        (pieces(channel, count, &segments), encoded_bytes)
    }

    /// Encodes a segment that starts with the first of these users. It ends before the next closed
    /// segment, if no limit ends it earlier.
    fn encode<'a>(
        &self,
        first: u64,
        is_first: bool,
        users: impl Iterator<Item = User<'a>>,
    ) -> Segment {
        let next_closed = self.segments.range(first + 1..).find(|(_, segment)| segment.is_closed);
        let end = next_closed.map_or(u64::MAX, |(next, _)| *next);
        let (mut ids, mut infos, mut quoted) = (String::new(), String::new(), String::new());
        let (mut last, mut is_closed) = (first, false);
        for (n, (place, id, info)) in users.enumerate() {
            is_closed = n == SEGMENT_USERS || infos.len() > SEGMENT_BYTES || place >= end;
            if is_closed {
                break;
            }
            let comma = if is_first && n == 0 { "" } else { "," };
            quoted.clear();
            push_json_string(&mut quoted, id);
            ids.push_str(comma);
            let start = ids.len();
            push_escaped(&mut ids, &quoted);
            infos.push_str(comma);
            infos.push_str(&ids[start..]);
            infos.push(':');
            push_escaped(&mut infos, info.unwrap_or("null"));
            last = place;
        }
        let (ids, infos) = (ids.into_bytes().into(), infos.into_bytes().into());
        Segment { last, ids, infos, is_first, is_closed }
    }
}

/// Assembles the message. The length in its frame header covers all pieces.
fn pieces(channel: &str, count: usize, segments: &[&Segment]) -> Vec<Frame> {
    let start =
        format!(r#"{{"event":"{SUCCEEDED}","data":"{{\"presence\":{{\"count\":{count},\"ids\":["#);
    let middle = r#"],\"hash\":{"#;
    let mut end = String::from(r#"}}}","channel":"#);
    push_json_string(&mut end, channel);
    end.push('}');
    let segment_bytes: usize = segments.iter().map(|s| s.ids.len() + s.infos.len()).sum();
    let len = start.len() + segment_bytes + middle.len() + end.len();
    let mut pieces = Vec::with_capacity(2 * segments.len() + 3);
    pieces.push(websocket::text_start(len, &start));
    pieces.extend(segments.iter().map(|segment| Frame::clone(&segment.ids)));
    pieces.push(middle.as_bytes().into());
    pieces.extend(segments.iter().map(|segment| Frame::clone(&segment.infos)));
    pieces.push(end.into_bytes().into());
    pieces
}

const SUCCEEDED: &str = "pusher_internal:subscription_succeeded";

/// The encoded size of a user in the list.
pub(crate) fn sent_bytes(id: &str, info: Option<&str>) -> usize {
    let id_bytes = message::twice_escaped_len(id) + 4;
    // The id appears twice; a colon and two commas are 3 more bytes.
    2 * id_bytes + message::escaped_len(info.unwrap_or("null")) + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    type Users = BTreeMap<u64, (Rc<str>, Option<String>)>;

    fn after(users: &Users, place: u64) -> impl Iterator<Item = User<'_>> {
        users.range(place..).map(|(place, (id, info))| (*place, id, info.as_deref()))
    }

    /// Compares the message in pieces with one that is encoded at once. Returns the bytes that had
    /// to be encoded.
    fn check(list: &mut MemberList, users: &Users) -> usize {
        let (pieces, encoded_bytes) =
            list.message("presence-\"c", users.len(), |place| after(users, place));
        let ids: Vec<String> = users.values().map(|(id, _)| message::json_string(id)).collect();
        let infos = users.values().zip(&ids);
        let infos: Vec<String> = infos
            .map(|((_, info), id)| format!("{id}:{}", info.as_deref().unwrap_or("null")))
            .collect();
        let (count, ids, infos) = (users.len(), ids.join(","), infos.join(","));
        let data =
            format!(r#"{{"presence":{{"count":{count},"ids":[{ids}],"hash":{{{infos}}}}}}}"#);
        let whole = message::subscription_succeeded("presence-\"c", &data);
        assert_eq!(pieces.concat(), whole.to_vec());
        let counted: usize = users.values().map(|(id, info)| sent_bytes(id, info.as_deref())).sum();
        let expected = ids.len() + infos.len();
        assert!(counted >= expected, "{counted} {expected}");
        encoded_bytes
    }

    #[test]
    fn a_list_in_segments_equals_the_whole_list_after_joins_and_leaves() {
        let (mut list, mut users, mut state) = (MemberList::default(), Users::new(), 7_u32);
        let mut random = move |end: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % end
        };
        for place in 0..3_000 {
            if random(3) == 0 && !users.is_empty() {
                let at = random(users.len() as u32) as usize;
                let place = *users.keys().nth(at).unwrap();
                users.remove(&place);
                list.drop_segment(place);
            } else {
                let info = (random(2) == 0).then(|| format!(r#"{{"a":["","{place}\n"]}}"#));
                users.insert(place, (format!("u\"{place}").into(), info));
            }
            if random(4) == 0 {
                check(&mut list, &users);
            }
            if random(500) == 0 {
                users.keys().for_each(|place| list.drop_segment(*place));
                users.clear();
            }
        }
    }

    #[test]
    fn a_join_encodes_one_segment_and_a_second_list_none() {
        let mut users: Users =
            (0..1_000).map(|n| (n, (format!("user-{n:04}").into(), None))).collect();
        let mut list = MemberList::default();
        let all = check(&mut list, &users);
        assert_eq!(check(&mut list, &users), 0);
        users.insert(1_000, ("one more".into(), None));
        assert!(check(&mut list, &users) * 10 < all);
        users.remove(&500);
        list.drop_segment(500);
        assert!(check(&mut list, &users) * 10 < all);
        let (first, _) = list.message("c", users.len(), |place| after(&users, place));
        let (second, _) = list.message("c", users.len(), |place| after(&users, place));
        let shared = first.iter().zip(&second).filter(|(a, b)| Rc::ptr_eq(a, b)).count();
        assert_eq!(shared, first.len() - 3, "all but the three pieces around the segments");
    }
}
