import type { SubmitWork } from '$lib/api/types';
import { bytes as bytesWords } from '$lib/format/number';
import { m } from '$lib/paraglide/messages.js';

/** A file's content, or numbers drawn here. */
export type Content = { name: string; bytes: Uint8Array };

export type GemmFields = { m: string; k: string; n: string; precision: 'f32' | 'f16'; input: Content | null };
export type KernelFields = { name: string; rows: string; columns: string; seed: string; option: string; input: Content | null };
export type WgslFields = { source: string; entry: string; workgroups: string; workgroupSize: string; fuel: string; element: 'u32' | 'f32'; binding: string; bytes: string; inputs: { binding: string; content: Content | null }[] };

/** A field of these forms for which something can be said. */
export type ComputeField = 'shape' | 'input' | 'rows' | 'columns' | 'kernelSeed' | 'option' | 'source' | 'entry' | 'workgroups' | 'workgroupSize' | 'fuel' | 'binding' | 'outputBytes' | 'inputs';
export type ComputeErrors = Partial<Record<ComputeField, string>>;

/** What the fields ask for: built only when it is sent, for an input may be large. */
export type Asked = { errors: ComputeErrors; make: () => SubmitWork };

// The node's limits (`base/job.rs`, `base/kernel.rs`); it checks them again.
const MAX_SIDE = 4_096;
const MAX_ROWS = 2 ** 20;
const MAX_COLUMNS = 2 ** 16;
const MAX_BLOB = 64 * 2 ** 20;
const MAX_SOURCE = 256 * 2 ** 10;
const MAX_WORKGROUPS = 65_535;
const MAX_WORKGROUP_SIZE = 256;
const MAX_FUEL = 60_000;
/** What a call option takes: spot, strike, rate, volatility, years. */
const OPTION_NUMBERS = 5;

/** The kernels of the catalogue. */
export const KERNELS = ['monte_carlo_pi', 'monte_carlo_call', 'sum', 'mean', 'norm', 'max', 'min', 'arg_max', 'softmax', 'layer_norm', 'rms_norm'] as const;
export const isRandom = (kernel: string): boolean => kernel.startsWith('monte_carlo_');

export const emptyGemm = (): GemmFields => ({ m: '256', k: '256', n: '256', precision: 'f32', input: null });
export const emptyKernel = (): KernelFields => ({ name: 'monte_carlo_pi', rows: '256', columns: '4096', seed: '1', option: '100, 105, 0.03, 0.2, 1', input: null });
export const emptyWgsl = (): WgslFields => ({ source: '', entry: 'main', workgroups: '16', workgroupSize: '64', fuel: '1000', element: 'u32', binding: '0', bytes: '4096', inputs: [] });

/** A kernel that runs as it is: each invocation counts the primes in its own hundred numbers. */
export const EXAMPLE: WgslFields = {
  ...emptyWgsl(),
  source: `@group(0) @binding(0) var<storage, read_write> primes: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var found = 0u;
    for (var i = 0u; i < 100u; i++) {
        let n = id.x * 100u + i;
        var prime = n > 1u;
        for (var d = 2u; d * d <= n; d++) {
            if (n % d == 0u) { prime = false; break; }
        }
        found += select(0u, 1u, prime);
    }
    primes[id.x] = found;
}
`,
  fuel: '40000',
};

const whole = (text: string, least: number, most: number): number => {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
  return value >= least && value <= most ? value : NaN;
};

/** Bytes that a product of this shape takes: A, then B; NaN when there is no such shape. */
export function gemmBytes(fields: GemmFields): number {
  const [m, k, n] = [fields.m, fields.k, fields.n].map((side) => whole(side, 1, MAX_SIDE)) as [number, number, number];
  return (m * k + k * n) * (fields.precision === 'f16' ? 2 : 4);
}

/** Bytes that a kernel takes; NaN when there is no such shape. */
export function kernelBytes(fields: KernelFields): number {
  const rows = whole(fields.rows, 1, MAX_ROWS);
  const columns = whole(fields.columns, 1, MAX_COLUMNS);
  const more = { layer_norm: 2, rms_norm: 1 }[fields.name] ?? 0;
  return 4 * columns * (rows + more);
}

function inputError(content: Content | null, wanted: number): string | undefined {
  if (Number.isNaN(wanted)) return undefined;
  if (wanted > MAX_BLOB) return m.input_too_large({ size: bytesWords(wanted), most: bytesWords(MAX_BLOB) });
  if (!content) return m.input_missing();
  return content.bytes.length === wanted ? undefined : m.input_size_wrong({ size: m.input_bytes({ count: content.bytes.length }), wanted: m.input_bytes({ count: wanted }) });
}

export function gemmWork(fields: GemmFields): Asked {
  const wanted = gemmBytes(fields);
  const errors: ComputeErrors = {};
  if (Number.isNaN(wanted)) errors.shape = m.shape_invalid({ most: MAX_SIDE });
  const input = inputError(fields.input, wanted);
  if (input) errors.input = input;
  return {
    errors,
    make: () => ({
      kind: 'gemm',
      m: Number(fields.m),
      k: Number(fields.k),
      n: Number(fields.n),
      ...(fields.precision === 'f16' && { precision: 'f16' }),
      input_base64: toBase64(fields.input?.bytes ?? new Uint8Array()),
    }),
  };
}

/** The numbers of a call option; null when there are not five. */
export function optionNumbers(text: string): number[] | null {
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  return numbers.length === OPTION_NUMBERS && numbers.every(Number.isFinite) ? numbers : null;
}

export function kernelWork(fields: KernelFields): Asked {
  const errors: ComputeErrors = {};
  const option = optionNumbers(fields.option);
  const seed = whole(fields.seed, 0, Number.MAX_SAFE_INTEGER);
  if (Number.isNaN(whole(fields.rows, 1, MAX_ROWS))) errors.rows = m.whole_invalid({ least: 1, most: MAX_ROWS });
  if (Number.isNaN(whole(fields.columns, 1, MAX_COLUMNS))) errors.columns = m.whole_invalid({ least: 1, most: MAX_COLUMNS });
  if (isRandom(fields.name)) {
    if (Number.isNaN(seed)) errors.kernelSeed = m.seed_invalid();
    if (fields.name === 'monte_carlo_call' && !option) errors.option = m.option_invalid();
  } else {
    const input = inputError(fields.input, kernelBytes(fields));
    if (input) errors.input = input;
  }
  const random = () => randomInput(seed, fields.name === 'monte_carlo_call' ? (option ?? []) : []);
  return {
    errors,
    make: () => ({
      kind: 'kernel',
      name: fields.name,
      rows: Number(fields.rows),
      columns: Number(fields.columns),
      input_base64: toBase64(isRandom(fields.name) ? random() : (fields.input?.bytes ?? new Uint8Array())),
    }),
  };
}

/** A little-endian u64 as seed, then numbers as f32. */
export function randomInput(seed: number, numbers: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 + 4 * numbers.length));
  view.setBigUint64(0, BigInt(Number.isSafeInteger(seed) ? seed : 0), true);
  numbers.forEach((number, index) => view.setFloat32(8 + 4 * index, number, true));
  return new Uint8Array(view.buffer);
}

export function wgslWork(fields: WgslFields): Asked {
  const errors: ComputeErrors = {};
  const size = new TextEncoder().encode(fields.source).length;
  const number = (field: ComputeField, text: string, least: number, most: number) => {
    if (Number.isNaN(whole(text, least, most))) errors[field] = m.whole_invalid({ least, most });
  };
  if (fields.source.trim() === '') errors.source = m.source_missing();
  else if (size > MAX_SOURCE) errors.source = m.source_too_large();
  if (fields.entry.trim() === '') errors.entry = m.entry_missing();
  number('workgroups', fields.workgroups, 1, MAX_WORKGROUPS);
  number('workgroupSize', fields.workgroupSize, 1, MAX_WORKGROUP_SIZE);
  number('fuel', fields.fuel, 1, MAX_FUEL);
  number('binding', fields.binding, 0, 1_000);
  if (Number.isNaN(whole(fields.bytes, 4, MAX_BLOB)) || Number(fields.bytes) % 4 !== 0) errors.outputBytes = m.output_bytes_invalid();
  if (fields.inputs.some((input) => !input.content || Number.isNaN(whole(input.binding, 0, 1_000)) || input.content.bytes.length % 4 !== 0)) errors.inputs = m.inputs_invalid();
  return {
    errors,
    make: () => ({
      kind: 'wgsl',
      source: fields.source,
      entry: fields.entry.trim(),
      workgroups: Number(fields.workgroups),
      workgroup_size: Number(fields.workgroupSize),
      fuel: Number(fields.fuel),
      element: fields.element,
      buffers: [
        { binding: Number(fields.binding), bytes: Number(fields.bytes), data_base64: null },
        ...fields.inputs.map((input) => ({ binding: Number(input.binding), bytes: input.content?.bytes.length ?? 0, data_base64: toBase64(input.content?.bytes ?? new Uint8Array()) })),
      ].sort((a, b) => a.binding - b.binding),
    }),
  };
}

/** Random numbers from −1 to 1, to try a job with. */
export function randomNumbers(size: number, precision: 'f32' | 'f16'): Uint8Array {
  if (precision === 'f32') return new Uint8Array(Float32Array.from({ length: size / 4 }, () => Math.random() * 2 - 1).buffer);
  // A half from 0.5 to 1 with either sign: sign bit, exponent 14, ten random bits.
  return new Uint8Array(Uint16Array.from({ length: size / 2 }, () => 0x3800 | (Math.random() < 0.5 ? 0x8000 : 0) | Math.floor(Math.random() * 1024)).buffer);
}

/** Bytes as base64, in pieces that a call can take. */
export function toBase64(data: Uint8Array): string {
  const PIECE = 0x8000;
  let text = '';
  for (let at = 0; at < data.length; at += PIECE) text += String.fromCharCode(...data.subarray(at, at + PIECE));
  return btoa(text);
}
