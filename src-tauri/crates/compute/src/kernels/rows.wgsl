// One pass over each row by LANES invocations, a tree over their states, and, where a row's output is a row, a second
// pass. A workgroup takes 256 / LANES rows. Beside this stand LANES and what makes the kernel: State, EMPTY, add,
// merge, and finish or value.
struct Params { first: u32, rows: u32, columns: u32 }

@group(0) @binding(0) var<uniform> p: Params;
// The matrix, then gain and shift where there are any; as bits, because WGSL may take it that no float is NaN.
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

const NOT_A_NUMBER: u32 = 0x7fc00000u;

struct Row { number: u32, lane: u32, columns: u32, state: State, finite: bool }

var<workgroup> states: array<State, 256>;
var<workgroup> faults: array<u32, 256>;

fn parameter(vector: u32, column: u32) -> f32 {
    return bitcast<f32>(input[p.rows * p.columns + vector * p.columns + column]);
}

fn reduced(group: u32, local: u32) -> Row {
    let number = (p.first + group) * (256u / LANES) + local / LANES;
    let lane = local % LANES;
    // A workgroup's last rows may lie behind the end.
    let columns = select(0u, p.columns, number < p.rows);
    var state = EMPTY;
    var fault = 0u;
    for (var column = lane; column < columns; column += LANES) {
        let bits = input[number * p.columns + column];
        fault |= u32((bits & 0x7f800000u) == 0x7f800000u);
        state = add(state, bits, column);
    }
    states[local] = state;
    faults[local] = fault;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            states[local] = merge(states[local], states[local + step]);
            faults[local] |= faults[local + step];
        }
    }
    workgroupBarrier();
    let head = local - lane;
    return Row(number, lane, columns, states[head], faults[head] == 0u);
}
