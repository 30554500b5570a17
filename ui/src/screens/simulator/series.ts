import type { Simulation, SimulationRow } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

/** Which figure of the rows is looked at. */
export type View = 'saving' | 'cost';

/** One way of deciding, over the rows. */
export type Series = {
  key: 'paper' | 'peer' | 'ours' | 'cheapest' | 'oracle';
  name: string;
  /** Per cent; null where a row has no such figure. */
  values: (number | null)[];
};

const inPaper = (simulation: Simulation) => simulation.rows.some((row) => row.published !== null);

/** Whether the rows have a figure as the paper counts it: the others' markets are counted honestly only. */
export const views = (simulation: Simulation): View[] => (inPaper(simulation) ? ['cost', 'saving'] : ['saving']);

/** What is plotted side by side; series without a single value are left out. */
export function series(simulation: Simulation, view: View): Series[] {
  const of = (key: Series['key'], name: string, value: (row: SimulationRow) => number | null | undefined): Series => ({
    key,
    name,
    values: simulation.rows.map((row) => value(row) ?? null),
  });
  const all =
    view === 'cost'
      ? [
          of('paper', m.sim_paper(), (row) => row.published?.paper_cost.mean),
          of('peer', m.sim_peer(), (row) => row.published?.peer_cost.mean),
          of('ours', m.sim_ours(), (row) => row.cost_reduction_pct?.mean),
        ]
      : [
          of('peer', m.sim_peer(), (row) => row.published?.peer_honest),
          of('ours', m.sim_ours(), (row) => row.honest_saving_pct),
          of('cheapest', m.sim_cheapest(), (row) => row.cheapest_saving_pct),
          of('oracle', m.sim_oracle(), (row) => row.oracle_saving_pct),
        ];
  return all.filter((one) => one.values.some((value) => value !== null));
}

const MOST = 100;
const LEAST = -50;

/** From where to where the axis goes, in steps of 25: what lies far below is cut, and said. */
export function range(all: Series[]): [number, number] {
  const values = all.flatMap((one) => one.values).filter((value): value is number => value !== null);
  const low = Math.max(LEAST, Math.floor(Math.min(0, ...values) / 25) * 25);
  const high = Math.min(MOST, Math.max(25, Math.ceil(Math.max(0, ...values) / 25) * 25));
  return [low, high];
}

/** The mean over the rows that have a figure; null when none has. */
export function mean(values: (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
