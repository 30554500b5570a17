/** Rows that are drawn beyond what is seen, so that a quick scroll meets no blank. */
const OVER = 8;

/** Which of many rows of one height are drawn: from `first` to before `last`, with the room that the others take. */
export type Window = { first: number; last: number; above: number; below: number };

/** The rows seen through `height` pixels at `top`. */
export function rowsSeen(rows: number, rowHeight: number, top: number, height: number): Window {
  const seen = Math.ceil(height / rowHeight);
  // Scrolled further than there are rows, as after a filter: the last ones.
  const start = Math.min(Math.max(0, Math.floor(top / rowHeight)), Math.max(0, rows - seen));
  const first = Math.max(0, start - OVER);
  const last = Math.min(rows, start + seen + OVER);
  return { first, last, above: first * rowHeight, below: (rows - last) * rowHeight };
}
