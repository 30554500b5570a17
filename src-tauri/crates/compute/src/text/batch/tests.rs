//! A made-up model of zeros, to which all tokens are equally likely: what is drawn depends on seed and position alone.

use super::*;
use crate::text::{config::tests::tiny, format::Format, vocab::tests::small};
use half::f16;
use tender_base::{Sha256, frames::TextLimits};

const DRAWN: Sampling = Sampling { temperature: 0.8, top_k: 0, top_p: 1.0, seed: 5 };
/// A token whose embedding is no number.
const BAD: u32 = 9;

fn open(gpu: &Gpu) -> TextModel {
    let vocabulary = small();
    let gguf = vocabulary.gguf();
    let tokens = gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    let tokens: Vec<String> = tokens.iter().map(String::from).collect();
    let mut file = tiny("llama", &tokens);
    file.take_entries(&vocabulary);
    let shape = [64, tokens.len() as u64];
    // Blocks of 32 bytes and their scale.
    let mut embeddings = vec![0; 68 * tokens.len()];
    embeddings[68 * BAD as usize..][..2].copy_from_slice(&f16::NAN.to_le_bytes());
    file.u32("llama.context_length", 1024)
        .tensor("token_embd.weight", &shape, Format::Q8_0, &embeddings)
        .zeros("output.weight", &shape, Format::Q8_0)
        .text("tokenizer.chat_template", "{{ messages[0].content }}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    let limits = TextLimits { context_tokens: 512, sequences: 4, cache_bytes: 1 << 24 };
    TextModel::open(gpu, &path, Sha256::of(&file.bytes()), limits).unwrap()
}

/// Passes until nothing is under way.
fn run(gpu: &Gpu, model: &mut TextModel) -> Vec<Vec<Step>> {
    let mut passes = Vec::new();
    while model.is_busy() {
        passes.push(model.step(gpu).unwrap());
    }
    passes
}

fn written(passes: &[Vec<Step>], id: u64) -> Vec<u32> {
    let token = |step: &Step| match step.outcome {
        Outcome::Written(token, _) if step.id == id => Some(token),
        _ => None,
    };
    passes.iter().flatten().filter_map(token).collect()
}

#[test]
fn a_text_that_is_no_number_ends_alone() {
    let gpu = Gpu::open().unwrap();
    let mut model = open(&gpu);
    for sampling in [Sampling::GREEDY, DRAWN] {
        assert!(model.admit(&gpu, 1, &[1, 2], 6, sampling).unwrap());
        assert!(model.admit(&gpu, 2, &[1, BAD], 6, sampling).unwrap());
        assert!(model.judge(&gpu, 3, &[1], &[BAD, 3, 4, 5], sampling).unwrap());
        assert!(model.admit(&gpu, 4, &[3, 4], 6, sampling).unwrap());
        let passes = run(&gpu, &mut model);
        let failed = passes.iter().flatten().filter_map(|step| match &step.outcome {
            Outcome::Failed(Error::BadOutput(_)) => Some(step.id),
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [2, 3], "{passes:?}");
        assert_eq!((written(&passes, 1).len(), written(&passes, 4).len()), (6, 6));
        assert!(model.free_pages_are_zero(&gpu).unwrap());
    }
}

#[test]
fn claims_are_judged_in_parts_while_texts_are_written() {
    let gpu = Gpu::open().unwrap();
    let mut model = open(&gpu);
    let prompt = [5, 6, 7];
    let zeros = vec![0.0; model.vocab().len()];
    let greedy = vec![0; 300];
    let drawn: Vec<u32> = (3..303).map(|position| sample::choose(&zeros, &DRAWN, position).unwrap()).collect();
    assert!(model.admit(&gpu, 1, &prompt, 200, Sampling::GREEDY).unwrap());
    model.step(&gpu).unwrap();
    for (id, claim, sampling) in [(2, &greedy, Sampling::GREEDY), (3, &drawn, DRAWN)] {
        assert!(model.judge(&gpu, id, &prompt, claim, sampling).unwrap());
    }
    assert!(model.judge(&gpu, 3, &prompt, &drawn, DRAWN).unwrap_err().to_string().contains("under way"));
    let passes = run(&gpu, &mut model);
    let judged = |wanted: u64| {
        passes.iter().zip(1..).find_map(|(steps, pass)| {
            steps.iter().find_map(|step| match &step.outcome {
                Outcome::Judged(margins) if step.id == wanted => Some((pass, margins.clone())),
                _ => None,
            })
        })
    };
    for (id, claim) in [(2, &greedy), (3, &drawn)] {
        let (pass, margins) = judged(id).unwrap();
        assert_eq!(margins, vec![0.0; claim.len()]);
        // No pass takes all of it, and every pass goes on with the text that is written.
        assert!(pass >= 3, "{pass}");
        assert_eq!(written(&passes[..pass], 1).len(), pass.min(199));
    }
    // A lie within is found where it is.
    let mut forged = drawn.clone();
    forged[70] = (forged[70] + 1) % 256;
    assert!(model.judge(&gpu, 4, &prompt, &forged, DRAWN).unwrap());
    let passes = run(&gpu, &mut model);
    let Some(Step { outcome: Outcome::Judged(margins), .. }) = passes.last().and_then(|steps| steps.last()) else {
        panic!("{passes:?}")
    };
    assert!(margins.iter().zip(0..).all(|(margin, at)| (*margin > 0.0) == (at == 70)), "{margins:?}");
}
