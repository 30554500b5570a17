// Each invocation draws 1000 points of the unit square (PCG hash) and counts those inside the quarter circle.
@group(0) @binding(0) var<storage, read_write> inside: array<u32>;
var<workgroup> counts: array<u32, 32>;

fn pcg(x: u32) -> u32 {
    let state = x * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

@compute @workgroup_size(32)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var seed = pcg(id.x);
    var count = 0u;
    for (var i = 0u; i < 1000u; i += 1u) {
        seed = pcg(seed);
        let x = f32(seed >> 8u) / 16777216.0;
        seed = pcg(seed);
        let y = f32(seed >> 8u) / 16777216.0;
        count += select(0u, 1u, x * x + y * y < 1.0);
    }
    counts[local] = count;
    workgroupBarrier();
    if local == 0u {
        var sum = 0u;
        for (var i = 0u; i < 32u; i += 1u) {
            sum += counts[i];
        }
        inside[group.x] = sum;
    }
}
