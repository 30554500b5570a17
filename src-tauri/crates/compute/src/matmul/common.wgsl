// C = act(A·B + bias), row-major f32. A is m × k, B is k × n. The host pads every side to whole tiles, so that no
// index is checked here.
struct Params {
    k: u32,
    n: u32,
    // Tiles are numbered along the rows of C; this dispatch starts at `first`.
    first: u32,
    tiles_across: u32,
    tiles_down: u32,
    // Bit 0: add the bias. Bit 1: apply GELU.
    epilogue: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

// erf after Abramowitz and Stegun 7.1.26, |error| < 1.5e-7.
fn erf(x: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - poly * exp(-x * x));
}

fn store(row: u32, column: u32, sum: vec4<f32>) {
    var x = sum;
    if (p.epilogue & 1u) != 0u {
        x += bias[column];
    }
    if (p.epilogue & 2u) != 0u {
        x = 0.5 * x * (1.0 + erf(x * 0.70710678));
    }
    c[row * (p.n / 4u) + column] = x;
}
