import type { DecisionAlternative, DecisionCriterion } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

/** The parts of a decision's receipt that are read here; the node sends the whole as `tender replay` takes it. */
type Receipt = {
  question: { situation: { alternatives: Alternative[] } };
  rows: { refusal: Refusal | null; verdict: Verdict | null }[];
  weights: number[];
  choice: { chosen: number; best: number } | null;
};
type Alternative = {
  source: { source: 'local' | 'peer' | 'cloud' | 'foreign'; name?: string };
  outcome: { outcome: 'offered'; cost: number; checking: number; cost_measured: boolean; estimated_ms: number } | { outcome: 'unavailable' };
};
type Refusal = { refused: string; excluded?: string; problem?: { message: string } };
type Verdict = { criteria: number[]; normalised: number[]; expected_usd: number; cautious_usd: number; closeness: number; gate: 'passed' | 'not_below_own' | 'above_lowest' };

/** The order of every matrix of the node (`market/weights.rs`). */
const CRITERIA = [
  ['cost', 'USD', 'cost'],
  ['reliability', 'fraction', 'benefit'],
  ['latency', 's', 'cost'],
  ['security', 'fraction', 'benefit'],
] as const;

const EXCLUDED: Record<string, () => string> = {
  private: m.dec_excluded_private,
  malformed: m.dec_excluded_malformed,
  over_budget: m.dec_excluded_over_budget,
  over_spend_cap: m.dec_excluded_over_spend_cap,
  rule: m.dec_excluded_rule,
  too_late: m.dec_excluded_too_late,
  skills: m.dec_excluded_skills,
  incompatible: m.dec_excluded_incompatible,
  memory: m.dec_excluded_memory,
  region: m.dec_excluded_region,
};
const GATE: Record<Verdict['gate'], () => string> = { passed: m.dec_gate_passed, not_below_own: m.dec_gate_not_below_own, above_lowest: m.dec_gate_above_lowest };

function isReceipt(value: unknown): value is Receipt {
  const receipt = value as Partial<Receipt> | null;
  return typeof receipt === 'object' && receipt !== null && Array.isArray(receipt.rows) && Array.isArray(receipt.weights) && Array.isArray(receipt.question?.situation?.alternatives);
}

/** The alternatives of a decision that was not stored, as the strip shows them; null for a receipt of another form. */
export function readReceipt(value: unknown): { criteria: DecisionCriterion[]; rows: DecisionAlternative[] } | null {
  if (!isReceipt(value)) return null;
  const { choice } = value;
  const rows = value.question.situation.alternatives.map((alternative, index): DecisionAlternative => {
    const { refusal = null, verdict = null } = value.rows[index] ?? {};
    const offered = alternative.outcome.outcome === 'offered' ? alternative.outcome : null;
    const excluded = refusal ? (refusal.excluded ?? refusal.refused) : null;
    const chosen = choice?.chosen === index;
    return {
      name: alternative.source.name ?? m.dec_local(),
      source: alternative.source.source === 'foreign' ? 'agent' : alternative.source.source,
      chosen,
      best: choice?.best === index,
      rank: verdict ? (chosen ? 1 : 2) : null,
      excluded_by: excluded,
      values: verdict?.criteria ?? [],
      normalised: verdict?.normalised ?? [],
      closeness: verdict?.closeness ?? null,
      gate: verdict?.gate ?? null,
      odds: null,
      cost_micro_usd: offered?.cost ?? null,
      checking_micro_usd: offered?.checking ?? null,
      expected_micro_usd: verdict ? verdict.expected_usd * 1e6 : null,
      cautious_micro_usd: verdict ? verdict.cautious_usd * 1e6 : null,
      estimated_ms: offered?.estimated_ms ?? null,
      measured: offered?.cost_measured ?? false,
      why: chosen ? m.dec_would_be_chosen() : (refusal?.problem?.message ?? (excluded ? (EXCLUDED[excluded]?.() ?? excluded) : verdict ? GATE[verdict.gate]() : '')),
      note: null,
    };
  });
  const criteria = CRITERIA.map(([name, unit, direction], index): DecisionCriterion => ({ name, unit, direction, weight: value.weights[index] ?? 0, stated_weight: value.weights[index] ?? 0 }));
  return { criteria, rows };
}
