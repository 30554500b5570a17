import { describe, expect, test } from 'vitest';
import type { DecisionAlternative } from '$lib/api/types';
import { readReceipt } from './receipt';
import { grouped, largest, part, valueWords } from './strip';

const row = (name: string, more: Partial<DecisionAlternative>): DecisionAlternative => ({
  name,
  source: 'peer',
  chosen: false,
  best: false,
  rank: null,
  excluded_by: null,
  values: [],
  normalised: [],
  closeness: null,
  gate: null,
  odds: null,
  cost_micro_usd: null,
  checking_micro_usd: null,
  expected_micro_usd: null,
  cautious_micro_usd: null,
  estimated_ms: null,
  measured: true,
  why: '',
  note: null,
  ...more,
});

describe('decision strip', () => {
  test('the gate is a line between those that passed and those that did not; refusals come last', () => {
    const groups = grouped([row('far', {}), row('dear', { gate: 'above_lowest', rank: 3 }), row('next', { gate: 'passed', rank: 2 }), row('taken', { gate: 'passed', rank: 1, chosen: true })]);
    expect(groups.passed.map(({ name }) => name)).toEqual(['taken', 'next']);
    expect(groups.stopped.map(({ name }) => name)).toEqual(['dear']);
    expect(groups.excluded.map(({ name }) => name)).toEqual(['far']);
  });

  test('bars begin at zero and end at the largest of their column', () => {
    const criteria = [{ name: 'cost', unit: 'USD', direction: 'cost', weight: 1, stated_weight: 1 } as const];
    const most = largest(criteria, [row('a', { values: [1] }), row('b', { values: [4] }), row('c', {})]);
    expect(most).toEqual([4]);
    expect(part(1, 4)).toBe(0.25);
    expect(part(0, 0)).toBe(0);
    expect(valueWords(0.93, { name: 'reliability', unit: 'fraction', direction: 'benefit', weight: 1, stated_weight: 1 })).toBe('93%');
    expect(valueWords(0.052, { name: 'latency', unit: 's', direction: 'cost', weight: 1, stated_weight: 1 })).toBe('52 ms');
  });
});

describe('a receipt', () => {
  const receipt = {
    question: {
      situation: {
        alternatives: [
          { source: { source: 'local' }, outcome: { outcome: 'offered', cost: 3, checking: 0, cost_measured: false, estimated_ms: 52 } },
          { source: { source: 'peer', name: 'Cellar' }, outcome: { outcome: 'unavailable' } },
        ],
      },
    },
    rows: [
      { refusal: null, verdict: { criteria: [3e-6, 0.99, 0.052, 1], normalised: [1, 1, 1, 1], expected_usd: 3e-6, cautious_usd: 3e-6, closeness: 0.5, gate: 'passed' } },
      { refusal: { refused: 'constraint', excluded: 'unavailable', problem: { message: 'it did not answer' } }, verdict: null },
    ],
    weights: [0.68, 0.14, 0.1, 0.08],
    choice: { chosen: 0, best: 0 },
  };

  test('of a dry run is read as a table', () => {
    const read = readReceipt(receipt)!;
    expect(read.criteria.map(({ name, weight }) => [name, weight])).toEqual([['cost', 0.68], ['reliability', 0.14], ['latency', 0.1], ['security', 0.08]]);
    expect(read.rows[0]).toMatchObject({ name: 'This machine', chosen: true, values: [3e-6, 0.99, 0.052, 1], measured: false });
    expect(read.rows[1]).toMatchObject({ name: 'Cellar', excluded_by: 'unavailable', why: 'it did not answer', values: [] });
  });

  test.each([null, 'x', {}, { rows: [] }])('of another form is none: %j', (value) => {
    expect(readReceipt(value)).toBeNull();
  });
});
