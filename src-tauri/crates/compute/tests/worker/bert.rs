//! Tiny BERTs with random weights against candle's on the CPU, and folders that are not what they should be.

use candle_core::{DType, Device, Tensor, safetensors};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde_json::{Value, json};
use std::{collections::HashMap, fs, path::Path};
use tempfile::TempDir;
use tender_base::{Code, Problem};
use tender_compute::{
    Error, Gpu,
    embed::{self, Encoder, Pooling},
    matmul::{Matmul, Tiling},
};

const WORDS: usize = 100;
const POSITIONS: usize = 40;
const TEXTS: [&str; 5] = ["w5", "w10 w99 w11 w12 w13", "", "w20 w21 w22 unknown w23 w24 w25 w26", "w30 w31"];

/// Width, heads, width of the feed-forward layer.
type Shape = (usize, usize, usize);

/// A number between −1 and 1 that looks random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], middle: f32, spread: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| middle + spread * self.next()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }
}

fn config((width, heads, inner): Shape) -> Value {
    json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": 2, "num_attention_heads": heads, "vocab_size": WORDS,
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-7,
        "position_embedding_type": "absolute", "hidden_dropout_prob": 0.0, "initializer_range": 0.02,
        "pad_token_id": 0, "use_cache": true, "classifier_dropout": null
    })
}

fn tensors((width, _, inner): Shape, prefix: &str) -> HashMap<String, Tensor> {
    let mut noise = Noise(width as u64);
    let mut all = HashMap::new();
    let mut add = |name: &str, shape: &[usize], middle, spread| {
        all.insert(format!("{prefix}{name}"), noise.tensor(shape, middle, spread));
    };
    for (table, rows) in [("word", WORDS), ("position", POSITIONS), ("token_type", 2)] {
        // Off centre, so that the mean of a row is not nearly zero.
        add(&format!("embeddings.{table}_embeddings.weight"), &[rows, width], 0.3, 1.0);
    }
    let layers = ["encoder.layer.0", "encoder.layer.1"];
    let norms =
        layers.iter().flat_map(|l| [format!("{l}.attention.output.LayerNorm"), format!("{l}.output.LayerNorm")]);
    for norm in norms.chain(["embeddings.LayerNorm".to_owned()]) {
        add(&format!("{norm}.weight"), &[width], 1.0, 0.3);
        add(&format!("{norm}.bias"), &[width], 0.1, 0.3);
    }
    for layer in layers {
        for (name, outputs, inputs) in [
            ("attention.self.query", width, width),
            ("attention.self.key", width, width),
            ("attention.self.value", width, width),
            ("attention.output.dense", width, width),
            ("intermediate.dense", inner, width),
            ("output.dense", width, inner),
        ] {
            add(&format!("{layer}.{name}.weight"), &[outputs, inputs], 0.0, (3.0 / inputs as f32).sqrt());
            add(&format!("{layer}.{name}.bias"), &[outputs], 0.1, 0.3);
        }
    }
    all
}

fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special.iter().map(|s| (*s).to_owned()).chain((4..WORDS).map(|w| format!("w{w}")));
    let vocabulary: serde_json::Map<_, _> = words.zip(0..).map(|(word, id)| (word, Value::from(id))).collect();
    let token = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), text("A"), token("[SEP]")],
            "pair": [token("[CLS]"), text("A"), text("B"), token("[SEP]")],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] }
            }
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary
        }
    })
}

fn write(folder: &Path, name: &str, json: &Value) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, json.to_string()).unwrap();
}

fn folder(shape: Shape, prefix: &str, pooling: Option<&str>) -> TempDir {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "config.json", &config(shape));
    write(dir.path(), "tokenizer.json", &tokenizer());
    if let Some(mode) = pooling {
        write(dir.path(), "1_Pooling/config.json", &json!({ "word_embedding_dimension": shape.0, mode: true }));
    }
    safetensors::save(&tensors(shape, prefix), dir.path().join("model.safetensors")).unwrap();
    dir
}

/// What candle computes, scaled to length one.
fn reference(dir: &Path, shape: Shape, pooling: Pooling, ids: &[Vec<u32>]) -> Vec<f32> {
    let config: Config = serde_json::from_value(config(shape)).unwrap();
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let vars = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).unwrap();
    let model = BertModel::load(vars, &config).unwrap();
    let vector = |ids: &Vec<u32>| -> Vec<f32> {
        let ids = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let hidden = model.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap().squeeze(0).unwrap();
        let vector: Vec<f32> = match pooling {
            Pooling::Mean => hidden.mean(0).unwrap().to_vec1().unwrap(),
            Pooling::Cls => hidden.get(0).unwrap().to_vec1().unwrap(),
        };
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    };
    ids.iter().flat_map(vector).collect()
}

/// The largest difference from candle of any number of any vector.
fn worst(gpu: &Gpu, matmul: &Matmul, shape: Shape, prefix: &str, mode: Option<&str>) -> f32 {
    let dir = folder(shape, prefix, mode);
    let encoder = Encoder::load(gpu, matmul, dir.path()).unwrap();
    let pooling = if mode == Some("pooling_mode_cls_token") { Pooling::Cls } else { Pooling::Mean };
    assert_eq!((encoder.config().width, encoder.config().pooling), (shape.0, pooling));
    let mut texts: Vec<String> = TEXTS.map(String::from).to_vec();
    // Longer than the model takes: truncated.
    texts.push("w40 w41 ".repeat(POSITIONS));
    let ids = encoder.tokens().encode(&texts).unwrap();
    assert_eq!((&ids[1], ids[5].len()), (&vec![2, 10, 99, 11, 12, 13, 3], POSITIONS));
    let tokens: usize = ids.iter().map(Vec::len).sum();
    let input = serde_json::to_vec(&texts).unwrap();
    let declared = (texts.len() as u32, tokens as u64);
    let output = embed::run(gpu, matmul, &encoder, declared, &input, None, &mut |_, _| {}).unwrap();
    let ours = output.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    let theirs = reference(dir.path(), shape, pooling, &ids);
    assert_eq!(ours.len(), theirs.len());
    ours.zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn small_encoders_match_candle() {
    let (gpu, matmul) = crate::open();
    let mean = Some("pooling_mode_mean_tokens");
    let cls = Some("pooling_mode_cls_token");
    for (shape, prefix, mode) in [
        ((64, 2, 256), "", None),
        ((64, 2, 256), "", mean),
        ((64, 2, 256), "bert.", cls),
        // Nothing but padding brings these to whole tiles; heads of 8, 37 and 6 numbers.
        ((32, 4, 37), "bert.", None),
        ((37, 1, 50), "", cls),
        ((60, 10, 130), "", mean),
    ] {
        let worst = worst(&gpu, &matmul, shape, prefix, mode);
        println!("{shape:?} {mode:?}: {worst:e}");
        assert!(worst < 1e-5, "{shape:?} {mode:?}: {worst}");
    }
}

#[test]
fn the_kernels_for_cards_and_for_software_match_candle() {
    let (gpu, _) = crate::open();
    for tiling in [Tiling::Shared, Tiling::Registers] {
        let matmul = Matmul::with_tiling(&gpu, tiling);
        // The widths of base and large models, two layers of them.
        for shape in [(60, 10, 130), (768, 12, 3072), (1024, 16, 4096)] {
            let worst = worst(&gpu, &matmul, shape, "", Some("pooling_mode_cls_token"));
            println!("{tiling:?} {shape:?}: {worst:e}");
            assert!(worst < 1e-5, "{tiling:?} {shape:?}: {worst}");
        }
    }
}

#[test]
fn folders_that_are_not_what_they_should_be_are_refused() {
    let (gpu, matmul) = crate::open();
    let shape = (32, 4, 37);
    let dir = folder(shape, "", None);
    let refused = || Encoder::load(&gpu, &matmul, dir.path()).err().unwrap();
    let with = |name: &str, value: Value| {
        let mut config = config(shape);
        config[name] = value;
        write(dir.path(), "config.json", &config);
    };
    // Weights that contradict the configuration.
    for (field, value, says) in [
        ("hidden_size", json!(64), "word_embeddings"),
        ("vocab_size", json!(WORDS + 1), "word_embeddings"),
        ("max_position_embeddings", json!(POSITIONS - 1), "position_embeddings"),
        ("type_vocab_size", json!(1), "token_type_embeddings"),
        ("intermediate_size", json!(38), "intermediate.dense"),
        ("num_hidden_layers", json!(3), "encoder.layer.2"),
        ("max_position_embeddings", json!(1), "adds 2 tokens"),
    ] {
        with(field, value);
        let error = refused();
        assert!(matches!(error, Error::ModelFile { .. }) && error.to_string().contains(says), "{field}: {error}");
    }
    // Configurations that are refused before a weight is read.
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("elsewhere")).unwrap();
    for (field, value) in [
        ("hidden_act", json!("relu")),
        ("position_embedding_type", json!("relative_key")),
        ("vocab_size", json!(1 << 20)),
        ("num_attention_heads", json!(5)),
        ("num_hidden_layers", json!(0)),
    ] {
        with(field, value);
        let error = refused().to_string();
        assert!(error.contains(field) && error.contains("config.json"), "{error}");
    }
    with("hidden_act", json!("gelu"));
    write(dir.path(), "1_Pooling/config.json", &json!({ "pooling_mode_max_tokens": true }));
    let problem = Problem::from(refused());
    assert!(problem.message.contains("pooling_mode_max_tokens"), "{problem:?}");
    assert_eq!(problem.code, Code::Unavailable);
    fs::remove_file(dir.path().join("1_Pooling/config.json")).unwrap();
    assert!(refused().to_string().contains("model.safetensors"));
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(refused().to_string().contains("config.json"));
}

#[test]
fn passages_outside_the_model_are_refused() {
    let (gpu, matmul) = crate::open();
    let dir = folder((32, 4, 37), "", None);
    let encoder = Encoder::load(&gpu, &matmul, dir.path()).unwrap();
    for (ids, says) in [
        (vec![2, WORDS as u32, 3], "outside the vocabulary"),
        (vec![5; POSITIONS + 1], "not 1 to 40"),
        (vec![], "0 tokens"),
    ] {
        let error = encoder.encode(&gpu, &matmul, &[&vec![2, 3], &ids], &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains(says), "{error}");
    }
}
