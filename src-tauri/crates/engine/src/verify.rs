//! Evidence on a delivery: the client recomputes a little of it, or checks it by algebra.
//!
//! What to check and whether the result passes is decided elsewhere; this module only measures.

mod freivalds;
mod slices;

use crate::{Engine, Order, Progress, Scores, Tenant};
use bytes::Bytes;
use std::{path::Path, time::Duration};
use tender_base::{
    Code, Problem, Sha256, Work,
    documents::{Evidence, Statistic},
    text::Generation,
};
use tokio::sync::watch;

pub use slices::{ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE};

/// What was delivered for which work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The work that was awarded.
    pub work: Work,
    /// Its input.
    pub input: Bytes,
    /// The delivered output.
    pub output: Bytes,
    /// The units that are billed for it.
    pub units: u64,
    /// SHA-256(nonce ‖ delivered root): what no side could choose.
    pub seed: Sha256,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The statistics.
    pub evidence: Vec<Evidence>,
    /// What is wrong with the delivery's form, in words.
    pub fault: Option<String>,
}

/// How to check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The whole matrix product against so many random vectors drawn from the seed.
    Freivalds {
        /// How many.
        vectors: u32,
    },
    /// These passages or workgroups, by computing them again.
    Parts(Vec<u32>),
    /// Every token of a text, by one pass of the own model over it.
    Margins,
}

/// Largest distance of a delivered vector's length from one: they are rounded to f32, and to nothing coarser.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// What is wrong with the form of a delivery, found without computing anything again: its length, its numbers, or, of
/// a text, what is billed for it. `None` when it could be a result.
#[must_use]
pub fn malformed(claim: &Claim) -> Option<Found> {
    let fault = form(claim).err()?;
    let (statistic, value) = match claim.work {
        Work::Gemm { .. } => (Statistic::FreivaldsResidual, f64::MAX),
        Work::Embed { .. } => (Statistic::MinCosine, -1.0),
        Work::Kernel(_) | Work::Wgsl(_) => (Statistic::AgreeingSlices, 0.0),
        Work::Generate(_) => (Statistic::ConsistentText, 0.0),
    };
    Some(Found { evidence: vec![Evidence { statistic, value, n: 1, seed: claim.seed }], fault: Some(fault) })
}

fn form(claim: &Claim) -> Result<(), String> {
    let (got, billed) = (claim.output.len(), claim.units);
    if let Some(exact) = claim.work.output_bytes().filter(|exact| got as u64 != *exact) {
        return Err(format!("it has {got} bytes, not {exact}"));
    }
    match &claim.work {
        Work::Embed { .. } => {
            for (at, vector) in claim.output.chunks_exact(4 * slices::DIMENSIONS).enumerate() {
                let squares = (0..slices::DIMENSIONS).map(|i| f64::from(float(vector, i)).powi(2));
                let length = squares.sum::<f64>().sqrt();
                if length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE {
                    return Err(format!("vector {at} has the length {length}, not one"));
                }
            }
            Ok(())
        }
        Work::Generate(text) => {
            let written: Generation =
                serde_json::from_slice(&claim.output).map_err(|e| format!("it is not a text: {e}"))?;
            let tokens = written.tokens.ok_or("it does not tell its tokens")?.len() as u64;
            let units = u64::from(text.prompt_tokens) + tokens;
            if units == billed {
                return Ok(());
            }
            Err(format!("{billed} tokens are billed, but prompt and text have {units}"))
        }
        Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => Ok(()),
    }
}

/// Measures. `engine` and `model` serve the recomputation of parts, within `wall_limit`; a Freivalds check needs
/// neither.
///
/// A delivery of the wrong form gives a value that fails; it is not an error here.
///
/// # Errors
/// [`Code::Invalid`] when the probe does not fit the work or the input itself is no number, and what the engine says
/// when it cannot recompute: then nothing is known about the delivery.
pub async fn evidence(
    claim: &Claim,
    probe: &Probe,
    engine: &dyn Engine,
    model: Option<&Path>,
    wall_limit: Duration,
) -> Result<Found, Problem> {
    let found =
        |statistic, value, n| Found { evidence: vec![Evidence { statistic, value, n, seed: claim.seed }], fault: None };
    let probed = |probe: &Probe| match probe {
        Probe::Freivalds { vectors } => *vectors > 0,
        Probe::Parts(parts) => !parts.is_empty(),
        Probe::Margins => true,
    };
    if let Some(malformed) = probed(probe).then(|| malformed(claim)).flatten() {
        return Ok(malformed);
    }
    match (&claim.work, probe) {
        (Work::Gemm { m, k, n, precision }, Probe::Freivalds { vectors }) if *vectors > 0 => {
            let (vectors, shape, precision) = (*vectors, [*m, *k, *n].map(|side| side as usize), *precision);
            let Claim { input, output, seed, .. } = claim.clone();
            let value = tokio::task::spawn_blocking(move || {
                freivalds::residual(shape, precision, &input, &output, &seed, vectors)
            })
            .await
            .map_err(|e| Problem::new(Code::Internal, format!("the check ended early: {e}"), ""))??;
            Ok(found(Statistic::FreivaldsResidual, value, vectors))
        }
        (Work::Embed { .. }, Probe::Parts(parts)) if !parts.is_empty() => {
            let again = recompute(claim, parts, engine, model, wall_limit).await?;
            let value = slices::smallest_cosine(&claim.output, &again, parts)?;
            Ok(found(Statistic::MinCosine, value, count(parts)))
        }
        (Work::Kernel(kernel), Probe::Parts(parts)) if !parts.is_empty() => {
            let again = recompute(claim, parts, engine, None, wall_limit).await?;
            let value = slices::agreeing_rows(kernel, claim, &again, parts)?;
            Ok(found(Statistic::AgreeingSlices, value, count(parts)))
        }
        (Work::Wgsl(kernel), Probe::Parts(parts)) if !parts.is_empty() => {
            let again = recompute(claim, parts, engine, None, wall_limit).await?;
            let value = slices::agreeing(kernel, &claim.output, &again, parts)?;
            Ok(found(Statistic::AgreeingSlices, value, count(parts)))
        }
        (Work::Generate(_), Probe::Margins) => {
            let order = Order {
                work: claim.work.clone(),
                input: claim.input.clone(),
                model: model.map(Path::to_owned),
                parts: None,
                wall_limit,
                tenant: Tenant::Own,
            };
            Ok(margins(engine.score(order, claim.output.clone()).await?, claim.seed))
        }
        _ => Err(Problem::new(
            Code::Invalid,
            format!("{} work cannot be checked by this probe", claim.work.kind().name()),
            "check matrix products by Freivalds, texts by margins and other work by at least one part",
        )),
    }
}

/// What the margins of a text come to. A text that contradicts itself has no margins and fails.
fn margins(scores: Scores, seed: Sha256) -> Found {
    let n = u32::try_from(scores.margins.len()).unwrap_or(u32::MAX).max(1);
    let found = |statistic, value| Evidence { statistic, value, n, seed };
    if scores.fault.is_some() {
        return Found { evidence: vec![found(Statistic::ConsistentText, 0.0)], fault: scores.fault };
    }
    // NaN fails: it becomes the largest number, which a document can state.
    let margins = scores.margins.iter().map(|&m| if m.is_finite() { f64::from(m) } else { f64::MAX });
    let largest = margins.clone().fold(0.0, f64::max);
    let mean = margins.map(|m| m / f64::from(n)).sum();
    let evidence = vec![
        found(Statistic::ConsistentText, 1.0),
        found(Statistic::MeanMargin, mean),
        found(Statistic::MaxMargin, largest),
    ];
    Found { evidence, fault: None }
}

async fn recompute(
    claim: &Claim,
    parts: &[u32],
    engine: &dyn Engine,
    model: Option<&Path>,
    wall_limit: Duration,
) -> Result<Bytes, Problem> {
    let order = Order {
        work: claim.work.clone(),
        input: claim.input.clone(),
        model: model.map(Path::to_owned),
        parts: Some(parts.to_owned()),
        wall_limit,
        tenant: Tenant::Own,
    };
    Ok(engine.run(order, watch::channel(Progress::default()).0).await?.bytes)
}

fn count(parts: &[u32]) -> u32 {
    u32::try_from(parts.len()).unwrap_or(u32::MAX)
}

/// The `index`-th little-endian f32 of `bytes`. The caller has checked the length.
fn float(bytes: &[u8], index: usize) -> f32 {
    bytes.get(4 * index..4 * index + 4).and_then(|b| b.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
