//! Runtimes of language models that the owner attached, on this machine or in a cloud.

use super::ApiProblem;
use serde::{Deserialize, Serialize};

api_types! {
    /// Every attached runtime.
    pub struct Runtimes {
        /// In the order of attaching.
        pub runtimes: Vec<RuntimeRow>,
    }

    /// One attached runtime. What it did not say is absent.
    pub struct RuntimeRow {
        /// What the owner calls it.
        pub name: String,
        /// Where it is.
        pub address: String,
        /// On this machine, or a cloud from which is bought.
        #[cfg_attr(test, ts(type = "'this_machine' | 'cloud'"))]
        pub place: String,
        /// Whether it answers: `connecting` is before the first answer, for `fault` see `problem`.
        #[cfg_attr(test, ts(type = "'connected' | 'connecting' | 'fault'"))]
        pub state: String,
        /// The model whose jobs it does; none for a cloud that may do every text.
        pub serves: Option<String>,
        /// Its own name for the model.
        pub model: Option<String>,
        /// Which program, such as `llama-server`.
        pub engine: Option<String>,
        /// Its version.
        pub build: Option<String>,
        /// Quantisation of the weights.
        pub quantisation: Option<String>,
        /// Most tokens of a prompt and its text together.
        pub context_tokens: Option<u32>,
        /// Texts at the same time.
        pub slots: Option<u32>,
        /// Whether clients may have texts from it.
        pub for_sale: bool,
        /// What it is used for, in a sentence.
        pub about: String,
        /// Whether a key is kept for it.
        pub has_key: bool,
        /// What a cloud asks for a million tokens of prompt.
        pub prompt_micro_usd_per_million: Option<u64>,
        /// What a cloud asks for a million tokens of text.
        pub text_micro_usd_per_million: Option<u64>,
        /// Why it does not answer.
        pub problem: Option<ApiProblem>,
    }

    /// Attach a runtime. It is tried first, and has to write one token.
    pub struct AttachRuntimeInput {
        /// What it is to be called: letters, digits, `-` and `_`.
        pub name: String,
        /// `127.0.0.1:8080` on this machine, `https://HOST/v1` for a cloud.
        pub address: String,
        /// Its own name for the model; not needed when it has only one.
        pub model: Option<String>,
        /// The model whose jobs it does, as `models` lists it. Needed on this machine; a cloud without does every text.
        pub serves: Option<String>,
        /// Texts at the same time; what the runtime says when absent.
        pub slots: Option<u32>,
        /// The key that it asks for; it goes to the secret store.
        pub key: Option<String>,
        /// A cloud's price of a million tokens of prompt. Both prices make it a cloud.
        pub prompt_micro_usd_per_million: Option<u64>,
        /// A cloud's price of a million tokens of text.
        pub text_micro_usd_per_million: Option<u64>,
    }

    /// One runtime by name.
    pub struct ByRuntime {
        /// As listed.
        pub name: String,
    }
}
