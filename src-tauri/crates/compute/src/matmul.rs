//! The matrix product that everything else here rests on: C = act(A·B + bias) in f32.

use crate::{Error, device::Gpu, pace::Pace};
use std::fmt::Write;

/// Sides of A and B are padded with zeros to multiples of this, so that kernels check no index.
pub(crate) const TILE: u32 = 64;
const COMMON: &str = include_str!("matmul/common.wgsl");
const SHARED: &str = include_str!("matmul/shared.wgsl");

/// How a kernel holds its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// Through workgroup memory, 4 × 4 per invocation: for GPUs.
    Shared,
    /// Straight from memory into registers, much more per invocation: for software adapters, where workgroup memory
    /// is no faster and a load costs far more than a product.
    Registers,
}

/// The compiled kernel.
pub struct Matmul {
    pipeline: wgpu::ComputePipeline,
    no_bias: wgpu::Buffer,
}

/// One product. Sides are multiples of [`TILE`]; buffers are row-major f32.
pub(crate) struct Product<'a> {
    pub a: &'a wgpu::Buffer,
    pub b: &'a wgpu::Buffer,
    pub bias: Option<&'a wgpu::Buffer>,
    pub c: &'a wgpu::Buffer,
    pub m: u32,
    pub k: u32,
    pub n: u32,
    pub gelu: bool,
}

impl Product<'_> {
    /// Tiles of C.
    pub(crate) fn tiles(&self) -> u32 {
        (self.m / TILE) * (self.n / TILE)
    }
}

impl Matmul {
    /// Compiles the kernel that suits the adapter.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        Self::with_tiling(gpu, if gpu.is_cpu() { Tiling::Registers } else { Tiling::Shared })
    }

    /// Compiles the kernel with the given tiling.
    #[must_use]
    pub fn with_tiling(gpu: &Gpu, tiling: Tiling) -> Self {
        let body = match tiling {
            Tiling::Shared => SHARED.to_owned(),
            Tiling::Registers => registers(),
        };
        let pipeline = gpu.trusted("matmul", &format!("{COMMON}{body}"), "main");
        Self { pipeline, no_bias: gpu.storage(16) }
    }

    /// Records `count` tiles of the product from tile `first` on.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        pass: &mut wgpu::ComputePass<'_>,
        product: &Product<'_>,
        first: u32,
        count: u32,
    ) {
        let epilogue = u32::from(product.bias.is_some()) | u32::from(product.gelu) << 1;
        let params = gpu.uniform(&[product.k, product.n, first, product.n / TILE, epilogue, 0, 0, 0]);
        let bias = product.bias.unwrap_or(&self.no_bias);
        let group = gpu.bind(&self.pipeline, &[&params, product.a, product.b, bias, product.c]);
        crate::device::dispatch(pass, &self.pipeline, &group, count);
    }

    /// A · B of any sides, in submissions that each last a few dozen milliseconds at most.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Driver`] or [`Error::Lost`] from the GPU.
    pub fn multiply(
        &self,
        gpu: &Gpu,
        (m, k, n): (u32, u32, u32),
        a: &[f32],
        b: &[f32],
        progress: crate::Progress<'_>,
    ) -> Result<Vec<f32>, Error> {
        let (padded_m, padded_k, padded_n) = (up(m), up(k), up(n));
        let buffer_a = gpu.upload(bytemuck::cast_slice(&pad(a, (m, k), (padded_m, padded_k))));
        let buffer_b = gpu.upload(bytemuck::cast_slice(&pad(b, (k, n), (padded_k, padded_n))));
        let buffer_c = gpu.storage(4 * u64::from(padded_m) * u64::from(padded_n));
        gpu.check()?;
        let product = Product {
            a: &buffer_a,
            b: &buffer_b,
            bias: None,
            c: &buffer_c,
            m: padded_m,
            k: padded_k,
            n: padded_n,
            gelu: false,
        };
        Pace::new().run(0..product.tiles(), |first, count| {
            gpu.submit(|encoder| {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                self.record(gpu, &mut pass, &product, first, count);
            })?;
            progress(first + count, product.tiles());
            Ok(())
        })?;
        let rows: Vec<_> = (0..u64::from(m))
            .map(|row| {
                let start = 4 * row * u64::from(padded_n);
                start..start + 4 * u64::from(n)
            })
            .collect();
        let bytes = gpu.read(&buffer_c, &if n == padded_n { vec![0..4 * u64::from(m) * u64::from(n)] } else { rows })?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Multiplies two matrices of small integers, whose product f32 holds exactly, and compares every element.
    ///
    /// # Errors
    /// [`Error::WrongAnswer`], or whatever the GPU reports.
    pub fn known_answer(&self, gpu: &Gpu) -> Result<(), Error> {
        let (m, k, n) = (65_u32, 33_u32, 70_u32);
        let entry = |i: u32, seed: u32| (i.wrapping_mul(2_654_435_761).rotate_left(seed) % 17) as f32 - 8.0;
        let a: Vec<f32> = (0..m * k).map(|i| entry(i, 7)).collect();
        let b: Vec<f32> = (0..k * n).map(|i| entry(i, 13)).collect();
        let c = self.multiply(gpu, (m, k, n), &a, &b, &mut |_, _| {})?;
        let (k, n) = (k as usize, n as usize);
        for (at, &got) in c.iter().enumerate() {
            let expected: f32 = (0..k).map(|d| a[at / n * k + d] * b[d * n + at % n]).sum();
            if got != expected {
                return Err(Error::WrongAnswer { adapter: gpu.info().adapter.clone(), got, expected });
            }
        }
        Ok(())
    }
}

/// The next multiple of [`TILE`].
pub(crate) fn up(side: u32) -> u32 {
    side.next_multiple_of(TILE)
}

/// `matrix` with zeros to the right and below.
fn pad(matrix: &[f32], from: (u32, u32), to: (u32, u32)) -> std::borrow::Cow<'_, [f32]> {
    if from == to {
        return matrix.into();
    }
    let mut padded = vec![0.0; to.0 as usize * to.1 as usize];
    for (row, source) in padded.chunks_exact_mut(to.1 as usize).zip(matrix.chunks_exact(from.1 as usize)) {
        row[..source.len()].copy_from_slice(source);
    }
    padded.into()
}

/// The kernel without workgroup memory: an invocation computes `ROWS` × `COLUMNS`·4 elements held in named variables
/// (an array would be indexed at run time and land in memory).
fn registers() -> String {
    const ROWS: u32 = 8;
    const COLUMNS: u32 = 2;
    let across = TILE / (4 * COLUMNS);
    let down = TILE / ROWS;
    let mut s = format!(
        "@compute @workgroup_size({across}, {down})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {{
    let tile = p.first + group.x;
    let row = (tile / p.tiles_across) * {TILE}u + local.y * {ROWS}u;
    let column = (tile % p.tiles_across) * {}u + local.x * {COLUMNS}u;
    let k4 = p.k / 4u;
    let n4 = p.n / 4u;
",
        TILE / 4
    );
    // Writing to a String cannot fail.
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            let _ = writeln!(s, "    var s{r}_{c} = vec4<f32>();");
        }
    }
    s.push_str("    for (var d = 0u; d < k4; d += 1u) {\n");
    for r in 0..ROWS {
        let _ = writeln!(s, "        let l{r} = a[(row + {r}u) * k4 + d];");
    }
    for lane in 0..4 {
        for c in 0..COLUMNS {
            let _ = writeln!(s, "        let r{lane}_{c} = b[(4u * d + {lane}u) * n4 + column + {c}u];");
        }
        for r in 0..ROWS {
            for c in 0..COLUMNS {
                let _ = writeln!(s, "        s{r}_{c} = fma(vec4<f32>(l{r}[{lane}]), r{lane}_{c}, s{r}_{c});");
            }
        }
    }
    s.push_str("    }\n");
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            let _ = writeln!(s, "    store(row + {r}u, column + {c}u, s{r}_{c});");
        }
    }
    s.push_str("}\n");
    s
}
