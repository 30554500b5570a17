import { Channel, invoke } from '@tauri-apps/api/core';
import type { ApiProblem } from '../api/types';
import { toProblem } from './problem';
import type { Transport } from './transport';

type Message = { event: { number: number; value: unknown } } | { ended: ApiProblem };

/** The node's local API through the desktop shell's relay. */
export function tauriTransport(): Transport {
  return {
    async call(name, input, key) {
      try {
        return await invoke('rpc', { name, input, key: key ?? null });
      } catch (cause) {
        throw toProblem(cause);
      }
    },

    open(name, data, ended) {
      let stopped = false;
      const channel = new Channel<Message>();
      channel.onmessage = (message) => {
        if (stopped) return;
        if ('event' in message) {
          data(message.event.value as Parameters<typeof data>[0]);
        } else {
          stopped = true;
          ended(toProblem(message.ended));
        }
      };
      const opened = invoke<number>('subscribe', { name, after: 0, channel });
      opened.catch((cause: unknown) => {
        if (stopped) return;
        stopped = true;
        ended(toProblem(cause));
      });
      return () => {
        stopped = true;
        opened.then((id) => invoke('unsubscribe', { id })).catch(() => undefined);
      };
    },
  };
}
