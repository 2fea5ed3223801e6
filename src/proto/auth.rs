//! Signatures of the Pusher protocol: HMAC-SHA256 in lower-case hexadecimal (protocol sections
//! 6.2, 11.1 and 14.1), compared in constant time. The secrets are in the configuration.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

/// Signs with the secret of one app, which is hashed once in advance.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer for this secret.
    pub fn new(secret: &str) -> Self {
        Signer(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// Whether `signature` is the lower-case hexadecimal signature of the joined `parts`. The
    /// comparison takes the same time wherever they differ.
    pub fn verify(&self, parts: &[&str], signature: &str) -> bool {
        let Some(bytes) = decode_hex::<32>(signature) else { return false };
        self.signed(parts).verify_slice(&bytes).is_ok()
    }

    /// The signature of the joined `parts`.
    pub fn sign(&self, parts: &[&str]) -> String {
        base16ct::lower::encode_string(&self.signed(parts).finalize().into_bytes())
    }

    /// The signature of a body.
    pub fn sign_bytes(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        base16ct::lower::encode_string(&mac.finalize().into_bytes())
    }

    fn signed(&self, parts: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        mac
    }
}

/// The lower-case hexadecimal MD5 of a request body.
pub fn md5_hex(body: &[u8]) -> String {
    base16ct::lower::encode_string(&Md5::digest(body))
}

/// Whether `hash` is the [`md5_hex`] of this body.
pub fn is_md5_hex(hash: &str, body: &[u8]) -> bool {
    decode_hex(hash).is_some_and(|hash: [u8; 16]| hash == Md5::digest(body)[..])
}

/// Decodes exactly `BYTES` bytes from lower-case hexadecimal. Upper case is rejected: every other
/// implementation compares signatures and hashes as text.
fn decode_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let decoded = base16ct::lower::decode(text, &mut bytes).ok()?;
    (decoded.len() == BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "7ad3773142a6692b25b8";

    #[test]
    fn signatures_match_known_ones() {
        let signer = Signer::new(SECRET);
        let private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(signer.sign(&["1234.1234", ":", "private-foobar"]), private);
        assert!(signer.verify(&["1234.1234:private-foobar"], private));
        let user = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
        assert!(signer.verify(&["1234.1234::user::{\"id\":\"12345\"}"], user));
    }

    #[test]
    fn other_forms_of_a_valid_signature_are_rejected() {
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
