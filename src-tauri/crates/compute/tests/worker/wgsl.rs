//! Client kernels: what they may do, and what stops them.

use crate::open;
use tender_base::job::{Access, Element, WgslBuffer, WgslWork};
use tender_base::{Code, Problem};
use tender_compute::{
    Error, Gpu, Output,
    wgsl::{self, measure::MONTE_CARLO},
};

pub(crate) fn work(source: &str, workgroups: u32, workgroup_size: u32, fuel: u32, output: u32) -> WgslWork {
    WgslWork {
        source_bytes: source.len() as u32,
        entry: "main".into(),
        workgroups,
        workgroup_size,
        fuel,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: output }],
        element: Element::U32,
    }
}

pub(crate) fn run(gpu: &Gpu, source: &str, work: &WgslWork, parts: Option<&[u32]>) -> Result<Output, Error> {
    wgsl::run(gpu, work, source.as_bytes(), parts, &mut |_, _| {})
}

pub(crate) fn words(out: &Output) -> Vec<u32> {
    out.bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// `main` of one invocation per workgroup around `body`, with `functions` before it.
fn kernel(functions: &str, body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
{functions}
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) all: vec3<u32>) {{
{body}
}}"
    )
}

/// A kernel in which each of so many functions calls the next one twice.
fn doubling(functions: u32) -> String {
    let mut text = "fn f0(x: u32) -> u32 { return x * 3u + 1u; }\n".to_owned();
    for n in 1..=functions {
        text += &format!("fn f{n}(x: u32) -> u32 {{ return f{last}(f{last}(x) ^ {n}u); }}\n", last = n - 1);
    }
    kernel(&text, &format!("out[g.x] = f{functions}(g.x);"))
}

fn outcome(functions: &str, body: &str, fuel: u32) -> Result<Vec<u32>, Error> {
    let source = kernel(functions, body);
    run(&open().0, &source, &work(&source, 4, 1, fuel, 16), None).map(|out| words(&out))
}

#[test]
fn a_monte_carlo_kernel_finds_pi_and_parts_equal_the_whole_bit_for_bit() {
    let job = work(MONTE_CARLO, 300, 32, 2000, 300 * 4);
    let whole = run(&open().0, MONTE_CARLO, &job, None).unwrap();
    assert_eq!(whole.units, 300 * 32 * 2000);
    let inside: u64 = words(&whole).iter().map(|&w| u64::from(w)).sum();
    let pi = 4.0 * inside as f64 / (300.0 * 32.0 * 1000.0);
    // Nine standard deviations of 9.6 million draws.
    assert!((pi - std::f64::consts::PI).abs() < 0.005, "{pi}");

    let chosen = [299, 0, 17, 18, 19, 250];
    let parts = run(&open().0, MONTE_CARLO, &job, Some(&chosen)).unwrap();
    assert_eq!(parts.units, 6 * 32 * 2000);
    let expected: Vec<u32> = chosen.iter().map(|&g| words(&whole)[g as usize]).collect();
    assert_eq!(words(&parts), expected);
    let outside = run(&open().0, MONTE_CARLO, &job, Some(&[300])).unwrap_err();
    assert!(outside.to_string().contains("workgroup 300"), "{outside}");
}

#[test]
fn slices_see_the_whole_grid_through_arguments_and_structs() {
    let source = "
struct In {
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) all: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
}
@group(0) @binding(3) var<storage, read> add: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(2, 2)
fn main(in: In, @builtin(workgroup_id) g: vec3<u32>) {
    out[g.x * 4u + in.local] = add[0] + in.id.x * 100000u + in.id.y * 10000u + g.x * 10u + in.all.x / 100u + in.all.y;
}";
    let mut job = work(source, 500, 4, 1, 500 * 16);
    job.buffers = vec![
        WgslBuffer { binding: 1, access: Access::Write, bytes: 500 * 16 },
        WgslBuffer { binding: 3, access: Access::Read, bytes: 4 },
    ];
    let input = [source.as_bytes(), &7_u32.to_le_bytes()].concat();
    let out = wgsl::run(&open().0, &job, &input, None, &mut |_, _| {}).unwrap();
    for (at, got) in (0_u32..).zip(words(&out)) {
        let (g, local) = (at / 4, at % 4);
        assert_eq!(got, 7 + (2 * g + local % 2) * 100_000 + local / 2 * 10_000 + g * 10 + 6, "element {at}");
    }
}

#[test]
fn fuel_ends_every_kind_of_loop_and_is_reported() {
    let endless = [
        ("", "loop { out[g.x] += 1u; }"),
        ("", "loop { out[g.x] += 1u; continuing { out[g.x] += 1u; break if all.x == 0u; } }"),
        ("fn f(x: u32) -> u32 { var y = x; while y != 1u { y = y | 4u; } return y; }", "out[g.x] = f(g.x);"),
        ("", "loop { switch g.x { case 0u: { continue; } default: { continue; } } }"),
        ("", "for (var i = 0u; i < 100u; i += 1u) { for (var j = 0u; j < 100u; j += 1u) { out[g.x] += 1u; } }"),
        ("var<workgroup> w: u32;", "loop { workgroupBarrier(); w += 1u; workgroupBarrier(); if w == 0u { break; } }"),
        ("", "loop { continuing { loop { if all.x == 0u { break; } } } }"),
    ];
    for (functions, body) in endless {
        let error = outcome(functions, body, 1000).unwrap_err();
        assert!(matches!(error, Error::FuelExhausted(1000)), "{body}: {error}");
        let problem = Problem::from(error);
        assert_eq!(problem.code, Code::WorkFailed);
        assert!(problem.message.contains("fuel"));
    }
}

#[test]
fn enough_fuel_changes_nothing_and_the_last_round_counts() {
    let body = "for (var i = 0u; i < 10u; i += 1u) { if i == 3u { continue; } out[g.x] += i; }";
    assert_eq!(outcome("", body, 11).unwrap(), [42; 4]);
    assert!(matches!(outcome("", body, 10), Err(Error::FuelExhausted(10))));
    let body = "var n = 0u; loop { n += 1u; continuing { n += 1u; break if n >= 8u; } } out[g.x] = n + g.x;";
    assert_eq!(outcome("", body, 4).unwrap(), [8, 9, 10, 11]);
    let nested = "for (var i = 0u; i < 5u; i += 1u) { switch i { case 2u: { break; } default: { out[g.x] += i; } } }";
    assert_eq!(outcome("", nested, 100).unwrap(), [8; 4]);
}

#[test]
fn accesses_out_of_bounds_are_harmless() {
    let read = "out[g.x] = out[all.x * 1000000u + g.x] + 5u;";
    assert!(outcome("", read, 1).is_ok());
    let write = "out[0x3fffffffu - g.x] = 7u; out[g.x] = 9u;";
    let got = outcome("", write, 1).unwrap();
    // A write beyond the end may land on the last element (index clamping) and nowhere else.
    assert_eq!(got[..3], [9; 3]);
}

#[test]
fn refusals_name_the_place_or_the_thing() {
    let refused = |source: &str, change: &dyn Fn(&mut WgslWork)| {
        let mut job = work(source, 4, 1, 10, 16);
        change(&mut job);
        let problem = Problem::from(run(&open().0, source, &job, None).unwrap_err());
        assert_eq!(problem.code, Code::Invalid, "{problem}");
        problem.message
    };
    let with = |functions: &str, body: &str| kernel(functions, body);
    let fine = with("", "out[g.x] = 1u;");
    let same = |_: &mut WgslWork| {};
    let cases: Vec<(String, &str)> = vec![
        (refused(&with("", "let x = ;"), &same), "line 5, column 9"),
        (refused(&with("", "out[g.x] = 1.5;"), &same), "line 5"),
        (refused(&with("fn f() { g(); } fn g() { f(); }", ""), &same), "line"),
        (refused(&fine, &|w| w.entry = "other".into()), "no entry point named other"),
        (refused(&fine, &|w| w.workgroup_size = 2), "@workgroup_size is 1"),
        (refused(&fine, &|w| w.buffers[0].binding = 1), "@binding(0), which buffers does not declare"),
        (refused(&fine, &|w| w.buffers.push(WgslBuffer { binding: 5, access: Access::Read, bytes: 4 })), "@binding(5)"),
        (refused(&with("@group(0) @binding(1) var t: texture_2d<f32>;", ""), &same), "texture"),
        (refused(&with("@group(1) @binding(0) var<storage, read> x: u32;", ""), &same), "@group(1)"),
        (refused(&with("@group(0) @binding(1) var<uniform> x: vec4<u32>;", ""), &same), "uniform"),
        (refused(&with("override n: u32 = 3u;", "out[0] = n;"), &same), "override"),
        (refused(&with("var<private> big: array<u32, 20000>;", "big[g.x] = 1u;"), &same), "65536"),
        (refused(&with("", "var big: array<u32, 20000>; big[g.x] = 1u; out[0] = big[all.x];"), &same), "65536"),
        (refused(&with("var<workgroup> big: array<u32, 5000>;", "big[g.x] = 1u;"), &same), "16384"),
        (refused(&with("enable f16;", ""), &same), "line 2"),
        (refused(&doubling(40), &same), "inlined"),
        (
            refused(
                "@group(0) @binding(0) var<storage, read> out: array<u32>; @compute @workgroup_size(1) fn main() {}",
                &same,
            ),
            "read",
        ),
        (
            refused(
                "@group(0) @binding(0) var<storage, read_write> out: array<atomic<u32>>;
                 @compute @workgroup_size(1) fn main() { atomicAdd(&out[0], 1u); }",
                &same,
            ),
            "atomics",
        ),
        (
            refused(
                "@group(0) @binding(0) var<storage, read_write> out: array<u32, 100>;
                 @compute @workgroup_size(1) fn main() { out[0] = 1u; }",
                &same,
            ),
            "400 bytes",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "\"{message}\" does not contain \"{expected}\"");
    }
    // Deep nesting ends in an error, not in a crash.
    let deep = with("", &format!("out[0] = {}1u{};", "(".repeat(50_000), ")".repeat(50_000)));
    assert!(refused(&deep, &same).contains("refused"));
    let blocks = with("", &format!("{}{}", "{".repeat(50_000), "}".repeat(50_000)));
    assert!(refused(&blocks, &same).contains("refused"));
}

/// What is compared is the same work: the figures themselves are for benchmarks.
#[test]
fn metering_is_measured_on_equal_results() {
    let pairs = wgsl::measure::fuel_pairs(&open().0, 2).unwrap();
    assert!(pairs.len() == 2 && pairs.iter().all(|(with, without)| *with > 0.0 && *without > 0.0), "{pairs:?}");
}
