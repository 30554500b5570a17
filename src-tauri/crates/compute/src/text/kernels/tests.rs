//! Matrix products of random blocks in every format, by both variants, against the decoding of `Format`.

use super::*;
use crate::text::{array::Array, weights::Matrix};
use proptest::{prelude::*, test_runner::TestRunner};

/// One product: sizes, what is done, and random bytes.
#[derive(Clone, Debug)]
struct Case {
    /// Blocks of 256 numbers.
    depth: u32,
    rows: u32,
    columns: u32,
    norm: bool,
    epilogue: Epilogue,
    seed: u32,
}

fn case() -> impl Strategy<Value = Case> {
    let epilogues = [Epilogue::Store, Epilogue::Bias, Epilogue::Residual, Epilogue::SwiGlu];
    (1..3u32, 1..35u32, 1..20u32, any::<bool>(), prop::sample::select(epilogues.to_vec()), any::<u32>()).prop_map(
        |(depth, texels, columns, norm, epilogue, seed)| Case {
            depth,
            rows: 4 * texels,
            columns,
            norm,
            epilogue,
            seed,
        },
    )
}

struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 24) as u8
    }

    /// From −1 to 1.
    fn number(&mut self) -> f32 {
        f32::from(i16::from_le_bytes([self.byte(), self.byte()])) / 32768.0
    }

    fn numbers(&mut self, count: u32) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Random blocks whose half-precision numbers (or F32) are below two.
    fn weights(&mut self, format: Format, numbers: u32) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..format.bytes(u64::from(numbers)).unwrap()).map(|_| self.byte()).collect();
        for block in bytes.chunks_exact_mut(format.block_bytes()) {
            let scales: &[usize] = match format {
                Format::F32 => &[2],
                Format::F16 | Format::Q4_0 | Format::Q8_0 => &[0],
                Format::Q4_1 | Format::Q4K => &[0, 2],
                Format::Q6K => &[208],
            };
            for &at in scales {
                block[at + 1] &= 0xbf;
            }
        }
        bytes
    }
}

/// The product on the GPU: `columns` rows of `rows` numbers.
fn on_gpu(
    gpu: &Gpu,
    variant: Variant,
    product: &Product,
    case: &Case,
    weights: &[Vec<u8>],
    (x, gain, extra): (&[f32], &[f32], &[f32]),
) -> Vec<f32> {
    let memory = variant.memory();
    let interface = Arc::new(Interface::new(gpu, memory, &product_bindings()));
    let kernels = ProductKernels::new(Arc::clone(&interface), variant, *product);
    let (columns, rows, pipeline) = kernels.of(gpu, case.columns);
    let depth = 256 * case.depth;
    let padded = case.columns.next_multiple_of(columns);
    let array = |numbers: &[f32], length: u32| {
        let array = Array::new(gpu, memory, Texel::Float4, length / 4);
        array.write(gpu, 0, bytemuck::cast_slice(numbers));
        array
    };
    let (x, gain) = (array(x, padded * depth), array(gain, depth));
    let extra = array(extra, padded * case.rows);
    // A texel is left free before the part, which must stay as it is.
    let stride = case.rows / 4 + 1;
    let out = Array::new(gpu, memory, Texel::Float4, padded * stride);
    let extra_length = case.rows / 4;
    // As if no more could be bound: up to three parts.
    let most = 64;
    let matrices: Vec<Matrix> = weights
        .iter()
        .zip(product.formats)
        .map(|(bytes, format)| {
            let matrix = Matrix::allocate(gpu, variant, format, (depth, case.rows), most);
            let row = bytes.len() / case.rows as usize;
            let read =
                |range: std::ops::Range<u32>| Ok(bytes[range.start as usize * row..range.end as usize * row].to_vec());
            matrix.fill(gpu, variant, read).unwrap();
            matrix
        })
        .collect();
    // `extra` is read as the output is written: bias and residual are laid out alike.
    let first = if product.epilogue == Epilogue::Store || product.epilogue == Epilogue::SwiGlu { 1 } else { 0 };
    let stride = if first == 1 { stride } else { extra_length };
    for (at, part) in matrices[0].parts.iter().enumerate() {
        let texels = (part.rows.end - part.rows.start) / 4;
        let op = gpu.uniform(&[
            depth / 32,
            depth / 4,
            stride,
            first + part.rows.start / 4,
            (1.0 / depth as f32).to_bits(),
            1e-5f32.to_bits(),
            texels,
            0,
        ]);
        let second = &matrices.last().unwrap().parts[at];
        let arrays = [&x, &gain, &extra, &out, &part.numbers, &part.scales, &second.numbers, &second.scales]
            .map(Array::resource);
        let group = interface.bind(gpu, std::iter::once(op.as_entire_binding()).chain(arrays).collect());
        gpu.submit(|encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups((4 * texels).div_ceil(rows), case.columns.div_ceil(columns), 1);
        })
        .unwrap();
    }
    let bytes = out.read(gpu, std::slice::from_ref(&(0..case.columns * stride))).unwrap();
    let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    let rows = numbers.chunks_exact(4 * stride as usize);
    rows.flat_map(|row| {
        assert!(row[..4 * first as usize].iter().all(|x| *x == 0.0));
        row[4 * first as usize..].to_vec()
    })
    .collect()
}

fn check(gpu: &Gpu, variant: Variant, formats: [Format; 2], case: &Case) {
    let product = Product { formats, norm: case.norm, epilogue: case.epilogue };
    let mut noise = Noise(case.seed);
    let depth = 256 * case.depth;
    let weights: Vec<Vec<u8>> =
        (0..product.matrices()).map(|m| noise.weights(formats[m as usize], depth * case.rows)).collect();
    let numbers: Vec<Vec<f32>> = weights.iter().zip(formats).map(|(bytes, format)| format.dequantise(bytes)).collect();
    // Products of the order of one, so that SwiGLU is curved and nothing overflows.
    let most = numbers.iter().flatten().fold(0f32, |most, x| most.max(x.abs()));
    let small = 1.0 / (most * (depth as f32).sqrt());
    let mut x = noise.numbers(depth * case.columns);
    let mut gain = noise.numbers(depth);
    if case.norm { &mut gain } else { &mut x }.iter_mut().for_each(|x| *x *= small);
    let extra = noise.numbers(case.columns * case.rows);
    let got = on_gpu(gpu, variant, &product, case, &weights, (&x, &gain, &extra));
    assert_eq!(got.len(), (case.columns * case.rows) as usize);
    let (depth, rows) = (depth as usize, case.rows as usize);
    for (at, got) in got.iter().enumerate() {
        let (column, row) = (at / rows, at % rows);
        let x = &x[column * depth..][..depth];
        let scale = if case.norm {
            let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            1.0 / (squares / depth as f64 + 1e-5).sqrt()
        } else {
            1.0
        };
        let sum = |m: usize| {
            let row = &numbers[m][row * depth..][..depth];
            let input = |k: usize| f64::from(x[k]) * if case.norm { f64::from(gain[k]) } else { 1.0 };
            scale * (0..depth).map(|k| f64::from(row[k]) * input(k)).sum::<f64>()
        };
        let expected = match case.epilogue {
            Epilogue::Store => sum(0),
            Epilogue::Bias => sum(0) + f64::from(extra[row]),
            Epilogue::Residual => sum(0) + f64::from(extra[at]),
            Epilogue::SwiGlu => sum(0) / (1.0 + (-sum(0)).exp()) * sum(1),
        };
        assert!(
            (f64::from(*got) - expected).abs() < 2e-5,
            "{variant:?} {product:?} {case:?} at {at}: {got} not {expected}"
        );
    }
}

#[test]
fn products_of_random_blocks_are_those_of_the_decoded_numbers() {
    let gpu = Gpu::open().unwrap();
    let mut variants = vec![Variant::Tiles];
    variants.extend(Some(Variant::of(&gpu)).filter(|variant| *variant != Variant::Tiles));
    for variant in variants {
        for (at, format) in Format::ALL.into_iter().enumerate() {
            // SwiGLU also multiplies matrices of two formats.
            let other = Format::ALL[(at + case_shift(at)) % Format::ALL.len()];
            let mut runner =
                TestRunner::new(ProptestConfig { cases: 6, max_shrink_iters: 0, ..ProptestConfig::default() });
            runner
                .run(&case(), |case| {
                    check(&gpu, variant, [format, other], &case);
                    Ok(())
                })
                .unwrap();
        }
    }
}

/// Every format meets itself or another.
fn case_shift(at: usize) -> usize {
    at % 3
}
