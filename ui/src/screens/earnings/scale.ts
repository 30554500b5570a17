/** A round number of micro-dollars at or above `largest`, and the ticks up to it: 1, 2 or 5 times a power of ten apart. */
export function ticks(largest: number, about = 3): number[] {
  if (largest <= 0) return [0];
  const rough = Math.max(1, largest / about);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
  const list: number[] = [];
  for (let value = 0; value < largest + step; value += step) list.push(value);
  return list;
}
