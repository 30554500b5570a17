//! Matrix products for GPUs. Rows lie one after the other, so that neighbouring invocations read neighbouring texels
//! of the weights, and every weight is read once per group of columns.

use super::{Epilogue, Product, blocks, blocks::Block};
use std::fmt::Write;

/// Rows that a workgroup of the few-columns kernel computes of each matrix: one texel of the output.
pub(crate) const ROWS: u32 = 4;
/// Rows of the largest tile of the many-columns kernel, of all matrices together.
pub(crate) const TILE: u32 = 64;
/// Columns that the kernels are made for: few, up to [`FEW`]; then tiles.
pub(crate) const COLUMNS: [u32; 5] = [1, 2, 4, 16, 64];
/// Most columns for which the weights are not worth going through workgroup memory.
pub(crate) const FEW: u32 = 4;
/// Invocations of the few-columns kernel.
const LANES: u32 = 64;
/// A subgroup has at least four invocations.
const MOST_SUBGROUPS: u32 = LANES / 4;

/// The kernel for `columns` columns. A dispatch has a workgroup per [`rows`] rows along x and per `columns` columns
/// along y.
pub(crate) fn product(product: &Product, columns: u32) -> String {
    if columns <= FEW { few(product, columns) } else { tile(product, columns) }
}

/// Rows of one workgroup.
pub(crate) fn rows(product: &Product, columns: u32) -> u32 {
    if columns <= FEW { ROWS } else { Tile::of(product, columns).rows }
}

fn load(s: &mut String, product: &Product, m: u32, name: &str) {
    let format = product.formats[m as usize];
    let (texels, group, words) = (blocks::texels(format), blocks::group(format), blocks::words(format));
    Block { format, name }.load(
        s,
        |j| format!("n{m}_at(nb{name} + b * {texels}u + {j}u)"),
        |w| format!("s{m}_at(sb{name} + b / {group}u * {words}u + {w})"),
    );
}

/// Where the streams of row `row` of matrix `m` begin.
fn bases(s: &mut String, product: &Product, m: u32, name: &str, row: &str) {
    let format = product.formats[m as usize];
    let (texels, group, words) = (blocks::texels(format), blocks::group(format), blocks::words(format));
    let _ = writeln!(
        s,
        "let nb{name} = ({row}) * op.blocks * {texels}u;\n\
         let sb{name} = ({row}) * ((op.blocks + {}u) / {group}u) * {words}u;",
        group - 1
    );
}

/// The invocations share the blocks of a row and add up at the end.
fn few(product: &Product, columns: u32) -> String {
    let matrices = product.matrices();
    let sums = matrices * ROWS * columns + if product.norm { columns } else { 0 };
    let names: Vec<_> = (0..matrices).flat_map(|m| (0..ROWS).map(move |i| (m, format!("{m}_{i}")))).collect();
    let mut s = format!(
        "{}var<workgroup> part: array<f32, {}>;
fn total(at: u32, subgroups: u32) -> f32 {{
    var sum = 0.0;
    for (var i = 0u; i < subgroups; i += 1u) {{ sum += part[i * {sums}u + at]; }}
    return sum;
}}
@compute @workgroup_size({LANES})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32) {{
let first = g.y * {columns}u;
",
        super::OP,
        sums * MOST_SUBGROUPS
    );
    for (i, (m, name)) in names.iter().enumerate() {
        bases(&mut s, product, *m, name, &format!("g.x * {ROWS}u + {}u", i as u32 % ROWS));
        for t in 0..columns {
            let _ = writeln!(s, "var a{name}_{t} = 0.0;");
        }
    }
    for t in 0..columns {
        let _ = writeln!(s, "var squares{t} = 0.0;");
    }
    let _ = writeln!(s, "for (var b = l; b < op.blocks; b += {LANES}u) {{");
    for t in 0..columns {
        for at in 0..8 {
            let _ = writeln!(s, "var x{t}_{at} = x_at((first + {t}u) * op.x_stride + b * 8u + {at}u);");
        }
    }
    if product.norm {
        for at in 0..8 {
            let _ = writeln!(s, "let gain{at} = gain_at(b * 8u + {at}u);");
            for t in 0..columns {
                let _ = writeln!(s, "squares{t} += dot(x{t}_{at}, x{t}_{at});\nx{t}_{at} *= gain{at};");
            }
        }
    }
    for (m, name) in &names {
        load(&mut s, product, *m, name);
        let block = Block { format: product.formats[*m as usize], name };
        for at in 0..8 {
            let _ = writeln!(s, "let w{name}_{at} = {};", block.value(at));
            for t in 0..columns {
                let _ = writeln!(s, "a{name}_{t} += dot(w{name}_{at}, x{t}_{at});");
            }
        }
    }
    s.push_str("}\n");
    let mut sum = 0;
    let mut reduce = |s: &mut String, value: &str| {
        let _ = writeln!(
            s,
            "{{ let sum = subgroupAdd({value}); if lane == 0u {{ part[subgroup * {sums}u + {sum}u] = sum; }} }}"
        );
        sum += 1;
    };
    for (_, name) in &names {
        for t in 0..columns {
            reduce(&mut s, &format!("a{name}_{t}"));
        }
    }
    if product.norm {
        for t in 0..columns {
            reduce(&mut s, &format!("squares{t}"));
        }
    }
    let _ = writeln!(s, "workgroupBarrier();\nif l < {columns}u {{\nlet column = first + l;\nlet own = g.x;");
    let row = |m: u32, i: u32| format!("total({}u + l, subgroups)", (m * ROWS + i) * columns);
    let _ = writeln!(s, "var v = vec4<f32>({}, {}, {}, {});", row(0, 0), row(0, 1), row(0, 2), row(0, 3));
    if product.epilogue == Epilogue::SwiGlu {
        let _ = writeln!(s, "var w = vec4<f32>({}, {}, {}, {});", row(1, 0), row(1, 1), row(1, 2), row(1, 3));
    }
    if product.norm {
        let squares = format!("total({}u + l, subgroups)", matrices * ROWS * columns);
        let _ = writeln!(s, "let scale = inverseSqrt({squares} * op.per_width + op.epsilon);");
    }
    product.finish(&mut s, "scale");
    s.push_str("}\n}\n");
    s
}

/// How a workgroup of the many-columns kernel is laid out.
struct Tile {
    /// Rows of each matrix.
    rows: u32,
    /// Groups of invocations that share the blocks of a row and add up at the end.
    slices: u32,
    /// Invocations of a slice that lie beside one another, four rows each.
    across: u32,
    /// Invocations of a slice.
    lanes: u32,
}

impl Tile {
    /// With few columns there would be too few workgroups to fill a card: then tiles are half as high, and two slices
    /// halve the way through a row.
    fn of(product: &Product, columns: u32) -> Self {
        let (rows, slices) = if columns < TILE { (TILE / 2, 2) } else { (TILE, 1) };
        let rows = rows / product.matrices();
        Self { rows, slices, across: rows / 4, lanes: rows / 4 * columns / 4 }
    }
}

/// A tile of the product through workgroup memory: an invocation has four rows of each matrix and four columns.
fn tile(product: &Product, columns: u32) -> String {
    let matrices = product.matrices();
    let Tile { rows, slices, across, lanes } = Tile::of(product, columns);
    let all = rows * matrices;
    let (reads, decodes) = (columns * 8 / lanes, rows.div_ceil(lanes));
    let mut s = format!(
        "{}var<workgroup> weights: array<vec4<f32>, {}>;
var<workgroup> inputs: array<vec4<f32>, {}>;
@compute @workgroup_size({})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {{
let first = g.y * {columns}u;
let slice = invocation / {lanes}u;
let l = invocation % {lanes}u;
let tx = l % {across}u;
let ty = l / {across}u;
let own_weights = slice * {}u;
let own_inputs = slice * {}u;
",
        super::OP,
        slices * all * 8,
        slices * columns * 8,
        slices * lanes,
        all * 8,
        columns * 8
    );
    for m in 0..matrices {
        for i in 0..4 {
            for j in 0..4 {
                let _ = writeln!(s, "var a{m}_{i}_{j} = 0.0;");
            }
        }
        for d in 0..decodes {
            let row = format!("g.x * {rows}u + min({}u + l, {}u)", d * lanes, rows - 1);
            bases(&mut s, product, m, &format!("{m}_{d}"), &row);
        }
    }
    for n in 0..reads {
        let _ = writeln!(s, "var squares{n} = 0.0;");
    }
    // A slice without a block of its own at the end repeats the last with inputs of zero.
    let _ = writeln!(
        s,
        "for (var c = 0u; c < op.blocks; c += {slices}u) {{\nlet b = min(c + slice, op.blocks - 1u);\n\
         let live = select(0.0, 1.0, c + slice < op.blocks);"
    );
    for n in 0..reads {
        let _ = writeln!(
            s,
            "{{ let u = {}u + l;\nvar x = live * x_at((first + u / 8u) * op.x_stride + b * 8u + u % 8u);",
            n * lanes
        );
        if product.norm {
            let _ = writeln!(s, "squares{n} += dot(x, x);\nx *= gain_at(b * 8u + u % 8u);");
        }
        let _ = writeln!(s, "inputs[own_inputs + u % 8u * {columns}u + u / 8u] = x; }}");
    }
    for m in 0..matrices {
        for d in 0..decodes {
            let name = format!("{m}_{d}");
            let _ = writeln!(s, "if {}u + l < {rows}u {{", d * lanes);
            load(&mut s, product, m, &name);
            // Row 4·x + i lies at i · across + x, so that neighbours read neighbours below.
            let _ = writeln!(
                s,
                "let u = {}u + l;\nlet slot = own_weights + {}u + u % 4u * {across}u + u / 4u;",
                d * lanes,
                m * rows
            );
            for at in 0..8 {
                let value = Block { format: product.formats[m as usize], name: &name }.value(at);
                let _ = writeln!(s, "weights[{}u + slot] = {value};", at * all);
            }
            s.push_str("}\n");
        }
    }
    s.push_str("workgroupBarrier();\nfor (var at = 0u; at < 8u; at += 1u) {\n");
    for j in 0..4 {
        let _ = writeln!(s, "let x{j} = inputs[own_inputs + at * {columns}u + ty * 4u + {j}u];");
    }
    for m in 0..matrices {
        for i in 0..4 {
            let row = m * rows + i * across;
            let _ = writeln!(s, "let w{m}_{i} = weights[own_weights + at * {all}u + {row}u + tx];");
            for j in 0..4 {
                let _ = writeln!(s, "a{m}_{i}_{j} += dot(w{m}_{i}, x{j});");
            }
        }
    }
    s.push_str("}\nworkgroupBarrier();\n}\n");
    if product.norm {
        for n in 0..reads {
            let _ = writeln!(s, "inputs[own_inputs + {}u + l] = vec4<f32>(squares{n});", n * lanes);
        }
    }
    let sums: Vec<(u32, u32)> = (0..matrices).flat_map(|m| (0..4).map(move |j| (m, j))).collect();
    let sum = |m: u32, j: u32| format!("vec4<f32>(a{m}_0_{j}, a{m}_1_{j}, a{m}_2_{j}, a{m}_3_{j})");
    let shared = if slices > 1 { &sums[..] } else { &[] };
    for (at, &(m, j)) in (0..).zip(shared) {
        let _ = writeln!(s, "weights[own_weights + {}u + l] = {};", at * lanes, sum(m, j));
    }
    let _ = writeln!(s, "workgroupBarrier();\nif slice == 0u {{\nlet own = g.x * {across}u + tx;");
    let total = |m: u32, j: u32| {
        let at = sums.iter().position(|sum| *sum == (m, j)).unwrap_or(0) as u32 * lanes;
        let others = (1..slices).map(|slice| format!(" + weights[{}u + l]", slice * all * 8 + at));
        others.fold(sum(m, j), |all, other| all + &other)
    };
    for j in 0..4 {
        let _ = writeln!(s, "{{ let column = first + ty * 4u + {j}u;\nvar v = {};", total(0, j));
        if product.epilogue == Epilogue::SwiGlu {
            let _ = writeln!(s, "var w = {};", total(1, j));
        }
        if product.norm {
            let _ = writeln!(
                s,
                "var squares = 0.0;\nfor (var i = 0u; i < {}u; i += 1u) {{ \
                 squares += inputs[i / 8u * {}u + (ty * 4u + {j}u) * 8u + i % 8u].x; }}\n\
                 let scale = inverseSqrt(squares * op.per_width + op.epsilon);",
                8 * slices,
                columns * 8
            );
        }
        product.finish(&mut s, "scale");
        s.push_str("}\n");
    }
    s.push_str("}\n}\n");
    s
}
