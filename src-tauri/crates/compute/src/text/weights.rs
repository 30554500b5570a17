//! Weights on their way from the file to the GPU.

use super::{
    array::{Array, Texel},
    config::{Config, RopeLayout},
    format::Format,
    gguf::Gguf,
    kernels::{
        Variant,
        blocks::{self, BLOCK, Streams},
        lanes, tiles,
    },
};
use crate::{Error, device::Gpu};
use std::ops::Range;

/// Where weights come from.
pub(crate) enum Source {
    File(Gguf),
    /// Made up, for benchmarks of shapes of which no file is there: matrices of this format.
    Synthetic(Format),
}

impl Source {
    /// The format of a matrix.
    pub(crate) fn format(&self, name: &str) -> Result<Format, Error> {
        match self {
            Self::File(gguf) => Ok(tensor(gguf, name)?.format),
            Self::Synthetic(format) => Ok(*format),
        }
    }

    /// Rows of a matrix of `columns` numbers, as they lie in the file.
    pub(crate) fn rows(&self, name: &str, columns: u32, rows: Range<u32>) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(gguf) => {
                let tensor = tensor(gguf, name)?;
                let row = row_bytes(tensor.format, columns) as u64;
                gguf.read_range(tensor, u64::from(rows.start) * row..u64::from(rows.end) * row)
            }
            Self::Synthetic(format) => Ok(synthetic(*format, columns, rows)),
        }
    }

    /// A vector of `length` numbers: a norm's gain or a bias, always F32.
    pub(crate) fn vector(&self, name: &str, length: u32) -> Result<Vec<f32>, Error> {
        match self {
            Self::File(gguf) => Ok(Format::F32.dequantise(&gguf.read(tensor(gguf, name)?)?)),
            Self::Synthetic(_) => Ok(vec![1.0; length as usize]),
        }
    }
}

fn tensor<'a>(gguf: &'a Gguf, name: &str) -> Result<&'a super::gguf::Tensor, Error> {
    gguf.tensor(name).ok_or_else(|| gguf.broken(format!("the tensor {name} is missing")))
}

fn row_bytes(format: Format, columns: u32) -> usize {
    columns as usize / format.block_len() * format.block_bytes()
}

/// Bytes that decode to small finite numbers of both signs and are the same everywhere. Numbers of one sign would add up
/// until every token had the same logits, and a wrong kernel would not show.
fn synthetic(format: Format, columns: u32, rows: Range<u32>) -> Vec<u8> {
    let mut state = rows.start;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    })
    .flat_map(|word| [word[1], word[2], word[3]])
    .take(rows.len() * row_bytes(format, columns))
    .collect();
    // In half precision, 2⁻¹³, and 7.5 times that, by which numbers from 0 to 15 are shifted; F16 and F32 of about 2⁻⁷.
    const SCALE: [u8; 2] = 0x0800u16.to_le_bytes();
    const SHIFT: [u8; 2] = 0x1380u16.to_le_bytes();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        match format {
            Format::F32 => block[3] = block[3] & 0x80 | 0x3c,
            Format::F16 => block[1] = block[1] & 0x83 | 0x20,
            Format::Q4_0 | Format::Q8_0 => block[..2].copy_from_slice(&SCALE),
            Format::Q4_1 => {
                block[..2].copy_from_slice(&SCALE);
                // Added here, and subtracted in Q4_K.
                block[2..4].copy_from_slice(&[SHIFT[0], SHIFT[1] | 0x80]);
            }
            Format::Q4K => {
                block[..2].copy_from_slice(&SCALE);
                block[2..4].copy_from_slice(&SHIFT);
            }
            Format::Q6K => block[208..].copy_from_slice(&SCALE),
        }
    }
    bytes
}

/// The row of the file that becomes row `row` of a matrix of queries or keys: numbers that are rotated together become
/// neighbours. Scores stay what they are, since queries and keys are reordered alike.
pub(crate) fn neighbours(config: &Config, row: u32) -> u32 {
    match config.rope.layout {
        RopeLayout::Neighbours => row,
        RopeLayout::Halves => {
            let (head, at) = (row / config.head_dim, row % config.head_dim);
            head * config.head_dim + at / 2 + at % 2 * (config.head_dim / 2)
        }
    }
}

/// A matrix on the GPU, in parts that can be bound.
pub(crate) struct Matrix {
    pub format: Format,
    /// Numbers of a row, a multiple of [`BLOCK`].
    pub columns: u32,
    pub parts: Vec<Part>,
}

/// Some rows of a matrix, filled up with zeros to whole tiles.
pub(crate) struct Part {
    pub rows: Range<u32>,
    pub numbers: Array,
    pub scales: Array,
}

/// Rows of the largest tile of a variant.
fn tile_rows(variant: Variant) -> u32 {
    match variant {
        Variant::Tiles => tiles::TILE,
        Variant::Lanes(lanes) => lanes::ROWS * lanes,
    }
}

/// Words per row of the two streams.
fn row_texels(format: Format, columns: u32) -> (u32, u32) {
    let count = columns / BLOCK;
    (count * blocks::texels(format), count.div_ceil(blocks::group(format)) * blocks::words(format))
}

/// Most rows of a part, so that matrices of these formats are cut alike.
pub(crate) fn most_rows(variant: Variant, formats: &[Format], columns: u32) -> u32 {
    let memory = variant.memory();
    let fit = |format: &Format| {
        let (numbers, scales) = row_texels(*format, columns);
        (memory.most(Texel::Uint4) / numbers).min(memory.most(Texel::Uint1) / scales.max(1))
    };
    let rows = formats.iter().map(fit).min().unwrap_or(0);
    rows - rows % tile_rows(variant)
}

impl Matrix {
    /// Room for a matrix of `rows` rows, in parts of at most `most` rows.
    pub(crate) fn allocate(
        gpu: &Gpu,
        variant: Variant,
        format: Format,
        (columns, rows): (u32, u32),
        most: u32,
    ) -> Self {
        let (numbers, scales) = row_texels(format, columns);
        let memory = variant.memory();
        let parts = (0..rows).step_by(most as usize).map(|first| {
            let rows = first..rows.min(first + most);
            let padded = (rows.end - rows.start).next_multiple_of(tile_rows(variant));
            Part {
                rows,
                numbers: Array::new(gpu, memory, Texel::Uint4, padded * numbers),
                scales: Array::new(gpu, memory, Texel::Uint1, padded * scales),
            }
        });
        Self { format, columns, parts: parts.collect() }
    }

    /// Brings the weights. `rows` reads rows as they lie in the file.
    ///
    /// # Errors
    /// What `rows` returns, or whatever wgpu reports.
    pub(crate) fn fill(
        &self,
        gpu: &Gpu,
        variant: Variant,
        mut rows: impl FnMut(Range<u32>) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let (per_row, words) = row_texels(self.format, self.columns);
        let tile = tile_rows(variant);
        for part in &self.parts {
            let bytes = rows(part.rows.clone())?;
            let padded = (part.rows.end - part.rows.start).next_multiple_of(tile) as usize;
            let mut numbers = vec![0u32; padded * per_row as usize * 4];
            let mut scales = vec![0u32; padded * words as usize];
            let mut streams = Streams::default();
            for (row, bytes) in (0..).zip(bytes.chunks_exact(row_bytes(self.format, self.columns))) {
                blocks::split(self.format, bytes, &mut streams);
                let place = Place::of(variant, row);
                for (at, texel) in (0..).zip(streams.numbers.chunks_exact(4)) {
                    numbers[4 * place.index(per_row, blocks::texels(self.format), at)..][..4].copy_from_slice(texel);
                }
                for (at, &word) in (0..).zip(&streams.scales) {
                    scales[place.index(words, blocks::words(self.format), at)] = word;
                }
            }
            part.numbers.write(gpu, 0, bytemuck::cast_slice(&numbers));
            part.scales.write(gpu, 0, bytemuck::cast_slice(&scales));
            // Without a submission, wgpu would keep all staging buffers until the first forward pass.
            gpu.submit(|_| {})?;
        }
        Ok(())
    }
}

/// Where a row's stream lies among the others.
enum Place {
    /// One row after the other.
    Row(usize),
    /// Tiles of 4 · `lanes` rows; in one, by unit (block or group), then row of the lane, then word, then lane.
    Tile { tile: usize, row: usize, lane: usize, lanes: usize },
}

impl Place {
    fn of(variant: Variant, row: u32) -> Self {
        match variant {
            Variant::Tiles => Self::Row(row as usize),
            Variant::Lanes(lanes) => {
                let within = row % (lanes::ROWS * lanes);
                Self::Tile {
                    tile: (row / (lanes::ROWS * lanes)) as usize,
                    row: (within % lanes::ROWS) as usize,
                    lane: (within / lanes::ROWS) as usize,
                    lanes: lanes as usize,
                }
            }
        }
    }

    /// Index of element `at` of a row of `length`, of which `unit` belong together.
    fn index(&self, length: u32, unit: u32, at: usize) -> usize {
        let (length, unit, each) = (length as usize, unit as usize, lanes::ROWS as usize);
        match *self {
            Self::Row(row) => row * length + at,
            Self::Tile { tile, row, lane, lanes } => {
                tile * length * each * lanes + ((at / unit * each + row) * unit + at % unit) * lanes + lane
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{
        catalogue::{Footprint, OVERHEAD_BYTES},
        frames::TextLimits,
    };

    #[test]
    fn made_up_weights_are_small_and_of_both_signs() {
        for format in Format::ALL {
            let numbers = format.dequantise(&synthetic(format, 4096, 7..9));
            assert_eq!(numbers.len(), 8192);
            let mean = numbers.iter().sum::<f32>() / 8192.0;
            let spread = (numbers.iter().map(|x| x * x).sum::<f32>() / 8192.0).sqrt();
            assert!(spread < 0.2 && mean.abs() < 0.2 * spread, "{format:?}: {mean} ± {spread}");
        }
    }

    #[test]
    fn no_format_takes_more_on_the_card_than_the_owner_is_told() {
        let nothing = TextLimits { context_tokens: 0, sequences: 0, cache_bytes: 0 };
        for format in Format::ALL {
            let (columns, rows) = (4096, 1024);
            let (numbers, scales) = row_texels(format, columns);
            let card = rows * u64::from(16 * numbers + 4 * scales);
            let weight_bytes = rows * row_bytes(format, columns) as u64;
            let told = Footprint { weight_bytes, cache_bytes_per_token: 0, vocabulary: 0, context_tokens: 0 };
            assert!(card <= told.needed_bytes(&nothing) - OVERHEAD_BYTES, "{format:?}: {card} of {weight_bytes}");
        }
    }
}
