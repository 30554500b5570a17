//! SmolLM2 on whatever adapter this machine has, with candle on the CPU as the judge.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as tests")]

use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::{fs::File, path::PathBuf};
use tender_base::{
    Code, Problem, Sha256,
    catalogue::SMOLLM2,
    frames::TextLimits,
    job::Sampling,
    text::{Finish, Prompt},
};
use tender_compute::{
    Error, Gpu,
    text::{MAX_SEQUENCES, Outcome, Step, TextModel, bench::Bench},
};

const LIMITS: TextLimits = TextLimits { context_tokens: 512, sequences: 8, cache_bytes: 48 << 20 };

/// The model's file. A missing model fails the test: texts are not optional.
fn path() -> PathBuf {
    let models = std::env::var_os("TENDER_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or TENDER_MODELS is set")).join(".cache/tender/models")
    });
    let path = models.join(SMOLLM2.name).join(SMOLLM2.weights().name);
    assert!(path.is_file(), "no model at {}; run: cargo xtask test", path.display());
    path
}

fn open() -> (Gpu, TextModel) {
    let gpu = Gpu::open().expect("an adapter: sudo apt install mesa-vulkan-drivers, or cargo xtask test");
    let model = TextModel::open(&gpu, &path(), SMOLLM2.weights().sha256, LIMITS).unwrap();
    (gpu, model)
}

fn question(model: &TextModel, text: &str) -> Vec<u32> {
    model.tokenizer().encode(&Prompt::of_user(text.to_owned())).unwrap()
}

/// Writes all texts to their ends, together.
fn write(gpu: &Gpu, model: &mut TextModel, texts: &[(&[u32], u32, Sampling)]) -> Vec<(Vec<u32>, Finish)> {
    for (id, (prompt, max_tokens, sampling)) in (0..).zip(texts) {
        assert!(model.admit(gpu, id, prompt, *max_tokens, *sampling).unwrap());
    }
    let mut written = vec![(Vec::new(), None); texts.len()];
    while model.is_busy() {
        for Step { id, outcome } in model.step(gpu).unwrap() {
            let Outcome::Written(token, finished) = outcome else { panic!("{outcome:?}") };
            let (tokens, finish) = &mut written[id as usize];
            assert_eq!(*finish, None, "a token after the end");
            tokens.push(token);
            *finish = finished;
        }
    }
    written.into_iter().map(|(tokens, finish)| (tokens, finish.unwrap())).collect()
}

/// How far each token is behind the model's own choice.
fn judge(gpu: &Gpu, model: &mut TextModel, prompt: &[u32], claimed: &[u32], sampling: Sampling) -> Vec<f32> {
    assert!(model.judge(gpu, 99, prompt, claimed, sampling).unwrap());
    loop {
        match model.step(gpu).unwrap().pop() {
            None => assert!(model.is_busy()),
            Some(Step { id: 99, outcome: Outcome::Judged(margins) }) => return margins,
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// How far each token is behind the likeliest of candle, which reads prompt and tokens one by one.
fn margins_of_candle(prompt: &[u32], tokens: &[u32]) -> Vec<f32> {
    let mut file = File::open(path()).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let mut forward = |tokens: &[u32], at: usize| -> Vec<f32> {
        let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        model.forward(&input, at).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
    };
    let mut logits = forward(prompt, 0);
    let mut margins = Vec::new();
    for (at, &token) in tokens.iter().enumerate() {
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        margins.push(most - logits[token as usize]);
        logits = forward(&[token], prompt.len() + at);
    }
    margins
}

fn mean(margins: &[f32]) -> f32 {
    margins.iter().sum::<f32>() / margins.len() as f32
}

fn most(margins: &[f32]) -> f32 {
    margins.iter().copied().fold(0.0, f32::max)
}

#[test]
fn greedy_texts_are_what_candle_would_write_alone_and_together() {
    let (gpu, mut model) = open();
    let questions = [
        "What is the capital of Italy?",
        "Write one sentence about the sea.",
        "Count from one to ten in words, please, and then explain why counting is useful for people who trade.",
        "Hi",
        "List three colours.",
    ];
    let prompts = questions.map(|text| question(&model, text));
    let alone: Vec<_> =
        prompts.iter().map(|prompt| write(&gpu, &mut model, &[(prompt, 20, Sampling::GREEDY)]).remove(0)).collect();
    let texts = prompts.each_ref().map(|prompt| (prompt.as_slice(), 20, Sampling::GREEDY));
    let together = write(&gpu, &mut model, &texts);
    for ((prompt, alone), together) in prompts.iter().zip(&alone).zip(&together) {
        for (tokens, finish) in [alone, together] {
            let ended = model.vocab().ends(*tokens.last().unwrap());
            assert_eq!(*finish, if ended { Finish::Stop } else { Finish::Length });
            assert!(ended || tokens.len() == 20);
            // Judged by the model itself: rounding alone.
            let own = judge(&gpu, &mut model, prompt, tokens, Sampling::GREEDY);
            assert_eq!(own.len(), tokens.len());
            assert!(most(&own) < 0.02, "{own:?}");
        }
    }
    assert!(model.free_pages_are_zero(&gpu).unwrap());

    let judged = margins_of_candle(&prompts[0], &alone[0].0)
        .into_iter()
        .chain(margins_of_candle(&prompts[2], &together[2].0))
        .collect::<Vec<_>>();
    println!("candle's margins of {} tokens: mean {}, most {}", judged.len(), mean(&judged), most(&judged));
    assert!(mean(&judged) <= 0.05 && most(&judged) <= 0.5, "{judged:?}");

    // A replaced token shows, and what follows from it does not excuse it.
    let (prompt, (tokens, _)) = (&prompts[2], &together[2]);
    let mut forged = tokens.clone();
    forged[7] = 1234;
    let own = judge(&gpu, &mut model, prompt, &forged, Sampling::GREEDY);
    assert!(most(&own[..7]) < 0.02 && own[7] > 1.0, "{own:?}");
}

#[test]
fn what_was_drawn_is_drawn_again_from_the_same_seed() {
    let (gpu, mut model) = open();
    let prompt = question(&model, "Tell me about a small town.");
    let drawn = |seed| Sampling { temperature: 0.8, top_k: 40, top_p: 0.95, seed };
    let texts = [(prompt.as_slice(), 16, drawn(1)), (&prompt, 16, drawn(2)), (&prompt, 16, drawn(1))];
    let written = write(&gpu, &mut model, &texts);
    assert_eq!(written[0], written[2]);
    assert_ne!(written[0], written[1]);
    let margins = |model: &mut TextModel, sampling| judge(&gpu, model, &prompt, &written[0].0, sampling);
    let (own, other) = (margins(&mut model, drawn(1)), margins(&mut model, drawn(3)));
    assert!(most(&own) < 0.05, "{own:?}");
    assert!(mean(&other) > 0.1, "{other:?}");
}

#[test]
fn long_prompts_and_late_comers_share_passes_and_the_cache() {
    let (gpu, mut model) = open();
    let long = question(&model, &"All work and no play makes Jack a dull boy. ".repeat(24));
    assert!(long.len() > 200, "{}", long.len());
    let short = question(&model, "Hi");
    // While the long prompt is read, a text that came before it goes on, and one that came after it waits.
    assert!(model.admit(&gpu, 1, &short, 40, Sampling::GREEDY).unwrap());
    let first: Vec<_> = (0..40).flat_map(|_| model.step(&gpu).unwrap()).take(2).collect();
    assert!(first.iter().all(|step| step.id == 1));
    assert!(model.admit(&gpu, 2, &long, 8, Sampling::GREEDY).unwrap());
    let before_long = model.step(&gpu).unwrap();
    assert_eq!(before_long.iter().map(|step| step.id).collect::<Vec<_>>(), [1]);
    // 48 MiB hold 2,184 tokens, but a request of 500 more leaves no room for four others of that length.
    for id in 3..=5 {
        assert!(model.admit(&gpu, id, &long, 512 - long.len() as u32, Sampling::GREEDY).unwrap());
    }
    assert!(!model.admit(&gpu, 6, &long, 512 - long.len() as u32, Sampling::GREEDY).unwrap());
    assert!(!model.judge(&gpu, 6, &long, &long[..500 - long.len()], Sampling::GREEDY).unwrap());
    for id in 3..=5 {
        model.cancel(&gpu, id).unwrap();
    }
    // Cancelled requests are gone, unknown ones are no fault.
    model.cancel(&gpu, 77).unwrap();
    let mut tokens = Vec::new();
    while model.is_busy() {
        let steps = model.step(&gpu).unwrap();
        assert!(steps.iter().all(|step| step.id <= 2));
        tokens.extend(steps.into_iter().filter_map(|step| match step.outcome {
            Outcome::Written(token, _) if step.id == 2 => Some(token),
            _ => None,
        }));
    }
    let judged = margins_of_candle(&long, &tokens);
    assert!(mean(&judged) <= 0.05 && most(&judged) <= 0.5, "{judged:?}");
    assert!(model.free_pages_are_zero(&gpu).unwrap());
}

#[test]
fn requests_that_cannot_be_are_refused_and_the_next_is_unharmed() {
    let (gpu, mut model) = open();
    assert_eq!(model.limits(), TextLimits { cache_bytes: model.limits().cache_bytes, ..LIMITS });
    assert!(model.limits().cache_bytes <= LIMITS.cache_bytes);
    let prompt = question(&model, "Hi");
    let mut refused = |prompt: &[u32], max_tokens, sampling| {
        let error = model.admit(&gpu, 9, prompt, max_tokens, sampling).unwrap_err();
        let problem = Problem::from(error);
        assert_eq!(problem.code, Code::Invalid, "{problem}");
        problem.message
    };
    assert!(refused(&[], 5, Sampling::GREEDY).contains("no token"));
    assert!(refused(&[1, 49_152], 5, Sampling::GREEDY).contains("49152"));
    assert!(refused(&prompt, 0, Sampling::GREEDY).contains("max_tokens is 0"));
    assert!(refused(&prompt, 512, Sampling::GREEDY).contains("512"));
    assert!(refused(&prompt, u32::MAX, Sampling::GREEDY).contains("context holds 512"));
    assert!(refused(&prompt, 5, Sampling { temperature: f64::NAN, ..Sampling::GREEDY }).contains("temperature"));
    let mut scored = |prompt: &[u32], claimed: &[u32]| {
        model.judge(&gpu, 9, prompt, claimed, Sampling::GREEDY).unwrap_err().to_string()
    };
    assert!(scored(&prompt, &[]).contains("no token is claimed"));
    assert!(scored(&prompt, &[u32::MAX]).contains("there is no token"));
    assert!(scored(&[], &[1]).contains("no token"));
    assert!(scored(&prompt, &[1; 512]).contains("context holds 512"));
    assert!(model.step(&gpu).unwrap().is_empty());
    assert!(model.admit(&gpu, 9, &prompt, 2, Sampling::GREEDY).unwrap());
    assert!(model.admit(&gpu, 9, &prompt, 2, Sampling::GREEDY).unwrap_err().to_string().contains("under way"));
    while model.is_busy() {
        model.step(&gpu).unwrap();
    }
}

#[test]
fn other_files_are_refused() {
    let gpu = Gpu::open().unwrap();
    let foreign = TextModel::open(&gpu, &path(), Sha256::of(b"another"), LIMITS).err().unwrap();
    assert!(matches!(foreign, Error::ModelHash { .. }), "{foreign}");
    let missing =
        TextModel::open(&gpu, &path().with_extension("gone"), SMOLLM2.weights().sha256, LIMITS).err().unwrap();
    assert!(matches!(missing, Error::ModelFile { .. }), "{missing}");
}

#[test]
fn passes_are_timed() {
    let gpu = Gpu::open().unwrap();
    let mut bench = Bench::of_file(&gpu, &path()).unwrap();
    for refused in [0, MAX_SEQUENCES + 1] {
        assert!(matches!(bench.decode(&gpu, refused, &Sampling::GREEDY), Err(Error::Invalid(_))));
        assert!(matches!(Bench::llama3_8b(&gpu, 3 * refused), Err(Error::Invalid(_))));
    }
    let drawn = Sampling { temperature: 0.8, top_k: 0, top_p: 0.95, seed: 1 };
    for (sequences, sampling) in [(1, Sampling::GREEDY), (MAX_SEQUENCES, Sampling::GREEDY), (MAX_SEQUENCES, drawn)] {
        bench.decode(&gpu, sequences, &sampling).unwrap();
        let seconds = bench.decode(&gpu, sequences, &sampling).unwrap();
        println!("{sequences} sequences, {sampling:?}: {:.1} tokens/s", f64::from(sequences) / seconds);
        assert!(seconds > 0.0);
    }
    bench.prefill(&gpu).unwrap();
    let seconds = bench.prefill(&gpu).unwrap();
    println!("prompt: {:.1} tokens/s", f64::from(bench.prefill_tokens()) / seconds);
    assert!(seconds > 0.0);
}
