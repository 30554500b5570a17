//! Matrix products for software adapters: a workgroup is one subgroup, an invocation has four rows of each matrix,
//! and everything stays in registers.
//!
//! Measured on Mesa's lavapipe with eight lanes: a texture is read for all lanes at once, so that lanes have
//! neighbouring rows and the weights lie interleaved; and an element of x is read by one lane and handed to the
//! others by `subgroupBroadcast`, which costs one instruction instead of a read.

use super::blocks::Block;
use super::{Epilogue, Product, blocks};
use std::fmt::Write;

/// Rows of one invocation, which are one texel of the output.
pub(crate) const ROWS: u32 = 4;

/// Columns of x (tokens) that a kernel is made for.
pub(crate) const COLUMNS: [u32; 4] = [1, 2, 4, 8];

/// The kernel for `columns` columns on subgroups of `lanes`. A dispatch has a workgroup per 4 · `lanes` rows along x
/// and per `columns` columns along y.
pub(crate) fn product(lanes: u32, product: &Product, columns: u32) -> String {
    let matrices = product.matrices();
    let reads = 8 / lanes;
    let mut s = format!(
        "{}@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
let first = g.y * {columns}u;
",
        super::OP
    );
    for m in 0..matrices {
        let format = product.formats[m as usize];
        let (texels, group, words) = (blocks::texels(format), blocks::group(format), blocks::words(format));
        let _ = writeln!(
            s,
            "let nb{m} = g.x * op.blocks * {}u + l;\nlet sb{m} = g.x * ((op.blocks + {}u) / {group}u) * {}u + l;",
            ROWS * texels * lanes,
            group - 1,
            ROWS * words * lanes
        );
        for i in 0..ROWS {
            for t in 0..columns {
                let _ = writeln!(s, "var a{m}_{i}_{t} = 0.0;");
            }
        }
    }
    if product.norm {
        for t in 0..columns {
            let _ = writeln!(s, "var squares{t} = 0.0;");
        }
    }
    s.push_str("for (var b = 0u; b < op.blocks; b += 1u) {\n");
    for e in 0..reads {
        if product.norm {
            let _ = writeln!(s, "let gain{e} = gain_at(b * 8u + {}u + l);", e * lanes);
        }
        for t in 0..columns {
            let _ = writeln!(s, "var x{t}_{e} = x_at((first + {t}u) * op.x_stride + b * 8u + {}u + l);", e * lanes);
            if product.norm {
                let _ = writeln!(s, "squares{t} += dot(x{t}_{e}, x{t}_{e});\nx{t}_{e} *= gain{e};");
            }
        }
    }
    for m in 0..matrices {
        for i in 0..ROWS {
            load(&mut s, product, lanes, m, i);
        }
    }
    if columns == 1 {
        one_column(&mut s, product, lanes)
    } else {
        many_columns(&mut s, product, lanes, columns)
    }
    s.push_str("}\n");
    let _ = writeln!(s, "let own = g.x * {lanes}u + l;");
    for t in 0..columns {
        let _ =
            writeln!(s, "{{ let column = first + {t}u;\nvar v = vec4<f32>(a0_0_{t}, a0_1_{t}, a0_2_{t}, a0_3_{t});");
        if product.epilogue == Epilogue::SwiGlu {
            let _ = writeln!(s, "var w = vec4<f32>(a1_0_{t}, a1_1_{t}, a1_2_{t}, a1_3_{t});");
        }
        if product.norm {
            let _ = writeln!(s, "let scale = inverseSqrt(subgroupAdd(squares{t}) * op.per_width + op.epsilon);");
        }
        product.finish(&mut s, "scale");
        s.push_str("}\n");
    }
    s.push_str("}\n");
    s
}

fn load(s: &mut String, product: &Product, lanes: u32, m: u32, i: u32) {
    let format = product.formats[m as usize];
    let (texels, group, words) = (blocks::texels(format), blocks::group(format), blocks::words(format));
    Block { format, name: &format!("{m}_{i}") }.load(
        s,
        |j| format!("n{m}_at(nb{m} + ((b * {ROWS}u + {i}u) * {texels}u + {j}u) * {lanes}u)"),
        |w| format!("s{m}_at(sb{m} + ((b / {group}u * {ROWS}u + {i}u) * {words}u + {w}) * {lanes}u)"),
    );
}

/// The numbers 4·at … 4·at + 3 of column `t`, the same in all lanes.
fn broadcast(lanes: u32, t: u32, at: u32) -> String {
    let (e, lane) = (at / lanes, at % lanes);
    let of = |c| format!("subgroupBroadcast(x{t}_{e}.{c}, {lane}u)");
    format!("vec4<f32>({}, {}, {}, {})", of('x'), of('y'), of('z'), of('w'))
}

/// Scale and offset are applied to sums: Σ (d·q + o)·x = d·Σ q·x + o·Σ x.
fn one_column(s: &mut String, product: &Product, lanes: u32) {
    let rows: Vec<_> = (0..product.matrices()).flat_map(|m| (0..ROWS).map(move |i| (m, i))).collect();
    for half in 0..2 {
        let _ = writeln!(s, "var sum{half} = 0.0;");
        for (m, i) in &rows {
            let _ = writeln!(s, "var p{m}_{i}_{half} = 0.0;");
        }
        for at in 4 * half..4 * half + 4 {
            let _ = writeln!(s, "let y{at} = {};", broadcast(lanes, 0, at));
            let _ = writeln!(s, "sum{half} += (y{at}.x + y{at}.y) + (y{at}.z + y{at}.w);");
            for &(m, i) in &rows {
                let name = format!("{m}_{i}");
                let raw = Block { format: product.formats[m as usize], name: &name }.raw(at);
                let _ = writeln!(s, "let r{name}_{at} = {raw};");
            }
            for e in 0..4 {
                for (m, i) in &rows {
                    let _ = writeln!(s, "p{m}_{i}_{half} = fma(r{m}_{i}_{at}[{e}], y{at}[{e}], p{m}_{i}_{half});");
                }
            }
        }
        for &(m, i) in &rows {
            let name = format!("{m}_{i}");
            let block = Block { format: product.formats[m as usize], name: &name };
            let product = match block.scale(half) {
                Some(scale) => format!("{scale} * p{name}_{half}"),
                None => format!("p{name}_{half}"),
            };
            let offset = block.offset(half).map(|offset| format!(" + {offset} * sum{half}")).unwrap_or_default();
            let _ = writeln!(s, "a{name}_0 += {product}{offset};");
        }
    }
}

/// Each number is decoded once for all columns.
fn many_columns(s: &mut String, product: &Product, lanes: u32, columns: u32) {
    let rows: Vec<_> = (0..product.matrices()).flat_map(|m| (0..ROWS).map(move |i| (m, i))).collect();
    for &(m, i) in &rows {
        let name = format!("{m}_{i}");
        let block = Block { format: product.formats[m as usize], name: &name };
        for at in 0..8 {
            let _ = writeln!(s, "let w{name}_{at} = {};", block.value(at));
        }
    }
    for t in 0..columns {
        for (m, i) in &rows {
            let _ = writeln!(s, "var p{m}_{i}_{t} = a{m}_{i}_{t};");
        }
        for at in 0..8 {
            let _ = writeln!(s, "let y{t}_{at} = {};", broadcast(lanes, t, at));
            for e in 0..4 {
                for (m, i) in &rows {
                    let _ = writeln!(s, "p{m}_{i}_{t} = fma(w{m}_{i}_{at}[{e}], y{t}_{at}[{e}], p{m}_{i}_{t});");
                }
            }
        }
        for (m, i) in &rows {
            let _ = writeln!(s, "a{m}_{i}_{t} = p{m}_{i}_{t};");
        }
    }
}
