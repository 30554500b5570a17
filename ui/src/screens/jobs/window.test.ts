import { expect, test } from 'vitest';
import { rowsSeen } from './window';

test('what is seen is drawn with a little more, and the room of all is kept', () => {
  for (const [rows, top] of [[0, 0], [3, 0], [10_000, 0], [10_000, 123_456], [10_000, 599_000], [10_000, 9e9], [5, 4_000]] as const) {
    const { first, last, above, below } = rowsSeen(rows, 60, top, 600);
    expect(above + below + (last - first) * 60).toBe(rows * 60);
    expect(last - first).toBeLessThanOrEqual(10 + 16);
    const end = Math.min(rows * 60, Math.max(0, Math.min(top, rows * 60 - 600)) + 600);
    expect(first * 60).toBeLessThanOrEqual(Math.max(0, end - 600));
    expect(last * 60).toBeGreaterThanOrEqual(end);
  }
});
