import { readFile } from 'node:fs/promises';
import type { Page } from '@playwright/test';
import { accessible, expect, fits, settled, test, visit } from './tender';

async function simulate(app: Page, world: string, runs: string, policy?: string): Promise<void> {
  await app.getByLabel('World').selectOption(world);
  if (policy) await app.getByLabel('Way of deciding').selectOption(policy);
  await app.getByLabel('Runs per row').fill(runs);
  await app.getByRole('button', { name: 'Simulate' }).click();
  await expect(app.getByText(`World ${world},`)).toBeVisible({ timeout: 50_000 });
  await settled(app, 'Simulator');
}
const chart = (app: Page) => app.getByRole('slider', { name: 'Comparison of ways to decide' });

test('a market is simulated on the node, and the same seed says the same', async ({ app }) => {
  await visit(app, 'Simulator');
  await expect(app.getByRole('heading', { name: 'What would a way of deciding have saved?' })).toBeVisible();
  await accessible(app);
  await simulate(app, 'lies', '1', 'ucb1');
  const figures = app.getByRole('region', { name: 'Every figure' });
  await expect(figures.getByRole('row')).toHaveCount(14);
  const first = await figures.textContent();
  const saved = await app.locator('.figure').textContent();
  expect(saved).toMatch(/%$/);
  await chart(app).press('Home');
  await expect(chart(app)).toHaveAttribute('aria-valuetext', /^dur_01: This policy .*Oracle/);
  await simulate(app, 'tender', '1');
  expect(await figures.textContent()).not.toBe(first);
  await simulate(app, 'lies', '1', 'ucb1');
  expect(await figures.textContent()).toBe(first);
});

for (const look of [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const) {
  test(`the paper, its code and ours stand side by side, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await visit(app, 'Simulator');
    await simulate(app, 'coalesce-paper', '2');
    await app.getByRole('radio', { name: 'As the paper' }).check();
    await chart(app).press('Home');
    // The first row of Table I.
    await expect(chart(app)).toHaveAttribute('aria-valuetext', /^dur_01: Paper 27\.1%, Its authors’ code, run again 34\.3%, This policy /);
    await expect(app.getByText('World coalesce-paper, paper, 2 runs per row, seed 1.')).toBeVisible();
    await fits(app);
    await accessible(app);
    await app.screenshot({ path: `e2e/.shots/simulator-run-${look.name}.png`, fullPage: true });
    await app.getByRole('button', { name: 'Show as table' }).click();
    await expect(app.getByRole('columnheader', { name: 'Paper, %' }).first()).toBeVisible();
    await accessible(app);
  });
}

test('a wrong number is named, a long simulation is stopped, and only one runs', async ({ app, context }) => {
  await visit(app, 'Simulator');
  await app.getByLabel('Runs per row').fill('0');
  await app.getByRole('button', { name: 'Simulate' }).click();
  await expect(app.getByRole('alert')).toHaveText('Write a whole number from 1 to 1000.');
  await app.getByLabel('World').selectOption('tender');
  await app.getByLabel('Runs per row').fill('1000');
  await app.getByRole('button', { name: 'Simulate' }).click();
  await expect(app.getByRole('progressbar', { name: 'Runs begun' })).toBeVisible();
  await accessible(app);
  const token = await app.evaluate(() => sessionStorage.getItem('tender.token'));
  const second = await context.request.post(new URL('/api/simulate', app.url()).href, {
    headers: { authorization: `Bearer ${token}` },
    data: { preset: 'tender', policy: null, runs: 1, seed: 1 },
  });
  expect(second.status()).toBe(429);
  await app.getByRole('button', { name: 'Stop' }).click();
  await expect(app.getByText('Stopped. Nothing was changed.')).toBeVisible();
  await simulate(app, 'contention', '1');
  await expect(app.getByRole('region', { name: 'Every figure' }).getByRole('row')).toHaveCount(4);
});

test('the report is one page by itself', async ({ app }) => {
  test.setTimeout(180_000);
  await visit(app, 'Simulator');
  await simulate(app, 'contention', '1');
  const saved = app.waitForEvent('download', { timeout: 150_000 });
  await app.getByRole('button', { name: 'Download report' }).click();
  await expect(app.getByText('Writing the report')).toBeVisible();
  const page = await readFile(await (await saved).path(), 'utf8');
  expect(page).toContain('Tender: simulation report');
  expect(page).not.toContain('<script');
});
