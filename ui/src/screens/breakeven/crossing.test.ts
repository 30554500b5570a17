import type { BreakevenAnswer } from '$lib/api/types';
import { expect, test } from 'vitest';
import { apart, axis, beside, between, corners, costAt, crossingOf, read, stops } from './crossing';
import { ALL, atPosition, atVolume, blamed, capacity, position, MAIN, readNumber, showNumber, shownWithUnit, VOLUME } from './fields';

const line = (usd_per_day: number, usd_per_million: number, until_tokens_per_day: number | null = null) => ({
  usd_per_day,
  usd_per_million,
  until_tokens_per_day,
});
const never = { tokens_per_day: null, utilisation: null, reachable: false, why: '' };
const at = (tokens_per_day: number) => ({ tokens_per_day, utilisation: 0.5, reachable: true, why: '' });
const answer = (crossing: number | null): BreakevenAnswer =>
  ({
    output: { breakeven: crossing === null ? never : at(crossing) },
    at_best: at(1_500_000),
    at_worst: at(2_700_000),
    own: { stated: line(1, 0.1, 5_000_000), low: line(0.8, 0.09, 5_500_000), high: line(1.2, 0.12, 4_500_000) },
    buy: { stated: line(0, 0.6), low: line(0, 0.5), high: line(0, 0.7) },
    capacity_tokens_per_day: 5_000_000,
    tokens_per_day: 1_000_000,
  }) as unknown as BreakevenAnswer;

test('beyond what the cards can do, the rest is bought', () => {
  expect(costAt(line(1, 0.1, 5_000_000), 5_000_000, 0.6)).toBeCloseTo(1.5);
  expect(costAt(line(1, 0.1, 5_000_000), 6_000_000, 0.6)).toBeCloseTo(2.1);
  expect(costAt(line(0, 0.6), 6_000_000, 0.6)).toBeCloseTo(3.6);
});

test('owning equals buying at the crossing', () => {
  const reading = read(answer(2_000_000), 2_000_000);
  expect(reading.own).toBeCloseTo(reading.buy);
  expect(reading.ownLow).toBeLessThan(reading.own);
  expect(reading.buyHigh).toBeGreaterThan(reading.buy);
});

test('the axis holds crossing, interval and volume, and without a crossing what the cards can do', () => {
  for (const volume of [10_000, 3_000_000, 40_000_000]) {
    const end = axis(answer(2_000_000), volume).at(-1) ?? 0;
    expect(end).toBeGreaterThan(Math.max(volume, 2_700_000));
    expect(stops(answer(2_000_000), volume)).toContain(volume);
    expect(stops(answer(2_000_000), volume)).toContain(2_000_000);
  }
  expect(crossingOf(answer(null))).toBeNull();
  expect(axis(answer(null), 1_000).at(-1)).toBeGreaterThan(5_000_000);
});

test('a line has a corner where the cards can do no more', () => {
  const found = answer(2_000_000);
  expect(corners(found, found.own.stated, 8_000_000).map(([tokens]) => tokens)).toEqual([0, 5_000_000, 8_000_000]);
  expect(corners(found, found.buy.stated, 8_000_000)).toHaveLength(2);
  expect(corners(found, found.own.stated, 3_000_000)).toHaveLength(2);
});

test.each([
  ['0.17', 0.17],
  ['0,17', 0.17],
  ['1 199', 1199],
  ['1,199', null],
  ['0,1199', 0.1199],
  ['9,100,000', 9_100_000],
  ['91,000,000.5', 91_000_000.5],
  ['5e6', 5e6],
  ['', null],
  ['two', null],
  ['1.2.3', null],
])('%s is read as %s', (text, value) => {
  expect(readNumber(text)).toBe(value);
});

test('numbers are shown without the dirt of fractions', () => {
  expect(showNumber(0.07 * 100)).toBe('7');
  expect(showNumber(9_124_809.741)).toBe('9124810');
});

test('units stand where they are read', () => {
  expect(MAIN.slice(0, 4).map((field, index) => shownWithUnit(field, [0.6, 1199, 106.22, 0.17][index] ?? 0))).toEqual([
    '$0.6/million',
    '$1199',
    '106.22 tokens/s',
    '$0.17/kWh',
  ]);
});

test('sliders come back to where they were, and reach their ends', () => {
  for (const field of [...ALL, VOLUME]) {
    expect(atPosition(field, 0)).toBeCloseTo(field.from);
    expect(atPosition(field, 1_000)).toBeCloseTo(field.to);
    expect(position(field, field.to * 10)).toBe(1_000);
    for (const place of [250, 500, 900]) {
      const shown = atPosition(field, place);
      expect(Math.abs(atPosition(field, position(field, shown)) - shown)).toBeLessThanOrEqual(shown * 0.1);
    }
  }
});

test('a refusal is about its field', () => {
  expect(blamed('resale_fraction is 1.5')).toBe('resale_fraction');
  expect(blamed('breakeven: input.price_usd: invalid type')).toBe('price_usd');
  expect(blamed('prefill_tokens_per_second is missing: input_output_ratio says that there are prompts')).toBe('prefill_tokens_per_second');
  expect(blamed('the disk is full')).toBeNull();
});

test('a volume is time at work, and more than the cards can do is all of it', () => {
  const input = { cards: 2, tokens_per_second: 100, input_output_ratio: 4, prefill_tokens_per_second: 400, utilisation: 0.5 } as Parameters<typeof capacity>[0];
  expect(capacity(input)).toBeCloseTo((2 * 86_400) / 0.02);
  expect(atVolume(input, capacity(input) / 4).utilisation).toBeCloseTo(0.25);
  expect(atVolume(input, capacity(input) * 3).utilisation).toBe(1);
  expect(atVolume(input, 0).utilisation).toBeGreaterThan(0);
});

test('a label stands where it can be read', () => {
  expect(beside(100, 'ten letters', 300)).toEqual({ x: 108, anchor: 'start' });
  expect(beside(250, 'ten letters', 300)).toEqual({ x: 242, anchor: 'end' });
  expect(beside(140, 'a label that is as wide as the picture', 280)).toEqual({ x: 280, anchor: 'end' });
  expect(between(100, [0, 400])).toEqual({ x: 108, anchor: 'start' });
  expect(between(200, [60, 280])).toEqual({ x: 192, anchor: 'end' });
  expect(apart(50, 48, 18)).toEqual([58, 40]);
  expect(apart(10, 90, 18)).toEqual([10, 90]);
});
