//! Offers of extensions: the decision about a header is the same as that of a second parser, which
//! reads words and signs where the first one splits.

use crate::proto::websocket::offers_deflate;

/// The first byte selects whether the rest is a header or a script for one.
pub fn extensions(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let header = if mode & 1 == 0 { rest.to_vec() } else { generated(rest) };
    let tokens = tokens(&header);
    let mut offers = tokens.split(|token| *token == Token::Sign(b','));
    let expected = offers.any(is_accepted_by_tokens);
    assert_eq!(offers_deflate(&header), expected, "{}", header.escape_ascii());
}

/// A header of words that parsers look for, which random bytes hardly ever are. Each byte is a word.
fn generated(script: &[u8]) -> Vec<u8> {
    let words = script.iter().map(|&byte| WORDS[usize::from(byte) % WORDS.len()]);
    words.flat_map(str::bytes).collect()
}

const WORDS: [&str; 19] = [
    "permessage-deflate",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
    "=",
    "=15",
    "=8",
    "=10",
    "=\"12\"",
    ",",
    ";",
    ", permessage-deflate",
    "; client_max_window_bits",
    " ",
    "\"",
    "\\",
    "x",
    "\t",
];

#[derive(Debug, PartialEq)]
enum Token<'a> {
    /// A comma, a semicolon or an equals sign.
    Sign(u8),
    /// The text between two signs, without the spaces around it.
    Word(&'a [u8]),
}

fn tokens(header: &[u8]) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut len) = (Vec::new(), header, 0);
    while let Some(&byte) = rest.get(len) {
        match byte {
            b'"' => len += quoted_len(&rest[len..]),
            b',' | b';' | b'=' => {
                tokens.extend([Token::Word(rest[..len].trim_ascii()), Token::Sign(byte)]);
                (rest, len) = (&rest[len + 1..], 0);
            }
            _ => len += 1,
        }
    }
    tokens.push(Token::Word(rest.trim_ascii()));
    tokens
}

/// The length of the quoted text at the beginning, with its quotes.
fn quoted_len(text: &[u8]) -> usize {
    let mut len = 1;
    loop {
        match text.get(len) {
            None => return text.len(),
            Some(b'"') => return len + 1,
            Some(b'\\') => len += 2,
            Some(_) => len += 1,
        }
    }
}

fn is_accepted_by_tokens(offer: &[Token<'_>]) -> bool {
    let mut names = Vec::new();
    let mut parameters = offer.split(|token| *token == Token::Sign(b';'));
    if !matches!(parameters.next(), Some([Token::Word(b"permessage-deflate")])) {
        return false;
    }
    for parameter in parameters {
        let (name, value) = match parameter {
            [Token::Word(name)] => (*name, None),
            [Token::Word(name), Token::Sign(_), Token::Word(value)] => (*name, Some(*value)),
            _ => return false,
        };
        let value = value.map(|value| std::str::from_utf8(value).unwrap_or("not a number"));
        let is_valid = match (name, value) {
            (b"server_no_context_takeover" | b"client_no_context_takeover", None) => true,
            (b"server_max_window_bits", Some(bits)) => bits == "15" || bits == "\"15\"",
            (b"client_max_window_bits", None) => true,
            (b"client_max_window_bits", Some(bits)) => {
                let all = 8..=15_u32;
                all.into_iter().any(|n| bits == n.to_string() || bits == format!("\"{n}\""))
            }
            _ => false,
        };
        if !is_valid || names.contains(&name) {
            return false;
        }
        names.push(name);
    }
    true
}
