/** A round number at or above `largest`, and the ticks up to it from zero: 1, 2 or 5 times a power of ten apart. */
export function ticks(largest: number, about = 3): number[] {
  if (largest <= 0) return [0];
  const rough = Math.max(1, largest / about);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
  const list: number[] = [];
  for (let value = 0; value < largest + step; value += step) list.push(value);
  return list;
}

/** Ticks through zero from at or below `low` to at or above `high`, as far apart on both sides; `low` is at most zero. */
export function ticksAround(low: number, high: number): number[] {
  const all = ticks(Math.max(high, -low));
  const step = all[1] ?? 1;
  const upTo = (end: number) => (end > 0 ? all.filter((tick) => tick < end + step) : [0]);
  return [...upTo(-low).slice(1).reverse().map((tick) => -tick), ...upTo(high)];
}

/** The straight line that takes `from` to `start` and `to` to `end`: values of a chart to its pixels. */
export const linear =
  ([from, to]: readonly [number, number], [start, end]: readonly [number, number]) =>
  (value: number): number =>
    start + ((value - from) / (to - from || 1)) * (end - start);

/** `count` columns side by side, from `left` to `width`, in pixels. */
export function columns(count: number, left: number, width: number) {
  const slot = (width - left) / Math.max(1, count);
  return {
    slot,
    /** The middle of a column. */
    middle: (index: number) => left + slot * (index + 0.5),
    /** The column below a place, the nearest one beside the chart. */
    at: (place: number) => Math.max(0, Math.min(count - 1, Math.floor((place - left) / slot))),
    /** Of how many columns one can have a label of this width. */
    every: (label: number) => Math.max(1, Math.ceil(label / slot)),
  };
}
