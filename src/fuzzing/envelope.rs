//! What nodes say to each other: read, written again as another node would, and read again. What
//! a hub makes of it is fuzzed with the hub.

use crate::proto::envelope::{Envelope, Item, envelope as write_envelope, parse};

/// A text on the channel that the nodes share.
pub fn envelope(data: &[u8]) {
    let Ok(Envelope { node, seq, say }) = parse(data) else { return };
    let items: Vec<Item<'_>> = say.iter().filter_map(|raw| Item::read(raw.get())).collect();
    let mut written = String::new();
    for item in &items {
        if !written.is_empty() {
            written.push(',');
        }
        let start = written.len();
        item.write(&mut written);
        assert_eq!(Item::read(&written[start..]).as_ref(), Some(item));
    }
    let text = write_envelope(node, seq, &written);
    let again = parse(text.as_bytes()).expect("what was written is an envelope");
    assert_eq!((again.node, again.seq, again.say.len()), (node, seq, items.len()));
    for (raw, item) in again.say.iter().zip(&items) {
        assert_eq!(Item::read(raw.get()).as_ref(), Some(item));
    }
}
