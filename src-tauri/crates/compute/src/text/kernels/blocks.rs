//! Weights as kernels read them: every format in blocks of 32 numbers.
//!
//! A row becomes two streams without loss. Of each block, `numbers` holds the quantised numbers in whole texels of 16
//! bytes, so that neighbouring invocations read neighbouring texels; `scales` holds what belongs to them in 32-bit
//! words, by groups of blocks that share some. Four-bit numbers lie as in ggml's Q4_0: byte i holds number i below and
//! number i + 16 above.

use crate::text::format::Format;
use std::fmt::Write;

/// Numbers per block.
pub(crate) const BLOCK: u32 = 32;

/// A row in the two streams.
#[derive(Default)]
pub(crate) struct Streams {
    /// Texels of four words.
    pub numbers: Vec<u32>,
    pub scales: Vec<u32>,
}

/// Texels of `numbers` per block.
pub(crate) fn texels(format: Format) -> u32 {
    match format {
        Format::F32 => 8,
        Format::F16 => 4,
        Format::Q8_0 => 2,
        Format::Q4_0 | Format::Q4_1 | Format::Q4K | Format::Q6K => 1,
    }
}

/// Blocks of a group.
pub(crate) fn group(format: Format) -> u32 {
    match format {
        Format::F32 | Format::F16 | Format::Q4_1 => 1,
        Format::Q4_0 | Format::Q8_0 => 2,
        Format::Q4K | Format::Q6K => 8,
    }
}

/// Words of `scales` per group.
pub(crate) fn words(format: Format) -> u32 {
    match format {
        Format::F32 | Format::F16 => 0,
        // The halves of a word are the scales of two blocks.
        Format::Q4_0 | Format::Q8_0 => 1,
        // Scale and minimum.
        Format::Q4_1 => 1,
        // Scale and minimum of all; then 8-bit scale and minimum of two blocks per word.
        Format::Q4K => 5,
        // Scale; then 8-bit scales of four half blocks per word; then the upper two bits of 16 numbers per word.
        Format::Q6K => 21,
    }
}

/// Splits a row, as it lies in a GGUF file, into the streams.
pub(crate) fn split(format: Format, row: &[u8], out: &mut Streams) {
    out.numbers.clear();
    out.scales.clear();
    let half = |bytes: &[u8], at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
    match format {
        Format::F32 | Format::F16 => out.numbers.extend(le_words(row)),
        Format::Q4_0 | Format::Q8_0 => {
            for pair in row.chunks(2 * format.block_bytes()) {
                let mut scales = 0;
                for (at, block) in pair.chunks_exact(format.block_bytes()).enumerate() {
                    scales |= half(block, 0) << (16 * at);
                    out.numbers.extend(le_words(&block[2..]));
                }
                out.scales.push(scales);
            }
        }
        Format::Q4_1 => {
            for block in row.chunks_exact(format.block_bytes()) {
                out.scales.push(half(block, 0) | half(block, 2) << 16);
                out.numbers.extend(le_words(&block[4..]));
            }
        }
        Format::Q4K => row.chunks_exact(format.block_bytes()).for_each(|block| q4k(block, out)),
        Format::Q6K => row.chunks_exact(format.block_bytes()).for_each(|block| q6k(block, out)),
    }
}

fn le_words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Packs 32 four-bit numbers as Q4_0 does.
fn nibbles(numbers: impl Fn(usize) -> u8) -> [u32; 4] {
    std::array::from_fn(|word| {
        let bytes = std::array::from_fn(|byte| numbers(4 * word + byte) | numbers(4 * word + byte + 16) << 4);
        u32::from_le_bytes(bytes)
    })
}

fn q4k(block: &[u8], out: &mut Streams) {
    let (packed, numbers) = (&block[4..16], &block[16..]);
    // The upper two bits of the last four groups lie in the top bits of the first four.
    let pair = |at: usize| {
        if at < 4 {
            [packed[at] & 63, packed[at + 4] & 63]
        } else {
            [packed[at + 4] & 15 | (packed[at - 4] >> 6) << 4, packed[at + 4] >> 4 | (packed[at] >> 6) << 4]
        }
    };
    out.scales.extend(le_words(&block[..4]));
    for at in [0, 2, 4, 6] {
        let ([a, b], [c, d]) = (pair(at), pair(at + 1));
        out.scales.push(u32::from_le_bytes([a, b, c, d]));
    }
    for at in 0..8 {
        out.numbers.extend(nibbles(|i| (numbers[32 * (at / 2) + i] >> (4 * (at % 2))) & 15));
    }
}

fn q6k(block: &[u8], out: &mut Streams) {
    let (low, high) = (&block[..128], &block[128..192]);
    out.scales.push(u32::from(block[208]) | u32::from(block[209]) << 8);
    out.scales.extend(le_words(&block[192..208]));
    for at in 0..8 {
        let (part, quarter) = (at / 4, at % 4);
        let upper = |i: usize| (high[32 * part + i] >> (2 * quarter)) & 3;
        out.numbers.extend(nibbles(|i| (low[64 * part + 32 * (quarter % 2) + i] >> (4 * (quarter / 2))) & 15));
        // Of a half block of 16, byte b holds the numbers b, b + 4, b + 8 and b + 12.
        for first in [0, 16] {
            let bytes = std::array::from_fn(|b| (0..4).map(|w| upper(first + 4 * w + b) << (2 * w)).sum());
            out.scales.push(u32::from_le_bytes(bytes));
        }
    }
}

/// The WGSL that decodes one block of one row. `name` tells the variables of several rows apart.
pub(crate) struct Block<'a> {
    pub format: Format,
    pub name: &'a str,
}

impl Block<'_> {
    /// Reads block `b` of the row; `numbers(j)` and `scales(w)` are the expressions of texel j and word w of it.
    pub(crate) fn load(&self, s: &mut String, numbers: impl Fn(u32) -> String, scales: impl Fn(&str) -> String) {
        let n = self.name;
        for j in 0..texels(self.format) {
            let _ = writeln!(s, "let q{n}_{j} = {};", numbers(j));
        }
        let _ = match self.format {
            Format::F32 | Format::F16 => Ok(()),
            Format::Q4_0 | Format::Q8_0 => writeln!(
                s,
                "let d{n} = unpack2x16float({} >> (16u * (b & 1u))).x;\nlet o{n} = -8.0 * d{n};",
                scales("0u")
            ),
            Format::Q4_1 => {
                writeln!(s, "let h{n} = unpack2x16float({});\nlet d{n} = h{n}.x;\nlet o{n} = h{n}.y;", scales("0u"))
            }
            Format::Q4K => writeln!(
                s,
                "let h{n} = unpack2x16float({});\n\
                 let g{n} = {} >> (16u * (b & 1u));\n\
                 let d{n} = h{n}.x * f32(g{n} & 255u);\n\
                 let o{n} = -h{n}.y * f32((g{n} >> 8u) & 255u);",
                scales("0u"),
                scales("1u + ((b & 7u) >> 1u)")
            ),
            Format::Q6K => writeln!(
                s,
                "let h{n} = unpack2x16float({}).x;\n\
                 let g{n} = i32({} << (16u * (1u - (b & 1u))));\n\
                 let d{n}_0 = h{n} * f32((g{n} << 8u) >> 24u);\n\
                 let d{n}_1 = h{n} * f32(g{n} >> 24u);\n\
                 let o{n}_0 = -32.0 * d{n}_0;\n\
                 let o{n}_1 = -32.0 * d{n}_1;\n\
                 let u{n}_0 = {};\n\
                 let u{n}_1 = {};",
                scales("0u"),
                scales("1u + ((b & 7u) >> 1u)"),
                scales("5u + 2u * (b & 7u)"),
                scales("6u + 2u * (b & 7u)")
            ),
        };
    }

    /// The numbers 4·at … 4·at + 3 as vec4<f32>, before scale and offset.
    pub(crate) fn raw(&self, at: u32) -> String {
        let n = self.name;
        let (half, word) = (at / 4, at % 4);
        // Four-bit numbers, one per byte. Through i32: a conversion from u32 takes many instructions on some CPUs.
        let low = format!(
            "((vec4<u32>(q{n}_0[{word}]) >> vec4<u32>({}u, {}u, {}u, {}u)) & vec4<u32>(15u))",
            4 * half,
            4 * half + 8,
            4 * half + 16,
            4 * half + 24
        );
        match self.format {
            Format::F32 => format!("bitcast<vec4<f32>>(q{n}_{at})"),
            Format::F16 => {
                let (texel, word) = (at / 2, 2 * (at % 2));
                format!("vec4<f32>(unpack2x16float(q{n}_{texel}[{word}]), unpack2x16float(q{n}_{texel}[{}]))", word + 1)
            }
            Format::Q8_0 => format!(
                "vec4<f32>((vec4<i32>(i32(q{n}_{half}[{word}])) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u))"
            ),
            Format::Q4_0 | Format::Q4_1 | Format::Q4K => format!("vec4<f32>(vec4<i32>({low}))"),
            Format::Q6K => {
                let shift = 2 * word;
                format!(
                    "vec4<f32>(vec4<i32>({low} | (((vec4<u32>(u{n}_{half}) >> \
                     vec4<u32>({}u, {}u, {}u, {}u)) & vec4<u32>(3u)) << vec4<u32>(4u))))",
                    shift,
                    shift + 8,
                    shift + 16,
                    shift + 24
                )
            }
        }
    }

    /// What the raw numbers of a half block (0 or 1) are multiplied by.
    pub(crate) fn scale(&self, half: u32) -> Option<String> {
        match self.format {
            Format::F32 | Format::F16 => None,
            Format::Q4_0 | Format::Q4_1 | Format::Q8_0 | Format::Q4K => Some(format!("d{}", self.name)),
            Format::Q6K => Some(format!("d{}_{half}", self.name)),
        }
    }

    /// What is then added.
    pub(crate) fn offset(&self, half: u32) -> Option<String> {
        match self.format {
            Format::F32 | Format::F16 | Format::Q8_0 => None,
            Format::Q4_0 | Format::Q4_1 | Format::Q4K => Some(format!("o{}", self.name)),
            Format::Q6K => Some(format!("o{}_{half}", self.name)),
        }
    }

    /// The numbers 4·at … 4·at + 3 as vec4<f32>.
    pub(crate) fn value(&self, at: u32) -> String {
        let raw = self.raw(at);
        match (self.scale(at / 4), self.offset(at / 4)) {
            (None, _) => raw,
            (Some(scale), None) => format!("{raw} * {scale}"),
            (Some(scale), Some(offset)) => format!("fma({raw}, vec4<f32>({scale}), vec4<f32>({offset}))"),
        }
    }
}
