import type { DecisionAlternative, DecisionCriterion } from '$lib/api/types';
import { money } from '$lib/format/money';
import { span } from '$lib/format/time';
import { percent, usd } from '$lib/format/usd';
import { m } from '$lib/paraglide/messages.js';

/** The alternatives as the strip shows them: those that passed the cost gate, those that did not, those not considered. */
export type Groups = { passed: DecisionAlternative[]; stopped: DecisionAlternative[]; excluded: DecisionAlternative[] };

export function grouped(rows: DecisionAlternative[]): Groups {
  const byRank = (a: DecisionAlternative, b: DecisionAlternative) => (a.rank ?? Infinity) - (b.rank ?? Infinity);
  return {
    passed: rows.filter((row) => row.gate === 'passed').sort(byRank),
    stopped: rows.filter((row) => row.gate === 'not_below_own' || row.gate === 'above_lowest').sort(byRank),
    excluded: rows.filter((row) => row.gate === null),
  };
}

/** The largest value of each criterion over all rows: what a full bar stands for. */
export const largest = (criteria: DecisionCriterion[], rows: DecisionAlternative[]): number[] =>
  criteria.map((_, index) => Math.max(0, ...rows.map((row) => row.values[index] ?? 0)));

/** Part of the full bar, 0 to 1. */
export const part = (value: number, most: number): number => (most > 0 ? Math.min(1, Math.max(0, value / most)) : 0);

/** A value of a criterion with its unit. */
export function valueWords(value: number, criterion: DecisionCriterion): string {
  switch (criterion.unit) {
    case 'USD':
      return usd(value);
    case 's':
      return span(value * 1_000);
    case 'fraction':
      return percent(value);
    default:
      return `${value} ${criterion.unit}`;
  }
}

const CRITERIA: Record<string, () => string> = { cost: m.dec_cost, reliability: m.dec_reliability, latency: m.dec_latency, security: m.dec_security };
export const criterionWords = (name: string): string => CRITERIA[name]?.() ?? name;

const SOURCES: Record<DecisionAlternative['source'], () => string> = { local: m.dec_local, peer: m.dec_peer, agent: m.dec_agent, cloud: m.dec_cloud };
export const sourceWords = (source: DecisionAlternative['source']): string => SOURCES[source]();

/** An amount that may be a fraction of a micro-dollar. */
export const microWords = (micro: number): string => (Number.isInteger(micro) ? money(micro) : usd(micro / 1e6));

/** The ways of deciding that a decision can be replayed with. */
export const POLICIES = ['greedy', 'epsilon=0.1', 'graduated=0.1', 'ucb1=0.1', 'thompson', 'cheapest'] as const;
