import { expect, test } from 'vitest';
import { remaining } from './remaining';

test('says nothing until a second was seen, then what is left at the speed of late', () => {
  const left = remaining();
  expect(left(0, 1_000, 0)).toBeNull();
  expect(left(50, 1_000, 500)).toBeNull();
  expect(left(100, 1_000, 1_000)).toBe(9_000);
  expect(left(200, 1_000, 2_000)).toBe(8_000);
  expect(left(1_000, 1_000, 3_000)).toBeNull();
});

test('follows a change of speed', () => {
  const left = remaining();
  for (let second = 0; second <= 30; second += 1) left(second * 10, 100_000, second * 1_000);
  let answer: number | null = null;
  for (let second = 31; second <= 60; second += 1) answer = left(300 + (second - 30) * 100, 100_000, second * 1_000);
  // 96,700 are left at 100 a second.
  expect(answer).toBe(967_000);
});

test('a stand-still makes the rest take longer, never shorter', () => {
  const left = remaining();
  left(0, 1_000, 0);
  const before = left(500, 1_000, 5_000) ?? 0;
  expect(left(500, 1_000, 9_000) ?? 0).toBeGreaterThan(before);
});

test('begins anew when there is less than before', () => {
  const left = remaining();
  left(0, 1_000, 0);
  left(500, 1_000, 5_000);
  expect(left(0, 1_000, 6_000)).toBeNull();
  expect(left(100, 1_000, 7_000)).toBe(9_000);
});
