//! Tender's own kernels behind the oracle's protocol.

use crate::numbers;
use serde_json::{Value, json};
use std::{fs::File, path::Path};
use tender_base::{Sha256, frames::TextLimits, job::Sampling};
use tender_compute::{
    Error, Gpu,
    text::{Outcome, TextModel},
};

/// Room for one text of the calibration.
const LIMITS: TextLimits = TextLimits { context_tokens: 1024, sequences: 1, cache_bytes: 256 << 20 };

pub fn serve(path: &Path) {
    let gpu = Gpu::open().expect("an adapter");
    let sha256 = Sha256::of_reader(File::open(path).expect("the model is readable")).expect("the model is readable");
    let mut model = TextModel::open(&gpu, path, sha256, LIMITS).expect("a model that can be used");
    let words = u32::try_from(model.vocab().len()).expect("a vocabulary of ordinary size");
    let ends: Vec<u32> = (0..words).filter(|token| model.vocab().ends(*token)).collect();
    println!(
        "{}",
        json!({ "engine": "tender", "adapter": gpu.info().adapter, "driver": gpu.info().driver, "ends": ends })
    );
    crate::serve(|request| answer(&gpu, &mut model, request).map_err(|e| e.to_string()));
}

fn answer(gpu: &Gpu, model: &mut TextModel, request: &Value) -> Result<Value, Error> {
    let greedy = Sampling::GREEDY;
    match request["op"].as_str() {
        Some("generate") => {
            let most = request["max_tokens"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(32);
            assert!(model.admit(gpu, 1, &numbers(&request["tokens"]), most, greedy)?, "nothing else is under way");
            let mut tokens = Vec::new();
            while model.is_busy() {
                for step in model.step(gpu)? {
                    match step.outcome {
                        Outcome::Written(token, _) => tokens.push(token),
                        Outcome::Failed(error) => return Err(error),
                        Outcome::Judged(_) => unreachable!("a text is written"),
                    }
                }
            }
            Ok(json!({ "tokens": tokens }))
        }
        Some("score") => {
            let (prompt, claimed) = (numbers(&request["prompt"]), numbers(&request["tokens"]));
            assert!(model.judge(gpu, 1, &prompt, &claimed, greedy)?, "nothing else is under way");
            loop {
                match model.step(gpu)?.pop().map(|step| step.outcome) {
                    None => {}
                    Some(Outcome::Judged(margins)) => return Ok(json!({ "margins": margins })),
                    Some(Outcome::Failed(error)) => return Err(error),
                    Some(Outcome::Written(..)) => unreachable!("a text is judged"),
                }
            }
        }
        other => Err(Error::Invalid(format!("op is {other:?}, but must be generate or score"))),
    }
}
