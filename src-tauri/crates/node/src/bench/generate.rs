//! Text: one text, sixteen together and a prompt, beside llama.cpp on the same adapter; and what safety costs.

use super::{
    BenchReport, Figure, ROUNDS, engine,
    overhead::overhead,
    peer::{self, Peer},
    text::{Counted, Model, generation},
    wrong,
};
use crate::models::default_dir;
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tender_base::{Problem, catalogue::SMOLLM2, frames::Measurement};
use tender_engine::{LocalEngine, measure};

/// Texts that are written together.
const TOGETHER: usize = 16;
/// Tokens of the first look, which says how many can be measured in the time there is.
const FIRST_LOOK: u32 = 8;
/// About how long one run of one arm may take, in seconds.
const RUN: f64 = 8.0;
/// Tokens that are written, and of a prompt: from what a CPU adapter does in [`RUN`] to what others measure with.
const WRITTEN: (u32, u32) = (8, 128);
const PROMPT: (u32, u32) = (32, 512);
/// Tokens that the first of many texts may have before the prompt of the last is read.
const START: u32 = 8;
/// No further round begins after this.
const ROUNDS_LIMIT: Duration = Duration::from_secs(240);
/// Workers that are killed.
const KILLS: usize = 20;

/// Measures text by the model of a GGUF file, the smallest of the catalogue without one, and the cost of metering,
/// confining and killing. `dir` is temporary.
///
/// # Errors
/// What the worker says; nothing is reported of a text that the model would not write.
pub async fn generate(dir: &Path, worker: Option<&Path>, file: Option<&Path>) -> Result<BenchReport, Problem> {
    let engine = Arc::new(engine(worker.map(Path::to_owned)));
    let info = engine.open().await?;
    let default = || default_dir().join(SMOLLM2.name).join(SMOLLM2.weights().name);
    let file = file.map_or_else(default, Path::to_owned);
    let model = Model::open(Arc::clone(&engine), &file).await?;
    let mut figures = text(&model).await?;
    // The model's memory is free then.
    engine.stop().await;
    figures.extend(large(&engine).await?);
    engine.stop().await;
    figures.extend(overhead(dir, worker).await?);
    let fuel = measure::fuel(worker).await?;
    let fractions = fuel.iter().map(|(with, without)| (with - without) / without).collect();
    let fuel = Figure::of("fuel_overhead", "fraction", fractions);
    figures.push(fuel.because("extra time of a Monte-Carlo kernel whose loops are counted, beside the same without"));
    let kills = Figure::of("kill", "ms", measure::kill(worker, KILLS).await?);
    figures.push(kills.because("from the order to kill a worker in the midst of a kernel until its process is gone"));
    Ok(BenchReport::new("generate", Some(info), figures))
}

/// Speeds of both in a run.
#[derive(Default)]
struct Speeds {
    prefill: Vec<f64>,
    decode: Vec<f64>,
}

async fn text(model: &Model) -> Result<Vec<Figure>, Problem> {
    let mut prompts = Vec::with_capacity(TOGETHER);
    for at in 0..TOGETHER {
        prompts.push(model.count(beginning(at)).await?);
    }
    // Loads both, and compiles their kernels.
    let first = [model.decode(&prompts[..1], 2 * FIRST_LOOK).await?, model.prefill(&prompts[0]).await?];
    let mut slowest = first;
    let mut llama = Peer::llama(&model.file).await;
    if let Ok(peer) = &mut llama {
        let look = peer.ask(bench(FIRST_LOOK, FIRST_LOOK)).await.map_err(wrong)?;
        for (slowest, figure) in slowest.iter_mut().zip(["decode", "prefill"]) {
            *slowest = slowest.min(peer::median(&look, figure).unwrap_or(f64::INFINITY));
        }
    }
    // Positive; `as` saturates.
    let fitting = |rate: f64, (least, most): (u32, u32)| ((rate * RUN) as u32).clamp(least, most);
    let written = fitting(slowest[0], WRITTEN);
    let long = long_prompt(model, fitting(slowest[1], PROMPT)).await?;
    let checked = check(model, &prompts[0], &mut llama).await?;
    let (mut ours, mut theirs, mut together) = (Speeds::default(), Speeds::default(), Vec::new());
    // Compiles the kernels for many rows.
    model.decode(&prompts, written + START).await?;
    let begun = Instant::now();
    while ours.decode.len() < ROUNDS && (ours.decode.is_empty() || begun.elapsed() < ROUNDS_LIMIT) {
        ours.decode.push(model.decode(&prompts[..1], written + 1).await?);
        ours.prefill.push(model.prefill(&long).await?);
        if let Ok(peer) = &mut llama {
            let answer = peer.ask(bench(long.tokens, written)).await.map_err(wrong)?;
            theirs.decode.extend(peer::median(&answer, "decode"));
            theirs.prefill.extend(peer::median(&answer, "prefill"));
        }
        together.push(model.decode(&prompts, written + START).await?);
    }
    let absent = llama.as_ref().err().map(String::as_str);
    let name = llama.as_ref().map_or_else(|_| String::new(), Peer::name);
    let single = ours.decode.clone();
    let how = |what: &str| format!("{}, {what}; {checked}", model.name());
    Ok(vec![
        Figure::of("decode", "tokens/s", ours.decode)
            .because(how(&format!("one text of {written} tokens, streamed by the worker")))
            .beside(&name, &theirs.decode, absent),
        Figure::of("prefill", "tokens/s", ours.prefill)
            .because(how(&format!("a prompt of {} tokens to the first token of the answer", long.tokens)))
            .beside(&name, &theirs.prefill, absent),
        Figure::of("decode_16", "tokens/s", together)
            .because(how(&format!("{TOGETHER} texts of {} tokens, all together", written + START)))
            .beside("one text of the same run", &single, None),
    ])
}

/// The shapes that cards are compared by, with made-up weights.
async fn large(engine: &LocalEngine) -> Result<Vec<Figure>, Problem> {
    let shapes = [
        ("decode_8b", Measurement::Decode8b { sequences: 1 }),
        ("prefill_8b", Measurement::Prefill8b),
        ("decode_16_8b", Measurement::Decode8b { sequences: TOGETHER as u32 }),
        ("sampled_16_8b", Measurement::Sampled8b { sequences: TOGETHER as u32 }),
    ];
    let mut figures = Vec::new();
    engine.open().await?;
    for (name, what) in shapes {
        let mut rates = Vec::new();
        if engine.uses_main_memory() != Some(true) {
            for _ in 0..ROUNDS {
                rates.push(engine.measure(what.clone()).await?);
            }
        }
        let why = if rates.is_empty() {
            "not measured: Llama 3 8B is for cards with memory of their own"
        } else {
            "passes of Llama 3 8B with made-up weights in Q4_K, whose kernels agree with one another; no ratio: there is no file \
             that llama.cpp could read; name one with --model"
        };
        figures.push(Figure::of(name, "tokens/s", rates).because(why));
    }
    Ok(figures)
}

fn bench(prompt: u32, written: u32) -> Value {
    json!({"op": "bench", "prompt_tokens": prompt, "generate_tokens": written, "runs": 1, "warmups": 0})
}

/// Judges a text of the peer, which is another implementation; without one, our own, by a pass of another shape.
async fn check(model: &Model, prompt: &Counted, llama: &mut Result<Peer, String>) -> Result<String, Problem> {
    let (whose, text) = match llama {
        Ok(peer) => {
            let request = json!({"op": "generate", "text": prompt.text, "max_tokens": FIRST_LOOK});
            let answer = peer.ask(request).await.map_err(wrong)?;
            ("llama.cpp's text", generation(&answer).ok_or_else(|| wrong("the peer wrote no text"))?)
        }
        Err(_) => ("own text", model.write(prompt, FIRST_LOOK).await?.1),
    };
    Ok(format!("{whose} judged in this run: {}", model.judge(prompt, FIRST_LOOK, &text).await?))
}

/// A prompt of about so many tokens.
async fn long_prompt(model: &Model, tokens: u32) -> Result<Counted, Problem> {
    let sentence = "The card is warm and the night is long, so the neighbours lend what they do not need. ";
    let one = model.count(sentence.to_owned()).await?.tokens.max(1);
    model.count(sentence.repeat(tokens.div_ceil(one) as usize)).await
}

/// The beginning of a story, another for each.
fn beginning(at: usize) -> String {
    let who = ["A baker", "Two sisters", "The old king", "A young fox"][at % 4];
    let place = ["by the sea", "in the north", "under a mountain", "near the forest"][at / 4 % 4];
    format!("{who} lived {place} and")
}
