import { httpTransport, takeToken } from './http';
import { tauriTransport } from './tauri';
import type { Transport } from './transport';

/** The shell answers the same calls as the local API; which one it is, is decided here and nowhere else. */
export const transport: Transport =
  '__TAURI_INTERNALS__' in window
    ? tauriTransport()
    : httpTransport(takeToken(window.location, window.history, window.sessionStorage), window.fetch.bind(window));

export { Problem, toProblem } from './problem';
export { keepWatching, type Watch } from './watch';
export type { CallName, Input, Name, Output, WatchName } from './transport';
