use super::*;
use crate::text::gguf::tests::{Writer, smollm2};

/// A small model of zeros: two layers, width 64, four heads of 16 numbers, two of them for keys and values.
pub(in crate::text) fn tiny(architecture: &str, tokens: &[String]) -> Writer {
    let mut file = Writer::new();
    let key = |rest: &str| format!("{architecture}.{rest}");
    file.text("general.architecture", architecture)
        .u32(&key("block_count"), 2)
        .u32(&key("embedding_length"), 64)
        .u32(&key("attention.head_count"), 4)
        .u32(&key("attention.head_count_kv"), 2)
        .u32(&key("feed_forward_length"), 96)
        .u32(&key("context_length"), 128)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .strings("tokenizer.ggml.tokens", tokens)
        .zeros("token_embd.weight", &[64, tokens.len() as u64], Format::Q8_0)
        .zeros("output_norm.weight", &[64], Format::F32);
    for layer in 0..2 {
        let name = |rest: &str| format!("blk.{layer}.{rest}");
        for (norm, bias_or_norm) in [("attn_norm.weight", 64), ("ffn_norm.weight", 64)] {
            file.zeros(&name(norm), &[bias_or_norm], Format::F32);
        }
        for (matrix, shape) in [
            ("attn_q.weight", [64, 64]),
            ("attn_k.weight", [64, 32]),
            ("attn_v.weight", [64, 32]),
            ("attn_output.weight", [64, 64]),
            ("ffn_gate.weight", [64, 96]),
            ("ffn_up.weight", [64, 96]),
            ("ffn_down.weight", [96, 64]),
        ] {
            file.zeros(&name(matrix), &shape, Format::Q4_0);
        }
        if architecture == "qwen2" {
            for (bias, size) in [("attn_q.bias", 64), ("attn_k.bias", 32), ("attn_v.bias", 32)] {
                file.zeros(&name(bias), &[size], Format::F32);
            }
        }
        if architecture == "qwen3" {
            file.zeros(&name("attn_q_norm.weight"), &[16], Format::F32);
            file.zeros(&name("attn_k_norm.weight"), &[16], Format::F32);
        }
    }
    file
}

fn five() -> Vec<String> {
    ["a", "b", "c", "d", "e"].map(String::from).to_vec()
}

#[test]
fn smollm2_is_what_its_card_says() {
    let config = Config::read(&smollm2()).unwrap();
    let expected = Config {
        architecture: Architecture::Llama,
        layers: 30,
        width: 576,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        feed_forward: 1536,
        vocabulary: 49_152,
        context: 8192,
        rms_epsilon: 1e-5,
        rope: Rope { base: 100_000.0, layout: RopeLayout::Neighbours, linear: 1.0, factors: Vec::new() },
        tied_output: true,
        qkv_bias: false,
        head_norm: false,
        // The file without its header of 1,785,664 bytes: no tensor needs padding.
        weight_bytes: 96_576_768,
    };
    assert_eq!(config, expected);
    assert_eq!(config.cache_bytes_per_token(), 2 * 30 * 3 * 64 * CACHE_NUMBER_BYTES);
}

#[test]
fn each_family_is_read() {
    let llama = Config::read(&tiny("llama", &five()).gguf()).unwrap();
    assert_eq!((llama.head_dim, llama.rope.base, llama.qkv_bias, llama.head_norm), (16, 10_000.0, false, false));
    assert_eq!((llama.rope.layout, llama.tied_output), (RopeLayout::Neighbours, true));
    let qwen2 = Config::read(&tiny("qwen2", &five()).gguf()).unwrap();
    assert_eq!((qwen2.rope.layout, qwen2.qkv_bias, qwen2.head_norm), (RopeLayout::Halves, true, false));
    let qwen3 = Config::read(&tiny("qwen3", &five()).gguf()).unwrap();
    assert_eq!((qwen3.rope.layout, qwen3.qkv_bias, qwen3.head_norm), (RopeLayout::Halves, false, true));

    let mut file = tiny("llama", &five());
    file.zeros("output.weight", &[64, 5], Format::F16)
        .f32("llama.rope.freq_base", 500_000.0)
        .text("llama.rope.scaling.type", "linear")
        .f32("llama.rope.scaling.factor", 4.0)
        .tensor(ROPE_FACTORS, &[8], Format::F32, bytemuck::cast_slice(&[1f32, 1.0, 1.0, 1.0, 2.0, 8.0, 8.0, 8.0]));
    let config = Config::read(&file.gguf()).unwrap();
    assert!(!config.tied_output);
    let frequencies = config.rope.frequencies(config.head_dim);
    assert_eq!(frequencies.len(), 8);
    assert_eq!(frequencies[0], 0.25);
    let fifth = 500_000f64.powf(-8.0 / 16.0) / 4.0 / 2.0;
    assert!((f64::from(frequencies[4]) / fifth - 1.0).abs() < 1e-6);
}

#[test]
fn a_head_may_be_wider_than_its_share() {
    let mut file = tiny("qwen3", &five());
    file.u32("qwen3.attention.key_length", 32);
    for layer in 0..2 {
        let name = |rest: &str| format!("blk.{layer}.{rest}");
        file.zeros(&name("attn_q.weight"), &[64, 128], Format::F16)
            .zeros(&name("attn_k.weight"), &[64, 64], Format::F16)
            .zeros(&name("attn_v.weight"), &[64, 64], Format::F16)
            .zeros(&name("attn_output.weight"), &[128, 64], Format::F16)
            .zeros(&name("attn_q_norm.weight"), &[32], Format::F32)
            .zeros(&name("attn_k_norm.weight"), &[32], Format::F32);
    }
    assert_eq!(Config::read(&file.gguf()).unwrap().head_dim, 32);
}

#[test]
fn what_is_not_computed_or_contradicts_is_named() {
    type Change = fn(&mut Writer) -> &mut Writer;
    let cases: &[(Change, &str)] = &[
        (|f| f.text("general.architecture", "gemma3"), "architecture gemma3 is not supported"),
        (|f| f.without("general.architecture"), "general.architecture is missing"),
        (|f| f.text("general.type", "adapter"), "type adapter"),
        (|f| f.u32("split.count", 3), "split model"),
        (|f| f.u32("llama.expert_count", 8), "mixture of experts"),
        (|f| f.u32("llama.attention.sliding_window", 64), "sliding-window"),
        (|f| f.text("llama.rope.scaling.type", "yarn"), "type yarn"),
        (|f| f.text("llama.rope.scaling.type", "linear"), "is missing"),
        (|f| f.f32("llama.rope.scaling.factor", 0.0), "linear RoPE scaling is 0"),
        (|f| f.f32("llama.rope.freq_base", f32::NAN), "freq_base"),
        (|f| f.f32("llama.rope.freq_base", 0.0), "freq_base"),
        (|f| f.u32("llama.rope.dimension_count", 8), "rotated parts"),
        (|f| f.u32("llama.attention.value_length", 8), "values"),
        (|f| f.f32("llama.attn_logit_softcapping", 50.0), "soft-capped"),
        (|f| f.f32("llama.logit_scale", 0.5), "scaled logits"),
        (|f| f.flag("llama.attention.causal", false), "later tokens"),
        (|f| f.u32("llama.pooling_type", 3), "embedding model"),
        (|f| f.u32("llama.block_count", 0), "llama.block_count is 0"),
        (|f| f.u32("llama.block_count", 3), "blk.2.attn_norm.weight is missing"),
        (|f| f.u32("llama.block_count", 1), "blk.1"),
        (|f| f.u32("llama.block_count", u32::MAX), "llama.block_count is 4294967295"),
        (|f| f.raw("llama.block_count", 10, &u64::MAX.to_le_bytes()), "llama.block_count is"),
        (|f| f.raw("llama.block_count", 5, &(-1i32).to_le_bytes()), "llama.block_count"),
        (|f| f.text("llama.block_count", "2"), "llama.block_count is not a whole number"),
        (|f| f.integers("llama.attention.head_count", &[4, 4]), "llama.attention.head_count"),
        (|f| f.without("llama.embedding_length"), "llama.embedding_length is missing"),
        (|f| f.u32("llama.embedding_length", 1 << 17), "llama.embedding_length is 131072"),
        (|f| f.u32("llama.attention.head_count", 0), "head_count is 0"),
        (|f| f.u32("llama.attention.head_count_kv", 3), "4 heads cannot share 3"),
        (|f| f.u32("llama.attention.head_count", 6), "6 heads cannot share a width of 64"),
        (|f| f.u32("llama.attention.key_length", 15), "in pairs"),
        (|f| f.without("llama.attention.layer_norm_rms_epsilon"), "layer_norm_rms_epsilon is missing"),
        (|f| f.f32("llama.attention.layer_norm_rms_epsilon", -1.0), "layer_norm_rms_epsilon is -1"),
        (|f| f.without("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens is missing"),
        (|f| f.strings::<&str>("tokenizer.ggml.tokens", &[]), "0 tokens"),
        (|f| f.strings("tokenizer.ggml.tokens", &["a", "b"]), "token_embd.weight has shape [64, 5], not [64, 2]"),
        (|f| f.drop_tensor("output_norm.weight"), "output_norm.weight is missing"),
        (|f| f.zeros("output_norm.weight", &[64], Format::F16), "output_norm.weight is F16"),
        (|f| f.zeros("blk.1.ffn_down.weight", &[64, 96], Format::F16), "blk.1.ffn_down.weight has shape"),
        (|f| f.zeros("blk.0.ffn_gate_inp.weight", &[64, 8], Format::F32), "blk.0.ffn_gate_inp.weight belongs"),
        (|f| f.zeros("blk.1.attn_q.bias", &[64], Format::F32), "blk.1.attn_q.bias belongs"),
        (|f| f.zeros("blk.0.attn_q.bias", &[64], Format::F32), "blk.0.attn_k.bias is missing"),
        (|f| f.zeros(ROPE_FACTORS, &[8], Format::F32), "rope_freqs.weight holds 0"),
        (|f| f.zeros(ROPE_FACTORS, &[16], Format::F32), "not a number a pair"),
    ];
    assert!(Config::read(&tiny("llama", &five()).gguf()).is_ok());
    for (change, named) in cases {
        let mut file = tiny("llama", &five());
        let error = Config::read(&change(&mut file).gguf()).unwrap_err();
        assert!(matches!(error, Error::ModelFile { .. } | Error::ModelUnsupported { .. }), "{error}");
        assert!(error.to_string().contains(named), "{named:?} is not in {error}");
    }
    let mut wide = tiny("llama", &five());
    // A window as long as the context hides nothing.
    assert!(Config::read(&wide.u32("llama.attention.sliding_window", 128).gguf()).is_ok());
}
