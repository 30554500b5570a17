import { invoke } from '@tauri-apps/api/core';
import { toProblem } from './problem';

/** What only the desktop app can be asked: it is about the app and the node's process, not about the node. */
export type Shell = {
  /** Whether Tender starts with the session; null where that cannot be switched. Throws a `Problem`. */
  autostart(): Promise<boolean | null>;
  /** Switches it and answers what holds now. Throws a `Problem`. */
  setAutostart(on: boolean): Promise<boolean | null>;
  /** When a node was started in place of one that died, milliseconds since 1970. Throws a `Problem`. */
  restartedAt(): Promise<number | null>;
  /** Starts the node, also one that died too often. Throws a `Problem`. */
  startNode(): Promise<void>;
};

async function call<T>(command: string, input: Record<string, unknown> = {}): Promise<T> {
  try {
    return await invoke<T>(command, input);
  } catch (cause) {
    throw toProblem(cause);
  }
}

export const tauriShell: Shell = {
  autostart: () => call('autostart'),
  setAutostart: (on) => call('set_autostart', { on }),
  restartedAt: async () => (await call<{ restarted_at_ms: number | null }>('node_health')).restarted_at_ms,
  startNode: () => call('start_node'),
};
