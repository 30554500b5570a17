import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from '@playwright/test';
import type { RuntimeRow, Runtimes } from '../src/lib/api/types';
import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 390, height: 844 },
] as const;

// Every picture is looked at by axe, which takes seconds.
test.describe.configure({ timeout: 120_000 });

const MODEL = 'SmolLM2-135M-Instruct';

/** Answers as a vLLM does that has written one token; `ready` is waited for before that. */
async function standIn(ready: Promise<void>) {
  const answers: Record<string, unknown> = {
    '/health': {},
    '/v1/models': { data: [{ id: 'the-model', owned_by: 'vllm', max_model_len: 2048 }] },
    '/version': { version: '0.11.0' },
  };
  const events = [
    { choices: [{ text: 'Hi', token_ids: [1], finish_reason: null }] },
    { choices: [{ text: '', finish_reason: 'length' }] },
    { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } },
  ];
  async function answer(request: IncomingMessage, response: ServerResponse) {
    if (request.method === 'POST' && request.url === '/v1/completions') {
      await ready;
      response.setHeader('content-type', 'text/event-stream');
      response.end([...events.map((event) => JSON.stringify(event)), '[DONE]'].map((data) => `data: ${data}\n\n`).join(''));
      return;
    }
    const found = answers[request.url ?? ''];
    response.statusCode = found ? 200 : 404;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(found ?? {}));
  }
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function looks(app: Page, name: string, all: readonly (typeof LOOKS)[number][] = LOOKS) {
  for (const look of all) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'Runtimes' }).evaluate((title) => title.scrollIntoView({ block: 'start' }));
    await fits(app);
    await accessible(app);
    await picture(app, `${name}-${look.name}`);
  }
}

async function open(app: Page) {
  await visit(app, 'Settings');
  await app.getByRole('navigation', { name: 'Groups of settings' }).getByRole('link', { name: 'Runtimes' }).click();
  await expect(app.getByRole('heading', { level: 2, name: 'Runtimes' })).toBeFocused();
}

test('a runtime is tried, attached, and detached when asked for', async ({ app }) => {
  let finish = () => {};
  const runtime = await standIn(new Promise((done) => (finish = done)));
  try {
    await open(app);
    await expect(app.getByText('No runtime is attached')).toBeVisible();
    await picture(app, 'runtimes-empty');

    // What is missing is said at its field, and the first such field has the focus.
    await app.getByRole('button', { name: 'Attach a runtime' }).click();
    const dialog = app.getByRole('dialog', { name: 'Attach a runtime' });
    const name = dialog.getByLabel('Name', { exact: true });
    const address = dialog.getByLabel('Address');
    const attach = dialog.getByRole('button', { name: 'Attach' });
    await expect(address).toHaveValue('127.0.0.1:8080');
    await accessible(app);
    await picture(app, 'runtime-attach');
    await attach.click();
    await expect(name).toBeFocused();
    await expect(dialog.getByLabel('Model it serves')).toHaveAccessibleDescription(/Choose the model whose jobs it does\./);
    await accessible(app);
    await picture(app, 'runtime-attach-missing');
    await name.fill('vllm');
    await dialog.getByLabel('Model it serves').selectOption(MODEL);

    // What the node refuses stands in the form. Nothing listens on port 1.
    await address.fill('127.0.0.1:1');
    await attach.click();
    await expect(dialog.getByRole('alert')).toContainText('127.0.0.1:1');
    await expect(dialog.getByRole('alert')).toContainText('Nothing was attached.');
    await expect(dialog.getByRole('alert')).toBeInViewport({ ratio: 1 });
    await accessible(app);
    await picture(app, 'runtime-attach-refused');

    await address.fill(runtime.address);
    await expect(dialog.getByRole('alert')).toHaveCount(0);
    await dialog.getByLabel('Key, if it asks for one').fill('a-secret-of-this-test');
    await attach.click();
    await expect(dialog.getByRole('button', { name: 'Trying it out' })).toBeDisabled();
    await expect(dialog).toContainText('The runtime writes one token.');
    await accessible(app);
    await picture(app, 'runtime-attach-busy');
    finish();
    await expect(dialog).toHaveCount(0);

    const row = app.locator('[data-runtime="vllm"]');
    await expect(row).toHaveAttribute('data-state', 'connected');
    for (const fact of ['vLLM 0.11.0', 'the-model', 'context 2,048', '1 text at once', 'key kept', runtime.address, 'This machine', 'For sale', 'Connected', `Writes texts of ${MODEL}`]) {
      await expect(row).toContainText(fact);
    }
    await looks(app, 'runtimes', LOOKS.slice(0, 2));

    // The key does not come back to whoever opens the dialog again.
    await app.getByRole('button', { name: 'Attach a runtime' }).click();
    await expect(dialog.getByLabel('Key, if it asks for one')).toHaveValue('');
    await expect(dialog.getByLabel('Key, if it asks for one')).toHaveAttribute('type', 'password');
    await dialog.getByRole('button', { name: 'Cancel' }).click();

    await row.getByRole('button', { name: 'Detach vllm' }).click();
    const ask = app.getByRole('dialog', { name: 'Detach vllm?' });
    await expect(ask).toContainText('Its key is deleted from this machine, too.');
    await accessible(app);
    await picture(app, 'runtime-detach');
    await ask.getByRole('button', { name: 'Keep runtime' }).click();
    await expect(row).toBeVisible();
    await row.getByRole('button', { name: 'Detach vllm' }).click();
    await ask.getByRole('button', { name: 'Detach', exact: true }).click();
    await expect(row).toHaveCount(0);
    await expect(app.getByText('No runtime is attached')).toBeVisible();
  } finally {
    finish();
    runtime.close();
  }
});

test('a cloud has prices, a key and an encrypted address', async ({ app }) => {
  await open(app);
  await app.getByRole('button', { name: 'Attach a runtime' }).click();
  const dialog = app.getByRole('dialog', { name: 'Attach a runtime' });
  await dialog.getByRole('radio', { name: 'Cloud' }).check({ force: true });
  await expect(dialog.getByLabel('Texts it may write')).toHaveValue('');
  await expect(dialog.getByLabel('Address')).toHaveValue('');
  await dialog.getByLabel('Name', { exact: true }).fill('cloud');
  await dialog.getByLabel('Address').fill('http://cloud.invalid/v1');
  await dialog.getByLabel('Price of the prompt').fill('cheap');
  await dialog.getByLabel('Price of the text').fill('20000');
  await dialog.getByRole('button', { name: 'Attach' }).click();
  await expect(dialog.getByLabel('Address')).toHaveAccessibleDescription(/begins with https/);
  await expect(dialog.getByLabel('Its name for the model')).toHaveAccessibleDescription(/Write the provider’s name/);
  await expect(dialog.getByLabel('Price of the prompt')).toHaveAccessibleDescription(/Write an amount in dollars/);
  await expect(dialog.getByLabel('Price of the text')).toHaveAccessibleDescription(/at most 10000 dollars/);
  await accessible(app);
  await picture(app, 'runtime-cloud-errors');

  // No such host: what the node says stands in the form, and the key in no word of it.
  await dialog.getByLabel('Address').fill('https://cloud.invalid/v1');
  await dialog.getByLabel('Its name for the model').fill('large');
  await dialog.getByLabel('Key, if it asks for one').fill('a-secret-of-this-test');
  await dialog.getByLabel('Price of the prompt').fill('0.15');
  await dialog.getByLabel('Price of the text').fill('0.60');
  const sent = app.waitForRequest('**/api/attach_runtime');
  await dialog.getByRole('button', { name: 'Attach' }).click();
  expect((await sent).postDataJSON()).toMatchObject({ serves: null, prompt_micro_usd_per_million: 150_000, text_micro_usd_per_million: 600_000 });
  await expect(dialog.getByRole('alert')).toContainText('Nothing was attached.', { timeout: 30_000 });
  await expect(dialog).not.toContainText('a-secret-of-this-test');
  await accessible(app);
  for (const look of LOOKS.slice(1)) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await accessible(app);
    await dialog.getByRole('alert').scrollIntoViewIfNeeded();
    await picture(app, `runtime-cloud-refused-${look.name}`);
  }
});

test('clouds show their prices, and a runtime that is away says why', async ({ app }) => {
  const row = (more: Partial<RuntimeRow>): RuntimeRow => ({
    name: 'workstation',
    address: '127.0.0.1:8080',
    place: 'this_machine',
    state: 'connected',
    serves: MODEL,
    model: '/srv/models/SmolLM2-135M-Instruct-Q4_1-with-a-name-that-is-longer-than-its-column.gguf',
    engine: 'llama-server',
    build: 'b6123-0123abcd',
    quantisation: 'Q4_1',
    context_tokens: 8192,
    slots: 4,
    for_sale: true,
    about: `Writes texts of ${MODEL} for you and your clients. Its file is the model's own.`,
    has_key: false,
    prompt_micro_usd_per_million: null,
    text_micro_usd_per_million: null,
    problem: null,
    ...more,
  });
  const silent = { model: null, engine: null, build: null, quantisation: null, context_tokens: null, slots: null, for_sale: false };
  const runtimes: Runtimes = {
    runtimes: [
      row({}),
      row({
        name: 'cloud',
        address: 'https://inference.provider.example/openai/v1',
        place: 'cloud',
        serves: null,
        model: 'large-instruct',
        engine: 'OpenAI-compatible',
        build: null,
        quantisation: null,
        context_tokens: null,
        slots: 1,
        for_sale: false,
        about: 'Your own texts of any model are written there when that is cheapest. Nobody can check them.',
        has_key: true,
        prompt_micro_usd_per_million: 150_000,
        text_micro_usd_per_million: 12_345_678,
      }),
      row({
        ...silent,
        name: 'ollama',
        address: '127.0.0.1:11434',
        state: 'fault',
        about: `Attached for texts of ${MODEL}.`,
        problem: { code: 'unavailable', message: 'the runtime at http://127.0.0.1:11434 is not reachable: connection refused', hint: 'start it, and check the address' },
      }),
      row({ ...silent, name: 'vllm', address: '127.0.0.1:8000', state: 'connecting', about: `Attached for texts of ${MODEL}.` }),
    ],
  };
  await app.route('**/api/watch_runtimes*', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: `id: 1\ndata: ${JSON.stringify(runtimes)}\n\n` }),
  );
  await open(app);
  const cloud = app.locator('[data-runtime="cloud"]');
  for (const fact of ['Cloud', '$0.15', '$12.345678', 'per million tokens', 'Own texts only', 'key kept']) await expect(cloud).toContainText(fact);
  const away = app.locator('[data-runtime="ollama"]');
  await expect(away).toContainText('connection refused. Start it');
  await expect(away).toContainText('Not used now');
  await expect(app.locator('[data-runtime="vllm"]')).toContainText('Connecting');
  await looks(app, 'runtimes-many');
});
