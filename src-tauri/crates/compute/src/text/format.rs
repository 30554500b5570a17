//! How GGUF files store numbers: block layouts of ggml, and their exact decoding on the CPU.
//!
//! The layouts are those of ggml's `block_q4_0` … `block_q6_K`. Every kernel that decodes a format is held against
//! [`Format::dequantise`].

use half::f16;

/// A way to store the numbers of a tensor. Numbers are stored in blocks along a row; a block decodes on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// 32 numbers of 4 bits and a half-precision scale: 18 bytes.
    Q4_0,
    /// 32 numbers of 4 bits, a half-precision scale and minimum: 20 bytes.
    Q4_1,
    /// 32 numbers of 8 bits and a half-precision scale: 34 bytes.
    Q8_0,
    /// 256 numbers of 4 bits in eight groups with 6-bit scales and minima: 144 bytes.
    Q4K,
    /// 256 numbers of 6 bits in sixteen groups with 8-bit scales: 210 bytes.
    Q6K,
}

/// Names of ggml's types by number, for those that we do not decode.
const OTHERS: &[(u32, &str)] = &[
    (6, "Q5_0"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (13, "Q5_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

impl Format {
    /// All formats that can be decoded.
    pub const ALL: [Self; 7] = [Self::F32, Self::F16, Self::Q4_0, Self::Q4_1, Self::Q8_0, Self::Q4K, Self::Q6K];

    /// The format with ggml's number `code`.
    ///
    /// # Errors
    /// The name of a format that is not supported.
    pub fn from_code(code: u32) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.code() == code).ok_or_else(|| {
            let name = OTHERS.iter().find(|(number, _)| *number == code).map(|(_, name)| (*name).to_owned());
            name.unwrap_or_else(|| format!("ggml type {code}"))
        })
    }

    /// ggml's number of the format.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
        }
    }

    /// ggml's name of the format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Numbers per block; a row is a whole number of blocks.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes per block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// Bytes of `count` numbers; none when that is no whole number of blocks or beyond 64 bits.
    #[must_use]
    pub fn bytes(self, count: u64) -> Option<u64> {
        let len = self.block_len() as u64;
        if !count.is_multiple_of(len) {
            return None;
        }
        (count / len).checked_mul(self.block_bytes() as u64)
    }

    /// The numbers that `bytes` holds; a part of a block at the end is left out.
    #[must_use]
    pub fn dequantise(self, bytes: &[u8]) -> Vec<f32> {
        let mut out = Vec::with_capacity(bytes.len() / self.block_bytes() * self.block_len());
        for block in bytes.chunks_exact(self.block_bytes()) {
            match self {
                Self::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Self::F16 => out.push(half(block, 0)),
                Self::Q4_0 => {
                    let scale = half(block, 0);
                    out.extend(nibbles(&block[2..]).map(|q| (f32::from(q) - 8.0) * scale));
                }
                Self::Q4_1 => {
                    let (scale, min) = (half(block, 0), half(block, 2));
                    out.extend(nibbles(&block[4..]).map(|q| f32::from(q) * scale + min));
                }
                Self::Q8_0 => {
                    let scale = half(block, 0);
                    out.extend(block[2..].iter().map(|&q| f32::from(q.cast_signed()) * scale));
                }
                Self::Q4K => q4k(block, &mut out),
                Self::Q6K => q6k(block, &mut out),
            }
        }
        out
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// All low halves, then all high halves.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

/// Scale, minimum (half precision), 12 bytes with eight 6-bit scales and minima, 128 bytes of numbers.
fn q4k(block: &[u8], out: &mut Vec<f32>) {
    let (scale, min) = (half(block, 0), half(block, 2));
    let packed = &block[4..16];
    // The first four groups lie in six bits of a byte; of the last four the upper two bits lie in the top bits there.
    let group = |at: usize| {
        if at < 4 {
            (packed[at] & 63, packed[at + 4] & 63)
        } else {
            ((packed[at + 4] & 15) | ((packed[at - 4] >> 6) << 4), (packed[at + 4] >> 4) | ((packed[at] >> 6) << 4))
        }
    };
    for (pair, numbers) in block[16..].chunks_exact(32).enumerate() {
        for (at, shift) in [(2 * pair, 0), (2 * pair + 1, 4)] {
            let (s, m) = group(at);
            let (s, m) = (scale * f32::from(s), min * f32::from(m));
            out.extend(numbers.iter().map(|&q| s * f32::from((q >> shift) & 15) - m));
        }
    }
}

/// 128 bytes of low halves, 64 bytes of upper two bits, sixteen 8-bit scales, scale (half precision).
fn q6k(block: &[u8], out: &mut Vec<f32>) {
    let (low, high, scales, scale) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    for part in 0..2 {
        let (low, high) = (&low[64 * part..][..64], &high[32 * part..][..32]);
        for quarter in 0..4 {
            for at in 0..32 {
                let low = (low[32 * (quarter % 2) + at] >> (4 * (quarter / 2))) & 15;
                let high = (high[at] >> (2 * quarter)) & 3;
                let number = f32::from((low | (high << 4)).cast_signed() - 32);
                let group = f32::from(scales[8 * part + 2 * quarter + at / 16].cast_signed());
                out.push(scale * group * number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{
        Device,
        quantized::{GgmlDType, QStorage, QTensor},
    };
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn candle(format: Format, bytes: &[u8]) -> Vec<f32> {
        let dtype = match format {
            Format::F32 => GgmlDType::F32,
            Format::F16 => GgmlDType::F16,
            Format::Q4_0 => GgmlDType::Q4_0,
            Format::Q4_1 => GgmlDType::Q4_1,
            Format::Q8_0 => GgmlDType::Q8_0,
            Format::Q4K => GgmlDType::Q4K,
            Format::Q6K => GgmlDType::Q6K,
        };
        let count = bytes.len() / format.block_bytes() * format.block_len();
        let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype).unwrap();
        QTensor::new(storage, count).unwrap().dequantize(&Device::Cpu).unwrap().to_vec1().unwrap()
    }

    /// Where a block's half-precision numbers lie: random bits there would often be NaN, which equals nothing.
    fn scales(format: Format) -> &'static [usize] {
        match format {
            Format::F32 => &[2],
            Format::F16 | Format::Q4_0 | Format::Q8_0 => &[0],
            Format::Q4_1 | Format::Q4K => &[0, 2],
            Format::Q6K => &[208],
        }
    }

    proptest! {
        #[test]
        fn as_candle_decodes(format in prop::sample::select(&Format::ALL[..]), seed in prop::collection::vec(any::<u8>(), 3 * 210)) {
            let mut bytes = seed[..3 * format.block_bytes()].to_vec();
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                for &at in scales(format) {
                    block[at + 1] &= 0xbf;
                }
            }
            let (ours, theirs) = (format.dequantise(&bytes), candle(format, &bytes));
            prop_assert_eq!(ours.len(), 3 * format.block_len());
            prop_assert!(ours.iter().all(|x| x.is_finite()));
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn numbers_and_names_match_ggml() {
        for format in Format::ALL {
            assert_eq!(Format::from_code(format.code()), Ok(format));
            assert_eq!(format.bytes(format.block_len() as u64 * 3), Some(format.block_bytes() as u64 * 3));
        }
        assert_eq!(Format::from_code(13), Err("Q5_K".into()));
        assert_eq!(Format::from_code(77), Err("ggml type 77".into()));
        assert_eq!(Format::Q4K.bytes(255), None);
        assert_eq!(Format::F32.bytes(u64::MAX), None);
        assert_eq!(Format::Q8_0.dequantise(&[0; 33]), Vec::<f32>::new());
    }
}
