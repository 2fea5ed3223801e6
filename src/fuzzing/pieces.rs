//! Where bytes are cut: chosen by the first bytes of a try, so that a fuzzer that changes one byte
//! changes a cut.

/// Takes the choice of cuts off the front of `data`: the pieces' lengths, and the rest.
///
/// The first byte says how many lengths follow, none to seven; each is a byte, and stands for one
/// byte more than it says, as an empty piece cuts nothing.
pub(super) fn cuts(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return (&[], &[]) };
    rest.split_at(usize::from(first & 7).min(rest.len()))
}

/// Cuts bytes into pieces of these lengths, over and over; without any they stay whole.
pub(super) fn pieces<'a>(lengths: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let whole = std::iter::once(bytes.len()).filter(|_| lengths.is_empty());
    let lengths = lengths.iter().cycle().map(|&length| usize::from(length) + 1);
    let mut rest = bytes;
    whole.chain(lengths).map_while(move |length| {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_cut_where_the_first_bytes_say() {
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
