//! The matrix product that everything else here rests on: C = act(A·B + bias) in f32, of f32 or f16 operands.

use crate::{Error, device::Gpu, pace::Pace};
use std::{
    fmt::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tender_base::job::Precision;

/// Sides of A and B are padded with zeros to multiples of this, so that kernels check no index.
pub(crate) const TILE: u32 = 64;
/// Side of the tiles of large products with [`Tiling::Shared`].
const LARGE_TILE: u32 = 128;
/// Large tiles from which on a product is cut into large tiles: with fewer, most cards would idle in part.
const MANY_LARGE_TILES: u32 = 256;
const COMMON: &str = include_str!("matmul/common.wgsl");
const SHARED: &str = include_str!("matmul/shared.wgsl");
/// How buffers are read four elements at a time. Halves are widened once per element of a tile, on the way to
/// workgroup memory, and that is exact: [`Matmul::known_answer`] refuses a device that takes subnormal ones for zero.
/// The feature `SHADER_F16` has nothing to add: its arithmetic would round every sum.
const READ_F32: &str = "
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
fn load_a(at: u32) -> vec4<f32> { return a[at]; }
fn load_b(at: u32) -> vec4<f32> { return b[at]; }
";
const READ_F16: &str = "
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>;
fn load_a(at: u32) -> vec4<f32> { return vec4<f32>(unpack2x16float(a[at].x), unpack2x16float(a[at].y)); }
fn load_b(at: u32) -> vec4<f32> { return vec4<f32>(unpack2x16float(b[at].x), unpack2x16float(b[at].y)); }
";

/// How a kernel holds its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// Through workgroup memory, 8 × 8 per invocation: for GPUs.
    Shared,
    /// From textures into registers: for software adapters. Mesa's reads a buffer lane by lane with a branch each,
    /// but a texture for all lanes at once; measured, that is 12 instead of 2 GFLOP/s on two cores.
    Registers,
}

/// The compiled kernels.
pub struct Matmul {
    tiling: Tiling,
    /// Compiled when first needed: [`Self::pipeline`].
    pipelines: [OnceLock<wgpu::ComputePipeline>; 4],
    no_bias: wgpu::Buffer,
    /// Floating-point operations that one submission may hold, by what was measured; zero when nothing is known.
    slice_flop: AtomicU64,
    /// Whether the known-answer test with halves passed.
    halves_are_known: AtomicBool,
}

/// A row-major matrix that kernels read, as the tiling wants it.
pub(crate) enum Operand {
    Buffer {
        buffer: wgpu::Buffer,
        precision: Precision,
    },
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
            let source = wgpu::TexelCopyBufferInfo { buffer, layout: texel_layout(texture) };
            encoder.copy_buffer_to_texture(source, texture.as_image_copy(), texture.size());
        }
    }

    /// What a bind group takes.
    pub(crate) fn resource(&self) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer { buffer, .. } => buffer.as_entire_binding(),
            Self::Texture { view, .. } => wgpu::BindingResource::TextureView(view),
        }
    }
}

/// One product. Sides are multiples of [`TILE`]; A and B have the same precision.
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
    /// Floating-point operations.
    pub(crate) fn flop(&self) -> u64 {
        2 * u64::from(self.m) * u64::from(self.k) * u64::from(self.n)
    }
}

impl Matmul {
    /// Takes the kernels that suit the adapter.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        Self::with_tiling(gpu, if gpu.is_cpu() { Tiling::Registers } else { Tiling::Shared })
    }

    /// Takes the kernels with the given tiling.
    #[must_use]
    pub fn with_tiling(gpu: &Gpu, tiling: Tiling) -> Self {
        Self {
            tiling,
            pipelines: Default::default(),
            no_bias: gpu.storage(16),
            slice_flop: AtomicU64::new(0),
            halves_are_known: AtomicBool::new(false),
        }
    }

    /// How operands are read.
    pub(crate) fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// A matrix that stays as it is: little-endian elements. Columns are a multiple of [`TILE`].
    pub(crate) fn constant(&self, gpu: &Gpu, columns: u32, precision: Precision, bytes: &[u8]) -> Operand {
        match self.tiling {
            Tiling::Shared => Operand::Buffer { buffer: gpu.upload(bytes), precision },
            Tiling::Registers => {
                // Sides are at most MAX_GEMM_SIDE, so that the number of rows fits.
                let rows = (bytes.len() as u64 / (precision.bytes() * u64::from(columns))) as u32;
                let (texture, view) = texture(gpu, rows, columns, precision);
                gpu.queue.write_texture(texture.as_image_copy(), bytes, texel_layout(&texture), texture.size());
                Operand::Texture { texture, view, written: None }
            }
        }
    }

    /// A matrix of f32 that another kernel writes; [`Operand::refresh`] after each time.
    pub(crate) fn written(&self, gpu: &Gpu, columns: u32, buffer: &wgpu::Buffer) -> Operand {
        match self.tiling {
            Tiling::Shared => Operand::Buffer { buffer: buffer.clone(), precision: Precision::F32 },
            Tiling::Registers => {
                let rows = (buffer.size() / (4 * u64::from(columns))) as u32;
                let (texture, view) = texture(gpu, rows, columns, Precision::F32);
                Operand::Texture { texture, view, written: Some(buffer.clone()) }
            }
        }
    }

    /// The side of the tiles into which a product of these sides is cut.
    fn tile(&self, m: u32, n: u32) -> u32 {
        let large = m.is_multiple_of(LARGE_TILE)
            && n.is_multiple_of(LARGE_TILE)
            && (m / LARGE_TILE) * (n / LARGE_TILE) >= MANY_LARGE_TILES
            && self.tiling == Tiling::Shared;
        if large { LARGE_TILE } else { TILE }
    }

    /// Tiles of C.
    pub(crate) fn tiles(&self, product: &Product<'_>) -> u32 {
        let tile = self.tile(product.m, product.n);
        (product.m / tile) * (product.n / tile)
    }

    fn pipeline(&self, gpu: &Gpu, tile: u32, operand: &Operand) -> &wgpu::ComputePipeline {
        let precision = match operand {
            Operand::Buffer { precision, .. } => *precision,
            // A texture's format is not the shader's concern.
            Operand::Texture { .. } => Precision::F32,
        };
        let at = 2 * usize::from(tile == LARGE_TILE) + usize::from(precision == Precision::F16);
        self.pipelines[at].get_or_init(|| {
            let body = match self.tiling {
                Tiling::Shared => shared(tile, precision),
                Tiling::Registers => registers(),
            };
            gpu.trusted("matmul", &format!("{COMMON}{body}"), "main")
        })
    }

    /// Records the whole product.
    pub(crate) fn record(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, product: &Product<'_>) {
        self.record_tiles(gpu, encoder, product, 0, self.tiles(product));
    }

    /// Records `count` tiles of the product from tile `first` on.
    pub(crate) fn record_tiles(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        product: &Product<'_>,
        first: u32,
        count: u32,
    ) {
        let tile = self.tile(product.m, product.n);
        let pipeline = self.pipeline(gpu, tile, product.a);
        let epilogue = u32::from(product.bias.is_some()) | u32::from(product.gelu) << 1;
        let (across, down) = (product.n / tile, product.m / tile);
        let params = gpu.uniform(&[product.k, product.n, first, across, down, epilogue, 0, 0]);
        let bias = product.bias.unwrap_or(&self.no_bias);
        let group = gpu.bind(
            pipeline,
            [
                params.as_entire_binding(),
                product.a.resource(),
                product.b.resource(),
                bias.as_entire_binding(),
                product.c.as_entire_binding(),
            ],
        );
        crate::device::dispatch(encoder, pipeline, &group, count);
    }

    /// A · B of any sides, in submissions that each last a few dozen milliseconds at most. A and B are little-endian
    /// elements of the given precision.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Driver`] or [`Error::Lost`] from the GPU.
    pub fn multiply(
        &self,
        gpu: &Gpu,
        precision: Precision,
        (m, k, n): (u32, u32, u32),
        (a, b): (&[u8], &[u8]),
        progress: crate::Progress<'_>,
    ) -> Result<Vec<f32>, Error> {
        // Sides of large tiles where that makes the product one of large tiles.
        let large = (m.next_multiple_of(LARGE_TILE), n.next_multiple_of(LARGE_TILE));
        let (padded_m, padded_n) = if self.tile(large.0, large.1) == LARGE_TILE { large } else { (up(m), up(n)) };
        let padded_k = up(k);
        let size = precision.bytes() as usize;
        let (a, b) = (pad(a, size, (m, k), (padded_m, padded_k)), pad(b, size, (k, n), (padded_k, padded_n)));
        let operand_a = self.constant(gpu, padded_k, precision, &a);
        let operand_b = self.constant(gpu, padded_n, precision, &b);
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
        self.compute(gpu, &product, progress)?;
        let bytes = if n == padded_n {
            gpu.read_head(&buffer_c, 4 * u64::from(m) * u64::from(n))?
        } else {
            let starts = (0..u64::from(m)).map(|row| 4 * row * u64::from(padded_n));
            gpu.read(&buffer_c, &starts.map(|start| start..start + 4 * u64::from(n)).collect::<Vec<_>>())?
        };
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Computes a product in submissions that each last a few dozen milliseconds at most.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub(crate) fn compute(&self, gpu: &Gpu, product: &Product<'_>, progress: crate::Progress<'_>) -> Result<(), Error> {
        let tiles = self.tiles(product);
        let tile_flop = product.flop() / u64::from(tiles);
        let known = self.slice_flop.load(Ordering::Relaxed);
        let mut pace = Pace::starting(u32::try_from(known / tile_flop).unwrap_or(u32::MAX));
        pace.run(0..tiles, |first, count| {
            gpu.submit(|encoder| self.record_tiles(gpu, encoder, product, first, count))?;
            progress(first + count, tiles);
            Ok(())
        })?;
        // A product smaller than a slice cannot show that less should be submitted at once.
        let learned = u64::from(pace.next()) * tile_flop;
        if learned > known || u64::from(tiles) * tile_flop > known {
            self.slice_flop.store(learned, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Multiplies two matrices of small integers, scaled down to subnormal numbers in f16, whose product f32 holds
    /// exactly, and compares every element. With halves only once.
    ///
    /// # Errors
    /// [`Error::WrongAnswer`], or whatever the GPU reports.
    pub fn known_answer(&self, gpu: &Gpu, precision: Precision) -> Result<(), Error> {
        if precision == Precision::F16 && self.halves_are_known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (m, k, n) = (65_u32, 33_u32, 70_u32);
        let entry = |i: u32, seed: u32| (i.wrapping_mul(2_654_435_761).rotate_left(seed) % 17) as i16 - 8;
        let a: Vec<i16> = (0..m * k).map(|i| entry(i, 7)).collect();
        let b: Vec<i16> = (0..k * n).map(|i| entry(i, 13)).collect();
        let bytes = |entries: &[i16]| -> Vec<u8> {
            match precision {
                Precision::F32 => entries.iter().flat_map(|&e| f32::from(e).to_le_bytes()).collect(),
                // Sign and fraction of a subnormal number: the entry times 2⁻²⁴.
                Precision::F16 => {
                    entries.iter().flat_map(|&e| (u16::from(e < 0) << 15 | e.unsigned_abs()).to_le_bytes()).collect()
                }
            }
        };
        let unit = match precision {
            Precision::F32 => 1.0,
            Precision::F16 => 2.0_f32.powi(-48),
        };
        let c = self.multiply(gpu, precision, (m, k, n), (&bytes(&a), &bytes(&b)), &mut |_, _| {})?;
        let (k, n) = (k as usize, n as usize);
        for (at, &got) in c.iter().enumerate() {
            let sum: i16 = (0..k).map(|d| a[at / n * k + d] * b[d * n + at % n]).sum();
            let expected = f32::from(sum) * unit;
            if got != expected {
                return Err(Error::WrongAnswer { adapter: gpu.info().adapter.clone(), got, expected });
            }
        }
        if precision == Precision::F16 {
            self.halves_are_known.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A texture of vec4 that holds a matrix.
fn texture(gpu: &Gpu, rows: u32, columns: u32, precision: Precision) -> (wgpu::Texture, wgpu::TextureView) {
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: columns / 4, height: rows, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: match precision {
            Precision::F32 => wgpu::TextureFormat::Rgba32Float,
            Precision::F16 => wgpu::TextureFormat::Rgba16Float,
        },
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    (texture, view)
}

/// Rows of vec4 without gaps. Copies from buffers want rows of 256 bytes each: whole tiles of f32 are.
fn texel_layout(texture: &wgpu::Texture) -> wgpu::TexelCopyBufferLayout {
    let texel = if texture.format() == wgpu::TextureFormat::Rgba16Float { 8 } else { 16 };
    wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(texel * texture.width()), rows_per_image: None }
}

/// The next multiple of [`TILE`].
pub(crate) fn up(side: u32) -> u32 {
    side.next_multiple_of(TILE)
}

/// `matrix` of elements of `size` bytes with zeros to the right and below.
fn pad(matrix: &[u8], size: usize, from: (u32, u32), to: (u32, u32)) -> std::borrow::Cow<'_, [u8]> {
    if from == to {
        return matrix.into();
    }
    let mut padded = vec![0; size * to.0 as usize * to.1 as usize];
    let rows = padded.chunks_exact_mut(size * to.1 as usize).zip(matrix.chunks_exact(size * from.1 as usize));
    for (row, source) in rows {
        row[..source.len()].copy_from_slice(source);
    }
    padded.into()
}

/// The kernel through workgroup memory. A workgroup with fewer invocations than 4 × 4 blocks to bring (64 for 64-wide
/// tiles) lets each bring one of A and one of B; otherwise half of them bring A and half B, which saves registers.
fn shared(tile: u32, precision: Precision) -> String {
    let (bring, put) = if tile == LARGE_TILE {
        (
            "if local < SIDE { PART = fetch_a(row + of_a / 4u * 4u, (AT) / 4u + quad); } \
             else { PART = fetch_b((AT) + deep, column + across); }",
            "if local < SIDE { put_a(quad, of_a / 4u, part); } else { put_b(deep, across, part); }",
        )
    } else {
        (
            "PART = fetch_a(row + of_a / 4u * 4u, (AT) / 4u + quad); MORE = fetch_b((AT) + deep, column + across);",
            "put_a(quad, of_a / 4u, part); put_b(deep, across, more);",
        )
    };
    let bring = |at: &str| bring.replace("AT)", &format!("{at})")).replace("PART", "part").replace("MORE", "more");
    let mut steps = String::new();
    for step in 0..4 {
        // Writing to a String cannot fail.
        let _ = write!(
            steps,
            "            let l{step}0 = tile_a[a0 + {step}u * ACROSS];
            let l{step}1 = tile_a[a1 + {step}u * ACROSS];
            let r{step}0 = tile_b[b0 + {step}u * ACROSS];
            let r{step}1 = tile_b[b0 + {step}u * ACROSS + 8u];
            s00 = outer(s00, l{step}0, r{step}0);
            s01 = outer(s01, l{step}0, r{step}1);
            s10 = outer(s10, l{step}1, r{step}0);
            s11 = outer(s11, l{step}1, r{step}1);
"
        );
    }
    let read = if precision == Precision::F16 { READ_F16 } else { READ_F32 };
    let body = SHARED
        .replace("BRING(0u)", &format!("var part: mat4x4<f32>; var more: mat4x4<f32>; {}", bring("0u")))
        .replace("BRING(depth + DEPTH)", &bring("depth + DEPTH"))
        .replace("        PUT\n", &format!("        {put}\n"))
        .replace("STEPS\n", &steps);
    format!("const SIDE: u32 = {tile}u;\n{read}{body}")
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
