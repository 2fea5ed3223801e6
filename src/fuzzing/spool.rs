//! The spool of webhooks: what a crash leaves of a file is read up to the last complete record, and
//! records are decoded as they were encoded.

use super::pieces::{cuts, pieces};
use crate::proto::spool::{self, HEADER, SpoolRecord};

/// The payloads of records, and what may follow them in a file.
pub fn spool(data: &[u8]) {
    // Of any bytes, the part that is read is read again in the same way.
    if let Ok(file) = spool::decode(data) {
        assert!(file.len <= data.len());
        assert_eq!(spool::decode(&data[..file.len]), Ok(file));
    }
    let (lengths, bytes) = cuts(data);
    let mut file = HEADER.to_vec();
    // Checksums are beyond the reach of a fuzzer, so valid ones are made for its payloads.
    pieces(lengths, bytes).for_each(|payload| spool::append(payload, &mut file));
    let Ok(whole) = spool::decode(&file) else { panic!("the header is not recognised") };
    written_again(&whole.records);
    cut(&file, &whole.records, lengths);
}

/// The records of the file in their own encoding.
fn written_again(records: &[SpoolRecord]) {
    let mut file = HEADER.to_vec();
    records.iter().for_each(|record| spool::encode(&mut record.clone(), &mut file));
    let Ok(read) = spool::decode(&file) else { panic!("the header is not recognised") };
    assert_eq!((read.records.as_slice(), read.len), (records, file.len()));
    let compact = spool::compact(records.to_vec());
    assert_eq!(spool::compact(compact.clone()), compact, "compaction is not complete");
}

/// A file that ends early has the first of the records.
fn cut(file: &[u8], records: &[SpoolRecord], lengths: &[u8]) {
    let missing = lengths.iter().map(|&length| usize::from(length)).sum::<usize>();
    let part = spool::decode(&file[..file.len().saturating_sub(missing)]);
    assert!(part.is_ok_and(|part| records.starts_with(&part.records)));
}
