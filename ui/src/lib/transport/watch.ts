import type { Output, Stop, Transport, Watcher, WatchName } from './transport';

/** First pause before another attempt; doubled each time up to `LONGEST_PAUSE_MS`: a node restarts in seconds. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

export type Watch = { stop: Stop; retryNow(): void };

/** Keeps a subscription open: opens it again with growing pauses until stopped. */
export function keepWatching<N extends WatchName>(
  transport: Transport,
  name: N,
  watcher: Watcher<Output<N>>,
): Watch {
  let pause = FIRST_PAUSE_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let close: Stop | undefined;
  let stopped = false;

  function open() {
    timer = undefined;
    close = transport.open(
      name,
      (snapshot) => {
        if (stopped) return;
        pause = FIRST_PAUSE_MS;
        watcher.data(snapshot);
      },
      (problem) => {
        close = undefined;
        if (stopped) return;
        timer = setTimeout(open, pause);
        watcher.lost(problem, pause);
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      },
    );
  }
  open();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      close?.();
    },
    retryNow() {
      if (timer === undefined || stopped) return;
      clearTimeout(timer);
      open();
    },
  };
}
