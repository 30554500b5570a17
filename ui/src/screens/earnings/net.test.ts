import type { EarningsDay } from '$lib/api/types';
import { expect, test } from 'vitest';
import { extentOf, layersOf, strength, sumOf } from './net';

const day = (earned: number, electricity: number | null, wear: number | null, part: Partial<EarningsDay> = {}): EarningsDay => ({
  day: '2026-11-21',
  earned_micro_usd: earned,
  spent_micro_usd: 0,
  jobs_sold: earned > 0 ? 1 : 0,
  jobs_bought: 0,
  electricity_micro_usd: electricity,
  wear_micro_usd: wear,
  net_micro_usd: electricity === null || wear === null ? null : earned - electricity - wear,
  predicted_micro_usd: 5,
  measured: true,
  ...part,
});

test('layers are taken out of the gross from the top, and what is left may be a loss', () => {
  expect(layersOf(day(100, 30, 20))).toEqual({ electricity: { from: 100, to: 70 }, wear: { from: 70, to: 50 }, net: 50 });
  expect(layersOf(day(10, 30, 20))?.net).toBe(-40);
  expect(layersOf(day(10, null, 20))).toBeNull();
  expect(extentOf([day(100, 30, 20), day(10, 30, 20)])).toEqual({ high: 100, low: -40 });
});

test('a sum with a part that is not known is not known', () => {
  const sum = sumOf([day(100, 30, 20), day(50, null, null), day(0, null, null, { measured: false })]);
  expect(sum).toMatchObject({ gross: 150, electricity: null, wear: null, net: null, predicted: 10, measured: true, unknownDays: 1 });
  expect(sumOf([day(100, 30, 20), day(50, 10, 10)])).toMatchObject({ gross: 150, electricity: 40, wear: 30, net: 80, unknownDays: 0 });
});

test('an hour with something is never as pale as one with nothing', () => {
  expect(strength(0, 10)).toBe(0);
  expect(strength(1e-9, 10)).toBeGreaterThan(0.1);
  expect(strength(10, 10)).toBe(1);
});
