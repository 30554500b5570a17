import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from '@playwright/test';
import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 390, height: 844 },
] as const;

// Every picture is looked at by axe, which takes seconds.
test.describe.configure({ timeout: 120_000 });

/** An agent's card; nothing else is asked of it here. */
async function standIn() {
  const server = createServer((request, response) => {
    const card = {
      name: 'Foreign writer',
      description: 'Writes short texts in plain English.',
      version: '1',
      supportedInterfaces: [{ url: `http://${request.headers.host}/a2a`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' }],
      capabilities: { streaming: true },
      defaultInputModes: ['text/plain'],
      defaultOutputModes: ['text/plain'],
      skills: [],
    };
    response.statusCode = request.url === '/.well-known/agent-card.json' ? 200 : 404;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(card));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

async function looks(app: Page, name: string) {
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'Agents' }).evaluate((title) => title.scrollIntoView({ block: 'start' }));
    await fits(app);
    await accessible(app);
    await picture(app, `${name}-${look.name}`);
  }
}

test('an agent is added with a price, shown as unsigned, and removed when asked for', async ({ app }) => {
  const agent = await standIn();
  try {
    await visit(app, 'Network');
    await expect(app.getByText('No agent was added')).toBeVisible();
    await picture(app, 'agents-empty');

    // What is missing is said at its field, and the first such field has the focus.
    await app.getByRole('button', { name: 'Add an agent' }).click();
    const dialog = app.getByRole('dialog', { name: 'Add an agent' });
    const send = dialog.getByRole('button', { name: 'Add an agent' });
    await send.click();
    await expect(dialog.getByLabel('Address')).toBeFocused();
    await expect(dialog.getByLabel('Address')).toHaveAccessibleDescription(/Write the address of the agent\./);
    await accessible(app);
    await picture(app, 'agent-add');

    // A card without a price needs one that is entered.
    await dialog.getByLabel('Address').fill(agent.url);
    await dialog.getByRole('radio', { name: 'The price on its card' }).click();
    await send.click();
    await expect(dialog.getByRole('alert')).toContainText('states no price');
    await dialog.getByRole('radio', { name: 'A price that I enter' }).click();
    await dialog.getByLabel('Price of a text, dollars').fill('0.002');
    await send.click();

    const row = app.locator('tr[data-agent="foreign-writer"]');
    await expect(row).toContainText('$0.002 per text');
    await expect(row).toContainText('Unsigned');
    await expect(row).toContainText('Writes short texts in plain English.');
    await looks(app, 'agents');

    await app.setViewportSize({ width: 1280, height: 860 });
    await app.getByRole('button', { name: 'Remove foreign-writer' }).click();
    const ask = app.getByRole('dialog', { name: 'Remove foreign-writer?' });
    await accessible(app);
    await ask.getByRole('button', { name: 'Remove' }).click();
    await expect(app.getByText('No agent was added')).toBeVisible();
  } finally {
    agent.close();
  }
});
