// The parts of a BERT encoder that are no matrix products. Passages lie one after the other, without padding, so
// that nothing is masked: attention looks at the tokens of its own passage only.
//
// The host declares WIDTH (numbers of a token's vector), ROW (vec4 of its row, which is padded with zeros to a multiple
// of LANES), HEADS, HEAD (vec4 of a head, the last one padded with zeros), ATTENDED (vec4 of the row of a query, a key
// or a value), SCALE (1 / sqrt(numbers of a head)) and EPSILON.

const LANES: u32 = 32u;
const EACH: u32 = ROW / LANES; // vec4 per lane

struct Token { id: u32, position: u32 }
struct Span { first: u32, count: u32 }
// Up to two queries of one passage.
struct Queries { first: u32, count: u32, span: Span }

var<workgroup> partial: array<f32, LANES>;

fn total(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < LANES; i += 1u) {
        sum += partial[i];
    }
    workgroupBarrier();
    return sum;
}

fn sum_of_squares(row: array<vec4<f32>, EACH>) -> f32 {
    var x = row;
    var sum = 0.0;
    for (var i = 0u; i < EACH; i += 1u) {
        sum += dot(x[i], x[i]);
    }
    return sum;
}

// Layer normalisation of one token by one workgroup. The padding of a row stays zero: so are its gain and shift.
fn normalise(lane: u32, row: array<vec4<f32>, EACH>, token: u32) {
    var x = row;
    var sum = vec4<f32>();
    for (var i = 0u; i < EACH; i += 1u) {
        sum += x[i];
    }
    let mean = total(lane, dot(sum, vec4<f32>(1.0))) / f32(WIDTH);
    for (var i = 0u; i < EACH; i += 1u) {
        x[i] -= mean;
        if WIDTH < 4u * ROW {
            let number = 4u * (lane + i * LANES) + vec4<u32>(0u, 1u, 2u, 3u);
            x[i] = select(vec4<f32>(), x[i], number < vec4<u32>(WIDTH));
        }
    }
    let variance = total(lane, sum_of_squares(x)) / f32(WIDTH);
    let scale = inverseSqrt(variance + EPSILON);
    for (var i = 0u; i < EACH; i += 1u) {
        let at = lane + i * LANES;
        hidden[token * ROW + at] = x[i] * scale * gain[at] + shift[at];
    }
}

@group(0) @binding(0) var<storage, read_write> hidden: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> shift: array<vec4<f32>>;

@group(0) @binding(3) var<storage, read> tokens: array<Token>;
@group(0) @binding(4) var<storage, read> words: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> positions: array<vec4<f32>>; // with the token type added

@compute @workgroup_size(LANES)
fn embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = tokens[group.x];
    var x: array<vec4<f32>, EACH>;
    for (var i = 0u; i < EACH; i += 1u) {
        let at = lane + i * LANES;
        x[i] = words[token.id * ROW + at] + positions[token.position * ROW + at];
    }
    normalise(lane, x, group.x);
}

@group(0) @binding(3) var<storage, read> added: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn add_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var x: array<vec4<f32>, EACH>;
    for (var i = 0u; i < EACH; i += 1u) {
        let at = group.x * ROW + lane + i * LANES;
        x[i] = hidden[at] + added[at];
    }
    normalise(lane, x, group.x);
}

// The host adds `qkv_at(token, column)`; per token: query, key, value, each of ATTENDED.
@group(0) @binding(1) var<storage, read> queries: array<Queries>;
@group(0) @binding(2) var<storage, read_write> mixed: array<vec4<f32>>;

// One head of up to two queries, softmax in one pass (`raise`).
@compute @workgroup_size(32)
fn attend(@builtin(global_invocation_id) id: vec3<u32>) {
    let blocks = arrayLength(&queries);
    if id.x >= blocks * HEADS {
        return;
    }
    let block = queries[id.x % blocks];
    let head = (id.x / blocks) * HEAD;
    let second = block.first + block.count - 1u; // the first again when there is only one
    var q0: array<vec4<f32>, HEAD>;
    var q1: array<vec4<f32>, HEAD>;
    var o0: array<vec4<f32>, HEAD>;
    var o1: array<vec4<f32>, HEAD>;
    for (var i = 0u; i < HEAD; i += 1u) {
        q0[i] = qkv_at(block.first, head + i) * SCALE;
        q1[i] = qkv_at(second, head + i) * SCALE;
    }
    var most = NOTHING;
    var sum = vec2<f32>(0.0);
    for (var t = block.span.first; t < block.span.first + block.span.count; t += 1u) {
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        for (var i = 0u; i < HEAD; i += 1u) {
            let key = qkv_at(t, ATTENDED + head + i);
            s0 = fma(q0[i], key, s0);
            s1 = fma(q1[i], key, s1);
        }
        let score = vec2<f32>(s0.x + s0.y + s0.z + s0.w, s1.x + s1.y + s1.z + s1.w);
        let raised = raise(most, score);
        let keep = raised.keep;
        let weight = raised.weight;
        most = raised.most;
        sum = sum * keep + weight;
        for (var i = 0u; i < HEAD; i += 1u) {
            let value = qkv_at(t, 2u * ATTENDED + head + i);
            o0[i] = fma(vec4<f32>(weight.x), value, o0[i] * keep.x);
            o1[i] = fma(vec4<f32>(weight.y), value, o1[i] * keep.y);
        }
    }
    for (var i = 0u; i < HEAD; i += 1u) {
        mixed[block.first * ATTENDED + head + i] = o0[i] / sum.x;
        if block.count == 2u {
            mixed[second * ATTENDED + head + i] = o1[i] / sum.y;
        }
    }
}

@group(0) @binding(0) var<storage, read> last: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> spans: array<Span>;
@group(0) @binding(2) var<storage, read_write> vectors: array<vec4<f32>>;

// Mean over the tokens of a span, scaled to length one, by one workgroup.
@compute @workgroup_size(LANES)
fn pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let span = spans[group.x];
    var x: array<vec4<f32>, EACH>;
    for (var t = span.first; t < span.first + span.count; t += 1u) {
        for (var i = 0u; i < EACH; i += 1u) {
            x[i] += last[t * ROW + lane + i * LANES];
        }
    }
    let squares = total(lane, sum_of_squares(x));
    // The mean's divisor cancels; the floor is sentence-transformers' 1e-12.
    let scale = 1.0 / max(sqrt(squares), 1e-12 * f32(span.count));
    for (var i = 0u; i < EACH; i += 1u) {
        vectors[group.x * ROW + lane + i * LANES] = x[i] * scale;
    }
}
