import type { BreakevenAnswer, CostLine } from '$lib/api/types';
import { ticks } from '$lib/chart/scale';

/** USD a day at a volume. What the cards cannot do is bought. */
export function costAt(line: CostLine, tokens: number, apiUsdPerMillion: number): number {
  const own = Math.min(tokens, line.until_tokens_per_day ?? Number.POSITIVE_INFINITY);
  return line.usd_per_day + (line.usd_per_million * own + apiUsdPerMillion * (tokens - own)) / 1e6;
}

/** Owning and buying at a volume, each with its band. */
export type Reading = { tokens: number; own: number; ownLow: number; ownHigh: number; buy: number; buyLow: number; buyHigh: number };

export function read(answer: BreakevenAnswer, tokens: number): Reading {
  const { own, buy } = answer;
  const api = buy.stated.usd_per_million;
  const at = (line: CostLine) => costAt(line, tokens, api);
  return {
    tokens,
    own: at(own.stated),
    ownLow: at(own.low),
    ownHigh: at(own.high),
    buy: at(buy.stated),
    buyLow: at(buy.low),
    buyHigh: at(buy.high),
  };
}

/** Where owning becomes cheaper, when the cards can do as much. */
export const crossingOf = (answer: BreakevenAnswer): number | null =>
  answer.output.breakeven.reachable ? answer.output.breakeven.tokens_per_day : null;

/** Volumes that the picture must show, and a round end. */
export function axis(answer: BreakevenAnswer, volume: number): number[] {
  const crossing = crossingOf(answer);
  const worst = answer.at_worst.reachable ? (answer.at_worst.tokens_per_day ?? 0) : 0;
  const capacity = answer.capacity_tokens_per_day;
  const wanted =
    crossing === null
      ? Math.max(volume * 1.1, capacity * 1.1)
      : Math.max(volume * 1.1, crossing * 1.6, Math.min(worst, crossing * 4) * 1.1);
  return ticks(wanted, 4);
}

/** The stops of the arrow keys: a hundred even ones, the crossing and the volume. */
export function stops(answer: BreakevenAnswer, volume: number): number[] {
  const end = axis(answer, volume).at(-1) ?? 0;
  const even = Array.from({ length: 101 }, (_, index) => (end * index) / 100);
  const crossing = crossingOf(answer);
  const all = [...even, volume, ...(crossing === null ? [] : [crossing])].filter((tokens) => tokens <= end);
  return [...new Set(all)].sort((a, b) => a - b);
}

/** The corners of a line in the picture: its ends, and where the cards can do no more. */
export function corners(answer: BreakevenAnswer, line: CostLine, end: number): [number, number][] {
  const kink = line.until_tokens_per_day;
  const at = [0, ...(kink !== null && kink < end ? [kink] : []), end];
  return at.map((tokens) => [tokens, costAt(line, tokens, answer.buy.stated.usd_per_million)]);
}

/** Where a label stands, in pixels, and which of its ends is there. */
export type Label = { x: number; anchor: 'start' | 'end' };

/** What a letter of a label takes of the width, about. */
const LETTER_PX = 6.8;

/** A label beside a vertical line: on its right where it fits, else on its left, else over it at the picture's end. */
export function beside(place: number, text: string, width: number): Label {
  const room = text.length * LETTER_PX + 8;
  if (place + room <= width) return { x: place + 8, anchor: 'start' };
  return { x: place >= room ? place - 8 : width, anchor: 'end' };
}

/** A label beside a line, on the side where the other lines leave more room; on its right where that is enough. */
export function between(place: number, lines: readonly number[], enough = 140): Label {
  const before = place - Math.max(...lines.filter((line) => line <= place));
  const after = Math.min(...lines.filter((line) => line > place)) - place;
  return after >= enough || after >= before ? { x: place + 8, anchor: 'start' } : { x: place - 8, anchor: 'end' };
}

/** Two heights, moved so far that they are at least `least` apart. */
export function apart(one: number, other: number, least: number): [number, number] {
  const move = Math.max(0, least - Math.abs(one - other)) / 2;
  return one > other ? [one + move, other - move] : [one - move, other + move];
}
