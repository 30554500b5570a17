//! Small jobs, and what their outputs must be.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tender_node::api::types::{SubmitBuffer, SubmitInput, SubmitMessage, SubmitWork};

/// A dollar, in micro-dollars: enough for every job here.
pub const DOLLAR: i64 = 1_000_000;

/// A job for peers only.
#[must_use]
pub fn for_peers(work: SubmitWork) -> SubmitInput {
    SubmitInput { peers_only: Some(true), ..for_anyone(work) }
}

/// A job for whoever is cheapest.
#[must_use]
pub fn for_anyone(work: SubmitWork) -> SubmitInput {
    SubmitInput {
        work,
        budget_micro_usd: DOLLAR,
        deadline_seconds: Some(120),
        private: None,
        dry_run: None,
        peers_only: None,
    }
}

/// Three passages, two of them alike.
#[must_use]
pub fn embed() -> SubmitWork {
    let passages = ["A cat sat on the mat.", "The cat is sitting on a mat.", "Interest rates rose again in autumn."];
    SubmitWork::Embed { model: None, passages: passages.map(str::to_owned).to_vec() }
}

/// An answer to a question, of so many tokens at most.
#[must_use]
pub fn generate(question: &str, max_tokens: u32) -> SubmitWork {
    let message = SubmitMessage { role: "user".to_owned(), content: question.to_owned() };
    SubmitWork::Generate {
        model: None,
        messages: Some(vec![message]),
        prompt: None,
        max_tokens: Some(max_tokens),
        temperature: None,
        top_k: None,
        top_p: None,
        seed: None,
        stop: None,
    }
}

/// A (`side` × `side`) times the identity: the product is A.
#[must_use]
pub fn gemm(side: u32) -> SubmitWork {
    SubmitWork::Gemm { m: side, k: side, n: side, precision: None, input_base64: BASE64.encode(gemm_input(side)) }
}

/// The bytes of [`gemm`]'s input.
#[must_use]
pub fn gemm_input(side: u32) -> Vec<u8> {
    let n = u64::from(side);
    let a = (0..n * n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0);
    let identity = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 });
    a.chain(identity).flat_map(f32::to_le_bytes).collect()
}

/// A kernel that writes `id · 3 + 1`, after a loop that takes about as long as `spin` says.
#[must_use]
pub fn wgsl(workgroups: u32, spin: u32) -> SubmitWork {
    let source = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = id.x;
    for (var i = 0u; i < SPINu; i++) {
        x = x * 747796405u + 2891336453u;
    }
    // Depends on the loop, which must not be optimised away; never true in the end.
    out[id.x] = select(id.x * 3u + 1u, 7u, x == 0u && id.x == 0xffffffffu);
}
"
    .replace("SPIN", &spin.to_string());
    kernel(source, workgroups, spin + 8)
}

/// A `u32` kernel over 64 invocations per workgroup with one output.
#[must_use]
pub fn kernel(source: String, workgroups: u32, fuel: u32) -> SubmitWork {
    SubmitWork::Wgsl {
        source,
        entry: "main".to_owned(),
        workgroups,
        workgroup_size: 64,
        fuel,
        element: "u32".to_owned(),
        buffers: vec![SubmitBuffer { binding: 0, bytes: workgroups * 64 * 4, data_base64: None }],
    }
}

/// What [`wgsl`] must deliver.
#[must_use]
pub fn wgsl_output(workgroups: u32) -> Vec<u8> {
    (0..workgroups * 64).flat_map(|id| (id * 3 + 1).to_le_bytes()).collect()
}
