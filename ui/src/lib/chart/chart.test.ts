import { expect, test } from 'vitest';
import { moved } from './cursor';
import { columns, linear, ticks, ticksAround } from './scale';

test('ticks are round, even, start at zero and cover the largest', () => {
  for (const largest of [1, 7, 420, 96_120, 2_400_000, 1e12]) {
    const marks = ticks(largest);
    expect(marks[0]).toBe(0);
    expect(marks.at(-1)).toBeGreaterThanOrEqual(largest);
    expect(marks.length).toBeLessThanOrEqual(6);
    expect(String(marks[1]).replace(/0+$/, '')).toMatch(/^(1|2|5)$/);
  }
  expect(ticks(0)).toEqual([0]);
});

test('ticks around zero are as far apart below as above, and only where there is something', () => {
  expect(ticksAround(-30, 100)).toEqual([-50, 0, 50, 100]);
  expect(ticksAround(-100, 30)).toEqual([-100, -50, 0, 50]);
  expect(ticksAround(0, 100)).toEqual([0, 50, 100]);
  expect(ticksAround(-100, 0)).toEqual([-100, -50, 0]);
  expect(ticksAround(0, 0)).toEqual([0]);
});

test('values become pixels, downwards too, and a range of nothing stays at its start', () => {
  expect(linear([0, 50], [100, 0])(25)).toBe(50);
  expect(linear([-10, 10], [0, 200])(-10)).toBe(0);
  expect(linear([0, 0], [90, 10])(0)).toBe(90);
});

test('columns share the width; a place beside them belongs to the nearest', () => {
  const { slot, middle, at, every } = columns(4, 20, 100);
  expect(slot).toBe(20);
  expect(middle(0)).toBe(30);
  expect([0, 20, 59, 60, 99, 300].map(at)).toEqual([0, 0, 1, 2, 3, 3]);
  expect([every(10), every(50)]).toEqual([1, 3]);
});

test('keys move the cursor: from its beginning, by steps, and never out of the chart', () => {
  const week = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -24, ArrowDown: 24, PageDown: 100 };
  expect(moved('ArrowLeft', null, 168, 30, week)).toBe(30);
  expect(moved('ArrowDown', 30, 168, 0, week)).toBe(54);
  expect(moved('ArrowUp', 6, 168, 0, week)).toBe(6);
  expect(moved('PageDown', 100, 168, 0, week)).toBe(167);
  expect([moved('Home', null, 7, 3), moved('End', 2, 7, 3)]).toEqual([0, 6]);
  expect(moved('ArrowUp', 2, 7, 3)).toBeNull();
  expect(moved('ArrowRight', null, 0, 0)).toBeNull();
});
