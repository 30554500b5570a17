import { onDestroy } from 'svelte';
import {
  keepWatching,
  toProblem,
  transport,
  type Input,
  type Name,
  type Output,
  type Problem,
  type Watch,
  type WatchName,
} from '../transport';

/** Asks the node something. */
export const ask = <N extends Name<'query'>>(name: N, input: Input<N>): Promise<Output<N>> =>
  transport.call(name, input);

/** Tells the node to do something; each call is one intent with a key of its own. */
export const tell = <N extends Name<'command'>>(name: N, input: Input<N>): Promise<Output<N>> =>
  transport.call(name, input, crypto.randomUUID());

/** Questions that did not reach the node. */
const unheard = new Set<() => void>();

/** Asks them again: the node is back. */
export function askAgain(): void {
  const questions = [...unheard];
  unheard.clear();
  for (const question of questions) question();
}

/** An answer that a screen shows, with its loading and its error. */
export class Answer<N extends Name<'query'>> {
  data = $state.raw<Output<N> | null>(null);
  problem = $state.raw<Problem | null>(null);
  loading = $state(false);
  #turn = 0;

  constructor(readonly name: N) {}

  /** Asks; only the newest question's answer is kept. */
  async load(input: Input<N>): Promise<void> {
    const turn = ++this.#turn;
    this.loading = true;
    try {
      const data = await ask(this.name, input);
      if (turn === this.#turn) {
        this.data = data;
        this.problem = null;
      }
    } catch (cause) {
      if (turn !== this.#turn) return;
      this.problem = toProblem(cause);
      if (this.problem.code === 'unreachable') unheard.add(() => turn === this.#turn && void this.load(input));
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }
}

/** A command that a control gives: whether it is under way, and what went wrong. */
export class Action<N extends Name<'command'>> {
  running = $state(false);
  problem = $state.raw<Problem | null>(null);

  constructor(readonly name: N) {}

  /** The output, or null after a problem. A second press while the first is under way does nothing. */
  async run(input: Input<N>): Promise<Output<N> | null> {
    if (this.running) return null;
    this.running = true;
    this.problem = null;
    try {
      return await tell(this.name, input);
    } catch (cause) {
      this.problem = toProblem(cause);
      return null;
    } finally {
      this.running = false;
    }
  }
}

/** A live snapshot. After a loss the last one stays, with `problem` set. */
export class Live<N extends WatchName> {
  data = $state.raw<Output<N> | null>(null);
  problem = $state.raw<Problem | null>(null);
  /** When the last snapshot came, milliseconds since 1970. */
  at = $state(0);
  #watch: Watch;

  constructor(readonly name: N) {
    this.#watch = this.#open();
  }

  #open(): Watch {
    return keepWatching(transport, this.name, {
      data: (snapshot) => {
        this.data = snapshot;
        this.problem = null;
        this.at = Date.now();
      },
      lost: (problem) => {
        this.problem = problem;
      },
    });
  }

  retry(): void {
    this.#watch.retryNow();
  }

  stop(): void {
    this.#watch.stop();
  }

  /** Opens again after a stop. */
  resume(): void {
    this.#watch.stop();
    this.#watch = this.#open();
  }
}

/** A live snapshot for as long as the component that calls this lives. */
export function live<N extends WatchName>(name: N): Live<N> {
  const watched = new Live(name);
  onDestroy(() => watched.stop());
  return watched;
}
