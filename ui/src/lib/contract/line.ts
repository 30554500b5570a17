import type { ContractStateName, ContractStep } from '../api/types';

/** The states of a contract that goes well, in order. */
export const PATH = [
  'announced',
  'proposed',
  'awarded',
  'running',
  'delivered',
  'accepted',
  'settled',
] as const satisfies ContractStateName[];

const ENDS: ReadonlySet<ContractStateName> = new Set(['rejected', 'lapsed', 'failed', 'abandoned', 'handed_back']);

/** One stop of the line. */
export type Stop = {
  state: ContractStateName;
  /** `past`, where it stands, what may follow, or an end that was not hoped for. */
  place: 'past' | 'here' | 'ahead' | 'broken';
  /** When it was reached. */
  at: string | null;
  /** Milliseconds since the stop before it. */
  after: number | null;
};

/** The contract line: what was passed with the times between, where it stands, and what is still ahead. */
export function contractLine(state: ContractStateName, steps: ContractStep[]): Stop[] {
  const passed = steps.some((step) => step.state === state) || steps.length === 0 ? steps : [...steps, { state, at: '' }];
  const line: Stop[] = passed.map((step, index) => {
    const before = passed[index - 1];
    const ms = before ? Date.parse(step.at) - Date.parse(before.at) : NaN;
    const last = index === passed.length - 1;
    return {
      state: step.state,
      place: !last ? 'past' : ENDS.has(step.state) ? 'broken' : step.state === 'settled' ? 'past' : 'here',
      at: step.at || null,
      after: Number.isFinite(ms) ? Math.max(0, ms) : null,
    };
  });
  if (line.length === 0) line.push({ state, place: ENDS.has(state) ? 'broken' : 'here', at: null, after: null });
  if (!ENDS.has(state)) {
    const ahead = PATH.slice((PATH as readonly ContractStateName[]).indexOf(state) + 1);
    line.push(...ahead.map((next): Stop => ({ state: next, place: 'ahead', at: null, after: null })));
  }
  return line;
}
