//! The envelopes between nodes: read, written again as another node would, and read again. What
//! a hub makes of it is fuzzed with the hub.

use crate::proto::envelope::{Envelope, Item, envelope as write_envelope, parse};
use crate::proto::message::{array, string};

/// A text on the channel that the nodes share.
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
    let again = parse(text.as_bytes()).expect("what was written is an envelope");
    assert_eq!((again.node, again.seq, again.items.len()), (node, seq, items.len()));
    for (raw, item) in again.items.iter().zip(&items) {
        assert_eq!(Item::read(raw.get()).as_ref(), Some(item));
    }
}

/// The texts of an item are what JSON says they are.
fn means_the_same(raw: &str) {
    let Some(item) = Item::read(raw) else { return };
    let mut written = String::new();
    item.write(&mut written);
    let (before, after) = (array(raw).unwrap_or_default(), array(&written).unwrap_or_default());
    for (before, after) in before.iter().zip(after) {
        if let (Some(before), Some(after)) = (string(before.get()), string(after.get())) {
            // A node's name may be in capitals.
            assert!(before.eq_ignore_ascii_case(&after), "{raw} {written}");
        }
    }
}
