import { Problem, problemOf, toProblem } from './problem';
import { eventReader } from './sse';
import type { Transport } from './transport';

const TOKEN_KEY = 'tender.token';

/** Takes the token out of the address, so that it is neither shown nor bookmarked, and keeps it for this tab. */
export function takeToken(location: Location, history: History, storage: Storage): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) {
    storage.setItem(TOKEN_KEY, token);
    history.replaceState(null, '', `${location.pathname}${location.search}#/`);
  }
  return storage.getItem(TOKEN_KEY);
}

const unreachable = (cause: unknown) =>
  new Problem('unreachable', 'the node does not answer', cause instanceof Error ? cause.message : '');

/** The node's local API by HTTP. `fetch` is an argument so that tests can answer. */
export function httpTransport(token: string | null, fetch: typeof globalThis.fetch, base = '/api/'): Transport {
  const authorization: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

  async function post(name: string, input: unknown, key?: string): Promise<Response> {
    const headers: Record<string, string> = { ...authorization, 'content-type': 'application/json' };
    if (key) headers['idempotency-key'] = key;
    try {
      return await fetch(base + name, { method: 'POST', headers, body: JSON.stringify(input) });
    } catch (cause) {
      throw unreachable(cause);
    }
  }

  return {
    async call(name, input, key) {
      let response: Response;
      try {
        response = await post(name, input, key);
      } catch (problem) {
        // Nobody knows whether the first one arrived; the key makes the second one harmless.
        if (!key) throw problem;
        response = await post(name, input, key);
      }
      if (!response.ok) throw await problemOf(response);
      return response.json();
    },

    open(name, data, ended) {
      const abort = new AbortController();
      void (async () => {
        try {
          // Always from the start: every event is a whole snapshot, and a restarted node counts anew.
          const response = await fetch(`${base}${name}?after=0`, {
            headers: { ...authorization, accept: 'text/event-stream' },
            signal: abort.signal,
            cache: 'no-store',
          });
          if (!response.ok) throw await problemOf(response);
          if (!response.body) throw new Problem('unexpected', 'the subscription has no body');
          const read = eventReader();
          const reader = response.body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
          for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            const last = read(value).at(-1);
            // Who lags wants the newest only.
            if (last) data(JSON.parse(last.data));
          }
          throw new Problem('unreachable', 'the node ended the connection');
        } catch (cause) {
          if (abort.signal.aborted) return;
          ended(cause instanceof TypeError ? unreachable(cause) : toProblem(cause));
        }
      })();
      return () => abort.abort();
    },
  };
}
