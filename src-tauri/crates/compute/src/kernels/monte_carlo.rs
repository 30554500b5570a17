//! Monte-Carlo blocks: counter-based random numbers, so that any block can be computed alone.

use super::{Job, Kernels, float};
use crate::{Error, device::Gpu};
use tender_base::kernel::{Kernel, KernelWork};

const SOURCE: &str = include_str!("monte_carlo.wgsl");
/// Invocations of a block, as the source says.
const LANES: u32 = 64;

/// Largest payoff that parameters may allow: the squares of 65,536 such stay inside f32.
const LARGEST_PAYOFF: f64 = 1e16;

/// What the kernels take of an option, prepared in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call {
    /// spot · exp((rate − volatility²/2)·years)
    pub start: f64,
    /// volatility · √years
    pub spread: f64,
    /// What is paid for one.
    pub strike: f64,
    /// exp(−rate·years)
    pub discount: f64,
}

/// Reads the seed.
pub(super) fn seed(input: &[u8]) -> [u32; 2] {
    [0, 1].map(|at| float(input, at).to_bits())
}

impl Call {
    /// Reads and prepares the parameters behind the seed.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the parameter that is out of range.
    pub(super) fn read(input: &[u8]) -> Result<Self, Error> {
        let [spot, strike, rate, volatility, years] = [2, 3, 4, 5, 6].map(|at| f64::from(float(input, at)));
        for (name, value, least, most) in [
            ("spot", spot, 1e-6, 1e9),
            ("strike", strike, 0.0, 1e9),
            ("rate", rate, -1.0, 1.0),
            ("volatility", volatility, 0.0, 5.0),
            ("years", years, 0.0, 100.0),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::Invalid(format!("{name} is {value}, but must be between {least} and {most}")));
            }
        }
        let call = Self {
            start: spot * ((rate - volatility * volatility / 2.0) * years).exp(),
            spread: volatility * years.sqrt(),
            strike,
            discount: (-rate * years).exp(),
        };
        // The farthest z is 5.4.
        let most = (call.start * (5.4 * call.spread).exp()).max(strike) * call.discount.max(1.0);
        if most > LARGEST_PAYOFF {
            return Err(Error::Invalid(format!(
                "a payoff could reach {most:e}, above the limit of {LARGEST_PAYOFF:e}"
            )));
        }
        Ok(call)
    }
}

impl Kernels {
    pub(super) fn monte_carlo(
        &mut self,
        gpu: &Gpu,
        work: &KernelWork,
        input: &[u8],
        blocks: &[u32],
    ) -> Result<Job, Error> {
        let [low, high] = seed(input);
        let (entry, floats) = match work.name {
            Kernel::MonteCarloCall => {
                let call = Call::read(input)?;
                ("call", [call.start, call.spread, call.strike, call.discount].map(|x| (x as f32).to_bits()))
            }
            _ => ("pi", [0; 4]),
        };
        let pipeline =
            self.pipelines.entry((work.name, LANES)).or_insert_with(|| gpu.trusted(work.name.name(), SOURCE, entry));
        let [a, b, c, d] = floats;
        Ok(Job {
            pipeline: pipeline.clone(),
            params: vec![0, work.columns, low, high, a, b, c, d],
            input: gpu.upload(bytemuck::cast_slice(blocks)),
            output: gpu.storage(blocks.len() as u64 * work.row_bytes()),
            // At most MAX_KERNEL_ROWS.
            groups: blocks.len() as u32,
        })
    }
}
