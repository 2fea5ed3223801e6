//! A second decompressor, which reads RFC 1951 bit by bit: slow and short, to compare with. It shares
//! nothing with the one of the server.

/// Decompresses one deflate stream after the other. `None` if the data is invalid, ends early,
/// becomes longer than `bytes_max`, or has more blocks than 64, and one for each 120 bytes.
pub(super) fn inflate(data: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut bits = Bits { data, at: 0 };
    let mut out = Vec::new();
    for blocks in 1.. {
        let is_final = bits.number(1)? == 1;
        match bits.number(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => {
                let lengths = [(144, 8), (112, 9), (24, 7), (8, 8)];
                let lengths = lengths.into_iter().flat_map(|(n, len)| std::iter::repeat_n(len, n));
                let literals = Code::new(&lengths.collect::<Vec<usize>>())?;
                compressed(&mut bits, &mut out, &literals, &Code::new(&[5; 32])?, bytes_max)?;
            }
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                compressed(&mut bits, &mut out, &literals, &distances, bytes_max)?;
            }
            _ => return None,
        }
        if out.len() > bytes_max || blocks > 64 + out.len() / 120 {
            return None;
        }
        if is_final {
            bits.at = bits.at.next_multiple_of(8);
            if bits.at == data.len() * 8 {
                return Some(out);
            }
        }
    }
    None
}

struct Bits<'a> {
    data: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    /// A number of this many bits, the least significant one first.
    fn number(&mut self, len: usize) -> Option<usize> {
        (0..len).try_fold(0, |number, place| {
            let bit = self.data.get(self.at / 8)? >> (self.at % 8) & 1;
            self.at += 1;
            Some(number | usize::from(bit) << place)
        })
    }
}

/// A Huffman code: how many symbols there are of each length, and the symbols in their order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// The code with these lengths. `None` if it has more words than its lengths allow, or fewer,
    /// unless it has only one or none.
    fn new(lengths: &[usize]) -> Option<Code> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&len| counts[len] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&at| lengths[at] > 0).collect();
        symbols.sort_by_key(|&at| lengths[at]);
        let used = (1..16).map(|len| counts[len] << (15 - len)).sum::<usize>();
        let is_complete = used == 1 << 15 || used < 1 << 15 && symbols.len() < 2;
        is_complete.then_some(Code { counts, symbols })
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut word, mut first, mut before) = (0, 0, 0);
        for count in &self.counts[1..] {
            word = word << 1 | bits.number(1)?;
            first <<= 1;
            if word < first + count {
                return Some(self.symbols[before + word - first]);
            }
            first += count;
            before += count;
        }
        None
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<()> {
    bits.at = bits.at.next_multiple_of(8);
    let len = bits.number(16)?;
    if bits.number(16)? != !len & 0xFFFF {
        return None;
    }
    let start = bits.at / 8;
    out.extend_from_slice(bits.data.get(start..start + len)?);
    bits.at += 8 * len;
    Some(())
}

/// The codes of a block that brings its own.
fn codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    let (literals, distances) = (bits.number(5)? + 257, bits.number(5)? + 1);
    let count = bits.number(4)? + 4;
    if literals > 286 || distances > 30 {
        return None;
    }
    let mut lengths = [0; 19];
    for place in
        [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].into_iter().take(count)
    {
        lengths[place] = bits.number(3)?;
    }
    let code = Code::new(&lengths)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.symbol(bits)? {
            16 => (*lengths.last()?, bits.number(2)? + 3),
            17 => (0, bits.number(3)? + 3),
            18 => (0, bits.number(7)? + 11),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    let (of_literals, of_distances) = lengths.split_at(literals);
    let is_whole = of_distances.len() == distances && of_literals[256] > 0;
    is_whole.then_some((Code::new(of_literals)?, Code::new(of_distances)?))
}

fn compressed(
    bits: &mut Bits<'_>,
    out: &mut Vec<u8>,
    literals: &Code,
    distances: &Code,
    bytes_max: usize,
) -> Option<()> {
    loop {
        match literals.symbol(bits)? {
            byte @ 0..256 => out.push(byte as u8),
            256 => return Some(()),
            symbol => {
                let (base, extra) = *LENGTHS.get(symbol - 257)?;
                let len = base + bits.number(extra)?;
                let (base, extra) = *DISTANCES.get(distances.symbol(bits)?)?;
                let distance = base + bits.number(extra)?;
                let start = out.len().checked_sub(distance)?;
                (start..start + len).for_each(|at| out.push(out[at]));
            }
        }
        if out.len() > bytes_max {
            return None;
        }
    }
}

/// The first length and the extra bits of each symbol from 257 on (RFC 1951 section 3.2.5).
#[rustfmt::skip]
const LENGTHS: [(usize, usize); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1),
    (17, 1), (19, 2), (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4),
    (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5), (227, 5), (258, 0),
];

/// The same for distances.
#[rustfmt::skip]
const DISTANCES: [(usize, usize); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4),
    (49, 4), (65, 5), (97, 5), (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8),
    (1_025, 9), (1_537, 9), (2_049, 10), (3_073, 10), (4_097, 11), (6_145, 11), (8_193, 12),
    (12_289, 12), (16_385, 13), (24_577, 13),
];
