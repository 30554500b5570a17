//! How fast passes are: for `tender bench generate`, on a model's file or on made-up weights of a known shape.

use super::{
    config::{Architecture, Config, Rope, RopeLayout},
    format::Format,
    gguf::Gguf,
    kernels::Variant,
    network::{MAX_SEQUENCES, Network, Pick, Row},
    sample,
    weights::Source,
};
use crate::{Error, device::Gpu};
use std::{path::Path, time::Instant};
use tender_base::{frames::TextLimits, job::Sampling};

/// Layers of Llama 3 8B.
pub const LLAMA3_8B_LAYERS: u32 = 32;
/// Tokens of each sequence, which decoding continues.
const PAST: u32 = 32;
/// Tokens of each sequence at most: passes go on to here, then start again from [`PAST`].
const CONTEXT: u32 = 256;

/// How far the logits of one token may lie apart, computed by kernels for many tokens and for few, relative to their
/// norm. On Mesa's CPU adapter it is 2·10⁻⁵ at most; two tokens' are 0.7 apart with one layer, 0.1 with 32.
const APART: f64 = 0.005;

/// A model whose passes are timed.
pub struct Bench {
    network: Network,
    /// Tokens of each sequence so far.
    position: u32,
}

impl Bench {
    /// A model from a GGUF file, which is not hashed.
    ///
    /// # Errors
    /// As [`super::TextModel::open`].
    pub fn of_file(gpu: &Gpu, path: &Path) -> Result<Self, Error> {
        let gguf = Gguf::open(path)?;
        Self::new(gpu, Config::read(&gguf)?, Source::File(gguf))
    }

    /// The first `layers` layers of Llama 3 8B and its output matrix, with made-up weights in Q4_K: speed does not
    /// depend on their values. What fewer layers than [`LLAMA3_8B_LAYERS`] take says nothing of the whole; the
    /// difference between two numbers of layers does.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no layer or too many, [`Error::OutOfMemory`], or whatever the GPU reports.
    pub fn llama3_8b(gpu: &Gpu, layers: u32) -> Result<Self, Error> {
        if !(1..=LLAMA3_8B_LAYERS).contains(&layers) {
            return Err(Error::Invalid(format!("Llama 3 8B has 1 to {LLAMA3_8B_LAYERS} layers, not {layers}")));
        }
        let config = Config {
            architecture: Architecture::Llama,
            layers,
            width: 4096,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            feed_forward: 14_336,
            vocabulary: 128_256,
            context: 8192,
            rms_epsilon: 1e-5,
            rope: Rope { base: 500_000.0, layout: RopeLayout::Neighbours, linear: 1.0, factors: Vec::new() },
            tied_output: false,
            qkv_bias: false,
            head_norm: false,
            weight_bytes: 0,
        };
        Self::new(gpu, config, Source::Synthetic(Format::Q4K))
    }

    fn new(gpu: &Gpu, config: Config, source: Source) -> Result<Self, Error> {
        let context_tokens = CONTEXT.min(config.context);
        let cache_bytes = u64::from(MAX_SEQUENCES * CONTEXT) * config.cache_bytes_per_token();
        let limits = TextLimits { context_tokens, sequences: MAX_SEQUENCES, cache_bytes };
        let mut network = Network::new(gpu, Variant::of(gpu), config, source, limits)?;
        let each = network.pages.total() / MAX_SEQUENCES;
        for slot in 0..MAX_SEQUENCES {
            if let Some(pages) = network.pages.take(each) {
                network.assign(gpu, slot, &pages);
            }
        }
        Ok(Self { network, position: PAST })
    }

    /// Tokens that [`Self::prefill`] takes.
    #[must_use]
    pub fn prefill_tokens(&self) -> u32 {
        self.network.most_rows().min(self.network.context())
    }

    /// Seconds that one pass takes which writes a token of each of `sequences` (1 to [`MAX_SEQUENCES`]) texts, each
    /// of [`PAST`] tokens or a few more; with a temperature, drawing the tokens is part of it. The first pass of a kind
    /// compiles kernels: do not count it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of sequences, [`Error::BadOutput`] when the model computes no number, or as
    /// [`super::TextModel::step`].
    pub fn decode(&mut self, gpu: &Gpu, sequences: u32, sampling: &Sampling) -> Result<f64, Error> {
        together(sequences)?;
        self.position = if self.position + 1 < self.network.context() { self.position + 1 } else { PAST };
        let row = |slot| Row { token: self.token(slot), position: self.position, slot };
        let rows: Vec<Row> = (0..sequences).map(row).collect();
        let picks: Vec<Pick> = (0..sequences).map(|row| Pick { row, wanted: 0 }).collect();
        self.seconds(gpu, &rows, &picks, sampling)
    }

    /// Seconds that it takes to read a prompt of [`Self::prefill_tokens`] tokens.
    ///
    /// # Errors
    /// [`Error::BadOutput`] when the model computes no number, or as [`super::TextModel::step`].
    pub fn prefill(&mut self, gpu: &Gpu) -> Result<f64, Error> {
        let count = self.prefill_tokens();
        let rows: Vec<Row> = (0..count).map(|at| Row { token: self.token(at), position: at, slot: 0 }).collect();
        self.seconds(gpu, &rows, &[Pick { row: count - 1, wanted: 0 }], &Sampling::GREEDY)
    }

    /// Reads a prompt, then its last `sequences` (1 to [`MAX_SEQUENCES`]) tokens once more in a pass of their own, and
    /// compares the logits: a prompt goes through other kernels than a few tokens do. Compiles both.
    ///
    /// # Errors
    /// [`Error::BadOutput`] when they are not the same up to rounding; [`Error::Invalid`] for another number of
    /// sequences; or as [`super::TextModel::step`].
    pub fn check(&mut self, gpu: &Gpu, sequences: u32) -> Result<(), Error> {
        together(sequences)?;
        let count = self.prefill_tokens();
        let rows: Vec<Row> = (0..count).map(|at| Row { token: self.token(at), position: at, slot: 0 }).collect();
        let few = &rows[(count - sequences) as usize..];
        // The first token's as well: one to which no other comes near.
        let last = count - sequences..count;
        let read = self.logits(gpu, &rows, std::iter::once(0).chain(last))?;
        same(&read, &self.logits(gpu, few, 0..sequences)?)
    }

    fn logits(&self, gpu: &Gpu, rows: &[Row], of: impl Iterator<Item = u32>) -> Result<Vec<Vec<f32>>, Error> {
        let picks: Vec<Pick> = of.map(|row| Pick { row, wanted: 0 }).collect();
        self.network.forward(gpu, rows, &picks)?.into_iter().try_for_each(|best| best.map(drop))?;
        let all: Vec<u32> = (0..picks.len() as u32).collect();
        self.network.logits(gpu, &all)
    }

    fn seconds(&self, gpu: &Gpu, rows: &[Row], picks: &[Pick], sampling: &Sampling) -> Result<f64, Error> {
        let started = Instant::now();
        self.network.forward(gpu, rows, picks)?.into_iter().try_for_each(|best| best.map(drop))?;
        if sampling.temperature > 0.0 {
            let all: Vec<u32> = (0..picks.len() as u32).collect();
            for logits in self.network.logits(gpu, &all)? {
                sample::choose(&logits, sampling, self.position)?;
            }
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Any token.
    fn token(&self, at: u32) -> u32 {
        (self.position * 31 + at * 97) % self.network.vocabulary()
    }
}

fn together(sequences: u32) -> Result<(), Error> {
    if (1..=MAX_SEQUENCES).contains(&sequences) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{sequences} sequences, but 1 to {MAX_SEQUENCES} go together")))
}

/// That the logits of tokens are those that another pass found for them, and no others. `read` begins with those of
/// another token.
fn same(read: &[Vec<f32>], again: &[Vec<f32>]) -> Result<(), Error> {
    let (Some((other, read)), true) = (read.split_first(), read.len() == again.len() + 1) else {
        return Err(Error::BadOutput("logits are missing".into()));
    };
    for (at, (one, two)) in read.iter().zip(again).enumerate() {
        let apart = apart(one, two);
        // Not a number is no small number.
        if apart.is_nan() || apart > APART {
            let message = format!("kernels for many tokens and for few differ by {apart:.4} of the logits' norm");
            return Err(Error::BadOutput(format!("{message}, for token {at}; run `tender doctor`")));
        }
        if self::apart(one, other) < 5.0 * APART {
            return Err(Error::BadOutput("the logits do not depend on the token; run `tender doctor`".into()));
        }
    }
    Ok(())
}

/// ‖a − b‖ ÷ ‖a‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        difference += (f64::from(a) - f64::from(b)).powi(2);
        norm += f64::from(a).powi(2);
    }
    (difference / norm).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_logits_are_told_from_rounded_ones() {
        let row = |at: u32| -> Vec<f32> { (0..500).map(|i| ((i * 37 + at * 101) % 199) as f32 - 99.0).collect() };
        let read: Vec<Vec<f32>> = (0..4).map(row).collect();
        let rounded: Vec<Vec<f32>> = read[1..].iter().map(|row| row.iter().map(|x| x * 1.001).collect()).collect();
        same(&read, &rounded).unwrap();
        let swapped = [rounded[1].clone(), rounded[0].clone(), rounded[2].clone()];
        assert!(same(&read, &swapped).is_err());
        for wrong in [0.0, f32::NAN, f32::INFINITY] {
            let mut bad = rounded.clone();
            bad[2][7] = wrong;
            bad[2][8..60].fill(0.0);
            assert!(same(&read, &bad).is_err(), "{wrong}");
        }
        assert!(same(&vec![row(1); 4], &vec![row(1); 3]).is_err(), "every token has the same");
        assert!(same(&read, &rounded[1..]).is_err());
    }

    #[test]
    fn a_pass_of_many_tokens_and_one_of_few_agree_on_the_adapter() {
        let gpu = Gpu::open().unwrap();
        let mut model = Bench::llama3_8b(&gpu, 1).unwrap();
        for sequences in [1, MAX_SEQUENCES] {
            let count = model.prefill_tokens();
            let rows: Vec<Row> = (0..count).map(|at| Row { token: model.token(at), position: at, slot: 0 }).collect();
            let read = model.logits(&gpu, &rows, 0..count).unwrap();
            let few = model.logits(&gpu, &rows[(count - sequences) as usize..], 0..sequences).unwrap();
            let most =
                read[(count - sequences) as usize..].iter().zip(&few).map(|(a, b)| apart(a, b)).fold(0.0, f64::max);
            println!("{sequences}: {most}, another token {}", apart(&read[1], &read[2]));
            model.check(&gpu, sequences).unwrap();
        }
        assert!(matches!(model.check(&gpu, 0), Err(Error::Invalid(_))));
    }
}
