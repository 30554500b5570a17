import type { EarningsDay } from '$lib/api/types';

/** Several days together. A part is null when it is not known of a day on which something was sold. */
export type Sum = {
  gross: number;
  spent: number;
  electricity: number | null;
  wear: number | null;
  net: number | null;
  predicted: number | null;
  /** Whether a sensor measured the draw behind all of the electricity. */
  measured: boolean;
  /** Days on which something was sold and its costs are not known. */
  unknownDays: number;
};

const worked = (day: EarningsDay): boolean => day.jobs_sold > 0 || day.earned_micro_usd > 0 || (day.electricity_micro_usd ?? 0) > 0;

export function sumOf(days: readonly EarningsDay[]): Sum {
  const busy = days.filter(worked);
  const total = (part: (day: EarningsDay) => number | null): number | null =>
    busy.reduce<number | null>((sum, day) => {
      const value = part(day);
      return sum === null || value === null ? null : sum + value;
    }, 0);
  return {
    gross: days.reduce((sum, day) => sum + day.earned_micro_usd, 0),
    spent: days.reduce((sum, day) => sum + day.spent_micro_usd, 0),
    electricity: total((day) => day.electricity_micro_usd),
    wear: total((day) => day.wear_micro_usd),
    net: total((day) => day.net_micro_usd),
    predicted: total((day) => day.predicted_micro_usd),
    measured: busy.every((day) => day.measured),
    unknownDays: busy.filter((day) => day.net_micro_usd === null).length,
  };
}

/** A stretch of a column, from one amount to another, micro-dollars. */
export type Layer = { from: number; to: number };

/** What is taken out of the gross of a day, from its top down, and what is left; null where the costs are not known. */
export function layersOf(day: EarningsDay): { electricity: Layer; wear: Layer; net: number } | null {
  const { earned_micro_usd: gross, electricity_micro_usd: electricity, wear_micro_usd: wear } = day;
  if (electricity === null || wear === null) return null;
  return { electricity: { from: gross, to: gross - electricity }, wear: { from: gross - electricity, to: gross - electricity - wear }, net: gross - electricity - wear };
}

/** The highest and the lowest amount that the picture must show; zero is always among them. */
export function extentOf(days: readonly EarningsDay[]): { high: number; low: number } {
  const all = days.flatMap((day) => [day.earned_micro_usd, layersOf(day)?.net ?? 0, worked(day) ? (day.predicted_micro_usd ?? 0) : 0]);
  return { high: Math.max(0, ...all), low: Math.min(0, ...all) };
}

/** How strong an hour of the week is shown, 0 to 1; an hour with anything is never as pale as one with nothing. */
export const strength = (earned: number, most: number): number => (earned <= 0 || most <= 0 ? 0 : 0.15 + 0.85 * (earned / most));
