use super::*;
use proptest::prelude::*;
use serde_json::json;

/// The configuration of all-MiniLM-L6-v2, as far as it matters.
fn minilm() -> Value {
    json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 6, "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "use_cache": true
    })
}

fn read(json: &Value) -> Result<BertConfig, Error> {
    BertConfig::from_json(Path::new("config.json"), json.to_string().as_bytes())
}

fn with(name: &str, value: Value) -> Value {
    let mut json = minilm();
    json[name] = value;
    json
}

fn without(name: &str) -> Value {
    let mut json = minilm();
    json.as_object_mut().unwrap().remove(name);
    json
}

#[test]
fn known_encoders_are_read() {
    let config = read(&minilm()).unwrap();
    let expected = BertConfig {
        width: 384,
        inner: 1536,
        layers: 6,
        heads: 12,
        words: 30_522,
        positions: 512,
        types: 2,
        epsilon: 1e-12,
        pooling: Pooling::Mean,
    };
    assert_eq!(config, expected);
    // Nothing of it is padded.
    assert_eq!([config.hidden(), config.attended(), config.wide()].map(Side::padded), [384, 384, 1536]);
    assert_eq!((config.most_tokens(), config.token_flop()), (256, 21_233_664));
    // Base, large, and rubert-tiny2 with its heads of 26 numbers.
    for (width, heads, inner, words, padded) in [
        (768, 12, 3072, 30_522, [768, 768, 3072]),
        (1024, 16, 4096, 30_522, [1024, 1024, 4096]),
        (312, 12, 600, 83_828, [384, 384, 640]),
    ] {
        let mut json = minilm();
        json["hidden_size"] = width.into();
        json["num_attention_heads"] = heads.into();
        json["intermediate_size"] = inner.into();
        json["vocab_size"] = words.into();
        let config = read(&json).unwrap();
        assert_eq!([config.hidden(), config.attended(), config.wide()].map(Side::padded), padded, "{width}");
    }
    // Newer files do not say how positions are embedded.
    assert_eq!(read(&without("position_embedding_type")).unwrap(), expected);
}

#[test]
fn numbers_of_a_head_begin_at_whole_vec4() {
    let side = Side { groups: 2, group: 3, stride: 4 };
    assert_eq!((side.len(), side.padded()), (6, ROW));
    assert_eq!(side.places().collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6]);
    assert_eq!(plain(3).places().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (field, value, says) in [
        ("model_type", json!("distilbert"), "only \"bert\""),
        ("hidden_act", json!("gelu_new"), "only \"gelu\""),
        ("hidden_act", json!("relu"), "\"relu\""),
        ("position_embedding_type", json!("relative_key_query"), "\"relative_key_query\""),
        ("is_decoder", json!(true), "only encoders"),
        ("hidden_size", json!(4096), "at most 2048"),
        ("intermediate_size", json!(8193), "at most 8192"),
        ("num_hidden_layers", json!(u64::MAX), "at most 64"),
        ("num_attention_heads", json!(96), "at most 64"),
        ("num_attention_heads", json!(2), "at most 128 numbers, not 192"),
        // 128 MiB hold 87,381 rows of 384 numbers.
        ("vocab_size", json!(250_037), "at most 87381"),
        ("max_position_embeddings", json!(1 << 20), "at most 65536"),
        ("type_vocab_size", json!(5000), "at most 1024"),
        ("layer_norm_eps", json!(0.0), "1e-20 to 0.1"),
        ("layer_norm_eps", json!(-1e-12), "1e-20 to 0.1"),
        ("layer_norm_eps", json!(1e-60), "1e-20 to 0.1"),
        ("layer_norm_eps", json!(1e300), "1e-20 to 0.1"),
    ] {
        let error = read(&with(field, value)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::ModelUnsupported { .. }), "{text}");
        assert!(text.contains(field) && text.contains(says) && text.contains("config.json"), "{text}");
    }
}

#[test]
fn broken_fields_are_named() {
    let sizes = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
    ];
    let refused = |json: &Value, field: &str| {
        let error = read(json).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::ModelFile { .. }) && text.contains(field), "{field}: {text}");
        assert!(text.len() < 200, "{text}");
    };
    let long = "9".repeat(100_000);
    for field in sizes {
        for value in
            [json!(0), json!(-384), json!(38.4), json!("384"), json!(long), json!(null), json!([384]), json!({})]
        {
            refused(&with(field, value), field);
        }
    }
    for field in sizes.into_iter().chain(["model_type", "hidden_act", "layer_norm_eps"]) {
        refused(&without(field), field);
    }
    refused(&with("num_attention_heads", json!(7)), "num_attention_heads = 7");
    refused(&with("layer_norm_eps", json!("small")), "layer_norm_eps");
    refused(&with("hidden_act", json!(7)), "hidden_act");
    refused(&with("is_decoder", json!("no")), "is_decoder");
    for json in ["", "[]", "null", "{", "\u{feff}{}", &"[".repeat(100_000)] {
        let error = BertConfig::from_json(Path::new("config.json"), json.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::ModelFile { .. }), "{error}");
    }
}

#[test]
fn pooling_is_the_one_that_is_on() {
    let read = |json: Value| Pooling::from_json(Path::new("pooling"), json.to_string().as_bytes(), 384);
    let mean =
        json!({ "word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true });
    assert_eq!(read(mean).unwrap(), Pooling::Mean);
    assert_eq!(read(json!({ "pooling_mode_cls_token": true })).unwrap(), Pooling::Cls);
    for (json, says) in [
        (json!({}), "pooling_mode_mean_tokens"),
        (json!({ "pooling_mode_max_tokens": true }), "pooling_mode_max_tokens"),
        (json!({ "pooling_mode_lasttoken": true }), "pooling_mode_lasttoken"),
        (json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true }), "only one"),
        (json!({ "pooling_mode_cls_token": 1 }), "pooling_mode_cls_token is 1"),
        (json!({ "pooling_mode_cls_token": true, "word_embedding_dimension": 768 }), "word_embedding_dimension is 768"),
        (json!({ "pooling_mode_cls_token": true, "word_embedding_dimension": 0 }), "word_embedding_dimension is 0"),
    ] {
        let text = read(json).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = minilm().to_string().into_bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(config) = BertConfig::from_json(Path::new("config.json"), &bytes) {
            // Every side is whole tiles, and fits into a texture of 8192 vec4.
            let widest = 3 * config.attended().padded().max(config.wide().padded());
            prop_assert!(widest / 4 <= 8192 && config.head_dim() * config.heads == config.width);
            prop_assert!(config.token_flop() > 0 && config.words * config.hidden().padded() * 4 <= 128 << 20);
        }
    }
}
