/** Speed is taken from so much of the past: long enough to be steady, short enough to follow a change. */
const WINDOW_MS = 10_000;
/** Nothing is said before so much time has been seen. */
const LEAST_MS = 1_000;

/**
 * Time until something that grows is whole, from how it grew lately. Each call notes how much is done; the answer is
 * milliseconds, or null while nothing can be said.
 */
export function remaining(): (done: number, total: number, now: number) => number | null {
  let seen: { done: number; at: number }[] = [];
  return (done, total, now) => {
    // Less than before: it was begun anew.
    if (done < (seen.at(-1)?.done ?? 0)) seen = [];
    if (done !== seen.at(-1)?.done) seen.push({ done, at: now });
    while (seen.length > 2 && now - (seen[1]?.at ?? now) > WINDOW_MS) seen.shift();
    const first = seen[0];
    if (!first || now - first.at < LEAST_MS || done <= first.done || done >= total) return null;
    return ((total - done) * (now - first.at)) / (done - first.done);
  };
}
