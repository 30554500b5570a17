import { expect, test } from 'vitest';
import { bytes, keyTail } from './number';
import { ago, day, span } from './time';

test.each([
  [0, '0 ms'],
  [420, '420 ms'],
  [999.4, '999 ms'],
  [3_240, '3.2 sec'],
  [59_999, '59 sec'],
  [60_000, '1 min'],
  [125_000, '2 min 5 sec'],
  [3_600_000, '1 hr'],
  [5_400_000, '1 hr 30 min'],
  [90_000_000, '1 day 1 hr'],
])('%d ms is %s', (ms, text) => {
  expect(span(ms, 'en-US')).toBe(text);
});

test('ages are whole and never in the future', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  expect(ago('2026-11-21T11:59:30Z', now, 'en-US')).toBe('30s ago');
  expect(ago('2026-11-21T11:58:01Z', now, 'en-US')).toBe('1m ago');
  expect(ago('2026-11-21T09:00:00Z', now, 'en-US')).toBe('3h ago');
  expect(ago('2026-11-20T12:00:00Z', now, 'en-US')).toBe('yesterday');
  expect(ago('2026-11-21T12:00:05Z', now, 'en-US')).toBe('now');
});

test('a UTC day stays that day everywhere', () => {
  expect(day('2026-11-21', 'en-US')).toBe('Nov 21');
});

test('sizes and keys', () => {
  expect(bytes(1, 'en-US')).toBe('1 byte');
  expect(bytes(18_422, 'en-US')).toBe('18.4 kB');
  expect(bytes(4_000_000, 'en-US')).toBe('4 MB');
  expect(keyTail('did:key:z6MkhaXgBZDvotDk')).toBe('…BZDvotDk');
});
