// For GPUs: SIDE × SIDE elements of C by SIDE²/64 invocations of 8 × 8 each, through workgroup memory.
//
// - 64 fused multiply-adds follow on four vec4 reads, so that arithmetic and not workgroup memory is the limit. Of a
//   subgroup of 32 (4 × 8 invocations over 32 × 64 elements) each read takes 64 or 128 contiguous bytes: no bank twice.
// - A's tile is transposed in registers, four rows of four at a time, and its columns are exchanged (`^ 2·quad`), so
//   that neighbours write to different banks although they read one row of A.
// - The next tiles travel into registers while these are multiplied: memory latency is hidden by arithmetic.
const DEPTH: u32 = 16u; // of a tile
const ACROSS: u32 = SIDE / 4u; // a tile's side in vec4
const INVOCATIONS: u32 = SIDE * SIDE / 64u;
const GROUPED: u32 = 8u; // rows of tiles that run together, so that they share B in the cache

var<workgroup> tile_a: array<vec4<f32>, DEPTH * ACROSS>; // deep × rows
var<workgroup> tile_b: array<vec4<f32>, DEPTH * ACROSS>; // deep × columns

// Rows `row` to `row + 3` of A, four columns each; the column in vec4.
fn fetch_a(row: u32, column: u32) -> mat4x4<f32> {
    let stride = p.k / 4u;
    let at = row * stride + column;
    return mat4x4<f32>(load_a(at), load_a(at + stride), load_a(at + 2u * stride), load_a(at + 3u * stride));
}

// Rows `row`, `row + 4`, `row + 8`, `row + 12` of B, four columns each; the column in vec4.
fn fetch_b(row: u32, column: u32) -> mat4x4<f32> {
    let stride = p.n; // four rows in vec4
    let at = row * (p.n / 4u) + column;
    return mat4x4<f32>(load_b(at), load_b(at + stride), load_b(at + 2u * stride), load_b(at + 3u * stride));
}

fn put_a(quad: u32, column: u32, rows: mat4x4<f32>) {
    let deep = transpose(rows);
    let at = quad * 4u * ACROSS + (column ^ (2u * quad));
    tile_a[at] = deep[0];
    tile_a[at + ACROSS] = deep[1];
    tile_a[at + 2u * ACROSS] = deep[2];
    tile_a[at + 3u * ACROSS] = deep[3];
}

fn put_b(row: u32, column: u32, rows: mat4x4<f32>) {
    let at = row * ACROSS + column;
    tile_b[at] = rows[0];
    tile_b[at + 4u * ACROSS] = rows[1];
    tile_b[at + 8u * ACROSS] = rows[2];
    tile_b[at + 12u * ACROSS] = rows[3];
}

// sum + l·rᵀ
fn outer(sum: mat4x4<f32>, l: vec4<f32>, r: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(l.x), r, sum[0]),
        fma(vec4<f32>(l.y), r, sum[1]),
        fma(vec4<f32>(l.z), r, sum[2]),
        fma(vec4<f32>(l.w), r, sum[3]),
    );
}

fn store_four(row: u32, column: u32, sum: mat4x4<f32>) {
    store(row, column, sum[0]);
    store(row + 1u, column, sum[1]);
    store(row + 2u, column, sum[2]);
    store(row + 3u, column, sum[3]);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Tiles run down GROUPED rows before they go one column on.
    let tile = p.first + group.x;
    let top = tile / (GROUPED * p.tiles_across) * GROUPED;
    let high = min(GROUPED, p.tiles_down - top);
    let within = tile - top * p.tiles_across;
    let row = (top + within % high) * SIDE;
    let column = within / high * ACROSS; // in vec4

    // What this invocation multiplies: vec4 `left` and `left + 4` of A's tile, `right` and `right + 8` of B's.
    let left = local / 32u / (SIDE / 64u) * 8u + local % 32u / 8u;
    let right = local / 32u % (SIDE / 64u) * 16u + local % 8u;
    // What it brings: 4 × 4 of A at `quad`, or 4 × 4 of B at rows `deep`, `deep + 4`, …
    let of_a = local % SIDE;
    let quad = of_a % 4u;
    let of_b = (local + SIDE) % INVOCATIONS % SIDE;
    let deep = of_b / ACROSS;
    let across = of_b % ACROSS;

    var s00 = mat4x4<f32>();
    var s01 = mat4x4<f32>();
    var s10 = mat4x4<f32>();
    var s11 = mat4x4<f32>();
    BRING(0u)
    for (var depth = 0u; depth < p.k; depth += DEPTH) {
        PUT
        workgroupBarrier();
        if depth + DEPTH < p.k {
            BRING(depth + DEPTH)
        }
        for (var d = 0u; d < DEPTH; d += 4u) {
            let a0 = d * ACROSS + (left ^ (d / 2u));
            let a1 = d * ACROSS + ((left + 4u) ^ (d / 2u));
            let b0 = d * ACROSS + right;
STEPS
        }
        workgroupBarrier();
    }
    let first = row + 4u * left;
    store_four(first, column + right, s00);
    store_four(first, column + right + 8u, s01);
    store_four(first + 16u, column + right, s10);
    store_four(first + 16u, column + right + 8u, s11);
}
