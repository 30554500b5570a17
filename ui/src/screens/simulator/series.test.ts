import type { Simulation, SimulationRow } from '$lib/api/types';
import { expect, test } from 'vitest';
import { mean, range, series, views } from './series';

const row = (id: string, honest: number | null, published = false): SimulationRow =>
  ({
    id,
    honest_saving_pct: honest,
    cheapest_saving_pct: honest === null ? null : honest + 5,
    oracle_saving_pct: honest === null ? null : honest + 10,
    cost_reduction_pct: { mean: 40, sd: 1 },
    published: published ? { paper_cost: { mean: 27, sd: 1 }, peer_cost: { mean: 34, sd: 1 }, peer_honest: 21, peer_oracle: 77 } : null,
  }) as unknown as SimulationRow;
const of = (...rows: SimulationRow[]): Simulation => ({ rows });

test('the paper and its authors stand beside ours in the paper’s own world', () => {
  const paper = of(row('dur_01', 24, true), row('dur_02', 25, true));
  expect(views(paper)).toEqual(['cost', 'saving']);
  expect(series(paper, 'cost').map((one) => one.key)).toEqual(['paper', 'peer', 'ours']);
  expect(series(paper, 'saving').map((one) => one.key)).toEqual(['peer', 'ours', 'cheapest', 'oracle']);
  expect(series(paper, 'saving')[1]?.values).toEqual([24, 25]);
});

test('elsewhere there is no paper, and what has no figure is left out', () => {
  const market = of(row('dur_01', 60));
  expect(views(market)).toEqual(['saving']);
  expect(series(market, 'saving').map((one) => one.key)).toEqual(['ours', 'cheapest', 'oracle']);
  const pool = of({ ...row('queue', 12), cheapest_saving_pct: null, oracle_saving_pct: null });
  expect(series(pool, 'saving').map((one) => one.key)).toEqual(['ours']);
});

test('the axis holds the values and cuts what is far below', () => {
  const at = (...values: (number | null)[]) => [{ key: 'ours' as const, name: '', values }];
  expect(range(at(20, 60))).toEqual([0, 75]);
  expect(range(at(-10, 60))).toEqual([-25, 75]);
  expect(range(at(-32_030, 99))).toEqual([-50, 100]);
  expect(range(at(null))).toEqual([0, 25]);
});

test('a mean is of what is known', () => {
  expect(mean([1, null, 3])).toBe(2);
  expect(mean([null])).toBeNull();
});
