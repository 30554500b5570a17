//! What happens after the last layer: rows are picked, and of their logits the best is found.

use super::{Kind, Variant};
use crate::text::array::{Access, Texel};

/// What [`gather`] binds. `picks` holds of each picked row its number, and the token whose logit is wanted.
pub(crate) fn gather_bindings() -> [(&'static str, Kind); 3] {
    [
        ("picks", Kind::Array(Texel::Uint4, Access::Read)),
        ("x", Kind::Array(Texel::Float4, Access::Read)),
        ("out", Kind::Array(Texel::Float4, Access::Write)),
    ]
}

/// Copies the picked rows of `stride` texels together. A dispatch has a workgroup per picked row along y.
pub(crate) fn gather(variant: Variant, stride: u32) -> String {
    let lanes = variant.workgroup();
    format!(
        "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    let start = picks_at(g.y).x * {stride}u;
    for (var c = l; c < {stride}u; c += {lanes}u) {{ out_put(g.y * {stride}u + c, x_at(start + c)); }}
}}
"
    )
}

/// What [`best`] binds.
pub(crate) fn best_bindings() -> [(&'static str, Kind); 3] {
    [
        ("logits", Kind::Array(Texel::Float4, Access::Read)),
        ("picks", Kind::Array(Texel::Uint4, Access::Read)),
        ("results", Kind::Results),
    ]
}

/// Of each row of logits: the first token with the highest, that logit, and the wanted token's. A dispatch has a
/// workgroup per row along y. NaN is never the highest; a row of nothing else yields minus infinity.
pub(crate) fn best(variant: Variant, vocabulary: u32, stride: u32) -> String {
    let lanes = if variant == Variant::Tiles { 256 } else { variant.workgroup() };
    format!(
        "const LOWEST: f32 = -3.4028235e38;
var<workgroup> highest: array<f32, {lanes}>;
var<workgroup> token: array<u32, {lanes}>;
@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    var high = LOWEST;
    var id = {vocabulary}u;
    for (var c = l; 4u * c < {vocabulary}u; c += {lanes}u) {{
        let v = logits_at(g.y * {stride}u + c);
        for (var e = 0u; e < 4u; e += 1u) {{
            if v[e] > high && 4u * c + e < {vocabulary}u {{
                high = v[e];
                id = 4u * c + e;
            }}
        }}
    }}
    highest[l] = high;
    token[l] = id;
    workgroupBarrier();
    if l == 0u {{
        for (var i = 1u; i < {lanes}u; i += 1u) {{
            if highest[i] > high || (highest[i] == high && token[i] < id) {{
                high = highest[i];
                id = token[i];
            }}
        }}
        let wanted = picks_at(g.y).y;
        let v = logits_at(g.y * {stride}u + wanted / 4u);
        results_put(g.y, vec4<u32>(id, bitcast<u32>(high), bitcast<u32>(v[wanted % 4u]), 0u));
    }}
}}
"
    )
}
