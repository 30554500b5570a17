import type { LogAnswer } from '$lib/api/types';
import { expect, test } from 'vitest';
import { measured, readLog } from './log';

const answer = (evidence: [string, number][]): LogAnswer => ({
  api: { provider: 'openai', model: 'm', prompt_micro_usd_per_million: 1, text_micro_usd_per_million: 2, source: 's', taken_on: '2026-11-21' },
  card_jobs: 35,
  own_jobs: 30,
  evidence: evidence.map(([name, value]) => ({ name, value, unit: '', formula: '', source: '', inputs: [] })),
  unknown: null,
  breakeven: null,
  comparison: { days: 2, prompt_tokens_per_day: 300, text_tokens_per_day: 100, alternatives: [], recommended: { choice: 'api' }, flip_utilisation: null, months: [], interval_unknown: null },
  rule: null,
});

test('what the log measured goes where it belongs, and what it did not stays out', () => {
  expect(measured(answer([['speed of writing', 24], ['occupancy', 0.09]]))).toEqual({ tokens_per_second: 24, volume: 100, input_output_ratio: 3 });
  expect(measured({ ...answer([]), comparison: null })).toEqual({});
});

test('a figure without a measurement is listed as such', () => {
  const { figures } = readLog(answer([['speed of writing', 24], ['occupancy', 0.09]]));
  expect(figures.map((row) => row.why?.value ?? null)).toEqual([24, null, null, 9]);
  expect(readLog(answer([])).figures).toEqual([]);
});
