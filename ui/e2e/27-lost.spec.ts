import { createServer, request as ask, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Locator, Page } from '@playwright/test';
import { accessible, address, expect, fits, pastWelcome, picture, settled, test, visit } from './tender';

/** A way to the node that can be cut, streams and all. */
class Relay {
  private cut = false;
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  constructor() {
    const node = new URL(address);
    this.server = createServer((asked, answer) => {
      const headers = { ...asked.headers, host: node.host, ...(asked.headers.origin ? { origin: node.origin } : {}) };
      const onward = ask({ host: node.hostname, port: node.port, path: asked.url, method: asked.method, headers }, (back) => {
        answer.writeHead(back.statusCode ?? 502, back.headers);
        back.pipe(answer);
      });
      onward.on('error', () => answer.destroy());
      answer.on('close', () => onward.destroy());
      asked.pipe(onward);
    });
    this.server.on('connection', (socket: Socket) => {
      if (this.cut) socket.destroy();
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((listening) => this.server.listen(0, '127.0.0.1', listening));
    return address.replace(new URL(address).host, `127.0.0.1:${(this.server.address() as AddressInfo).port}`);
  }
  lose(): void {
    this.cut = true;
    for (const socket of this.sockets) socket.destroy();
  }
  heal(): void {
    this.cut = false;
  }
  close(): void {
    this.lose();
    this.server.close();
  }
}

// Pictures, axe, and the pause before the window connects again.
test.describe.configure({ timeout: 240_000 });

let relay: Relay;
test.beforeEach(async ({ page }) => {
  relay = new Relay();
  await page.goto(await relay.open());
  await pastWelcome(page);
});
test.afterEach(() => relay.close());

/** Whether a control can be reached at all; what is inert takes no focus, no press and no key. */
const live = (control: Locator) => control.evaluate((element) => element.closest('[inert]') === null && !element.matches(':disabled'));
const lives = (control: Locator, expected: boolean) => expect.poll(() => live(control), { timeout: 40_000 }).toBe(expected);
const banner = (page: Page) => page.getByTestId('connection-lost');

test('while the node is lost nothing can be pressed, what was shown may be read, and it comes back by itself', async ({ page }) => {
  await visit(page, 'Sell');
  const guard = page.locator('button', { hasText: 'Test now' });
  const toggle = page.locator('button[role=switch]').first();
  await lives(guard, true);
  relay.lose();
  await expect(banner(page)).toContainText('What you see is from');
  await lives(guard, false);
  await lives(toggle, false);
  await expect(page.getByText('Giving the machine back', { exact: true })).toBeVisible();
  await guard.scrollIntoViewIfNeeded();
  await expect(banner(page)).toBeInViewport({ ratio: 1 });
  await expect(banner(page).getByRole('button', { name: 'Try now' })).toBeEnabled();
  await accessible(page);
  await picture(page, 'lost-sell');
  for (const look of [
    { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
    { name: 'small', colorScheme: 'light', width: 800, height: 600 },
    { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
  ] as const) {
    await page.emulateMedia({ colorScheme: look.colorScheme });
    await page.setViewportSize({ width: look.width, height: look.height });
    await page.evaluate(() => window.scrollTo(0, 0));
    await fits(page);
    await accessible(page);
    await picture(page, `lost-${look.name}`);
  }

  // Places stay open to whoever looks round; what was asked in vain is asked again.
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.getByRole('navigation').getByRole('link', { name: 'Network' }).click();
  await expect(page.locator('h1', { hasText: 'Network' })).toBeVisible();
  await expect(page.getByRole('alert')).toHaveCount(0);
  relay.heal();
  await expect(banner(page)).toHaveCount(0, { timeout: 40_000 });
  await settled(page, 'Network');
  await expect(page.getByRole('alert')).toHaveCount(0);
  await expect(page.getByRole('heading', { name: 'No peers yet' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Invite a peer' }).first()).toBeEnabled();
});

test('a field that was being filled when the node was lost is as it was afterwards', async ({ page }) => {
  await visit(page, 'Sell');
  const margin = page.getByLabel('Margin of the suggestions');
  await margin.fill('30');
  relay.lose();
  await lives(margin, false);
  await expect(margin).not.toBeFocused();
  relay.heal();
  await lives(margin, true);
  await expect(margin).toHaveValue('30');
  await expect(margin).toBeFocused();
});

test('a dialog that is open when the node is lost keeps what was written', async ({ page }) => {
  await visit(page, 'Network');
  await page.getByRole('button', { name: 'Add a peer' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a peer' });
  await dialog.getByLabel('Invitation link').fill('tender://somebody');
  relay.lose();
  const send = dialog.locator('button[type=submit]');
  await lives(send, false);
  relay.heal();
  await lives(send, true);
  await expect(dialog.getByLabel('Invitation link')).toHaveValue('tender://somebody');
});
