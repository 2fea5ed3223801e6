//! The period in which a certificate is valid, read from its DER (RFC 5280 section 4.1.2.5). The TLS
//! library does not return it for a server's own certificate.

use std::fmt;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// A time in a certificate, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timestamp(OffsetDateTime);

/// The beginning and end of the validity of a certificate; `None` if the bytes are not a
/// certificate.
pub(super) fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let ((_, certificate), _) = value(der, &[SEQUENCE])?;
    let ((_, mut fields), _) = value(certificate, &[SEQUENCE])?;
    // Certificates of version 1 have no version field.
    if let Some((_, rest)) = value(fields, &[VERSION]) {
        fields = rest;
    }
    let (_, fields) = value(fields, &[INTEGER])?;
    let (_algorithm, fields) = value(fields, &[SEQUENCE])?;
    let (_issuer, fields) = value(fields, &[SEQUENCE])?;
    let ((_, times), _) = value(fields, &[SEQUENCE])?;
    let (from, times) = value(times, &[UTC_TIME, GENERALIZED_TIME])?;
    let (until, _) = value(times, &[UTC_TIME, GENERALIZED_TIME])?;
    Some((Timestamp::read(from)?, Timestamp::read(until)?))
}

/// A tag and its content, and the bytes after them.
type Value<'a> = ((u8, &'a [u8]), &'a [u8]);

/// The value at the beginning, if it has one of these tags.
fn value<'a>(der: &'a [u8], tags: &[u8]) -> Option<Value<'a>> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    if !tags.contains(&tag) {
        return None;
    }
    let mut len = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(len)?;
    Some(((tag, content), rest))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
const VERSION: u8 = 0xa0;

impl Timestamp {
    /// Parses `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
    fn read((tag, text): (u8, &[u8])) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
        let (year, at) = match tag {
            UTC_TIME => {
                let year = number(0, 2)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, 2)
            }
            _ => (number(0, 4)?, 4),
        };
        let field = |n: usize| Some(number(at + 2 * n, at + 2 * n + 2)? as u8);
        let month = Month::try_from(field(0)?).ok()?;
        let date = Date::from_calendar_date(year.into(), month, field(1)?).ok()?;
        let time = Time::from_hms(field(2)?, field(3)?, field(4)?).ok()?;
        Some(Timestamp(date.with_time(time).assume_utc()))
    }

    /// The time this many seconds after the beginning of 1970.
    pub(super) fn from_unix(unix_s: u64) -> Self {
        let time = i64::try_from(unix_s).ok();
        let time = time.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        Timestamp(time.unwrap_or(PrimitiveDateTime::MAX.assume_utc()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0.date(), self.0.time());
        let (hour, minute, second) = time.as_hms();
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let mut der = match len {
            0..0x80 => vec![tag, len as u8],
            _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
        };
        der.extend_from_slice(content);
        der
    }

    fn certificate(version: &[u8], times: &[(u8, &str)]) -> Vec<u8> {
        let times: Vec<u8> = times.iter().flat_map(|(tag, t)| tlv(*tag, t.as_bytes())).collect();
        let name = tlv(SEQUENCE, &[0; 200]);
        let fields = [
            version,
            &tlv(INTEGER, &[1]),
            &tlv(SEQUENCE, &[]),
            &name,
            &tlv(SEQUENCE, &times),
            &name,
        ];
        tlv(SEQUENCE, &tlv(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn both_spellings_of_time_are_read() {
        let times = [(UTC_TIME, "491231235959Z"), (GENERALIZED_TIME, "20500102030405Z")];
        for version in [&tlv(VERSION, &tlv(INTEGER, &[2]))[..], &[]] {
            let (from, until) = validity(&certificate(version, &times)).unwrap();
            assert_eq!(from.to_string(), "2049-12-31 23:59:59 UTC");
            assert_eq!(until.to_string(), "2050-01-02 03:04:05 UTC");
            assert!(from < until);
        }
        let (from, _) = validity(&certificate(&[], &[(UTC_TIME, "500101000000Z"); 2])).unwrap();
        assert_eq!(from.to_string(), "1950-01-01 00:00:00 UTC");
    }

    #[test]
    fn no_prefix_of_a_certificate_is_one() {
        let whole = certificate(&[], &[(UTC_TIME, "491231235959Z"); 2]);
        for len in 0..whole.len() {
            assert_eq!(validity(&whole[..len]), None, "{len}");
        }
        for times in [&[(UTC_TIME, "4912312359Z"); 2], &[(UTC_TIME, "49123123595xZ"); 2]] {
            assert_eq!(validity(&certificate(&[], times)), None);
        }
    }

    #[test]
    fn seconds_since_1970_are_a_date() {
        for (unix_s, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_795_450_533, "2026-11-23 16:15:33 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Timestamp::from_unix(unix_s).to_string(), date);
        }
    }
}
