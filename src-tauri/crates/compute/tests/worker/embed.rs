//! MiniLM against candle's BERT on the CPU.

use crate::{model_dir, open};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tender_base::{Code, Problem, catalogue::MINILM};
use tender_compute::{
    Error,
    embed::{self, Encoder, Tokens},
};

const WIDTH: usize = 384;
const LICENCE: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software \
    and associated documentation files (the \"Software\"), to deal in the Software without restriction, including \
    without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of \
    the Software, and to permit persons to whom the Software is furnished to do so, subject to the conditions below.";

fn sentences() -> Vec<String> {
    let mut texts: Vec<String> = [
        "A call for tenders is how the Contract Net allocates work.",
        "The cat sat on the mat.",
        "",
        "GPU-Rechner, naïve café — 東京 🚀!",
        "What does a token cost when the card is power-limited to 200 W?",
        LICENCE,
    ]
    .map(String::from)
    .to_vec();
    // Longer than the model takes: truncated.
    texts.push(LICENCE.repeat(6));
    texts
}

fn reference(dir: &std::path::Path, ids: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let config: Config = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let vars = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).unwrap();
    let model = BertModel::load(vars, &config).unwrap();
    ids.iter()
        .map(|ids| {
            let ids = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let hidden = model.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
            hidden.mean(1).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn vectors_match_candle_and_parts_match_the_whole() {
    let (gpu, matmul) = open();
    let dir = model_dir();
    let encoder = Encoder::open(&gpu, &matmul, &dir, MINILM.weights().sha256).unwrap();
    let texts = sentences();
    let ids = encoder.tokens().encode(&texts).unwrap();
    assert_eq!(ids[2], [101, 102]);
    assert_eq!(ids[6].len(), 256);
    let tokens: u64 = ids.iter().map(|i| i.len() as u64).sum();
    let input = serde_json::to_vec(&texts).unwrap();
    let declared = (texts.len() as u32, tokens);
    let out = embed::run(&gpu, &matmul, &encoder, declared, &input, None, &mut |_, _| {}).unwrap();
    assert_eq!(out.units, tokens);
    let vectors = floats(&out.bytes);
    let worst = vectors
        .chunks_exact(WIDTH)
        .zip(reference(&dir, &ids))
        .map(|(ours, theirs)| cosine(ours, &theirs))
        .fold(1.0, f64::min);
    println!("smallest cosine against candle: {worst}");
    assert!(worst > 0.99999, "{worst}");

    let parts = embed::run(&gpu, &matmul, &encoder, declared, &input, Some(&[4, 0]), &mut |_, _| {}).unwrap();
    assert_eq!(parts.units, (ids[4].len() + ids[0].len()) as u64);
    let parts = floats(&parts.bytes);
    assert_eq!(parts.len(), 2 * WIDTH);
    assert!(cosine(&parts[..WIDTH], &vectors[4 * WIDTH..5 * WIDTH]) > 0.999_999);
    assert!(cosine(&parts[WIDTH..], &vectors[..WIDTH]) > 0.999_999);

    let wrong = |declared, parts| {
        embed::run(&gpu, &matmul, &encoder, declared, &input, parts, &mut |_, _| {}).unwrap_err().to_string()
    };
    assert!(wrong((6, tokens), None).contains("passages"));
    assert!(wrong((declared.0, tokens + 1), None).contains("tokens"));
    assert!(wrong(declared, Some(&[7])).contains("passage 7"));
}

#[test]
fn two_dozen_passages_take_seconds() {
    let (gpu, matmul) = open();
    let encoder = Encoder::open(&gpu, &matmul, &model_dir(), MINILM.weights().sha256).unwrap();
    let texts = vec![LICENCE.to_owned(); 24];
    let ids = encoder.tokens().encode(&texts).unwrap();
    let tokens: usize = ids.iter().map(Vec::len).sum();
    let input = serde_json::to_vec(&texts).unwrap();
    for run in ["first", "second"] {
        let started = std::time::Instant::now();
        embed::run(&gpu, &matmul, &encoder, (24, tokens as u64), &input, None, &mut |_, _| {}).unwrap();
        println!("{run} run of 24 passages, {tokens} tokens: {:?}", started.elapsed());
        // Five seconds on two idle cores; the limit is far above, for machines that build something meanwhile.
        assert!(started.elapsed().as_secs() < 60);
    }
}

#[test]
fn foreign_and_missing_weights_are_refused() {
    let (gpu, matmul) = open();
    let refused = |dir: &std::path::Path, sha256| Encoder::open(&gpu, &matmul, dir, sha256).err().unwrap();
    let unknown = refused(&model_dir(), tender_base::Sha256::of(b"other weights"));
    assert!(matches!(unknown, Error::UnknownModel(_)));

    let dir = std::env::temp_dir().join(format!("tender-compute-{}", std::process::id()));
    let missing = Problem::from(refused(&dir, MINILM.weights().sha256));
    assert_eq!(missing.code, Code::NotFound);
    assert!(missing.message.contains("tokenizer.json") && missing.hint.contains("tender models get"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(model_dir().join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
    // Other numbers would give other vectors.
    let config = std::fs::read_to_string(model_dir().join("config.json")).unwrap();
    std::fs::write(dir.join("config.json"), config.replace("1e-12", "1e-05")).unwrap();
    let changed = Problem::from(refused(&dir, MINILM.weights().sha256));
    assert!(changed.code == Code::Forged && changed.message.contains("config.json"), "{changed:?}");
    let uncounted = Problem::from(Tokens::open(&dir).err().unwrap());
    assert!(uncounted.code == Code::Forged && uncounted.message.contains("config.json"), "{uncounted:?}");
    std::fs::write(dir.join("config.json"), config).unwrap();
    Tokens::open(&dir).unwrap();
    std::fs::write(dir.join("model.safetensors"), b"forged").unwrap();
    let forged = Problem::from(refused(&dir, MINILM.weights().sha256));
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(forged.code, Code::Forged);
    assert!(forged.message.contains("model.safetensors"));
}
