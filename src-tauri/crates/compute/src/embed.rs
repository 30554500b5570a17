//! Sentence embeddings with encoders of the BERT family, such as all-MiniLM-L6-v2, on our own kernels.

mod bert;
mod config;
mod folder;
mod tokens;
mod weights;

pub use bert::Encoder;
pub use config::{BertConfig, Pooling};
pub use tokens::Tokens;

use crate::{Error, Output, Progress, device::Gpu, matmul::Matmul};

/// How far a vector's length may be from one; f32 rounding over 2048 squares stays well below.
const LENGTH_TOLERANCE: f64 = 1e-4;

/// Reads the input of a job: a JSON array of strings.
///
/// # Errors
/// [`Error::Invalid`] with the place of the mistake.
pub fn passages(input: &[u8]) -> Result<Vec<String>, Error> {
    serde_json::from_slice(input).map_err(|e| Error::Invalid(format!("the input is no JSON array of strings: {e}")))
}

/// Embeds the passages of `input`, or only those of `parts`. Counts the tokens of what it embeds.
///
/// # Errors
/// [`Error::Invalid`] when the input does not hold the declared `declared` = (passages, tokens) or a part does not
/// exist; [`Error::BadOutput`] when a vector is not of length one; or whatever the GPU reports.
pub fn run(
    gpu: &Gpu,
    matmul: &Matmul,
    encoder: &Encoder,
    declared: (u32, u64),
    input: &[u8],
    parts: Option<&[u32]>,
    progress: Progress<'_>,
) -> Result<Output, Error> {
    let passages = passages(input)?;
    if passages.len() as u64 != u64::from(declared.0) {
        return Err(Error::Invalid(format!(
            "the input holds {} passages, not the declared {}",
            passages.len(),
            declared.0
        )));
    }
    let ids = encoder.tokens().encode(&passages)?;
    let count = |ids: &[&Vec<u32>]| ids.iter().map(|i| i.len() as u64).sum::<u64>();
    let all: Vec<&Vec<u32>> = ids.iter().collect();
    if count(&all) != declared.1 {
        return Err(Error::Invalid(format!(
            "the passages have {} tokens, not the declared {}",
            count(&all),
            declared.1
        )));
    }
    let chosen = match parts {
        None => all,
        Some(parts) => parts
            .iter()
            .map(|&p| {
                ids.get(p as usize)
                    .ok_or_else(|| Error::Invalid(format!("parts names passage {p}, but there are {}", ids.len())))
            })
            .collect::<Result<_, _>>()?,
    };
    let units = count(&chosen);
    let vectors = encoder.encode(gpu, matmul, &chosen, progress)?;
    for (at, vector) in vectors.chunks_exact(encoder.config().width).enumerate() {
        let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE {
            return Err(Error::BadOutput(format!("vector {at} has length {length}, not one")));
        }
    }
    Ok(Output { bytes: bytemuck::cast_slice(&vectors).to_vec(), units })
}
