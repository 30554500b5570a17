//! What `cargo xtask calibrate` asks: candle on the CPU and Tender's own kernels, behind the protocol of
//! `tests/peers/llama.mjs`, and the copies of a model that a cheat would use.
//!
//! - `oracle candle FILE.gguf` and `oracle tender FILE.gguf` read one JSON request per line and answer each by one:
//!   `{"op":"generate","tokens":[…],"max_tokens":32,"ends":[…]}` → `{"tokens":[…]}`, greedy, ended by a token of
//!   `ends`; `{"op":"score","prompt":[…],"tokens":[…]}` → `{"margins":[…]}`, how far each token is behind the one that
//!   this engine would have chosen; `{"error"}` for what fails.
//! - `oracle two_bits|three_bits|two_layers_less FILE.gguf OUT.gguf` writes a weaker model of the same shape.

#![allow(clippy::expect_used, reason = "a tool of the developer stops at what it did not expect")]

mod tender;
mod weaken;

use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::models::quantized_llama::ModelWeights;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufRead as _, Write as _},
    path::Path,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["candle", model] => {
            let mut file = File::open(model).expect("the model is readable");
            let content = gguf_file::Content::read(&mut file).expect("a GGUF file");
            let mut candle = ModelWeights::from_gguf(content, &mut file, &Device::Cpu).expect("of the Llama family");
            println!("{}", json!({ "engine": "candle 0.11 on the CPU" }));
            serve(|request| candle_answer(&mut candle, request).map_err(|e| e.to_string()));
        }
        ["tender", model] => tender::serve(Path::new(model)),
        [how, from, to] => weaken::weaken(how, Path::new(from), Path::new(to)),
        _ => eprintln!("usage: oracle candle|tender FILE.gguf, or two_bits|three_bits|two_layers_less FROM TO"),
    }
}

fn serve(mut answer: impl FnMut(&Value) -> Result<Value, String>) {
    for line in io::stdin().lock().lines() {
        let line = line.expect("lines of UTF-8");
        let request: Value = serde_json::from_str(&line).expect("one JSON document per line");
        println!("{}", answer(&request).unwrap_or_else(|error| json!({ "error": error })));
        io::stdout().flush().expect("an open output");
    }
}

fn candle_answer(model: &mut ModelWeights, request: &Value) -> candle_core::Result<Value> {
    model.clear_kv_cache();
    match request["op"].as_str() {
        Some("generate") => {
            let ends = numbers(&request["ends"]);
            let mut fed = numbers(&request["tokens"]);
            let (mut at, mut tokens) = (0, Vec::new());
            for _ in 0..request["max_tokens"].as_u64().unwrap_or(32) {
                let logits = step(model, &fed, at)?;
                at += fed.len();
                let best = highest(&logits).0;
                tokens.push(best);
                if ends.contains(&best) {
                    break;
                }
                fed = vec![best];
            }
            Ok(json!({ "tokens": tokens }))
        }
        Some("score") => {
            let prompt = numbers(&request["prompt"]);
            let (mut fed, mut at) = (prompt, 0);
            let mut margins = Vec::new();
            for token in numbers(&request["tokens"]) {
                let all = step(model, &fed, at)?;
                at += fed.len();
                margins.push(highest(&all).1 - all.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY));
                fed = vec![token];
            }
            Ok(json!({ "margins": margins }))
        }
        other => Err(candle_core::Error::Msg(format!("op is {other:?}, but must be generate or score"))),
    }
}

/// Token ids of a request.
fn numbers(value: &Value) -> Vec<u32> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect()
}

/// The logits after the last of `tokens`, which begin at position `at`.
fn step(model: &mut ModelWeights, tokens: &[u32], at: usize) -> candle_core::Result<Vec<f32>> {
    let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
    model.forward(&input, at)?.squeeze(0)?.to_vec1()
}

fn highest(logits: &[f32]) -> (u32, f32) {
    (0..).zip(logits).fold((0, f32::NEG_INFINITY), |best, (at, &logit)| if logit > best.1 { (at, logit) } else { best })
}
