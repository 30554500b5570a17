/** How far a key moves the cursor of a chart, in stops. */
export type Steps = Record<string, number>;
export const ALONG: Steps = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * Where a key takes the cursor among `count` stops; null where it has nothing to do with the chart. The first key that
 * steps shows `begin`. An arrow does not leave the chart; a page that would ends at its last stop.
 */
export function moved(key: string, cursor: number | null, count: number, begin: number, steps: Steps = ALONG): number | null {
  if (count === 0) return null;
  const last = count - 1;
  if (key === 'Home') return 0;
  if (key === 'End') return last;
  const step = steps[key];
  if (step === undefined) return null;
  if (cursor === null) return begin;
  const to = cursor + step;
  if (key.startsWith('Arrow') && (to < 0 || to > last)) return Math.min(cursor, last);
  return Math.max(0, Math.min(last, to));
}
