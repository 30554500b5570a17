import type { PriceRate, PriceRow, Why } from '$lib/api/types';
import { figure, usd } from '$lib/format/usd';
import { m } from '$lib/paraglide/messages.js';

/** So many units make a sum that people can read; the node states prices for as many as it likes. */
const READABLE: Record<PriceRow['kind'], { units: number; per: () => string }> = {
  generate: { units: 1e6, per: m.per_million_tokens },
  embed: { units: 1e6, per: m.per_million_tokens },
  gemm: { units: 1e12, per: m.per_trillion_operations },
  kernel: { units: 1e9, per: m.per_billion_elements },
  wgsl: { units: 1e9, per: m.per_billion_steps },
};

/** For how many units a price of this kind is told: `per million tokens`. */
export const perWords = (kind: PriceRow['kind']): string => READABLE[kind].per();

/** Micro-dollars for one unit, told for that many. */
export const unitPrice = (kind: PriceRow['kind'], microUsdPerUnit: number): string => usd((microUsdPerUnit * READABLE[kind].units) / 1e6);

/** A price as it is asked, told for that many. */
export const price = (kind: PriceRow['kind'], rate: PriceRate): string => unitPrice(kind, rate.micro_usd / Math.max(1, rate.per_units));

/** The same with its units: `$0.08 per million tokens`. */
export const priceWords = (kind: PriceRow['kind'], rate: PriceRate): string => `${price(kind, rate)} ${perWords(kind)}`;

/** How fast a kind of work goes, as people say it. */
const SPEED: Record<PriceRow['kind'], { per: number; words: (values: { speed: string }) => string }> = {
  generate: { per: 1, words: m.speed_tokens },
  embed: { per: 1, words: m.speed_tokens },
  gemm: { per: 1e9, words: m.speed_gflop },
  kernel: { per: 1e6, words: m.speed_elements },
  wgsl: { per: 1e6, words: m.speed_steps },
};

/** Units a second as people read them: `24 tokens/s`, `310 GFLOP/s`. */
export const speedWords = (kind: PriceRow['kind'], unitsPerSecond: number): string =>
  SPEED[kind].words({ speed: figure(Number((unitsPerSecond / SPEED[kind].per).toPrecision(3))) });

/** What an hour of work costs, piece by piece, USD. */
export type Floor = { energy: number; wear: number; opportunity: number; measured: boolean };

/** Reads the pieces of the floor out of the reasons for a suggestion; null when they are not told. */
export function floorOf(whys: readonly unknown[]): Floor | null {
  const terms = (whys as Why[]).flatMap((why) => why.inputs ?? []);
  const piece = (name: string) => terms.find((term) => term.name === name && term.unit === 'USD/h');
  const [energy, wear, opportunity] = [piece('energy'), piece('wear'), piece('opportunity')];
  if (!energy || !wear || !opportunity) return null;
  const measured = [energy, wear].every((term) => term.origin === 'measured' || term.origin === 'stated' || term.origin === 'computed');
  return { energy: energy.value, wear: wear.value, opportunity: opportunity.value, measured };
}
