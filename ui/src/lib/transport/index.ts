import { httpTransport, takeToken } from './http';
import { tauriShell, type Shell } from './shell';
import { tauriTransport } from './tauri';
import type { Transport } from './transport';

const inTheApp = '__TAURI_INTERNALS__' in window;

/** The shell answers the same calls as the local API; which one it is, is decided here and nowhere else. */
export const transport: Transport = inTheApp
  ? tauriTransport()
  : httpTransport(takeToken(window.location, window.history, window.sessionStorage), window.fetch.bind(window));

/** The desktop app around this page; null in a browser. */
export const shell: Shell | null = inTheApp ? tauriShell : null;

export { Problem, toProblem } from './problem';
export type { Shell } from './shell';
export { keepWatching, type Watch } from './watch';
export type { CallName, Input, Name, Output, WatchName } from './transport';
