import { expect, test } from 'vitest';
import type { Selling } from '$lib/api/types';
import { sellingWords } from './selling';

const selling = (more: Partial<Selling>): Selling => ({ on: true, state: 'idle', reason: 'waiting for calls', paused_until: null, trigger: null, resumes_at: null, ...more });

test('a pause is told in local time, never as the node’s time stamp', () => {
  const until = new Date(Date.now() + 60_000).toISOString();
  const words = sellingWords(selling({ state: 'paused', reason: `Paused until ${until}`, paused_until: until, resumes_at: until }));
  expect(words).toMatch(/^Paused by you until \S.*\.$/);
  expect(words).not.toContain(until.slice(0, 10));
});

test('what is given back says why, and when selling goes on where that is known', () => {
  expect(sellingWords(selling({ state: 'yielding', reason: 'Paused: on battery' }))).toBe('Paused: on battery.');
  expect(sellingWords(selling({ state: 'yielding', reason: 'Paused: on battery', resumes_at: new Date().toISOString() }))).toMatch(
    /^Paused: on battery\. Goes on at .+, if nothing else comes\.$/,
  );
});
