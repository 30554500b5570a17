import { describe, expect, test } from 'vitest';
import type { PriceRow } from '$lib/api/types';
import { asRate, capOf, floorOf, onStep, quoted, shortOf, stepOf } from './ladder';

const row = (more: Partial<PriceRow> = {}): PriceRow => ({
  kind: 'generate',
  unit: 'token',
  asked: { micro_usd: 80, per_units: 1_000 },
  asked_prompt: null,
  warning: null,
  suggested: {
    rate: { micro_usd: 4_513, per_units: 1_000 },
    usd_per_gpu_second: 4.39e-5,
    floor_micro_usd_per_unit: 4.512,
    held: 'at_floor',
    margin_usd_per_day: null,
    why: [
      {
        name: 'price to ask',
        value: 4.512,
        unit: 'micro-USD per unit',
        formula: '',
        source: '',
        inputs: [
          { name: 'energy', value: 0.0731, unit: 'USD/h', origin: 'assumed' },
          { name: 'wear', value: 0.0849, unit: 'USD/h', origin: 'assumed' },
          { name: 'opportunity', value: 0, unit: 'USD/h', origin: 'computed' },
          { name: 'speed', value: 9.728, unit: 'units/s', origin: 'measured' },
          { name: 'cap', value: 6, unit: 'micro-USD per unit', origin: 'computed' },
        ],
      },
    ],
  },
  unknown: null,
  ...more,
});

describe('price ladder', () => {
  test('a rate is told for a million tokens, 10¹² operations, a billion steps', () => {
    expect(quoted('generate', { micro_usd: 80, per_units: 1_000 })).toBeCloseTo(0.08);
    expect(quoted('gemm', { micro_usd: 1, per_units: 1e9 })).toBeCloseTo(0.001);
    expect(quoted('wgsl', { micro_usd: 10, per_units: 1e9 })).toBeCloseTo(0.00001);
  });

  test.each(['generate', 'embed', 'gemm', 'kernel', 'wgsl'] as const)('what is asked of %s comes back nearly, and can be billed', (kind) => {
    for (const usd of [0, 1e-9, 2.345e-7, 0.000123, 0.08, 4.5122, 99.5, 12_345]) {
      const rate = asRate(kind, usd);
      expect(Number.isSafeInteger(rate.micro_usd)).toBe(true);
      expect(Number.isSafeInteger(rate.per_units)).toBe(true);
      expect(rate.per_units).toBeGreaterThanOrEqual(1);
      expect(rate.micro_usd).toBeLessThanOrEqual(10_000_000);
      expect(Math.abs(quoted(kind, rate) - usd)).toBeLessThanOrEqual(usd * 5e-3);
    }
  });

  test('the pieces of the floor make the floor', () => {
    const floor = floorOf(row())!;
    expect(floor.energy + floor.wear + floor.opportunity).toBeCloseTo(floor.total, 2);
    expect(floor.total).toBeCloseTo(4.512);
    expect(capOf(row())).toBeCloseTo(6);
  });

  test('without a measured speed there is no floor', () => {
    expect(floorOf(row({ suggested: null, unknown: 'no kernel job was done here' }))).toBeNull();
    expect(capOf(row({ suggested: null }))).toBeNull();
  });

  test('the handle moves in round steps', () => {
    expect(stepOf(10)).toBeCloseTo(0.05);
    expect(stepOf(0.0004)).toBeCloseTo(0.000002);
    expect(onStep(4.5122, 0.05)).toBe(4.5);
    expect(onStep(0.1 + 0.2, 0.1)).toBe(0.3);
  });
});

test('a price at the floor loses nothing, one below it what is missing', () => {
  const floor = { energy: 0.1, wear: 0.1, opportunity: 0.1, total: 0.3 };
  expect(shortOf(0.1 + 0.1 + 0.1, floor)).toBeNull();
  expect(shortOf(0.3 - 1e-12, floor)).toBeNull();
  expect(shortOf(0.2, floor)).toBeCloseTo(0.1);
});
