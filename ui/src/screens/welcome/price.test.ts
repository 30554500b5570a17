import { expect, test } from 'vitest';
import { floorOf, priceWords, speedWords, unitPrice } from './price';

test('prices are told for as many units as people think in', () => {
  expect(priceWords('generate', { micro_usd: 80, per_units: 1000 })).toBe('$0.08 per million tokens');
  expect(priceWords('gemm', { micro_usd: 1, per_units: 1_000_000_000 })).toBe('$0.001 per trillion operations');
  expect(unitPrice('generate', 1.403)).toBe('$1.40');
});

test('the floor is read out of its reasons, and says whether it rests on assumptions', () => {
  const terms = (origin: string) => [
    { inputs: [{ name: 'speed', value: 31, unit: 'units/s', origin: 'measured' }] },
    { inputs: ['energy', 'wear', 'opportunity'].map((name, index) => ({ name, value: index / 10, unit: 'USD/h', origin: index === 0 ? origin : 'stated' })) },
  ];
  expect(floorOf(terms('measured'))).toEqual({ energy: 0, wear: 0.1, opportunity: 0.2, measured: true });
  expect(floorOf(terms('assumed'))?.measured).toBe(false);
  expect(floorOf([])).toBeNull();
});

test('speeds are told in the unit of the work', () => {
  expect(speedWords('generate', 23.9527)).toBe('24 tokens/s');
  expect(speedWords('gemm', 310_400_000_000)).toBe('310 GFLOP/s');
});
