/** This near the end the reader still follows: a line of text. */
const NEAR_PX = 24;

/** Whether what scrolls shows its end, so that more text may move it. */
export const atEnd = (box: { scrollHeight: number; scrollTop: number; clientHeight: number }): boolean =>
  box.scrollHeight - box.scrollTop - box.clientHeight <= NEAR_PX;
