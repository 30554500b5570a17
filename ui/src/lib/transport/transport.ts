import type { Operations } from '../api/types';
import type { Problem } from './problem';

export type Name<K extends Operations[keyof Operations]['kind']> = {
  [N in keyof Operations]: Operations[N]['kind'] extends K ? N : never;
}[keyof Operations];

export type CallName = Name<'query' | 'command'>;
export type WatchName = Name<'subscription'>;
export type Input<N extends keyof Operations> = Operations[N]['input'];
export type Output<N extends keyof Operations> = Operations[N]['output'];

/** What a subscription tells its reader. */
export type Watcher<T> = {
  /** A whole snapshot. */
  data(snapshot: T): void;
  /** The stream broke; another attempt follows after `retryInMs`. */
  lost(problem: Problem, retryInMs: number): void;
};

export type Stop = () => void;

/** The only thing that knows whether the node is reached by HTTP or through the desktop shell. */
export type Transport = {
  /** Throws a `Problem`. A `key` makes a command safe to repeat. */
  call<N extends CallName>(name: N, input: Input<N>, key?: string): Promise<Output<N>>;
  /** One stream. Ends by `stop`, or by calling `ended` once. */
  open<N extends WatchName>(
    name: N,
    data: (snapshot: Output<N>) => void,
    ended: (problem: Problem) => void,
  ): Stop;
};
