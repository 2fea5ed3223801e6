//! Envelopes between nodes survive a round trip: parsed, encoded and parsed again. Their effect on a
//! hub is part of the target `hub`.

use crate::proto::envelope::{Envelope, Item, envelope as write_envelope, parse};
use crate::proto::message::{array, string};

/// A message on the channel that the nodes share.
pub fn envelope(data: &[u8]) {
    let Ok(Envelope { node, seq, items: raw }) = parse(data) else { return };
    let items: Vec<Item<'_>> = raw.iter().filter_map(|raw| Item::read(raw.get())).collect();
    let mut written = String::new();
    for item in &items {
        if !written.is_empty() {
            written.push(',');
        }
        let start = written.len();
        item.write(&mut written);
        assert_eq!(Item::read(&written[start..]).as_ref(), Some(item));
    }
    for raw in &raw {
        means_the_same(raw.get());
    }
    let text = write_envelope(node, seq, &written);
    let again = parse(text.as_bytes()).expect("an encoded envelope is valid");
    assert_eq!((again.node, again.seq, again.items.len()), (node, seq, items.len()));
    for (raw, item) in again.items.iter().zip(&items) {
        assert_eq!(Item::read(raw.get()).as_ref(), Some(item));
    }
}

/// Texts of an item survive a round trip.
fn means_the_same(raw: &str) {
    let Some(item) = Item::read(raw) else { return };
    let mut written = String::new();
    item.write(&mut written);
    let (before, after) = (array(raw).unwrap_or_default(), array(&written).unwrap_or_default());
    for (before, after) in before.iter().zip(after) {
        if let (Some(before), Some(after)) = (string(before.get()), string(after.get())) {
            // A node id may be in capitals.
            assert!(before.eq_ignore_ascii_case(&after), "{raw} {written}");
        }
    }
}
