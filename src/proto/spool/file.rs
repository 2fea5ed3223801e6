//! The bytes of the spool's file: records one after the other, each with its length and a checksum.
//! After a crash the file may end in the middle of a record; everything before that is read.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::{DeliveryId, SpoolRecord, SpooledBatch, SpooledState, SpooledSubject};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

/// The first bytes of a file. The number is the version of the format.
pub const HEADER: &[u8] = b"reverb webhooks 1\n";

/// What a file contains.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SpoolFile {
    /// The complete records.
    pub records: Vec<SpoolRecord>,
    /// The bytes of the header and these records. What follows is incomplete or damaged.
    pub len: usize,
}

/// The file is not a spool of this version.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownFormat;

/// Appends a record to the bytes of a file. The record stays as it is: the same code decodes into it.
pub fn encode(record: &mut SpoolRecord, file: &mut Vec<u8>) {
    let mut payload = Codec::writer();
    // Writing cannot fail: only readers find invalid bytes.
    let _ = code(record, &mut payload);
    append(&payload.into_bytes(), file);
}

/// Appends a payload with its length and checksum.
pub(crate) fn append(payload: &[u8], file: &mut Vec<u8>) {
    file.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend_from_slice(&checksum(payload));
    file.extend_from_slice(payload);
}

/// Decodes the bytes of a file. An empty file has no records.
///
/// # Errors
///
/// The file begins with other bytes than [`HEADER`].
pub fn decode(bytes: &[u8]) -> Result<SpoolFile, UnknownFormat> {
    let mut file = SpoolFile::default();
    // The process may have been killed while it wrote the header.
    if HEADER.starts_with(bytes) && bytes != HEADER {
        return Ok(file);
    }
    let mut rest = bytes.strip_prefix(HEADER).ok_or(UnknownFormat)?;
    while let Some((payload, after)) = first_payload(rest) {
        let Ok(record) = decode_payload(payload) else { break };
        file.records.push(record);
        rest = after;
    }
    file.len = bytes.len() - rest.len();
    Ok(file)
}

/// The records that still have a meaning, in order: batches that have not ended, and the last state
/// of what is present.
pub fn compact(mut records: Vec<SpoolRecord>) -> Vec<SpoolRecord> {
    let mut later = HashSet::new();
    let backwards = records.iter().rev();
    let kept = backwards.map(|record| later.insert(about(record)) && has_meaning(record));
    // From the last record to the first, so the flag of the next one is at the end.
    let mut kept: Vec<bool> = kept.collect();
    records.retain(|_| kept.pop().unwrap_or_default());
    records
}

/// A text for what a record is about, which no other subject has: of all records about the same, only
/// the last has a meaning.
fn about(record: &SpoolRecord) -> String {
    match record {
        SpoolRecord::Queued(batch) => batch.delivery.to_string(),
        SpoolRecord::Ended(delivery) => delivery.to_string(),
        SpoolRecord::Told(state) => {
            let SpooledSubject { app, channel, user } = &state.subject;
            format!("{app:?} {channel:?} {user:?}")
        }
    }
}

/// Whether the last record about something has a meaning: without it, nothing would wait, or be
/// present, either.
fn has_meaning(record: &SpoolRecord) -> bool {
    match record {
        SpoolRecord::Queued(_) => true,
        SpoolRecord::Ended(_) => false,
        SpoolRecord::Told(state) => state.is_present,
    }
}

/// The payload of the first record, and what follows; `None` if it is incomplete or damaged.
fn first_payload(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, after) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    (checksum(payload) == *sum).then_some((payload, after))
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(payload);
    [digest[0], digest[1], digest[2], digest[3]]
}

fn decode_payload(payload: &[u8]) -> Result<SpoolRecord, DecodeError> {
    let mut record = SpoolRecord::Ended(DeliveryId::default());
    let mut codec = Codec::reader(payload.to_vec());
    code(&mut record, &mut codec)?;
    codec.end()?;
    Ok(record)
}

/// Encodes or decodes a record.
fn code(record: &mut SpoolRecord, c: &mut Codec) -> DecodeResult {
    let mut kind: u8 = match record {
        SpoolRecord::Queued(_) => 1,
        SpoolRecord::Ended(_) => 2,
        SpoolRecord::Told(_) => 3,
    };
    c.int(&mut kind)?;
    if c.reads() {
        *record = match kind {
            1 => SpoolRecord::Queued(SpooledBatch {
                delivery: DeliveryId::default(),
                app: String::new(),
                url: String::new(),
                at_unix_ms: 0,
                body: [].into(),
            }),
            2 => SpoolRecord::Ended(DeliveryId::default()),
            3 => SpoolRecord::Told(SpooledState::default()),
            _ => return Err(DecodeError),
        };
    }
    match record {
        SpoolRecord::Queued(batch) => {
            batch.delivery.snapshot(c)?;
            c.text(&mut batch.app)?;
            c.text(&mut batch.url)?;
            c.number(&mut batch.at_unix_ms)?;
            let mut body = batch.body.to_vec();
            c.bytes(&mut body)?;
            batch.body = body.into();
            Ok(())
        }
        SpoolRecord::Ended(delivery) => delivery.snapshot(c),
        SpoolRecord::Told(state) => state.snapshot(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(delivery: u128) -> SpoolRecord {
        SpoolRecord::Queued(SpooledBatch {
            delivery: DeliveryId(delivery),
            app: "app".into(),
            url: "https://a.example/hook".into(),
            at_unix_ms: 1_795_450_533_123,
            body: (*b"{\"events\":[]}").into(),
        })
    }

    fn ended(delivery: u128) -> SpoolRecord {
        SpoolRecord::Ended(DeliveryId(delivery))
    }

    fn told(channel: &str, user: Option<&str>, is_present: bool) -> SpoolRecord {
        let (channel, user) = (channel.to_owned(), user.map(str::to_owned));
        let subject = SpooledSubject { app: "app".into(), channel, user };
        SpoolRecord::Told(SpooledState { subject, is_present })
    }

    fn file(records: &[SpoolRecord]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        records.iter().for_each(|record| encode(&mut record.clone(), &mut bytes));
        bytes
    }

    #[test]
    fn a_file_cut_at_any_byte_has_the_complete_records_before_it() {
        let records = [queued(u128::MAX - 5), told("é", Some("7"), true), ended(3)];
        let bytes = file(&records);
        let ends: Vec<usize> = (0..=3).map(|n| file(&records[..n]).len()).collect();
        for len in 0..=bytes.len() {
            let read = decode(&bytes[..len]).unwrap();
            let whole = ends.iter().filter(|end| **end <= len).count();
            assert_eq!(read.records, records[..whole.saturating_sub(1)], "{len}");
            assert_eq!(read.len, if whole == 0 { 0 } else { ends[whole - 1] });
        }
    }

    #[test]
    fn a_damaged_record_ends_the_file() {
        let (first, second) = (file(&[queued(1)]).len(), file(&[queued(1), queued(2)]).len());
        let bytes = file(&[queued(1), queued(2), queued(3)]);
        for at in first..second {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged).unwrap().len, first, "{at}");
        }
        assert_eq!(decode(b"reverb webhooks 2\n..."), Err(UnknownFormat));
        assert_eq!(decode(b"x"), Err(UnknownFormat));
    }

    #[test]
    fn compaction_keeps_what_still_has_a_meaning_in_order() {
        let records = vec![
            queued(1),
            told("a", None, true),
            queued(2),
            told("a", Some("7"), true),
            ended(1),
            told("a", None, false),
            queued(3),
            told("a", Some("7"), true),
            told("b", None, true),
        ];
        let kept = [queued(2), queued(3), told("a", Some("7"), true), told("b", None, true)];
        assert_eq!(compact(records), kept);
    }
}
