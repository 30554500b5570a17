//! The jobs that are measured, in the size that a run can afford.

use crate::{
    api::types::{SubmitBuffer, SubmitWork},
    client::Tokens,
    node::Node,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tender_base::{JobKind, Problem, Work};
use tender_engine::Tenant;

/// How much work a job is, relative to the least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size(f64);

impl Size {
    /// A fraction of a second on two processor cores.
    pub(super) const LEAST: Self = Self(1.0);

    /// So many times as much.
    pub(super) fn grown(self, times: f64) -> Self {
        Self(self.0 * times)
    }

    /// `least` times the size, at most `most`.
    fn of(self, least: u32, most: u32) -> u32 {
        ((f64::from(least) * self.0) as u32).clamp(least, most)
    }
}

/// Side of the least product and of the largest: its input has 33 MB.
const SIDES: (u32, u32) = (256, 2048);
const SIDE_STEP: u32 = 64;
/// Passages of embeddings.
const PASSAGES: (u32, u32) = (4, 1024);
/// Blocks of paths of an option, and paths of one.
const BLOCKS: (u32, u32) = (16, 1 << 16);
const PATHS: u32 = 1 << 12;
/// Workgroups of the kernel in WGSL, invocations of one, and rounds of one invocation.
const WORKGROUPS: (u32, u32) = (16, 1 << 14);
const WORKGROUP_SIZE: u32 = 64;
const ROUNDS: u32 = 500;
/// Tokens of a text.
const TOKENS: (u32, u32) = (8, 128);
/// What is embedded, and what a text goes on from.
const SENTENCES: [&str; 4] = [
    "A contractor sells spare compute to a client, and is paid for what was measured.",
    "The cat sat on the mat.",
    "What does a token cost when the card is limited to half of its power, and the night's tariff holds?",
    "Every decision leaves a receipt that can be replayed bit for bit.",
];

/// A hash in a loop: integer work that no compiler can leave out.
const KERNEL: &str = "@group(0) @binding(0) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var state = id.x * 9781u + 6271u;
    var sum = 0u;
    for (var i = 0u; i < ROUNDSu; i++) {
        state = state * 747796405u + 2891336453u;
        sum += ((state >> ((state >> 28u) + 4u)) ^ state) & 1u;
    }
    sums[id.x] = sum;
}
";

impl Node {
    /// A job of that kind and its input.
    ///
    /// # Errors
    /// [`tender_base::Code::NotFound`] without the model, and the worker's own when it counts tokens.
    pub(super) async fn benchmark_work(&self, kind: JobKind, size: Size) -> Result<(Work, Vec<u8>), Problem> {
        self.work_and_input(submitted(kind, size), Tokens::CountedFor(Tenant::Own)).await
    }
}

fn submitted(kind: JobKind, size: Size) -> SubmitWork {
    match kind {
        JobKind::Embed => {
            let passages = (0..size.of(PASSAGES.0, PASSAGES.1) as usize).map(|i| SENTENCES[i % SENTENCES.len()]);
            SubmitWork::Embed { model: None, passages: passages.map(str::to_owned).collect() }
        }
        JobKind::Gemm => {
            // Work grows with the cube of the side.
            let side = size.0.cbrt() * f64::from(SIDES.0);
            let side = ((side / f64::from(SIDE_STEP)) as u32 * SIDE_STEP).clamp(SIDES.0, SIDES.1);
            let numbers = (0..2 * side as usize * side as usize).map(|at| (at * 37 % 251) as f32 / 125.0 - 1.0);
            let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            SubmitWork::Gemm { m: side, k: side, n: side, precision: None, input_base64: BASE64.encode(bytes) }
        }
        JobKind::Kernel => {
            // Seed, spot, strike, rate, volatility, years.
            let option = [100.0f32, 105.0, 0.02, 0.2, 1.0];
            let input: Vec<u8> =
                7u64.to_le_bytes().into_iter().chain(option.iter().flat_map(|p| p.to_le_bytes())).collect();
            SubmitWork::Kernel {
                name: tender_base::kernel::Kernel::MonteCarloCall.name().to_owned(),
                rows: size.of(BLOCKS.0, BLOCKS.1),
                columns: PATHS,
                input_base64: BASE64.encode(input),
            }
        }
        JobKind::Wgsl => {
            let workgroups = size.of(WORKGROUPS.0, WORKGROUPS.1);
            let source =
                KERNEL.replace("WORKGROUP_SIZE", &WORKGROUP_SIZE.to_string()).replace("ROUNDS", &ROUNDS.to_string());
            SubmitWork::Wgsl {
                source,
                entry: "main".to_owned(),
                workgroups,
                workgroup_size: WORKGROUP_SIZE,
                fuel: ROUNDS + 8,
                element: "u32".to_owned(),
                buffers: vec![SubmitBuffer { binding: 0, bytes: workgroups * WORKGROUP_SIZE * 4, data_base64: None }],
            }
        }
        JobKind::Generate => SubmitWork::Generate {
            model: None,
            messages: None,
            prompt: Some(SENTENCES.join(" ")),
            max_tokens: Some(size.of(TOKENS.0, TOKENS.1)),
            temperature: None,
            top_k: None,
            top_p: None,
            seed: None,
            stop: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_grow_with_the_size_and_stay_within_what_is_sold() {
        let grown = Size::LEAST.grown(1e12);
        let SubmitWork::Gemm { m, input_base64, .. } = submitted(JobKind::Gemm, Size::LEAST.grown(8.1)) else {
            panic!()
        };
        assert_eq!((m, BASE64.decode(input_base64).unwrap().len()), (512, 2 * 512 * 512 * 4));
        let SubmitWork::Gemm { m, .. } = submitted(JobKind::Gemm, grown) else { panic!() };
        let SubmitWork::Embed { passages, .. } = submitted(JobKind::Embed, grown) else { panic!() };
        let SubmitWork::Kernel { rows, .. } = submitted(JobKind::Kernel, grown) else { panic!() };
        let SubmitWork::Wgsl { workgroups, source, .. } = submitted(JobKind::Wgsl, grown) else { panic!() };
        assert_eq!((m, passages.len(), rows, workgroups), (SIDES.1, 1024, BLOCKS.1, WORKGROUPS.1));
        assert!(source.contains("@workgroup_size(64)") && source.contains("i < 500u"), "{source}");
        assert!(u64::from(BLOCKS.1) * u64::from(PATHS) <= tender_base::kernel::MAX_KERNEL_UNITS);
    }
}
