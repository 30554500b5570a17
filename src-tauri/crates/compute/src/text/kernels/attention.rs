//! Rotary positions, the cache of keys and values, and attention over its pages.
//!
//! A texel of the cache holds eight halves. Within a page and head, keys lie by part of the head and then by position,
//! values by position and then by part: the sum over a head runs along one, the sum over positions along the other,
//! and neighbouring invocations read neighbouring texels of both.

use super::{Kind, Variant};
use crate::text::array::{Access, Texel};
use std::fmt::Write;

/// Tokens of a page; a multiple of every subgroup that the `lanes` variant knows.
pub(crate) const PAGE: u32 = tender_base::catalogue::PAGE_TOKENS;

/// The shape of a model's attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub heads: u32,
    pub kv_heads: u32,
    /// A multiple of eight.
    pub head_dim: u32,
    /// Queries and keys are normalised per head.
    pub norm: bool,
    pub epsilon: f32,
}

impl Heads {
    /// Texels of keys, or of values, in a page.
    pub(crate) fn page_texels(&self) -> u32 {
        self.kv_heads * self.head_dim / 8 * PAGE
    }

    /// Whether the text for one subgroup, which names every number of a group of query heads, stays of a size that
    /// compiles in a moment. Models in use have at most 16 heads of 128 numbers in a group.
    fn are_few(&self) -> bool {
        self.heads / self.kv_heads * self.head_dim <= 2048
    }

    fn constants(&self) -> String {
        let &Self { heads, kv_heads, head_dim, epsilon, .. } = self;
        format!(
            "const HEADS = {heads}u;\nconst KV = {kv_heads}u;\nconst Q4 = {}u;\nconst PARTS = {}u;\n\
             const PAGE = {PAGE}u;\nconst EPSILON = {epsilon:e}f;\n\
             fn key_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {{ \
             return ((page * KV + head) * PARTS + part) * PAGE + slot; }}\n\
             fn value_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {{ \
             return ((page * KV + head) * PAGE + slot) * PARTS + part; }}\n",
            head_dim / 4,
            head_dim / 8
        )
    }
}

/// What [`rotate`] binds. `rows` holds of each token its position, where its sequence's pages begin in `pages`, and
/// two words for others.
pub(crate) fn rotate_bindings() -> [(&'static str, Kind); 8] {
    use Access::{Read, Write};
    use Texel::{Float4, Uint1, Uint4};
    [
        ("x", Kind::Array(Float4, Read)),
        ("angles", Kind::Array(Float4, Read)),
        ("gains", Kind::Array(Float4, Read)),
        ("rows", Kind::Array(Uint4, Read)),
        ("pages", Kind::Array(Uint1, Read)),
        ("q", Kind::Array(Float4, Write)),
        ("keys", Kind::Array(Uint4, Write)),
        ("values", Kind::Array(Uint4, Write)),
    ]
}

/// Takes queries, keys and values apart: normalises and rotates, scales queries by 1/√d, and puts keys and values into
/// the cache. A dispatch has a workgroup per head of each (queries, keys, values) along x and per token along y.
pub(crate) fn rotate(variant: Variant, heads: &Heads) -> String {
    let lanes = variant.workgroup();
    let mut s = heads.constants();
    let _ = write!(
        s,
        "var<workgroup> part: array<f32, {lanes}>;
fn turn(x: vec4<f32>, angle: vec4<f32>) -> vec4<f32> {{
    return vec4<f32>(
        x.x * angle.x - x.y * angle.y, x.x * angle.y + x.y * angle.x,
        x.z * angle.z - x.w * angle.w, x.z * angle.w + x.w * angle.z);
}}
@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    let head = g.x;
    let row = rows_at(g.y);
    let first = (g.y * (HEADS + 2u * KV) + head) * Q4;
"
    );
    if heads.norm {
        let _ = write!(
            s,
            "    var squares = 0.0;
    for (var c = l; c < PARTS; c += {lanes}u) {{
        let a = x_at(first + 2u * c);
        let b = x_at(first + 2u * c + 1u);
        squares += dot(a, a) + dot(b, b);
    }}
    part[l] = squares;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < {lanes}u; i += 1u) {{ sum += part[i]; }}
    let scale = inverseSqrt(sum / f32(4u * Q4) + EPSILON);
    let gain = select(Q4, 0u, head < HEADS);
"
        );
    }
    let norm = |name: &str, at: &str| {
        if heads.norm { format!("{name} *= scale * gains_at(gain + {at});") } else { String::new() }
    };
    let _ = write!(
        s,
        "    for (var c = l; c < PARTS; c += {lanes}u) {{
        var a = x_at(first + 2u * c);
        var b = x_at(first + 2u * c + 1u);
        if head < HEADS + KV {{
            {}
            {}
            a = turn(a, angles_at(g.y * Q4 + 2u * c));
            b = turn(b, angles_at(g.y * Q4 + 2u * c + 1u));
        }}
        if head < HEADS {{
            let at = (g.y * HEADS + head) * Q4 + 2u * c;
            q_put(at, a * {scale:e}f);
            q_put(at + 1u, b * {scale:e}f);
        }} else {{
            let packed = vec4<u32>(
                pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
            let page = pages_at(row.y + row.x / PAGE);
            let slot = row.x % PAGE;
            if head < HEADS + KV {{
                keys_put(key_at(page, head - HEADS, c, slot), packed);
            }} else {{
                values_put(value_at(page, head - HEADS - KV, c, slot), packed);
            }}
        }}
    }}
}}
",
        norm("a", "2u * c"),
        norm("b", "2u * c + 1u"),
        scale = 1.0 / f64::from(heads.head_dim).sqrt()
    );
    s
}

/// What [`attend`] binds.
pub(crate) fn attend_bindings() -> [(&'static str, Kind); 6] {
    use Access::{Read, Write};
    use Texel::{Float4, Uint1, Uint4};
    [
        ("q", Kind::Array(Float4, Read)),
        ("rows", Kind::Array(Uint4, Read)),
        ("pages", Kind::Array(Uint1, Read)),
        ("keys", Kind::Array(Uint4, Read)),
        ("values", Kind::Array(Uint4, Read)),
        ("out", Kind::Array(Float4, Write)),
    ]
}

/// Softmax-weighted values of all earlier positions and the token's own, in one pass over the pages (Milakov and
/// Gimelshein 2018). A dispatch has a workgroup per [`attend_groups`] along x and per token along y.
pub(crate) fn attend(variant: Variant, heads: &Heads) -> String {
    match variant {
        Variant::Lanes(lanes) if heads.are_few() => attend_lanes(lanes, heads),
        _ => attend_tiles(heads),
    }
}

/// Workgroups per token.
pub(crate) fn attend_groups(variant: Variant, heads: &Heads) -> u32 {
    match variant {
        Variant::Lanes(_) if heads.are_few() => heads.kv_heads,
        _ => heads.heads,
    }
}

const UNPACK: &str = "fn low(x: vec4<u32>) -> vec4<f32> { \
    return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y)); }\n\
    fn high(x: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(x.z), unpack2x16float(x.w)); }\n";
/// What masked scores are; its exponential is zero.
const MASKED: &str = "-1e30";
/// Invocations of the `tiles` variant, and positions that it takes at a time.
const WIDE: u32 = 128;

/// One query head: first an invocation per position scores it, then an invocation per part of the head, several times
/// over, adds up values.
fn attend_tiles(heads: &Heads) -> String {
    let parts = heads.head_dim / 8;
    let slices = WIDE / parts;
    let mut s = heads.constants() + UNPACK;
    let _ = write!(
        s,
        "const WIDE = {WIDE}u;
const SLICES = {slices}u;
var<workgroup> query: array<vec4<f32>, Q4>;
var<workgroup> weight: array<f32, WIDE>;
var<workgroup> place: array<u32, WIDE / PAGE>;
var<workgroup> best: array<f32, WIDE / 4u>;
var<workgroup> sums: array<vec4<f32>, 2u * WIDE>;
var<workgroup> totals: array<f32, WIDE>;
@compute @workgroup_size(WIDE)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32) {{
    let row = rows_at(g.y);
    let count = row.x + 1u;
    let head = g.x / (HEADS / KV);
    for (var c = l; c < Q4; c += WIDE) {{ query[c] = q_at((g.y * HEADS + g.x) * Q4 + c); }}
    var highest = {MASKED};
    var total = 0.0;
    var a = vec4<f32>();
    var b = vec4<f32>();
    let part = l % PARTS;
    let slice = l / PARTS;
    for (var first = 0u; first < count; first += WIDE) {{
        if l < WIDE / PAGE && first + l * PAGE < count {{ place[l] = pages_at(row.y + first / PAGE + l); }}
        workgroupBarrier();
        var score = {MASKED};
        if first + l < count {{
            score = 0.0;
            let start = key_at(place[l / PAGE], head, 0u, l % PAGE);
            for (var c = 0u; c < PARTS; c += 1u) {{
                let key = keys_at(start + c * PAGE);
                score += dot(query[2u * c], low(key)) + dot(query[2u * c + 1u], high(key));
            }}
        }}
        best[subgroup] = subgroupMax(score);
        workgroupBarrier();
        var higher = highest;
        for (var i = 0u; i < subgroups; i += 1u) {{ higher = max(higher, best[i]); }}
        let shrink = exp(highest - higher);
        highest = higher;
        let own = select(0.0, exp(score - highest), first + l < count);
        weight[l] = own;
        total = total * shrink + own;
        a *= shrink;
        b *= shrink;
        workgroupBarrier();
        if slice < SLICES {{
            for (var i = slice; i < min(WIDE, count - first); i += SLICES) {{
                let value = values_at(value_at(place[i / PAGE], head, part, i % PAGE));
                a += weight[i] * low(value);
                b += weight[i] * high(value);
            }}
        }}
        workgroupBarrier();
    }}
    sums[l] = a;
    sums[WIDE + l] = b;
    totals[l] = total;
    workgroupBarrier();
    if l < PARTS {{
        for (var i = 1u; i < SLICES; i += 1u) {{
            a += sums[i * PARTS + l];
            b += sums[WIDE + i * PARTS + l];
        }}
        total = 0.0;
        for (var i = 0u; i < WIDE; i += 1u) {{ total += totals[i]; }}
        let at = (g.y * HEADS + g.x) * Q4 + 2u * l;
        out_put(at, a / total);
        out_put(at + 1u, b / total);
    }}
}}
"
    );
    s
}

/// All query heads of a key head, by one subgroup: lanes are positions for the scores and parts of the head for the
/// values; what one has the others need goes by broadcast.
fn attend_lanes(lanes: u32, heads: &Heads) -> String {
    let group = heads.heads / heads.kv_heads;
    let (parts, texels) = (heads.head_dim / 8, heads.head_dim / 4);
    let (own_parts, own_texels) = (parts.div_ceil(lanes), texels.div_ceil(lanes));
    // A lane without a part of its own repeats the last.
    let part = |e: u32| format!("min({}u + l, {}u)", e * lanes, parts - 1);
    let mut s = heads.constants() + UNPACK;
    let _ = write!(
        s,
        "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
let row = rows_at(g.y);
let count = row.x + 1u;
let base = (g.y * HEADS + g.x * {group}u) * Q4;
"
    );
    for q in 0..group {
        for f in 0..own_texels {
            let _ =
                writeln!(s, "let q{q}_{f} = q_at(base + {}u + min({}u + l, {}u));", q * texels, f * lanes, texels - 1);
        }
        let _ = writeln!(s, "var highest{q} = {MASKED};\nvar total{q} = 0.0;");
        for e in 0..own_parts {
            let _ = writeln!(s, "var a{q}_{e} = vec4<f32>();\nvar b{q}_{e} = vec4<f32>();");
        }
    }
    let _ = writeln!(
        s,
        "for (var first = 0u; first < count; first += {lanes}u) {{\n\
         let page = pages_at(row.y + first / PAGE);\nlet slot = first % PAGE;"
    );
    for q in 0..group {
        let _ = writeln!(s, "var s{q} = 0.0;");
    }
    s.push_str("{ let start = key_at(page, g.x, 0u, slot + l);\n");
    for c in 0..parts {
        let _ =
            writeln!(s, "let k{c} = keys_at(start + {c}u * PAGE);\nlet low{c} = low(k{c});\nlet high{c} = high(k{c});");
        for (name, texel) in [("low", 2 * c), ("high", 2 * c + 1)] {
            for q in 0..group {
                for e in ['x', 'y', 'z', 'w'] {
                    let of = format!("subgroupBroadcast(q{q}_{}.{e}, {}u)", texel / lanes, texel % lanes);
                    let _ = writeln!(s, "s{q} = fma({of}, {name}{c}.{e}, s{q});");
                }
            }
        }
    }
    s.push_str("}\n");
    for q in 0..group {
        let _ = writeln!(s, "if first + l >= count {{ s{q} = {MASKED}; }}");
        let highest =
            (0..lanes).fold(format!("highest{q}"), |all, lane| format!("max({all}, subgroupBroadcast(s{q}, {lane}u))"));
        let _ = writeln!(
            s,
            "let higher{q} = {highest};\nlet shrink{q} = exp(highest{q} - higher{q});\nhighest{q} = higher{q};\n\
             let p{q} = exp(s{q} - higher{q});\ntotal{q} = total{q} * shrink{q} + p{q};"
        );
        for e in 0..own_parts {
            let _ = writeln!(s, "var c{q}_{e} = a{q}_{e} * shrink{q};\nvar d{q}_{e} = b{q}_{e} * shrink{q};");
        }
    }
    for j in 0..lanes {
        for e in 0..own_parts {
            let _ = writeln!(
                s,
                "let v{j}_{e} = values_at(value_at(page, g.x, {}, slot + {j}u));\n\
                 let low{j}_{e} = low(v{j}_{e});\nlet high{j}_{e} = high(v{j}_{e});",
                part(e)
            );
        }
        for q in 0..group {
            let _ = writeln!(s, "let p{q}_{j} = vec4<f32>(subgroupBroadcast(p{q}, {j}u));");
            for e in 0..own_parts {
                let _ = writeln!(
                    s,
                    "c{q}_{e} = fma(p{q}_{j}, low{j}_{e}, c{q}_{e});\nd{q}_{e} = fma(p{q}_{j}, high{j}_{e}, d{q}_{e});"
                );
            }
        }
    }
    for q in 0..group {
        for e in 0..own_parts {
            let _ = writeln!(s, "a{q}_{e} = c{q}_{e};\nb{q}_{e} = d{q}_{e};");
        }
    }
    s.push_str("}\n");
    for q in 0..group {
        let _ = writeln!(s, "let sum{q} = subgroupAdd(total{q});");
        for e in 0..own_parts {
            let _ = writeln!(
                s,
                "if {first}u + l < PARTS {{\n\
                 out_put(base + {q}u * Q4 + 2u * ({first}u + l), a{q}_{e} / sum{q});\n\
                 out_put(base + {q}u * Q4 + 2u * ({first}u + l) + 1u, b{q}_{e} / sum{q});\n}}",
                first = e * lanes
            );
        }
    }
    s.push_str("}\n");
    s
}

/// What [`erase`] binds.
pub(crate) fn erase_bindings() -> [(&'static str, Kind); 3] {
    [
        ("freed", Kind::Array(Texel::Uint1, Access::Read)),
        ("keys", Kind::Array(Texel::Uint4, Access::Write)),
        ("values", Kind::Array(Texel::Uint4, Access::Write)),
    ]
}

/// Zeroes pages. A dispatch has a workgroup per page along y.
pub(crate) fn erase(variant: Variant, heads: &Heads) -> String {
    let (lanes, texels) = (variant.workgroup(), heads.page_texels());
    format!(
        "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    let first = freed_at(g.y) * {texels}u;
    for (var c = l; c < {texels}u; c += {lanes}u) {{
        keys_put(first + c, vec4<u32>());
        values_put(first + c, vec4<u32>());
    }}
}}
"
    )
}
