//! Signatures of the Pusher protocol: HMAC-SHA256 in lower-case hexadecimal (protocol sections
//! 6.2, 11.1 and 14.1), compared in constant time. Nothing here knows where a secret came from.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

/// Signs with one app's secret. The key is hashed once, when it is made.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer for this secret.
    pub fn new(secret: &str) -> Self {
        Signer(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// Whether `signature` is the lower-case hexadecimal signature of the joined `parts`; takes
    /// the same time wherever it differs.
    pub fn verify(&self, parts: &[&str], signature: &str) -> bool {
        let Some(bytes) = decode_hex::<32>(signature) else { return false };
        self.signed(parts).verify_slice(&bytes).is_ok()
    }

    /// The signature of the joined `parts`.
    pub fn sign(&self, parts: &[&str]) -> String {
        encode_hex(&self.signed(parts).finalize().into_bytes())
    }

    fn signed(&self, parts: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        mac
    }
}

/// The lower-case hexadecimal MD5 of a request body.
pub fn md5_hex(body: &[u8]) -> String {
    encode_hex(&Md5::digest(body))
}

/// Whether `hash` is what [`md5_hex`] makes of this body.
pub fn is_md5_hex(hash: &str, body: &[u8]) -> bool {
    decode_hex(hash).is_some_and(|hash: [u8; 16]| hash == Md5::digest(body)[..])
}

fn encode_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// So many bytes from lower-case hexadecimal digits. Upper case is refused: signatures and hashes
/// are compared as text by every other implementation.
fn decode_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != BYTES {
        return None;
    }
    // By a table, and all of them before the verdict: digits and letters in no order are what a
    // processor guesses worst, at a cost of more than the hash.
    let (mut bytes, mut seen) = ([0; BYTES], 0);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen & NO_DIGIT == 0).then_some(bytes)
}

/// The value of each byte as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};
/// No digit has this bit.
const NO_DIGIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "7ad3773142a6692b25b8";

    #[test]
    fn known_signatures_come_out() {
        let signer = Signer::new(SECRET);
        let private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(signer.sign(&["1234.1234", ":", "private-foobar"]), private);
        assert!(signer.verify(&["1234.1234:private-foobar"], private));
        let user = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
        assert!(signer.verify(&["1234.1234::user::{\"id\":\"12345\"}"], user));
    }

    #[test]
    fn other_forms_of_a_right_signature_are_wrong() {
        let signer = Signer::new(SECRET);
        let right = signer.sign(&["x"]);
        assert!(signer.verify(&["x"], &right));
        assert!(!signer.verify(&["x"], &right.to_uppercase()));
        assert!(!signer.verify(&["x"], &right[..63]));
        assert!(!signer.verify(&["x"], &format!("{right}0")));
        assert!(!signer.verify(&["x"], ""));
        for at in 0..64 {
            for other in ["g", "G", " ", "\u{0}", if &right[at..=at] == "0" { "1" } else { "0" }] {
                let wrong = [&right[..at], other, &right[at + 1..]].concat();
                assert!(!signer.verify(&["x"], &wrong), "{wrong}");
            }
        }
        assert!(!signer.verify(&["y"], &right));
    }

    #[test]
    fn the_md5_of_a_body_is_in_hexadecimal() {
        let hash = "99914b932bd37a50b983c5e7c90ae93b";
        assert_eq!(md5_hex(b"{}"), hash);
        assert!(is_md5_hex(hash, b"{}"));
        assert!(!is_md5_hex(hash, b"{ }"));
        assert!(!is_md5_hex(&hash.to_uppercase(), b"{}"));
        assert!(!is_md5_hex(&hash[1..], b"{}"));
        assert!(!is_md5_hex(&format!("{hash}0"), b"{}"));
    }
}
