import { expect, test } from 'vitest';
import { figure, fullDay, month, percent, perCent, plain, roundUsd, shortVolume, signedUsd, usd, volume, volumeRange } from './usd';

test.each([
  [0, '$0'],
  [0.034979, '$0.035'],
  [0.426, '$0.426'],
  [0.5, '$0.50'],
  [1.955, '$1.96'],
  [713.6446, '$713.64'],
  [12_345.6, '$12,346'],
  [-3.5, '-$3.50'],
])('%d is %s', (value, text) => {
  expect(usd(value, 'en-US')).toBe(text);
});

test('sums of a year have no cents', () => {
  expect(roundUsd(415.8, 'en-US')).toBe('$416');
  expect(roundUsd(-534.2, 'en-US')).toBe('-$534');
  expect(roundUsd(22.4, 'en-US')).toBe('$22.40');
});

test('differences say their sign', () => {
  expect(signedUsd(2.5, 'en-US')).toBe('+$2.50');
  expect(signedUsd(-2.5, 'en-US')).toBe('−$2.50');
  expect(signedUsd(0, 'en-US')).toBe('$0');
});

test('volumes, shares and dates', () => {
  expect(volume(2_636_738, 'en-US')).toBe('2.64 million');
  expect(volumeRange(1_990_000, 3_980_000, 'en-US')).toBe('1.99–3.98 million');
  expect(volumeRange(900_000, 1_100_000, 'en-US')).toBe('900 thousand – 1.1 million');
  expect(shortVolume(2_500_000, 'en-US')).toBe('2.5M');
  expect(percent(0.2873, 'en-US')).toBe('29%');
  expect(percent(0.0567, 'en-US')).toBe('5.7%');
  expect([perCent(57.46, 'en-US'), plain(38, 'en-US'), plain(-0.04, 'en-US')]).toEqual(['57.5%', '38.0', '0.0']);
  expect(figure(335.9859191720057, 'en-US')).toBe('335.986');
  expect(fullDay('2026-11-21', 'en-US')).toBe('Nov 21, 2026');
  expect(month('2026-09', 'en-US')).toBe('Sep 2026');
});
