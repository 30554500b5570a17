/**
 * Runs `task` at each call, one at a time. Calls that come while it runs are answered by one more run after it: a
 * stream of news that comes faster than the answers still shows every answer.
 */
export function oneAtATime(task: () => Promise<void>): () => void {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await task();
      } while (again);
    } finally {
      running = false;
    }
  };
}
