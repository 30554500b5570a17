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

/// Measures. `engine` and `model` serve the recomputation of parts, within `wall_limit`; a Freivalds check needs
/// neither.
///
/// A delivery of the wrong length, or one that is no number, gives a value that fails; it is not an error here.
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
) -> Result<Vec<Evidence>, Problem> {
    let found = |statistic, value, n| vec![Evidence { statistic, value, n, seed: claim.seed }];
    let whole = claim.work.output_bytes().is_none_or(|exact| claim.output.len() as u64 == exact);
    match (&claim.work, probe) {
        (Work::Gemm { m, k, n, precision }, Probe::Freivalds { vectors }) if *vectors > 0 => {
            let (vectors, shape, precision) = (*vectors, [*m, *k, *n].map(|side| side as usize), *precision);
            let value = if whole {
                let Claim { input, output, seed, .. } = claim.clone();
                tokio::task::spawn_blocking(move || {
                    freivalds::residual(shape, precision, &input, &output, &seed, vectors)
                })
                .await
                .map_err(|e| Problem::new(Code::Internal, format!("the check ended early: {e}"), ""))??
            } else {
                f64::MAX
            };
            Ok(found(Statistic::FreivaldsResidual, value, vectors))
        }
        (Work::Embed { .. }, Probe::Parts(parts)) if !parts.is_empty() => {
            let value = if whole {
                let again = recompute(claim, parts, engine, model, wall_limit).await?;
                slices::smallest_cosine(&claim.output, &again, parts)?
            } else {
                -1.0
            };
            Ok(found(Statistic::MinCosine, value, count(parts)))
        }
        (Work::Kernel(kernel), Probe::Parts(parts)) if !parts.is_empty() => {
            let value = if whole {
                let again = recompute(claim, parts, engine, None, wall_limit).await?;
                slices::agreeing_rows(kernel, claim, &again, parts)?
            } else {
                0.0
            };
            Ok(found(Statistic::AgreeingSlices, value, count(parts)))
        }
        (Work::Wgsl(kernel), Probe::Parts(parts)) if !parts.is_empty() => {
            let value = if whole {
                let again = recompute(claim, parts, engine, None, wall_limit).await?;
                slices::agreeing(kernel, &claim.output, &again, parts)?
            } else {
                0.0
            };
            Ok(found(Statistic::AgreeingSlices, value, count(parts)))
        }
        (Work::Generate(text), Probe::Margins) => {
            let order = Order {
                work: claim.work.clone(),
                input: claim.input.clone(),
                model: model.map(Path::to_owned),
                parts: None,
                wall_limit,
                tenant: Tenant::Own,
            };
            let mut scores = engine.score(order, claim.output.clone()).await?;
            let units = u64::from(text.prompt_tokens) + scores.margins.len() as u64;
            if scores.fault.is_none() && units != claim.units {
                scores.fault = Some(format!("{} tokens are billed, but prompt and text have {units}", claim.units));
            }
            Ok(margins(&scores, claim.seed))
        }
        _ => Err(Problem::new(
            Code::Invalid,
            format!("{} work cannot be checked by this probe", claim.work.kind().name()),
            "check matrix products by Freivalds, texts by margins and other work by at least one part",
        )),
    }
}

/// What the margins of a text come to. A text that contradicts itself has no margins and fails.
fn margins(scores: &Scores, seed: Sha256) -> Vec<Evidence> {
    let n = u32::try_from(scores.margins.len()).unwrap_or(u32::MAX).max(1);
    let found = |statistic, value| Evidence { statistic, value, n, seed };
    if let Some(fault) = &scores.fault {
        tracing::info!(%fault, "the delivered text contradicts itself");
        return vec![found(Statistic::ConsistentText, 0.0)];
    }
    // NaN fails: it becomes the largest number, which a document can state.
    let margins = scores.margins.iter().map(|&m| if m.is_finite() { f64::from(m) } else { f64::MAX });
    let largest = margins.clone().fold(0.0, f64::max);
    let mean = margins.map(|m| m / f64::from(n)).sum();
    vec![
        found(Statistic::ConsistentText, 1.0),
        found(Statistic::MeanMargin, mean),
        found(Statistic::MaxMargin, largest),
    ]
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
