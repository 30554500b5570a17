// Random paths: a workgroup takes a block, its invocations four paths at a time.
struct Params { first: u32, paths: u32, seed: vec2<u32>, start: f32, spread: f32, strike: f32, discount: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

const LANES: u32 = 64u;

// The high and the low word of a · b.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let middle = (a >> 16u) * (b & 0xffffu) + ((a & 0xffffu) * (b & 0xffffu) >> 16u);
    let low = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (low >> 16u), a * b);
}

// Philox4x32-10 (Salmon and others, SC 2011).
fn philox(at: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var counter = at;
    var key = seed;
    for (var round = 0u; round < 10u; round += 1u) {
        let x = multiply(0xD2511F53u, counter.x);
        let z = multiply(0xCD9E8D57u, counter.z);
        counter = vec4<u32>(z.x ^ counter.y ^ key.x, z.y, x.x ^ counter.w ^ key.y, x.y);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

// How many of four words are points inside the quarter circle, in integers.
fn inside(words: vec4<u32>) -> vec4<u32> {
    let x = 2u * (words & vec4<u32>(0x7fffu)) + 1u;
    let y = 2u * (words >> vec4<u32>(16u) & vec4<u32>(0x7fffu)) + 1u;
    // x² + y² ≤ 2³², without leaving 32 bits: x² is at least 1.
    return select(vec4<u32>(0u), vec4<u32>(1u), y * y <= ~(x * x) + 1u);
}

// The normal quantile of u in [2⁻²⁴, 1 − 2⁻²⁴]: Wichura's AS 241, PPND7; its farthest branch begins at 10⁻¹¹.
fn normal(u: f32) -> f32 {
    let q = u - 0.5;
    if abs(q) <= 0.425 {
        let r = 0.180625 - q * q;
        return q * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)
            / (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
    }
    let r = sqrt(-log(select(1.0 - u, u, q < 0.0))) - 1.6;
    return sign(q) * (((0.17023821103 * r + 1.3067284816) * r + 2.75681539) * r + 1.4234372777)
        / ((0.12021132975 * r + 0.7370016425) * r + 1.0);
}

fn payoff(word: u32) -> f32 {
    let z = normal((f32(word >> 9u) + 0.5) / 8388608.0);
    return p.discount * max(p.start * exp(p.spread * z) - p.strike, 0.0);
}

// All ones for the paths of a quad that exist.
fn existing(quad: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), vec4<u32>(1u), 4u * quad + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.paths));
}

var<workgroup> counts: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn pi(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = p.first + group.x;
    var count = vec4<u32>(0u);
    for (var quad = lane; quad < (p.paths + 3u) / 4u; quad += LANES) {
        count += inside(philox(vec4<u32>(quad, blocks[block], 0u, 0u), p.seed)) * existing(quad);
    }
    counts[lane] = count.x + count.y + count.z + count.w;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            counts[lane] += counts[lane + step];
        }
    }
    if lane == 0u {
        output[block] = counts[0];
    }
}

var<workgroup> sums: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn call(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = p.first + group.x;
    var sum = vec2<f32>();
    for (var quad = lane; quad < (p.paths + 3u) / 4u; quad += LANES) {
        let words = philox(vec4<u32>(quad, blocks[block], 0u, 0u), p.seed);
        let paid = vec4<f32>(payoff(words.x), payoff(words.y), payoff(words.z), payoff(words.w))
            * vec4<f32>(existing(quad));
        sum += vec2<f32>(dot(paid, vec4<f32>(1.0)), dot(paid, paid));
    }
    sums[lane] = sum;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            sums[lane] += sums[lane + step];
        }
    }
    if lane == 0u {
        output[2u * block] = bitcast<u32>(sums[0].x);
        output[2u * block + 1u] = bitcast<u32>(sums[0].y);
    }
}
