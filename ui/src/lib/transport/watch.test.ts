import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Problem } from './problem';
import type { Transport } from './transport';
import { keepWatching } from './watch';

type Open = { data: (snapshot: never) => void; ended: (problem: Problem) => void; stopped: boolean };

function fake() {
  const opens: Open[] = [];
  const transport: Transport = {
    call: () => Promise.reject(new Error('not used')),
    open(_, data, ended) {
      const open: Open = { data, ended, stopped: false };
      opens.push(open);
      return () => (open.stopped = true);
    },
  };
  return { opens, transport, last: () => opens.at(-1)! };
}

const gone = new Problem('unreachable', 'gone');
beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test('opens again with doubled pauses up to ten seconds, and starts over after a snapshot', () => {
  const { opens, transport, last } = fake();
  const pauses: number[] = [];
  const seen: unknown[] = [];
  keepWatching(transport, 'watch_overview', { data: (s) => seen.push(s), lost: (_, ms) => pauses.push(ms) });
  for (let round = 0; round < 7; round += 1) {
    last().ended(gone);
    const before = opens.length;
    vi.advanceTimersByTime(pauses.at(-1)! - 1);
    expect(opens).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(opens).toHaveLength(before + 1);
  }
  expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  last().data({ ok: true } as never);
  last().ended(gone);
  expect(pauses.at(-1)).toBe(500);
  expect(seen).toEqual([{ ok: true }]);
});

test('a stopped watch closes its stream and never opens another', () => {
  const { opens, transport, last } = fake();
  const lost = vi.fn();
  const watch = keepWatching(transport, 'watch_jobs', { data: () => undefined, lost });
  watch.stop();
  expect(last().stopped).toBe(true);
  last().ended(gone);
  vi.advanceTimersByTime(60_000);
  expect(opens).toHaveLength(1);
  expect(lost).not.toHaveBeenCalled();
});

test('"try now" does not wait, and does nothing while a stream is open', () => {
  const { opens, transport, last } = fake();
  const watch = keepWatching(transport, 'watch_jobs', { data: () => undefined, lost: () => undefined });
  watch.retryNow();
  expect(opens).toHaveLength(1);
  last().ended(gone);
  watch.retryNow();
  expect(opens).toHaveLength(2);
  vi.advanceTimersByTime(60_000);
  expect(opens).toHaveLength(2);
});
