import { describe, expect, test, vi } from 'vitest';
import { httpTransport, takeToken } from './http';
import { Problem, toProblem } from './problem';

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });

describe('token', () => {
  test('leaves the address and stays for the tab', () => {
    const kept = new Map<string, string>();
    const storage = { setItem: (k: string, v: string) => kept.set(k, v), getItem: (k: string) => kept.get(k) ?? null };
    const replaced: string[] = [];
    const history = { replaceState: (_: unknown, __: string, url: string) => replaced.push(url) };
    const at = (hash: string) =>
      takeToken({ hash, pathname: '/', search: '' } as Location, history as unknown as History, storage as unknown as Storage);
    expect(at('#token=abc')).toBe('abc');
    expect(replaced).toEqual(['/#/']);
    expect(at('#/jobs')).toBe('abc');
    expect(replaced).toHaveLength(1);
  });
});

describe('calls', () => {
  test('post JSON with the token, and a key for commands only', async () => {
    const fetch = vi.fn<typeof globalThis.fetch>(async () => json({ peers: [] }));
    const transport = httpTransport('abc', fetch);
    expect(await transport.call('peers', {})).toEqual({ peers: [] });
    await transport.call('sell', { on: true }, 'key-1');
    const [[url, query], [, command]] = fetch.mock.calls as [[string, RequestInit], [string, RequestInit]];
    expect(url).toBe('/api/peers');
    expect(query.method).toBe('POST');
    expect(query.headers).toEqual({ authorization: 'Bearer abc', 'content-type': 'application/json' });
    expect(command.body).toBe('{"on":true}');
    expect(command.headers).toMatchObject({ 'idempotency-key': 'key-1' });
  });

  test('an error keeps code, message and hint', async () => {
    const transport = httpTransport('abc', async () => json({ code: 'over_limit', message: 'the cap is reached', hint: 'raise it' }, 402));
    const problem = await transport.call('overview', {}).catch((cause: unknown) => cause);
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({ code: 'over_limit', message: 'the cap is reached', hint: 'raise it', unreachable: false });
  });

  test('an error that is no JSON is told as it is', async () => {
    const transport = httpTransport('abc', async () => new Response('gone wrong', { status: 502, statusText: 'Bad Gateway' }));
    await expect(transport.call('overview', {})).rejects.toMatchObject({ code: 'unexpected', message: '502 Bad Gateway', hint: 'gone wrong' });
  });

  test('a query that nobody answers is unreachable at once', async () => {
    const fetch = vi.fn(async () => Promise.reject(new TypeError('Failed to fetch')));
    await expect(httpTransport('abc', fetch).call('overview', {})).rejects.toMatchObject({ code: 'unreachable', unreachable: true });
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  test('a command that nobody answered goes out once more under the same key', async () => {
    const keys: (string | undefined)[] = [];
    const fetch = vi.fn(async (_: unknown, init?: RequestInit) => {
      keys.push((init?.headers as Record<string, string>)['idempotency-key']);
      if (keys.length === 1) throw new TypeError('Failed to fetch');
      return json({});
    });
    await httpTransport('abc', fetch as typeof globalThis.fetch).call('sell', { on: true }, 'key-2');
    expect(keys).toEqual(['key-2', 'key-2']);
  });

  test('anything thrown becomes a problem', () => {
    expect(toProblem({ code: 'invalid', message: 'no', hint: '' })).toMatchObject({ code: 'invalid' });
    expect(toProblem(new Error('x'))).toMatchObject({ code: 'unexpected', message: 'x' });
    expect(toProblem('y')).toMatchObject({ message: 'y' });
  });
});

describe('streams', () => {
  const streamOf = (...pieces: string[]) =>
    new Response(
      new ReadableStream({
        start(controller) {
          for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
          controller.close();
        },
      }),
    );

  test('hand over snapshots cut anywhere, even inside a character, then say that they ended', async () => {
    const bytes = new TextEncoder().encode('id: 1\ndata: {"name":"Zoë"}\n\n');
    const cut = bytes.indexOf(0xc3) + 1;
    const response = new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(bytes.slice(0, cut));
          controller.enqueue(bytes.slice(cut));
          controller.close();
        },
      }),
    );
    const seen: unknown[] = [];
    const problem = await new Promise<Problem>((ended) => {
      httpTransport('abc', async () => response).open('watch_overview', (data) => seen.push(data), ended);
    });
    expect(seen).toEqual([{ name: 'Zoë' }]);
    expect(problem.unreachable).toBe(true);
  });

  test('a refusal is told with its code', async () => {
    const problem = await new Promise<Problem>((ended) => {
      httpTransport(null, async () => json({ code: 'unauthenticated', message: 'no token', hint: '' }, 401)).open('watch_jobs', () => undefined, ended);
    });
    expect(problem.code).toBe('unauthenticated');
  });

  test('what is stopped says nothing more', async () => {
    const ended = vi.fn();
    const stop = httpTransport('abc', async (_, init) => {
      await new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError'))));
      return streamOf();
    }).open('watch_jobs', () => undefined, ended);
    stop();
    await new Promise((done) => setTimeout(done, 10));
    expect(ended).not.toHaveBeenCalled();
  });
});
