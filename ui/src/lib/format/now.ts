import { createSubscriber } from 'svelte/reactivity';

/** Ages need no finer step than this; the list re-renders only where text changes. */
const STEP_MS = 5_000;

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, STEP_MS);
  return () => clearInterval(timer);
});

/** Milliseconds since 1970; what reads it is drawn again as time passes. */
export function now(): number {
  subscribe();
  return Date.now();
}
