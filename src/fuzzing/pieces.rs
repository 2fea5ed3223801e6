//! Splits an input into pieces. Its first bytes choose the lengths, so a fuzzer can change them.

/// Separates `data` into the lengths of pieces and the rest.
///
/// The low three bits of the first byte are the number of lengths. A length is a byte plus one,
/// because pieces are never empty.
pub(super) fn cuts(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return (&[], &[]) };
    rest.split_at(usize::from(first & 7).min(rest.len()))
}

/// Splits bytes into pieces of these lengths. After the last length the first one is used again;
/// without lengths there is one piece.
pub(super) fn pieces<'a>(lengths: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let whole = std::iter::once(bytes.len()).filter(|_| lengths.is_empty());
    let lengths = lengths.iter().cycle().map(|&length| usize::from(length) + 1);
    let mut rest = bytes;
    whole.chain(lengths).map_while(move |length| {
        let (piece, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_the_lengths_of_the_pieces() {
        let cut = |data: &[u8]| -> Vec<Vec<u8>> {
            let (lengths, rest) = cuts(data);
            pieces(lengths, rest).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(cut(b"\x00abcdef"), [b"abcdef"]);
        assert_eq!(cut(b"\x02\x00\x01abcdef"), [&b"a"[..], b"bc", b"d", b"ef"]);
        assert_eq!(cut(b"\x01\xffabc"), [b"abc"]);
        assert!(cut(b"").is_empty() && cut(b"\x00").is_empty() && cut(b"\x07abc").is_empty());
    }
}
