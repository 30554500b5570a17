//! Reductions, softmax and norms by row.

use super::{Job, Kernels, SHARED, float};
use crate::{Error, device::Gpu};
use std::borrow::Cow;
use tender_base::kernel::{Kernel, KernelWork, NORM_EPSILON};

const ROWS: &str = include_str!("rows.wgsl");
/// Invocations of a workgroup.
const WORKGROUP: u32 = 256;
/// Elements for which another invocation is worth the step of the tree that it costs.
const ELEMENTS_PER_LANE: u32 = 4;

/// State of a plain sum.
const SUMS: &str = "alias State = f32;
const EMPTY: State = 0.0;
fn merge(a: State, b: State) -> State { return a + b; }
";
/// Bits of finite floats as integers of the same order, so that a maximum is exact on every machine.
const ORDER: &str = "
fn ordered(bits: u32) -> u32 { return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u); }
fn unordered(key: u32) -> u32 { return key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u); }
";
const ADD: &str = "fn add(s: State, bits: u32, column: u32) -> State { return s + bitcast<f32>(bits); }\n";
const ADD_SQUARE: &str =
    "fn add(s: State, bits: u32, column: u32) -> State { return s + bitcast<f32>(bits) * bitcast<f32>(bits); }\n";

/// What makes one kernel of the common pass: its state, and what it gives per row or per element.
fn body(kernel: Kernel) -> String {
    let sums = |add: &str, finish: &str| {
        format!("{SUMS}{add}fn finish(s: State) -> u32 {{ return bitcast<u32>({finish}); }}\n")
    };
    let extreme = |function: &str, empty: &str| {
        format!(
            "{ORDER}alias State = u32;
const EMPTY: State = {empty}u;
fn add(s: State, bits: u32, column: u32) -> State {{ return {function}(s, ordered(bits)); }}
fn merge(a: State, b: State) -> State {{ return {function}(a, b); }}
fn finish(s: State) -> u32 {{ return unordered(s); }}
"
        )
    };
    match kernel {
        Kernel::Mean => sums(ADD, "s / f32(p.columns)"),
        Kernel::Norm => sums(ADD_SQUARE, "sqrt(s)"),
        Kernel::Max => extreme("max", "0"),
        Kernel::Min => extreme("min", "0xffffffff"),
        Kernel::ArgMax => format!(
            "{ORDER}alias State = vec2<u32>; // order and column
const EMPTY: State = State(0u, 0xffffffffu);
fn add(s: State, bits: u32, column: u32) -> State {{ return merge(s, State(ordered(bits), column)); }}
fn merge(a: State, b: State) -> State {{ return select(b, a, a.x > b.x || (a.x == b.x && a.y < b.y)); }}
fn finish(s: State) -> u32 {{ return s.y; }}
"
        ),
        Kernel::Softmax => format!(
            "alias Real = f32;
{SHARED}
struct State {{ most: f32, sum: f32 }}
const EMPTY: State = State(NOTHING, 0.0);
fn add(s: State, bits: u32, column: u32) -> State {{
    let raised = raise(s.most, bitcast<f32>(bits));
    return State(raised.most, s.sum * raised.keep + raised.weight);
}}
fn merge(a: State, b: State) -> State {{
    let raised = raise(a.most, b.most);
    return State(raised.most, a.sum * raised.keep + b.sum * raised.weight);
}}
fn value(s: State, x: f32, column: u32) -> f32 {{ return exp(x - s.most) / s.sum; }}
"
        ),
        // Welford's running mean and squares, merged after Chan, Golub and LeVeque.
        Kernel::LayerNorm => format!(
            "struct State {{ count: f32, mean: f32, squares: f32 }}
const EMPTY: State = State(0.0, 0.0, 0.0);
fn add(s: State, bits: u32, column: u32) -> State {{
    let x = bitcast<f32>(bits);
    let mean = s.mean + (x - s.mean) / (s.count + 1.0);
    return State(s.count + 1.0, mean, s.squares + (x - s.mean) * (x - mean));
}}
fn merge(a: State, b: State) -> State {{
    if b.count == 0.0 {{
        return a;
    }}
    let share = b.count / (a.count + b.count);
    let apart = b.mean - a.mean;
    return State(a.count + b.count, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share);
}}
fn value(s: State, x: f32, column: u32) -> f32 {{
    let scale = inverseSqrt(s.squares / s.count + {NORM_EPSILON});
    return (x - s.mean) * scale * parameter(0u, column) + parameter(1u, column);
}}
"
        ),
        Kernel::RmsNorm => format!(
            "{SUMS}{ADD_SQUARE}fn value(s: State, x: f32, column: u32) -> f32 {{
    return x * inverseSqrt(s / f32(p.columns) + {NORM_EPSILON}) * parameter(0u, column);
}}
"
        ),
        // The Monte-Carlo kernels never come here.
        Kernel::Sum | Kernel::MonteCarloPi | Kernel::MonteCarloCall => sums(ADD, "s"),
    }
}

/// Whether a row of the output is a row of values.
fn is_map(kernel: Kernel) -> bool {
    matches!(kernel, Kernel::Softmax | Kernel::LayerNorm | Kernel::RmsNorm)
}

fn source(kernel: Kernel, lanes: u32) -> String {
    let end = if is_map(kernel) {
        "    for (var column = row.lane; column < row.columns; column += LANES) {
        let at = row.number * p.columns + column;
        let value = bitcast<u32>(value(row.state, bitcast<f32>(input[at]), column));
        output[at] = select(NOT_A_NUMBER, value, row.finite);
    }"
    } else if kernel == Kernel::ArgMax {
        "    if row.lane == 0u && row.columns > 0u {
        output[row.number] = select(0xffffffffu, finish(row.state), row.finite);
    }"
    } else {
        "    if row.lane == 0u && row.columns > 0u {
        output[row.number] = select(NOT_A_NUMBER, finish(row.state), row.finite);
    }"
    };
    format!(
        "const LANES: u32 = {lanes}u;
{}{ROWS}
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {{
    let row = reduced(group.x, local);
{end}
}}
",
        body(kernel)
    )
}

/// Invocations that share a row.
fn lanes(columns: u32) -> u32 {
    columns.div_ceil(ELEMENTS_PER_LANE).next_power_of_two().min(WORKGROUP)
}

/// The input of some rows: the rows, then the vectors behind the matrix.
fn gather<'a>(work: &KernelWork, input: &'a [u8], parts: Option<&[u32]>) -> Cow<'a, [u8]> {
    let Some(parts) = parts else { return input.into() };
    let (row, matrix) = (4 * work.columns as usize, 4 * work.units() as usize);
    let mut gathered = Vec::with_capacity(row * parts.len() + input.len() - matrix);
    for part in parts {
        gathered.extend_from_slice(&input[row * *part as usize..][..row]);
    }
    gathered.extend_from_slice(&input[matrix..]);
    gathered.into()
}

impl Kernels {
    pub(super) fn rows(
        &mut self,
        gpu: &Gpu,
        work: &KernelWork,
        input: &[u8],
        parts: Option<&[u32]>,
    ) -> Result<Job, Error> {
        let matrix = work.units() as usize;
        if (matrix..input.len() / 4).any(|at| !float(input, at).is_finite()) {
            return Err(Error::Invalid("gain or shift holds a value that is not a finite number".into()));
        }
        let input = gather(work, input, parts);
        let rows = parts.map_or(work.rows, |parts| parts.len() as u32);
        let (kernel, lanes) = (work.name, lanes(work.columns));
        let pipeline = self
            .pipelines
            .entry((kernel, lanes))
            .or_insert_with(|| gpu.trusted(kernel.name(), &source(kernel, lanes), "main"));
        Ok(Job {
            pipeline: pipeline.clone(),
            params: vec![0, rows, work.columns, 0],
            input: gpu.upload(&input),
            output: gpu.storage(u64::from(rows) * work.row_bytes()),
            groups: rows.div_ceil(WORKGROUP / lanes),
        })
    }
}
