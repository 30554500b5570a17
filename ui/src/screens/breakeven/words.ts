import type { BreakevenAnswer, Choice, UsageAnswer } from '$lib/api/types';
import { roundUsd, usd, volume as volumeWords, volumeRange } from '$lib/format/usd';
import { m } from '$lib/paraglide/messages.js';
import { crossingOf, read } from './crossing';

/** The name of an alternative. */
export function choiceWords(choice: Choice): string {
  if (choice.choice === 'api') return m.be_choice_api();
  if (choice.choice === 'rent') return m.be_choice_rent();
  return m.be_choice_buy({ count: choice.cards ?? 1 });
}

/** From where to where the break-even may lie; empty when it has no lower end. */
export function intervalWords(answer: BreakevenAnswer): string {
  const low = answer.at_best.reachable ? answer.at_best.tokens_per_day : null;
  const high = answer.at_worst.reachable ? answer.at_worst.tokens_per_day : null;
  if (low === null) return '';
  return high === null ? m.be_interval_open({ low: volumeWords(low) }) : volumeRange(low, high);
}

/** The key number. */
export function keyWords(answer: BreakevenAnswer): string {
  const crossing = crossingOf(answer);
  if (crossing !== null) return m.be_key({ tokens: volumeWords(crossing) });
  return answer.output.breakeven.tokens_per_day === null ? m.be_key_never() : m.be_key_unreachable();
}

/** Why there is no break-even; empty when there is one. */
export function noneWords(answer: BreakevenAnswer): string {
  const { breakeven } = answer.output;
  if (breakeven.reachable) return '';
  const api = usd(answer.buy.stated.usd_per_million);
  if (breakeven.tokens_per_day === null) return m.be_none_marginal({ own: usd(answer.own.stated.usd_per_million), api });
  return m.be_none_capacity({ tokens: volumeWords(breakeven.tokens_per_day), capacity: volumeWords(answer.capacity_tokens_per_day) });
}

/** Cents carry the meaning from ten of them on. */
const cents = (value: number) => usd(value >= 0.1 ? Math.round(value * 100) / 100 : value);

/** Which is cheaper at a volume, by how much, and whether the bands leave that open. */
export function verdictWords(answer: BreakevenAnswer, volume: number): string {
  const cost = read(answer, volume);
  const difference = cost.buy - cost.own;
  const amounts = { day: cents(Math.abs(difference)), year: cents(Math.abs(difference) * 365), volume: volumeWords(volume) };
  const verdict = difference > 0 ? m.be_verdict_own(amounts) : m.be_verdict_buy(amounts);
  const open = difference > 0 ? cost.ownHigh > cost.buyLow : cost.ownLow < cost.buyHigh;
  return open ? `${verdict} ${m.be_verdict_open()}` : verdict;
}

/** What the whole answer rests on: that the one model may do what the other does. */
export function standInWords(model: string, replaced: readonly string[]): string {
  const values = { model: model.trim() || m.be_card_model_unnamed(), api: replaced.length === 0 ? m.be_api_model_unnamed() : listed(replaced) };
  return m.be_stand_in_if(values);
}
const listed = (names: readonly string[]) => new Intl.ListFormat(undefined, { type: 'conjunction' }).format(names);

/** What the bill says to do, and what that saves in a year. */
export function adviceWords({ comparison }: UsageAnswer): string {
  const advised = comparison.alternatives.find((row) => choiceWords(row) === choiceWords(comparison.recommended));
  if (!advised || advised.choice === 'api') return m.be_advice_api();
  const values = { choice: choiceWords(advised), saved: roundUsd(advised.saves_usd_per_year) };
  const { saves_interval } = advised;
  if (saves_interval === null) return m.be_advice_saves({ ...values, interval: m.be_interval_unknown() });
  return m.be_advice_saves({ ...values, interval: m.be_range({ low: roundUsd(saves_interval.low), high: roundUsd(saves_interval.high) }) });
}
