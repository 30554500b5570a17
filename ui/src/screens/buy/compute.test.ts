import { describe, expect, test } from 'vitest';
import { emptyGemm, emptyKernel, emptyWgsl, EXAMPLE, gemmBytes, gemmWork, kernelBytes, kernelWork, optionNumbers, randomInput, randomNumbers, toBase64, wgslWork } from './compute';

const content = (size: number) => ({ name: 'x', bytes: new Uint8Array(size) });

describe('a matrix product', () => {
  test('takes A and B of its shape, and says which size is wanted', () => {
    const fields = { ...emptyGemm(), m: '2', k: '3', n: '4' };
    expect(gemmBytes(fields)).toBe((6 + 12) * 4);
    expect(gemmWork(fields).errors.input).toBeDefined();
    expect(gemmWork({ ...fields, input: content(70) }).errors.input).toMatch(/70.*72/);
    const fine = gemmWork({ ...fields, input: content(72) });
    expect(fine.errors).toEqual({});
    expect(fine.make()).toMatchObject({ kind: 'gemm', m: 2, k: 3, n: 4 });
    expect(gemmWork({ ...fields, m: '4097' }).errors.shape).toBeDefined();
    expect(gemmBytes({ ...fields, precision: 'f16' })).toBe(36);
  });

  test('random numbers are finite and have the size that was asked for', () => {
    const single = new Float32Array(randomNumbers(4_000, 'f32').buffer);
    expect(single.length).toBe(1_000);
    expect(single.every((value) => Math.abs(value) <= 1)).toBe(true);
    const halves = new Uint16Array(randomNumbers(2_000, 'f16').buffer);
    expect(halves.length).toBe(1_000);
    expect(halves.every((bits) => ((bits >> 10) & 31) === 14)).toBe(true);
  });
});

describe('a kernel of the catalogue', () => {
  test('gain and shift count, and random paths need no file', () => {
    const shape = { ...emptyKernel(), rows: '8', columns: '16' };
    expect(kernelBytes({ ...shape, name: 'softmax' })).toBe(512);
    expect(kernelBytes({ ...shape, name: 'rms_norm' })).toBe(512 + 64);
    expect(kernelBytes({ ...shape, name: 'layer_norm' })).toBe(512 + 128);
    expect(kernelWork(shape).errors).toEqual({});
    expect(kernelWork({ ...shape, name: 'softmax' }).errors.input).toBeDefined();
    expect(kernelWork({ ...shape, rows: '0' }).errors.rows).toBeDefined();
  });

  test('an option has five numbers, behind its seed', () => {
    expect(optionNumbers('100, 105, 0.03, 0.2, 1')).toEqual([100, 105, 0.03, 0.2, 1]);
    expect(optionNumbers('100, 105')).toBeNull();
    expect(optionNumbers('a, b, c, d, e')).toBeNull();
    const bytes = randomInput(258, [1.5]);
    expect([...bytes]).toEqual([2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x3f]);
  });
});

describe('an own kernel', () => {
  test('the example can be sent as it is', () => {
    expect(wgslWork(EXAMPLE).errors).toEqual({});
    expect(wgslWork(EXAMPLE).make()).toMatchObject({ kind: 'wgsl', entry: 'main', buffers: [{ binding: 0, data_base64: null }] });
  });

  test('what is missing is said at its field', () => {
    const { errors } = wgslWork({ ...emptyWgsl(), entry: '', fuel: '60001', bytes: '6', inputs: [{ binding: '1', content: null }] });
    expect(Object.keys(errors).sort()).toEqual(['entry', 'fuel', 'inputs', 'outputBytes', 'source']);
  });
});

test('base64 of many bytes is that of all of them', () => {
  const data = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
  expect(toBase64(data)).toBe(Buffer.from(data).toString('base64'));
});
