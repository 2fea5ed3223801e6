//! Generates the id, key and secret of an app, in the form that Laravel's installer uses.
//!
//! Writing them to a file or the terminal is up to the commands.

use std::fs::File;
use std::io::{self, Read};

use super::{App, Error};

/// An app with random credentials from the operating system.
///
/// # Errors
///
/// When the random number device of Linux cannot be read.
pub fn generate() -> Result<App, Error> {
    const RANDOM_DEVICE: &str = "/dev/urandom";
    let device = File::open(RANDOM_DEVICE);
    let app = device.and_then(|mut device| generate_from(&mut device));
    app.map_err(|error| Error::whole(RANDOM_DEVICE, error))
}

/// An app with credentials from `random`: an id of 6 digits, and a key and a secret of 20 lower-case
/// letters and digits each (103 bits).
///
/// # Errors
///
/// `random` cannot be read.
pub fn generate_from(random: &mut impl Read) -> io::Result<App> {
    let first = characters(random, b"123456789", 1)?;
    let id = first + &characters(random, b"0123456789", 5)?;
    let key = characters(random, LETTERS_AND_DIGITS, 20)?;
    let secret = characters(random, LETTERS_AND_DIGITS, 20)?;
    Ok(App::new(id, key, secret))
}

const LETTERS_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Random characters of an alphabet, each equally likely.
fn characters(random: &mut impl Read, alphabet: &[u8], length: usize) -> io::Result<String> {
    // Greater bytes are skipped: they would make the first characters more likely.
    let usable = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut byte = [0];
        random.read_exact(&mut byte)?;
        let byte = usize::from(byte[0]);
        if byte < usable {
            text.push(char::from(alphabet[byte % alphabet.len()]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_laravels_form() {
        let app = generate().unwrap();
        assert!(app.id.len() == 6 && !app.id.starts_with('0'), "{}", app.id);
        assert!(app.id.bytes().all(|b| b.is_ascii_digit()));
        for text in [&app.key, &app.secret] {
            assert_eq!(text.len(), 20);
            assert!(text.bytes().all(|b| LETTERS_AND_DIGITS.contains(&b)));
        }
        assert_ne!(app.key, app.secret);
    }

    #[test]
    fn credentials_depend_on_the_random_bytes_only() {
        let bytes: Vec<u8> = (0..=255).collect();
        let app = generate_from(&mut bytes.as_slice()).unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str()), ("112345", "ghijklmnopqrstuvwxyz"));
        assert_eq!(app.secret, "0123456789abcdefghij");
    }

    #[test]
    fn bytes_that_would_bias_the_result_are_skipped() {
        let mut bytes = vec![255, 252];
        bytes.extend([0; 46]);
        assert_eq!(generate_from(&mut bytes.as_slice()).unwrap().id, "100000");
    }

    #[test]
    fn a_source_that_ends_is_an_error() {
        assert!(generate_from(&mut [0; 45].as_slice()).is_err());
    }
}
