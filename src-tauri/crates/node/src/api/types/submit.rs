//! What the owner wants computed.

use serde::{Deserialize, Serialize};

api_types! {
    /// Buy a job.
    pub struct SubmitInput {
        /// The work with its input.
        pub work: SubmitWork,
        /// The most it may cost.
        pub budget_micro_usd: i64,
        /// The result must be there after so many seconds; 300 when absent.
        pub deadline_seconds: Option<u32>,
        /// Only the own GPU may see the input.
        pub private: Option<bool>,
        /// Decide only; run nothing.
        pub dry_run: Option<bool>,
        /// Never run it here, even if that is cheapest.
        pub peers_only: Option<bool>,
    }

    /// Work with its input.
    #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
    pub enum SubmitWork {
        /// Have a language model write text: a chat, or the continuation of a prompt.
        Generate {
            /// Name of the model; the catalogue's first when absent.
            model: Option<String>,
            /// The chat so far.
            messages: Option<Vec<SubmitMessage>>,
            /// Text to continue, instead of a chat.
            prompt: Option<String>,
            /// Tokens to write at most; 256 when absent.
            max_tokens: Option<u32>,
            /// 0, when absent, always takes the likeliest token; at most 2.
            temperature: Option<f64>,
            /// Only so many of the likeliest tokens; 0, when absent, for all.
            top_k: Option<u32>,
            /// Only the likeliest tokens that together have this probability; 1 when absent.
            top_p: Option<f64>,
            /// Seed of the draw; 0 when absent.
            seed: Option<u64>,
            /// The text ends before the first of these.
            stop: Option<Vec<String>>
        },
        /// Embed passages of text.
        Embed {
            /// Name of the encoder; the catalogue's first when absent.
            #[cfg_attr(test, ts(optional))]
            model: Option<String>,
            /// The texts.
            passages: Vec<String>
        },
        /// Multiply two matrices.
        Gemm {
            /// Rows of A.
            m: u32,
            /// Columns of A.
            k: u32,
            /// Columns of B.
            n: u32,
            /// `f32` when absent, or `f16`: the elements of A and B. The product is f32.
            #[cfg_attr(test, ts(optional))]
            precision: Option<String>,
            /// A then B, row-major little-endian, base64.
            input_base64: String
        },
        /// Run a kernel of the catalogue.
        Kernel {
            /// `sum`, `mean`, `norm`, `max`, `min`, `arg_max`, `softmax`, `layer_norm`, `rms_norm`, `monte_carlo_pi`
            /// or `monte_carlo_call`.
            name: String,
            /// Rows of the matrix, or blocks of random paths.
            rows: u32,
            /// Elements of a row, or paths of a block.
            columns: u32,
            /// The matrix, row-major little-endian f32, then gain and shift for `layer_norm`, gain for `rms_norm`; for
            /// `monte_carlo_*` a little-endian u64 as seed, then spot, strike, rate, volatility and years as f32 for
            /// `monte_carlo_call`. Base64.
            input_base64: String
        },
        /// Run a kernel.
        Wgsl {
            /// WGSL source.
            source: String,
            /// Entry point.
            entry: String,
            /// Workgroups of the one-dimensional grid.
            workgroups: u32,
            /// Invocations per workgroup, as in the source.
            workgroup_size: u32,
            /// Loop iterations per invocation.
            fuel: u32,
            /// `u32` or `f32`: how results are compared.
            element: String,
            /// Storage buffers of group 0.
            buffers: Vec<SubmitBuffer>
        }
    }

    /// A message of a chat.
    pub struct SubmitMessage {
        /// `system`, `user` or `assistant`.
        pub role: String,
        /// What was said.
        pub content: String,
    }

    /// A storage buffer of a kernel.
    pub struct SubmitBuffer {
        /// The binding.
        pub binding: u32,
        /// Length in bytes.
        pub bytes: u32,
        /// Content, base64; absent for the one output buffer.
        pub data_base64: Option<String>,
    }
}
