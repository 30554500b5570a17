use super::{freivalds::residual, *};
use crate::{Output, ProgressSender};
use proptest::prelude::*;
use tender_base::{
    documents::WorkerInfo,
    job::{Access, Element, ModelRef, Precision, WgslBuffer, WgslWork},
    kernel::{Kernel, KernelWork},
};

fn seed() -> Sha256 {
    Sha256::of(b"nonce and root")
}

/// SplitMix64, mapped to [-1, 1).
fn numbers(mut state: u64, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The product as a plain device does it: f32 sums, one after the other.
fn multiply([m, k, n]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut c = vec![0.0f32; m * n];
    for (a_row, c_row) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (a, b_row) in a_row.iter().zip(b.chunks_exact(n)) {
            for (c, b) in c_row.iter_mut().zip(b_row) {
                *c += a * b;
            }
        }
    }
    assert_eq!(c.len(), m * n);
    c
}

fn check(shape: [usize; 3], a: &[f32], b: &[f32], c: &[f32]) -> f64 {
    residual(shape, Precision::F32, &bytes(&[a, b].concat()), &bytes(c), &seed(), 20).unwrap()
}

#[test]
fn honest_products_pass_whatever_their_numbers_look_like() {
    let side = 512;
    let shape = [side; 3];
    let random = numbers(1, side * side);
    let positive: Vec<f32> = random.iter().map(|x| x.abs()).collect();
    let constant = vec![0.1f32; side * side];
    // The first half of every row adds up, the second takes it away again.
    let cancelling: Vec<f32> = (0..side * side).map(|i| if i % side < side / 2 { 0.7 } else { -0.7 }).collect();
    let spread: Vec<f32> = random.iter().enumerate().map(|(i, x)| x * 10f32.powi(i as i32 % 37 - 18)).collect();
    let tiny: Vec<f32> = random.iter().map(|x| x * 1e-30).collect();
    for (name, a, b) in [
        ("random", &random, &random),
        ("positive", &positive, &positive),
        ("constant", &constant, &constant),
        ("cancelling", &cancelling, &positive),
        ("spread", &spread, &spread),
        ("tiny", &tiny, &tiny),
    ] {
        let ratio = check(shape, a, b, &multiply(shape, a, b));
        println!("{name}: {ratio}");
        assert!(ratio < 0.75, "{name}: {ratio} is too close to the limit");
    }
    let zero = vec![0.0; side * side];
    assert_eq!(check(shape, &zero, &zero, &zero), 0.0);
}

#[test]
fn the_longest_sums_of_lined_up_roundings_pass() {
    let shape = [2, 4096, 64];
    for value in [0.1f32, 0.3, 0.7, 1.0 / 3.0, 0.999, 1.0001, 1.7e-3] {
        let (a, b) = (vec![value; 2 * 4096], vec![value; 4096 * 64]);
        let ratio = check(shape, &a, &b, &multiply(shape, &a, &b));
        println!("constant {value}: {ratio}");
        assert!(ratio < 0.9, "{value}: {ratio}");
    }
    let (a, b) = (numbers(5, 2 * 4096), numbers(6, 4096 * 64));
    let positive: Vec<f32> = a.iter().map(|x| x.abs()).collect();
    for (name, a) in [("random", &a), ("positive", &positive)] {
        let ratio = check(shape, a, &b, &multiply(shape, a, &b));
        println!("{name}: {ratio}");
        assert!(ratio < 0.5, "{name}: {ratio}");
    }
}

/// What matrices are made of: numbers of both signs and of one, evenly spread, bell-shaped and cut off at zero.
fn kinds(state: u64, count: usize) -> [(&'static str, Vec<f32>); 4] {
    let even = numbers(state, count);
    let bell: Vec<f32> = numbers(!state, 12 * count).chunks(12).map(|some| some.iter().sum()).collect();
    let positive = |all: &[f32]| all.iter().map(|x| x.abs()).collect();
    [("one sign", positive(&even)), ("bell of one sign", positive(&bell)), ("both signs", even), ("bell", bell)]
}

/// As tensor cores take numbers: f16 and TF32 keep 10 bits after the point, bf16 keeps 7.
fn cut(values: &[f32], bits: u32) -> Vec<f32> {
    let lost = 23 - bits;
    values.iter().map(|x| f32::from_bits((x.to_bits() + (1 << (lost - 1))) & !((1 << lost) - 1))).collect()
}

#[test]
fn a_product_in_half_precision_is_found_whatever_its_numbers() {
    for k in [64, 512, 4096] {
        let shape = [64, k, 64];
        for ((name, a), (_, b)) in kinds(1, 64 * k).into_iter().zip(kinds(2, 64 * k)) {
            for (bits, least) in [(10, 2.0), (7, 14.0)] {
                let ratio = check(shape, &a, &b, &multiply(shape, &cut(&a, bits), &cut(&b, bits)));
                println!("{name}, k = {k}, {bits} bits: {ratio}");
                assert!(ratio > least, "{name}, k = {k}, {bits} bits: {ratio}");
            }
            // One operand is enough.
            let ratio = check(shape, &a, &b, &multiply(shape, &cut(&a, 10), &b));
            println!("{name}, k = {k}, one operand: {ratio}");
            assert!(ratio > 1.2, "{name}, k = {k}: {ratio}");
        }
    }
}

/// Sums of products as other honest engines may do them: fused, in blocks, in lanes, in pairs.
fn other_orders(a: &[f32], b: &[f32]) -> Vec<(&'static str, f32)> {
    let fused = |from: f32, a: &f32, b: &f32| (f64::from(*a) * f64::from(*b) + f64::from(from)) as f32;
    let whole = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0, |sum, (a, b)| fused(sum, a, b));
    let blocks = |length| a.chunks(length).zip(b.chunks(length)).map(|(a, b)| whole(a, b)).sum::<f32>();
    let lanes = |count: usize| {
        let mut sums = vec![0.0; count];
        for (at, (a, b)) in a.iter().zip(b).enumerate() {
            sums[at % count] = fused(sums[at % count], a, b);
        }
        sums.into_iter().sum::<f32>()
    };
    fn pairs(a: &[f32], b: &[f32]) -> f32 {
        if let ([a], [b]) = (a, b) {
            return a * b;
        }
        let (left, right) = (a.split_at(a.len() / 2), b.split_at(b.len() / 2));
        pairs(left.0, right.0) + pairs(left.1, right.1)
    }
    vec![
        ("fused", whole(a, b)),
        ("blocks of 64", blocks(64)),
        ("blocks of 512", blocks(512)),
        ("halves", blocks(a.len().div_ceil(2))),
        ("8 lanes", lanes(8)),
        ("32 lanes", lanes(32)),
        ("pairs", pairs(a, b)),
    ]
}

#[test]
fn honest_products_pass_in_every_usual_order_of_summation() {
    let (mut own, mut others) = (0.0f64, 0.0f64);
    for seed in 0..15 {
        let k = [3, 40, 256, 1000, 4096][seed as usize % 5];
        let side = 12;
        let constant = numbers(seed + 900, 2);
        let made_up = [
            ("constant", vec![constant[0]; side * k], vec![constant[1]; k * side]),
            ("rising", (0..side * k).map(|i| constant[0] * (i % k) as f32).collect(), vec![constant[1]; k * side]),
            (
                "whole numbers",
                numbers(seed, side * k).iter().map(|x| (x * 99.0).round()).collect(),
                vec![3.0; k * side],
            ),
            ("zero", vec![0.0; side * k], vec![0.7; k * side]),
        ];
        let pairs = kinds(2 * seed, side * k).into_iter().zip(kinds(2 * seed + 1, k * side));
        for (name, a, b) in pairs.map(|((name, a), (_, b))| (name, a, b)).chain(made_up) {
            let shape = [side, k, side];
            let ratio = check(shape, &a, &b, &multiply(shape, &a, &b));
            assert!(ratio <= 0.75, "{name}, k = {k}, seed {seed}: {ratio}");
            own = own.max(ratio);
            let columns: Vec<Vec<f32>> = (0..side).map(|j| b.iter().skip(j).step_by(side).copied().collect()).collect();
            let sums: Vec<_> = a
                .chunks(k)
                .flat_map(|row| columns.iter().map(|column| other_orders(row, column)).collect::<Vec<_>>())
                .collect();
            for order in 0..sums[0].len() {
                let c: Vec<f32> = sums.iter().map(|all| all[order].1).collect();
                let ratio = check(shape, &a, &b, &c);
                assert!(ratio <= 0.9, "{name}, k = {k}, seed {seed}, {}: {ratio}", sums[0][order].0);
                others = others.max(ratio);
            }
        }
    }
    println!("largest ratio: {own} in the plain order, {others} in others");
}

/// Numbers that a client chose so that the roundings of the plain sum cancel, or so that fused ones line up: Tender's
/// own kernels must pass with them as well.
#[test]
fn no_numbers_that_repeat_make_an_honest_kernel_fail() {
    let mut worst = 0.0f64;
    for seed in 0..600u64 {
        let k = [16, 100, 256, 1000, 2048][seed as usize % 5];
        let (a, b) = (numbers(seed, 8), numbers(!seed, 8));
        let period = 1 + seed as usize / 5 % 8;
        let row: Vec<f32> = (0..k).map(|d| a[d % period]).collect();
        let column: Vec<f32> = (0..k).map(|d| b[d % period]).collect();
        let plain = multiply([1, k, 1], &row, &column)[0];
        for sum in [plain, other_orders(&row, &column)[0].1] {
            worst = worst.max(check([1, k, 1], &row, &column, &[sum]));
        }
    }
    println!("largest ratio: {worst}");
    assert!(worst < 1.0, "{worst}");
}

#[test]
fn the_largest_honest_and_false_residuals_are_far_apart() {
    let shape = [64, 1024, 96];
    let (a, b) = (numbers(3, 64 * 1024), numbers(4, 1024 * 96));
    let honest = multiply(shape, &a, &b);
    assert!(check(shape, &a, &b, &honest) < 0.1);
    // A skipped block of the sum, a row of zeros, two swapped rows.
    let mut skipped = a.clone();
    skipped.chunks_exact_mut(1024).for_each(|row| row[1000..].fill(0.0));
    assert!(check(shape, &a, &b, &multiply(shape, &skipped, &b)) > 100.0);
    let mut lazy = honest.clone();
    lazy[96..192].fill(0.0);
    assert!(check(shape, &a, &b, &lazy) > 100.0);
    let mut swapped = honest.clone();
    swapped.swap(5, 6);
    assert!(check(shape, &a, &b, &swapped) > 100.0);
}

#[test]
fn what_is_no_number_fails_and_a_bad_input_is_an_error() {
    let shape = [4, 4, 4];
    let (a, b) = (numbers(1, 16), numbers(2, 16));
    let mut c = multiply(shape, &a, &b);
    for bad in [f32::NAN, f32::INFINITY] {
        c[7] = bad;
        assert_eq!(check(shape, &a, &b, &c), f64::MAX);
    }
    let mut input = [a, b].concat();
    input[3] = f32::NAN;
    assert_eq!(
        residual(shape, Precision::F32, &bytes(&input), &bytes(&c), &seed(), 20).unwrap_err().code,
        Code::Invalid
    );
    assert_eq!(residual(shape, Precision::F32, &[0; 12], &bytes(&c), &seed(), 20).unwrap_err().code, Code::Invalid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One element changed by more than twice its row's tolerance is seen by every vector, whatever the shape.
    #[test]
    fn one_changed_element_is_found(m in 1..24usize, k in 1..40usize, n in 1..24usize, state: u64, pick: u32, vectors in 1..45u32) {
        let (a, b) = (numbers(state, m * k), numbers(!state, k * n));
        let shape = [m, k, n];
        let honest = multiply(shape, &a, &b);
        let input = bytes(&[&a[..], &b[..]].concat());
        let measured = residual(shape, Precision::F32, &input, &bytes(&honest), &seed(), vectors).unwrap();
        prop_assert!(measured <= 1.0, "honest: {}", measured);

        let element = pick as usize % honest.len();
        let norm = |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let row = element / n;
        let u = f64::from(f32::EPSILON) / 2.0;
        let depth = k as f64;
        let tolerance = u * ((2.0 * depth.sqrt() + 2.0) * norm(&a[row * shape[1]..][..shape[1]]) * norm(&b)
            + depth * norm(&honest[row * n..][..n]));
        let mut changed = honest;
        changed[element] += (2.5 * tolerance) as f32;
        prop_assert!(residual(shape, Precision::F32, &input, &bytes(&changed), &seed(), vectors).unwrap() > 1.0);
    }
}

#[test]
fn a_thousand_squared_product_is_checked_in_milliseconds() {
    let side = 1024;
    let (a, b) = (numbers(1, side * side), numbers(2, side * side));
    let input = bytes(&[&a[..], &b[..]].concat());
    let c = bytes(&a);
    let start = std::time::Instant::now();
    residual([side; 3], Precision::F32, &input, &c, &seed(), 20).unwrap();
    let took = start.elapsed();
    println!("1024³ with 20 vectors: {took:?}");
    // 50 ms on an idle core; the bar leaves room for a loaded test machine.
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// An engine that answers an order for parts with what it was given, and remembers nothing.
struct Recomputes(Vec<u8>);

#[async_trait::async_trait]
impl Engine for Recomputes {
    async fn run(&self, order: Order, _: ProgressSender) -> Result<Output, Problem> {
        assert!(order.parts.is_some() && order.tenant == Tenant::Own);
        let worker = WorkerInfo {
            adapter: String::new(),
            driver: String::new(),
            backend: String::new(),
            version: String::new(),
            runtime: None,
        };
        Ok(Output { bytes: self.0.clone().into(), units: 1, prompt_tokens: None, wall_ms: 1, worker })
    }
}

async fn measure(work: Work, delivered: Vec<u8>, again: Vec<u8>, parts: &[u32]) -> Evidence {
    let claim = Claim { work, input: Bytes::new(), output: delivered.into(), units: 0, seed: seed() };
    let probe = Probe::Parts(parts.to_vec());
    let found = evidence(&claim, &probe, &Recomputes(again), None, Duration::from_secs(1)).await.unwrap().evidence;
    assert_eq!(found.len(), 1);
    found[0].clone()
}

fn kernel(element: Element) -> Work {
    Work::Wgsl(WgslWork {
        source_bytes: 1,
        entry: "main".into(),
        workgroups: 4,
        workgroup_size: 1,
        fuel: 1,
        buffers: vec![
            WgslBuffer { binding: 0, access: Access::Read, bytes: 64 },
            WgslBuffer { binding: 1, access: Access::Write, bytes: 32 },
        ],
        element,
    })
}

#[tokio::test]
async fn integers_must_agree_bit_for_bit() {
    let delivered: Vec<u8> = (0..32).collect();
    let mut again = delivered[8..16].to_vec();
    again.extend(&delivered[24..32]);
    let found = measure(kernel(Element::U32), delivered.clone(), again.clone(), &[1, 3]).await;
    assert_eq!((found.statistic, found.value, found.n, found.seed), (Statistic::AgreeingSlices, 1.0, 2, seed()));
    again[9] ^= 1;
    assert_eq!(measure(kernel(Element::U32), delivered.clone(), again.clone(), &[1, 3]).await.value, 0.5);
    let short = delivered[..31].to_vec();
    assert_eq!(measure(kernel(Element::U32), short, again, &[1, 3]).await.value, 0.0, "a short delivery");
}

#[tokio::test]
async fn floats_may_differ_by_rounding_and_not_by_more() {
    let honest = [1.0f32, -2.0, 1e-9, 3.0, f32::NAN, 5.0, 6.0, 7.0];
    let cases = [
        (honest, 1.0),
        ([1.00005, -2.0001, 2e-6, 3.0, f32::NAN, 5.0, 6.0, 7.0], 1.0),
        ([1.0, -2.0, 1e-9, 3.003, f32::NAN, 5.0, 6.0, 7.0], 0.75),
        ([1.0, -2.0, 1e-9, 3.0, 4.0, 5.0, 6.0, 7.0], 0.75),
        ([1.0, -2.0, f32::INFINITY, f32::NAN, f32::NAN, f32::NAN, 6.0, -7.0], 0.25),
    ];
    for (delivered, agreeing) in cases {
        let found = measure(kernel(Element::F32), bytes(&delivered), bytes(&honest), &[0, 1, 2, 3]).await;
        assert_eq!(found.value, agreeing, "{delivered:?}");
    }
}

fn embedding(passages: u32) -> Work {
    let model = ModelRef { name: "all-MiniLM-L6-v2".into(), sha256: Sha256::of(b"") };
    Work::Embed { model, passages, tokens: 8 * u64::from(passages) }
}

fn rows(count: u64) -> Vec<f32> {
    let unit = |state| {
        let row = numbers(state, 384);
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.into_iter().map(move |x| x / length)
    };
    (0..count).flat_map(unit).collect()
}

#[tokio::test]
async fn embeddings_are_compared_by_their_smallest_cosine() {
    let delivered = rows(3);
    let again = [&delivered[..384], &delivered[768..]].concat();
    let near: Vec<f32> = again.iter().map(|x| x * (1.0 + 1e-6)).collect();
    let found = measure(embedding(3), bytes(&delivered), bytes(&near), &[0, 2]).await;
    assert!(found.statistic == Statistic::MinCosine && found.n == 2 && found.value > 0.99999, "{found:?}");

    let swapped = measure(embedding(3), bytes(&delivered), bytes(&again), &[0, 1]).await;
    assert!(swapped.value < 0.5, "{swapped:?}");
    let scaled: Vec<f32> = delivered.iter().map(|x| x * 2.0).collect();
    let scaled = measure(embedding(3), bytes(&scaled), bytes(&again), &[0, 2]).await;
    assert_eq!(scaled.value, -1.0, "a scaled embedding is not the embedding: {scaled:?}");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut broken = delivered.clone();
        broken[800] = bad;
        assert_eq!(measure(embedding(3), bytes(&broken), bytes(&again), &[0, 2]).await.value, -1.0);
    }
    let zeros = vec![0.0; delivered.len()];
    assert!(measure(embedding(3), bytes(&zeros), bytes(&again), &[0, 2]).await.value <= 0.0);
    assert_eq!(measure(embedding(3), vec![0; 8], vec![], &[0, 2]).await.value, -1.0, "a short delivery");
}

#[tokio::test]
async fn a_probe_that_does_not_fit_and_a_failed_recomputation_are_errors() {
    let claim =
        Claim { work: embedding(3), input: Bytes::new(), output: bytes(&rows(3)).into(), units: 0, seed: seed() };
    let limit = Duration::from_secs(1);
    let none = Recomputes(vec![]);
    for probe in [Probe::Freivalds { vectors: 20 }, Probe::Parts(vec![])] {
        assert_eq!(evidence(&claim, &probe, &none, None, limit).await.unwrap_err().code, Code::Invalid);
    }
    let probe = Probe::Parts(vec![0]);
    assert_eq!(evidence(&claim, &probe, &none, None, limit).await.unwrap_err().code, Code::WorkFailed);
}

#[tokio::test]
async fn a_product_is_checked_without_the_engine() {
    let shape = [8, 8, 8];
    let (a, b) = (numbers(1, 64), numbers(2, 64));
    let claim = Claim {
        work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
        input: bytes(&[&a[..], &b[..]].concat()).into(),
        output: bytes(&multiply(shape, &a, &b)).into(),
        units: 0,
        seed: seed(),
    };
    let probe = Probe::Freivalds { vectors: 20 };
    let none = Recomputes(vec![]);
    let found = evidence(&claim, &probe, &none, None, Duration::ZERO).await.unwrap().evidence;
    assert!(found[0].value <= 1.0 && found[0].n == 20 && found[0].seed == seed(), "{found:?}");
    let short = Claim { output: Bytes::from_static(&[0; 8]), ..claim };
    assert_eq!(evidence(&short, &probe, &none, None, Duration::ZERO).await.unwrap().evidence[0].value, f64::MAX);
}

/// Bits of f16 and the same numbers in f32: multiples of 1/64 in [-16, 16), which both hold exactly.
fn halves(state: u64, count: usize) -> (Vec<u8>, Vec<f32>) {
    let values: Vec<f32> = numbers(state, count).iter().map(|x| (x * 1024.0).floor() / 64.0).collect();
    let half = |value: &f32| {
        let bits = value.to_bits();
        let rebiased = if *value == 0.0 { 0 } else { (((bits >> 23) & 0xff) - 112) << 10 | (bits >> 13) & 0x3ff };
        u16::try_from(bits >> 16 & 0x8000 | rebiased).unwrap().to_le_bytes()
    };
    (values.iter().flat_map(half).collect(), values)
}

#[test]
fn products_of_halves_pass_and_false_ones_do_not() {
    let shape = [40, 50, 60];
    let ((a_bytes, a), (b_bytes, b)) = (halves(1, 40 * 50), halves(2, 50 * 60));
    let mut c = multiply(shape, &a, &b);
    let input = [a_bytes, b_bytes].concat();
    let check = |c: &[f32]| residual(shape, Precision::F16, &input, &bytes(c), &seed(), 20).unwrap();
    assert!(check(&c) <= 1.0, "{}", check(&c));
    c[1234] += 0.125;
    assert!(check(&c) > 1.0, "{}", check(&c));
    // Infinity and NaN of f16 in the input.
    for bits in [0x7c00u16, 0xfc00, 0x7e00] {
        let mut input = input.clone();
        input[100..102].copy_from_slice(&bits.to_le_bytes());
        assert_eq!(residual(shape, Precision::F16, &input, &bytes(&c), &seed(), 20).unwrap_err().code, Code::Invalid);
    }
}

#[tokio::test]
async fn rows_of_a_built_in_kernel_agree_within_its_own_tolerance() {
    // Row 1 cancels: what is left of 1000 − 1000 + 0.5 may be off by more than 10⁻⁴ of itself.
    let matrix = [1.0f32, 2.0, 3.0, 1000.0, -1000.0, 0.5, 7.0, 8.0, f32::NAN];
    let work = KernelWork { name: Kernel::Sum, rows: 3, columns: 3 };
    let measure = async |delivered: [f32; 3], again: &[f32], parts: &[u32]| {
        let claim = Claim {
            work: Work::Kernel(work.clone()),
            input: bytes(&matrix).into(),
            output: bytes(&delivered).into(),
            units: 9,
            seed: seed(),
        };
        let probe = Probe::Parts(parts.to_vec());
        let again = Recomputes(bytes(again));
        evidence(&claim, &probe, &again, None, Duration::from_secs(1)).await.unwrap().evidence[0].clone()
    };
    let found = measure([6.0, 0.5001, f32::NAN], &[6.0, 0.5, f32::NAN], &[0, 1, 2]).await;
    assert_eq!((found.statistic, found.value, found.n), (Statistic::AgreeingSlices, 1.0, 3));
    assert_eq!(measure([6.01, 0.5, 4.0], &[0.5], &[1]).await.value, 1.0, "only what was drawn is compared");
    assert_eq!(measure([6.01, 0.5, 4.0], &[6.0, f32::NAN], &[0, 2]).await.value, 0.0);
}

/// What needs no second look: it is found even where nothing is computed again, and the fault is said in words.
#[test]
fn what_has_not_the_form_of_a_result_is_found_without_recomputing() {
    let claim =
        |work, output: Vec<u8>, units| Claim { work, input: Bytes::new(), output: output.into(), units, seed: seed() };
    let fault = |claim: &Claim| malformed(claim).map(|found| (found.evidence[0].statistic, found.fault.unwrap()));
    assert_eq!(fault(&claim(embedding(3), bytes(&rows(3)), 0)), None);
    let (statistic, said) = fault(&claim(embedding(3), vec![0; 3 * 384 * 4], 0)).unwrap();
    assert!(statistic == Statistic::MinCosine && said.contains("length 0"), "{said}");
    let model = tender_base::job::ModelRef { name: "m".to_owned(), sha256: seed() };
    let sampling = tender_base::job::Sampling::GREEDY;
    let text = tender_base::job::GenerateWork { model, prompt_tokens: 5, max_tokens: 9, sampling, stop: Vec::new() };
    let text = |output: &str, units| claim(Work::Generate(text.clone()), output.as_bytes().to_vec(), units);
    let written = r#"{"text":"Paris","tokens":[7,2],"finish":"stop"}"#;
    assert_eq!(fault(&text(written, 7)), None);
    for (output, units, expected) in [
        (written, 14, "14 tokens are billed"),
        (r#"{"text":"Paris","tokens":null,"finish":"stop"}"#, 7, "does not tell its tokens"),
        ("Paris", 7, "not a text"),
    ] {
        let (statistic, said) = fault(&text(output, units)).unwrap();
        assert!(statistic == Statistic::ConsistentText && said.contains(expected), "{said}");
    }
}
