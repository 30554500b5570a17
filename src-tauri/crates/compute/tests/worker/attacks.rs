//! Hostile kernels against the real worker: each gets an answer within its time, and the next job is unharmed.

use super::frames::{Worker, job};
use std::time::{Duration, Instant};
use tender_base::{
    Code, Problem, Work,
    frames::{Reply, Request},
    job::{Access, Element, WgslBuffer, WgslWork},
};

/// Two steps of a kernel may take five seconds each, and a machine under load is slow to tell.
const ANSWERED: Duration = Duration::from_secs(40);

fn kernel(functions: &str, body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
{functions}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {{
{body}
}}"
    )
}

fn request(source: &str, workgroups: u32) -> Request {
    job(Work::Wgsl(WgslWork {
        source_bytes: u32::try_from(source.len()).unwrap(),
        entry: "main".into(),
        workgroups,
        workgroup_size: 64,
        fuel: 60_000,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: workgroups * 64 * 4 }],
        element: Element::U32,
    }))
}

/// The output, or why there is none.
fn run(worker: &mut Worker, source: &str) -> Result<Vec<u32>, Problem> {
    let started = Instant::now();
    let (reply, bytes) = worker.ask(&request(source, 1), source.as_bytes());
    assert!(started.elapsed() < ANSWERED, "an answer after {:?}", started.elapsed());
    match reply {
        Reply::Done { .. } => Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()),
        Reply::Failed { problem } => {
            assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
            Err(problem)
        }
        other => panic!("{other:?}"),
    }
}

/// An ordinary job.
fn is_unharmed(worker: &mut Worker) {
    let got = run(worker, &kernel("", "out[id.x] = id.x * 3u;")).unwrap();
    assert_eq!(got, (0..64).map(|id| id * 3).collect::<Vec<_>>());
}

#[test]
fn sources_made_to_break_a_parser_are_answered() {
    let many = |n: usize, text: &str| text.repeat(n);
    let numbered = |range: std::ops::Range<u32>, text: &dyn Fn(u32) -> String| range.map(text).collect::<String>();
    let sources = [
        ("a long sum", kernel("", &format!("out[0] = {}1u;", many(50_000, "1u+")))),
        ("a long sum of variables", kernel("", &format!("out[0] = {}1u;", many(30_000, "id.x+")))),
        ("a long sign", kernel("", &format!("var x = i32(id.x); out[0] = u32({}x);", many(60_000, "- ")))),
        ("a long negation", kernel("", &format!("var x = id.x; out[0] = {}x;", many(200_000, "~")))),
        ("deep indices", kernel("", &format!("out[0] = {}0{};", many(30_000, "out["), many(30_000, "]")))),
        ("deep blocks", kernel("", &format!("{}{}", many(8_000, "if id.x < 9u {"), many(8_000, "}")))),
        (
            "a long chain of else",
            kernel("", &format!("if id.x == 1u {{}}{}", numbered(2..9000, &|i| format!(" else if id.x == {i}u {{}}")))),
        ),
        ("a deep type", kernel(&format!("var<private> p: {}u32{};", many(20_000, "array<"), many(20_000, ",1>")), "")),
        ("a huge type", kernel("var<private> p: array<array<array<u32, 65535>, 65535>, 65535>;", "out[0] = 1u;")),
        (
            "a doubling type",
            kernel(
                &format!(
                    "struct S0 {{ a: u32 }} {} var<private> p: S59;",
                    numbered(1..60, &|i| format!("struct S{i} {{ a: S{last}, b: S{last} }} ", last = i - 1))
                ),
                "out[0] = 1u;",
            ),
        ),
        ("a circle", kernel("const a = b; const b = a;", "out[0] = a;")),
        ("an array of bindings", kernel("@group(0) @binding(1) var<storage> b: binding_array<array<u32>, 4>;", "")),
        ("no text", String::from_utf8(vec![0; 1000]).unwrap()),
        ("other scripts", "ā́🦀\u{202e}".repeat(10_000)),
    ];
    let mut worker = Worker::spawn(|_| {});
    for (name, source) in sources {
        if let Err(problem) = run(&mut worker, &source) {
            assert!(matches!(problem.code, Code::Invalid | Code::WorkFailed), "{name}: {problem}");
            if problem.code == Code::WorkFailed {
                assert!(problem.message.contains("longer than"), "{name}: {problem}");
                worker = Worker::spawn(|_| {});
            }
        }
    }
    is_unharmed(&mut worker);
}

/// Straight code in which everything depends on everything before it: registers run out, and compilers go quadratic.
/// Drivers that manage it in time may.
#[test]
fn a_compile_bomb_ends_with_its_process() {
    let bomb = kernel(
        "",
        &format!(
            "var a: array<u32, 1024>; var x = id.x;\n{}out[id.x] = x;",
            "a[x & 1023u] = x; x = a[(x * 7u) & 1023u] + 1u;\n".repeat(4500)
        ),
    );
    let mut worker = Worker::spawn(|_| {});
    match run(&mut worker, &bomb) {
        Ok(_) => is_unharmed(&mut worker),
        Err(problem) => {
            assert!(problem.code == Code::WorkFailed && problem.message.contains("longer than 5 s"), "{problem}");
            // It does not live on with a compiler in it.
            assert!(!worker.child.wait().unwrap().success());
        }
    }
    is_unharmed(&mut Worker::spawn(|_| {}));
}

/// One workgroup that would keep a CPU adapter busy for minutes; a fast card may finish it.
#[test]
fn a_workgroup_that_takes_too_long_ends_with_its_process() {
    let slow = kernel(
        "",
        &format!(
            "var x = f32(id.x);\nfor (var i = 0u; i < 59000u; i++) {{ {} }}\nout[id.x] = u32(x);",
            "x = fract(sin(x) * 43758.5453 + f32(i));\n".repeat(200)
        ),
    );
    let mut worker = Worker::spawn(|_| {});
    if let Err(problem) = run(&mut worker, &slow) {
        assert!(problem.code == Code::WorkFailed && problem.message.contains("longer than 5 s"), "{problem}");
        assert!(!worker.child.wait().unwrap().success());
    }
    is_unharmed(&mut Worker::spawn(|_| {}));
}

/// Indices below, beyond and far beyond, by every kind of memory; divisions that have no result; shifts by too much.
#[test]
fn accesses_and_arithmetic_without_meaning_harm_nobody() {
    let functions = "var<private> mine: array<u32, 16>; var<workgroup> ours: array<u32, 64>;
var<workgroup> counter: atomic<u32>;";
    let bodies = [
        "out[bitcast<u32>(-1 - i32(id.x))] = 7u; out[id.x] = 1u;",
        "out[(id.x + 1u) * 0x40000000u] = 7u; out[id.x] = 1u;",
        "out[id.x * 0x10000001u + 0xffff0000u] = 7u; out[id.x] = 1u;",
        "mine[id.x - 70u] = 7u; mine[id.x * 1000000u] = 8u; out[id.x] = 1u + 0u * mine[bitcast<u32>(-5)];",
        "ours[id.x - 70u] = 7u; ours[id.x * 77777u] = 8u; workgroupBarrier(); out[id.x] = 1u + 0u * ours[id.x + 64u];",
        "let z = id.x - id.x; out[id.x] = 1u + 0u * (id.x / z + id.x % z);",
        "let m = -2147483647 - 1 + i32(id.x - id.x); out[id.x] = 1u + 0u * u32(m / (m - m - 1) + m % (m - m - 1));",
        "let n = f32(id.x) / f32(id.x - id.x); out[id.x] = 1u + 0u * u32(n) + 0u * u32(i32(sqrt(-1.0 - n)));",
        "out[id.x] = 1u + 0u * ((id.x << ((id.x + 32u) & 31u)) + (id.x >> (id.x & 31u)));",
        "for (var i = 0u; i < 2000u; i++) { atomicAdd(&counter, i); atomicXor(&counter, id.x); } workgroupBarrier();
         out[id.x] = 1u + 0u * atomicLoad(&counter);",
    ];
    let mut worker = Worker::spawn(|_| {});
    for body in bodies {
        let got = run(&mut worker, &kernel(functions, body)).unwrap_or_else(|problem| panic!("{body}: {problem}"));
        // What was written outside may land on an element of this kernel's own output, and nowhere else.
        let strayed = got.iter().filter(|&&word| word != 1).count();
        assert!(got.iter().all(|&word| word == 1 || word == 7) && strayed < 64, "{body}: {got:?}");
        is_unharmed(&mut worker);
    }
}

/// The output of one kernel is not there for the next: memory is zero when a kernel gets it.
#[test]
fn nothing_is_left_for_the_next_kernel() {
    let mut worker = Worker::spawn(|_| {});
    let secret = "for (var i = 0u; i < 64u; i++) { ours[i] = 0xdeadbeefu; mine[i] = 0xdeadbeefu; }
        out[id.x] = ours[local] + 0u * mine[local];";
    let spy = "out[id.x] = ours[local] | mine[local] | out[id.x];";
    let functions = "var<workgroup> ours: array<u32, 64>; var<private> mine: array<u32, 64>;";
    for _ in 0..5 {
        assert_eq!(run(&mut worker, &kernel(functions, secret)).unwrap(), [0xdead_beef; 64]);
        assert_eq!(run(&mut worker, &kernel(functions, spy)).unwrap(), [0; 64]);
    }
}
