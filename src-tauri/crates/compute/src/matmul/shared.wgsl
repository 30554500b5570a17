// For GPUs: a workgroup of 16 × 16 computes a tile of 64 × 64 through workgroup memory, 4 × 4 per invocation.
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;

var<workgroup> tile_a: array<vec4<f32>, 256>; // 16 deep × 64 rows, transposed
var<workgroup> tile_b: array<vec4<f32>, 256>; // 16 deep × 64 columns

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = p.first + group.x;
    let row = (tile / p.tiles_across) * 64u;
    let column = (tile % p.tiles_across) * 16u; // in vec4
    let x = local % 16u;
    let y = local / 16u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var depth = 0u; depth < p.k; depth += 16u) {
        // Invocation (x, y) brings four rows of one column of A, which lie apart in memory, and one vec4 of B.
        let at = (row + 4u * x) * (p.k / 4u) + depth / 4u + y / 4u;
        let lane = y % 4u;
        tile_a[y * 16u + x] = vec4<f32>(
            a[at][lane], a[at + p.k / 4u][lane], a[at + p.k / 2u][lane], a[at + 3u * (p.k / 4u)][lane]);
        tile_b[y * 16u + x] = b[(depth + y) * (p.n / 4u) + column + x];
        workgroupBarrier();
        for (var d = 0u; d < 16u; d += 1u) {
            let l = tile_a[d * 16u + y];
            let r = tile_b[d * 16u + x];
            s0 = fma(vec4<f32>(l.x), r, s0);
            s1 = fma(vec4<f32>(l.y), r, s1);
            s2 = fma(vec4<f32>(l.z), r, s2);
            s3 = fma(vec4<f32>(l.w), r, s3);
        }
        workgroupBarrier();
    }
    let top = row + 4u * y;
    store(top, column + x, s0);
    store(top + 1u, column + x, s1);
    store(top + 2u, column + x, s2);
    store(top + 3u, column + x, s3);
}
