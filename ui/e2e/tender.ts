import { AxeBuilder } from '@axe-core/playwright';
import { test as base, expect, type APIRequestContext, type Page } from '@playwright/test';
import type { Setting } from '../src/lib/api/types';
import type { Input, Name, Output } from '../src/lib/transport';
import { openStep } from '../src/screens/welcome/steps';

const url = process.env['TENDER_URL'];
if (!url) throw new Error('TENDER_URL is missing: the address of a running node, with #token=…');

/** A page that is signed in, and that fails its test when the browser reports an error or a breach of the policy. */
export const test = base.extend<{ app: Page; complaints: string[] }>({
  complaints: async ({}, use) => {
    const complaints: string[] = [];
    await use(complaints);
    expect(complaints, 'errors in the browser').toEqual([]);
  },
  app: async ({ page, complaints }, use) => {
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) complaints.push(message.text());
    });
    await page.goto(url);
    await pastWelcome(page);
    await use(page);
  },
});

export { expect };
export const address = url;

/** Asks or tells the node directly: what a test needs to be there, or puts back as it was. */
export async function call<N extends Name<'query'> | Name<'command'>>(request: APIRequestContext, name: N, input: Input<N>): Promise<Output<N>> {
  const token = new URLSearchParams(new URL(address).hash.slice(1)).get('token');
  const response = await request.post(new URL(`/api/${name}`, address).href, {
    headers: { authorization: `Bearer ${token}`, 'idempotency-key': crypto.randomUUID() },
    data: input,
  });
  expect(response.ok(), `${name}: ${await response.text()}`).toBe(true);
  return response.json();
}

/** Who comes after a file that changes settings finds them as they were, also when a test there fails. */
export function settingsStay(): void {
  let before: Setting[] = [];
  test.beforeAll(async ({ request }) => {
    before = (await call(request, 'settings', {})).settings;
  });
  test.afterAll(async ({ request }) => {
    const now = (await call(request, 'settings', {})).settings;
    for (const { key, value } of before) {
      if (now.find((setting) => setting.key === key)?.value !== value) await call(request, 'set_setting', { key, value });
    }
  });
}

/** A new node opens with the set-up; who tests something else puts it off. */
export async function pastWelcome(page: Page): Promise<void> {
  const { settings } = await call(page.request, 'settings', {});
  const { traded_before } = await call(page.request, 'overview', {});
  const step = openStep(settings.find((setting) => setting.key === 'onboarding')?.value, traded_before);
  if (step) await page.getByRole('button', { name: 'Set up later' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
}

/** Goes to a place by the rail and waits until its content stands. */
export async function visit(page: Page, place: string): Promise<void> {
  await page.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: place }).click();
  await settled(page, place);
}

/** Waits until a screen shows data: no skeleton, no placeholder. */
export async function settled(page: Page, place: string): Promise<void> {
  await expect(page.getByRole('heading', { level: 1, name: place })).toBeVisible();
  await expect(page.locator('.skeleton, .placeholder')).toHaveCount(0);
}

/** No violation that axe can find, colours included. */
export async function accessible(page: Page): Promise<void> {
  // Colours are judged at rest, not half-way through fading in.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished)));
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map((found) => `${found.id}: ${found.nodes.map((node) => node.target.join(' ')).join(', ')}`)).toEqual([]);
}

/** A picture for whoever judges the looks. */
export async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `e2e/.shots/${name}.png` });
}

/** The page is not wider than its window. */
export async function fits(page: Page): Promise<void> {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(over).toBeLessThanOrEqual(0);
}
