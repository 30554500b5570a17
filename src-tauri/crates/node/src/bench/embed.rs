//! Sentence embeddings as they are sold: through the engine and the worker's frames.

use super::{BenchReport, Figure, ROUNDS, engine, wrong};
use crate::models::default_dir;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tender_base::{Code, Problem, Work, catalogue::MINILM};
use tender_engine::{Engine as _, Order, Progress, Tenant};
use tokio::sync::watch;

/// Sentences of one run; every eighth is a paragraph.
const SENTENCES: usize = 256;
const WALL_LIMIT: Duration = Duration::from_secs(300);
/// Numbers of a vector.
const WIDTH: usize = 384;
/// The first sentences, of which [`REFERENCE`] holds the vectors.
const KNOWN: [&str; 3] = [
    "The cat sat on the mat.",
    "A contractor sells spare compute to a client, and is paid for what was measured.",
    "What does a token cost when the card is limited to half of its power?",
];
/// Little-endian f32, computed from the model's file in f64 by a program that shares nothing with ours.
const REFERENCE: &[u8] = include_bytes!("reference.f32");
const LEAST_COSINE: f64 = 0.999;

/// Measures embeddings of sentences of mixed length.
///
/// # Errors
/// What the worker says, or [`Code::NotFound`] without the model; nothing is reported of wrong vectors.
pub async fn embed(worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let folder = default_dir().join(MINILM.name);
    if !folder.join(MINILM.weights().name).is_file() {
        let hint = format!("run `tender models get {}`", MINILM.name);
        return Err(Problem::new(Code::NotFound, format!("{} is not in {}", MINILM.name, folder.display()), hint));
    }
    let engine = engine(worker.map(Path::to_owned));
    let info = engine.open().await?;
    let input = serde_json::to_vec(&sentences()).map_err(|e| Problem::new(Code::Internal, e.to_string(), ""))?;
    let tokens: u64 =
        engine.count_tokens(&folder, input.clone().into(), Tenant::Own).await?.into_iter().map(u64::from).sum();
    let work = Work::Embed { model: MINILM.to_ref(), passages: SENTENCES as u32, tokens };
    let order = Order {
        work,
        input: input.into(),
        model: Some(folder),
        parts: None,
        wall_limit: WALL_LIMIT,
        tenant: Tenant::Own,
    };
    let (mut sentence_rates, mut token_rates) = (Vec::new(), Vec::new());
    let mut least = f64::INFINITY;
    for round in 0..=ROUNDS {
        let started = Instant::now();
        let output = engine.run(order.clone(), watch::channel(Progress::default()).0).await?;
        let seconds = started.elapsed().as_secs_f64();
        for (ours, known) in output.bytes.chunks_exact(4 * WIDTH).zip(REFERENCE.chunks_exact(4 * WIDTH)) {
            let cosine = cosine(ours, known);
            // Not a number is no large number.
            if cosine.is_nan() || cosine < LEAST_COSINE {
                return Err(wrong(format!("a vector has cosine {cosine} with the reference, not {LEAST_COSINE}")));
            }
            least = least.min(cosine);
        }
        // The first loads the model.
        if round > 0 {
            sentence_rates.push(SENTENCES as f64 / seconds);
            token_rates.push(tokens as f64 / seconds);
        }
    }
    engine.stop().await;
    let why = format!(
        "{SENTENCES} sentences with {tokens} tokens a run, tokenising and the worker's pipe included; least cosine with \
         the reference {least:.6}; no ratio: no other runtime is compared with"
    );
    let figures = vec![
        Figure::of("sentences_per_second", "sentences/s", sentence_rates).because(&why),
        Figure::of("tokens_per_second", "tokens/s", token_rates).because("the same runs"),
    ];
    Ok(BenchReport::new("embed", Some(info), figures))
}

/// The known ones, then sentences of three to twenty-four words, and paragraphs of up to two hundred.
fn sentences() -> Vec<String> {
    let words: Vec<&str> = KNOWN.iter().flat_map(|sentence| sentence.split(' ')).collect();
    let made = (KNOWN.len()..SENTENCES).map(|at| {
        let length = if at % 8 == 0 { 40 + at * 7 % 160 } else { 3 + at * 5 % 22 };
        (0..length).map(|word| words[(at * 3 + word * 5) % words.len()]).collect::<Vec<_>>().join(" ")
    });
    KNOWN.iter().map(|known| (*known).to_owned()).chain(made).collect()
}

fn cosine(a: &[u8], b: &[u8]) -> f64 {
    let floats = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks_exact(4).map(|x| x.try_into().map_or(f64::NAN, |x| f64::from(f32::from_le_bytes(x)))).collect()
    };
    let (a, b) = (floats(a), floats(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_holds_a_vector_of_length_one_per_known_sentence() {
        assert_eq!(REFERENCE.len(), KNOWN.len() * WIDTH * 4);
        for vector in REFERENCE.chunks_exact(4 * WIDTH) {
            assert!((cosine(vector, vector) - 1.0).abs() < 1e-6);
        }
        assert!(cosine(&REFERENCE[..4 * WIDTH], &REFERENCE[4 * WIDTH..8 * WIDTH]) < 0.5, "they differ");
    }

    #[test]
    fn sentences_are_of_mixed_length() {
        let lengths: Vec<usize> = sentences().iter().map(|s| s.split(' ').count()).collect();
        assert_eq!(lengths.len(), SENTENCES);
        assert!(lengths.iter().any(|l| *l < 5) && lengths.iter().any(|l| *l > 100));
    }
}
