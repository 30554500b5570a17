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
    /// From textures into registers: for software adapters. Mesa's reads a buffer lane by lane with a branch each,
    /// but a texture for all lanes at once; measured, that is 12 instead of 2 GFLOP/s on two cores.
    Registers,
}

/// The compiled kernel.
pub struct Matmul {
    tiling: Tiling,
    pipeline: wgpu::ComputePipeline,
    no_bias: wgpu::Buffer,
}

/// A row-major f32 matrix that kernels read, as the tiling wants it.
pub(crate) enum Operand {
    Buffer(wgpu::Buffer),
    Texture {
        texture: wgpu::Texture,
        view: wgpu::TextureView,
        /// The buffer that a kernel writes, of which the texture is a copy.
        written: Option<wgpu::Buffer>,
    },
}

impl Operand {
    /// Takes over what a kernel wrote into the buffer that this shows.
    pub(crate) fn refresh(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Self::Texture { texture, written: Some(buffer), .. } = self {
            let source = wgpu::TexelCopyBufferInfo { buffer, layout: texel_layout(texture.width()) };
            encoder.copy_buffer_to_texture(source, texture.as_image_copy(), texture.size());
        }
    }

    /// What a bind group takes.
    pub(crate) fn resource(&self) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => buffer.as_entire_binding(),
            Self::Texture { view, .. } => wgpu::BindingResource::TextureView(view),
        }
    }
}

/// One product. Sides are multiples of [`TILE`].
pub(crate) struct Product<'a> {
    pub a: &'a Operand,
    pub b: &'a Operand,
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
        Self { tiling, pipeline, no_bias: gpu.storage(16) }
    }

    /// How operands are read.
    pub(crate) fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// A matrix that stays as it is. Columns are a multiple of [`TILE`].
    pub(crate) fn constant(&self, gpu: &Gpu, columns: u32, values: &[f32]) -> Operand {
        match self.tiling {
            Tiling::Shared => Operand::Buffer(gpu.upload(bytemuck::cast_slice(values))),
            Tiling::Registers => {
                // Sides are at most MAX_GEMM_SIDE, so that the number of rows fits.
                let (texture, view) = texture(gpu, values.len() as u32 / columns, columns);
                let layout = texel_layout(texture.width());
                let bytes = bytemuck::cast_slice(values);
                gpu.queue.write_texture(texture.as_image_copy(), bytes, layout, texture.size());
                Operand::Texture { texture, view, written: None }
            }
        }
    }

    /// A matrix that another kernel writes; [`Operand::refresh`] after each time.
    pub(crate) fn written(&self, gpu: &Gpu, columns: u32, buffer: &wgpu::Buffer) -> Operand {
        match self.tiling {
            Tiling::Shared => Operand::Buffer(buffer.clone()),
            Tiling::Registers => {
                let rows = (buffer.size() / (4 * u64::from(columns))) as u32;
                let (texture, view) = texture(gpu, rows, columns);
                Operand::Texture { texture, view, written: Some(buffer.clone()) }
            }
        }
    }

    /// Records `count` tiles of the product from tile `first` on.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        product: &Product<'_>,
        first: u32,
        count: u32,
    ) {
        let epilogue = u32::from(product.bias.is_some()) | u32::from(product.gelu) << 1;
        let params = gpu.uniform(&[product.k, product.n, first, product.n / TILE, epilogue, 0, 0, 0]);
        let bias = product.bias.unwrap_or(&self.no_bias);
        let group = gpu.bind(
            &self.pipeline,
            [
                params.as_entire_binding(),
                product.a.resource(),
                product.b.resource(),
                bias.as_entire_binding(),
                product.c.as_entire_binding(),
            ],
        );
        crate::device::dispatch(encoder, &self.pipeline, &group, count);
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
        let operand_a = self.constant(gpu, padded_k, &pad(a, (m, k), (padded_m, padded_k)));
        let operand_b = self.constant(gpu, padded_n, &pad(b, (k, n), (padded_k, padded_n)));
        let buffer_c = gpu.storage(4 * u64::from(padded_m) * u64::from(padded_n));
        gpu.check()?;
        let product = Product {
            a: &operand_a,
            b: &operand_b,
            bias: None,
            c: &buffer_c,
            m: padded_m,
            k: padded_k,
            n: padded_n,
            gelu: false,
        };
        Pace::new().run(0..product.tiles(), |first, count| {
            gpu.submit(|encoder| self.record(gpu, encoder, &product, first, count))?;
            progress(first + count, product.tiles());
            Ok(())
        })?;
        let bytes = if n == padded_n {
            gpu.read_head(&buffer_c, 4 * u64::from(m) * u64::from(n))?
        } else {
            let starts = (0..u64::from(m)).map(|row| 4 * row * u64::from(padded_n));
            gpu.read(&buffer_c, &starts.map(|start| start..start + 4 * u64::from(n)).collect::<Vec<_>>())?
        };
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

/// A texture of vec4 that holds a matrix.
fn texture(gpu: &Gpu, rows: u32, columns: u32) -> (wgpu::Texture, wgpu::TextureView) {
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: columns / 4, height: rows, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba32Float,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    (texture, view)
}

/// Rows of `width` vec4 without gaps. Copies want rows of 256 bytes each: whole tiles are.
fn texel_layout(width: u32) -> wgpu::TexelCopyBufferLayout {
    wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(16 * width), rows_per_image: None }
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
    const ROWS: u32 = 4;
    const COLUMNS: u32 = 2;
    let across = TILE / (4 * COLUMNS);
    let down = TILE / ROWS;
    let mut s = format!(
        "@group(0) @binding(1) var a: texture_2d<f32>;
@group(0) @binding(2) var b: texture_2d<f32>;

@compute @workgroup_size({across}, {down})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {{
    let tile = p.first + group.x;
    let row = (tile / p.tiles_across) * {TILE}u + local.y * {ROWS}u;
    let column = (tile % p.tiles_across) * {}u + local.x * {COLUMNS}u;
",
        TILE / 4
    );
    // Writing to a String cannot fail.
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            let _ = writeln!(s, "    var s{r}_{c} = vec4<f32>();");
        }
    }
    s.push_str("    for (var d = 0u; d < p.k / 4u; d += 1u) {\n");
    for r in 0..ROWS {
        let _ = writeln!(s, "        let l{r} = textureLoad(a, vec2<u32>(d, row + {r}u), 0);");
    }
    for lane in 0..4 {
        for c in 0..COLUMNS {
            let _ =
                writeln!(s, "        let r{lane}_{c} = textureLoad(b, vec2<u32>(column + {c}u, 4u * d + {lane}u), 0);");
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
