//! Encodes entries for the messages card of Laravel Pulse: objects in PHP's serialization format,
//! which `pulse:work` reads from a stream in Redis. A wrong byte stops `pulse:work` for every card.
//!
//! Counting and sending are done elsewhere.

/// The direction of messages: the two lines of the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To clients.
    Sent,
    /// From clients.
    Received,
}

/// An entry for `count` messages of an app, at least one: a `Laravel\Pulse\Entry` of Pulse 1.0 or
/// later.
///
/// Pulse counts the occurrences of `count` in the aggregations of an entry, so one entry stands for
/// many messages. All but the first occurrence are references to it (`R:3`, the third value of the
/// object).
pub fn entry(direction: Direction, app_id: &str, count: u32, unix_s: u64) -> Vec<u8> {
    let kind = match direction {
        Direction::Sent => "reverb_message:sent",
        Direction::Received => "reverb_message:received",
    };
    let mut entry = String::from("O:19:\"Laravel\\Pulse\\Entry\":6:{");
    entry.push_str(&format!("s:15:\"\0*\0aggregations\";a:{count}:{{i:0;s:5:\"count\";"));
    for at in 1..count {
        entry.push_str(&format!("i:{at};R:3;"));
    }
    entry.push_str(&format!(
        "}}s:14:\"\0*\0onlyBuckets\";b:1;s:9:\"timestamp\";i:{unix_s};s:4:\"type\";s:{}:\"{kind}\";\
         s:3:\"key\";s:{}:\"{app_id}\";s:5:\"value\";N;}}",
        kind.len(),
        app_id.len(),
    ));
    entry.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of PHP for `Pulse::record('reverb_message:sent', '123456', timestamp: 1718000000)
    /// ->onlyBuckets()->count()`.
    const RECORDED: &str = "4f3a31393a224c61726176656c5c50756c73655c456e747279223a363a7b733a31353a2200\
        2a006167677265676174696f6e73223b613a313a7b693a303b733a353a22636f756e74223b7d733a31343a22002a00\
        6f6e6c794275636b657473223b623a313b733a393a2274696d657374616d70223b693a313731383030303030303b73\
        3a343a2274797065223b733a31393a227265766572625f6d6573736167653a73656e74223b733a333a226b6579223b\
        733a363a22313233343536223b733a353a2276616c7565223b4e3b7d";

    #[test]
    fn an_entry_for_one_message_equals_that_of_php() {
        let made = entry(Direction::Sent, "123456", 1, 1_718_000_000);
        let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, RECORDED);
        assert_eq!(made.len(), 206);
    }

    #[test]
    fn an_entry_repeats_count_for_each_message() {
        let made = entry(Direction::Received, "größe", 3, 1);
        let text = String::from_utf8(made).unwrap();
        assert!(text.contains("a:3:{i:0;s:5:\"count\";i:1;R:3;i:2;R:3;}"), "{text}");
        assert!(text.contains("s:4:\"type\";s:23:\"reverb_message:received\""), "{text}");
        assert!(text.contains("s:3:\"key\";s:7:\"größe\""), "{text}");
    }
}
