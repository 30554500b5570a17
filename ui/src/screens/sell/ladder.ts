import type { PriceRate, PriceRow, Why } from '$lib/api/types';

type Kind = PriceRow['kind'];

/** Units for which a price is told to people: a million tokens, 10¹² operations, a billion elements or steps. */
export const QUOTED: Record<Kind, number> = { generate: 1e6, embed: 1e6, gemm: 1e12, kernel: 1e9, wgsl: 1e9 };

/** What a unit costs here, in dollars for the quoted units. */
export type Floor = { energy: number; wear: number; opportunity: number; total: number };

/** Largest price that a list takes for its units, in micro-dollars (`MAX_RATE_MICRO_USD`). */
const MAX_RATE = 10_000_000;
/** Digits that a price keeps: its micro-dollars are at least so many. */
const LEAST_RATE = 1_000;
const MAX_UNITS = 1e15;

/** A rate in dollars for the quoted units of its kind. */
export const quoted = (kind: Kind, rate: PriceRate): number => ((rate.micro_usd / rate.per_units) * QUOTED[kind]) / 1e6;

/** Dollars for the quoted units as a rate: whole micro-dollars, to three digits where as many units can be counted. */
export function asRate(kind: Kind, usd: number): PriceRate {
  let micro = usd * 1e6;
  let units = QUOTED[kind];
  if (micro === 0) return { micro_usd: 0, per_units: units };
  while (micro > MAX_RATE && units > 1) {
    micro /= 10;
    units /= 10;
  }
  while (micro < LEAST_RATE && !nearlyWhole(micro) && units < MAX_UNITS) {
    micro *= 10;
    units *= 10;
  }
  return { micro_usd: Math.round(micro), per_units: units };
}

const nearlyWhole = (value: number): boolean => value >= 1 && Math.abs(value - Math.round(value)) < value * 1e-9;

/** Explanations in what the node sends untyped. */
export const whysOf = (list: unknown[]): Why[] => list.filter((item): item is Why => typeof item === 'object' && item !== null && 'formula' in item && 'inputs' in item);

/** The floor and its three pieces; null where it is not known. */
export function floorOf(row: PriceRow): Floor | null {
  if (!row.suggested) return null;
  const inputs = whysOf(row.suggested.why)[0]?.inputs ?? [];
  const input = (name: string) => inputs.find((term) => term.name === name)?.value ?? 0;
  const speed = input('speed');
  const piece = (name: string) => (speed > 0 ? (input(name) / 3600 / speed) * QUOTED[row.kind] : 0);
  const total = (row.suggested.floor_micro_usd_per_unit * QUOTED[row.kind]) / 1e6;
  return { energy: piece('energy'), wear: piece('wear'), opportunity: piece('opportunity'), total };
}

/** What each sale at a price falls short of the floor; null where it does not. */
export const shortOf = (price: number, floor: Floor): number | null => (price < floor.total * (1 - 1e-9) ? floor.total - price : null);

/** What the cheapest attached cloud asks, dollars for the quoted units; null where none is attached. */
export function capOf(row: PriceRow): number | null {
  const cap = whysOf(row.suggested?.why ?? [])[0]?.inputs.find((term) => term.name === 'cap');
  return cap ? (cap.value * QUOTED[row.kind]) / 1e6 : null;
}

/** Step of the handle: 1, 2 or 5 times a power of ten, about 200 of them along the axis. */
export function stepOf(end: number): number {
  const rough = end / 200;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? 10 * power;
}

/** A price on a step, free of binary dust. */
export const onStep = (usd: number, step: number): number => Number((Math.round(usd / step) * step).toPrecision(12));
