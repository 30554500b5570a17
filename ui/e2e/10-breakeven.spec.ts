import { readFile } from 'node:fs/promises';
import type { Page } from '@playwright/test';
import { accessible, expect, fits, picture, settled, test, visit } from './tender';

/** Ten weeks of an API's export: weekdays busy, weekends quiet, the second half twice the first. */
function bill(costs: boolean): string {
  const lines = [`Date;Model;Input tokens;Output tokens${costs ? ';Cost (USD)' : ''}`];
  for (let day = 0; day < 70; day += 1) {
    const date = new Date(Date.UTC(2026, 7, 3) + day * 86_400_000);
    const busy = [0, 6].includes(date.getUTCDay()) ? 0.2 : 1 + (day % 5) * 0.1;
    const text = Math.round(4_000_000 * busy * (day < 35 ? 1 : 2));
    const name = date.toISOString().slice(0, 10);
    lines.push(`${name};gpt-4o-mini;${text * 2};${text}${costs ? `;${((text * 0.9) / 1e6).toFixed(4)}` : ''}`);
    lines.push(`${name};gpt-5.4;1000;200${costs ? ';0.0055' : ''}`);
  }
  return lines.join('\n');
}

const drop = (app: Page, name: string, text: string) =>
  app.getByLabel(/Choose a CSV|Another file/).setInputFiles({ name, mimeType: 'text/csv', buffer: Buffer.from(text) });
const key = (app: Page) => app.locator('.figure').first();

test('without a card and without a job it answers', async ({ app }) => {
  await visit(app, 'Break-even');
  // $0.60 a million against an RTX 4080: the golden value of docs/economics.md.
  await app.getByLabel('Start from').selectOption('example');
  await expect(key(app)).toHaveText('2.64 million tokens a day');
  await expect(app.locator('.verdict')).toContainText('owning is cheaper');
  await expect(app.locator('.verdict')).toContainText('It holds if Llama-3-8B Q4_K_M on this card may stand in for gpt-4o-mini.');
  await app.getByLabel('Model on the card').fill('Qwen3-4B');
  await expect(app.locator('.verdict')).toContainText('It holds if Qwen3-4B on this card');
  await app.getByLabel('Start from').selectOption('seed_004_claimed');
  await expect(key(app)).toHaveText('9.12 million tokens a day');
  await app.getByText('Where “9.1 million tokens a day” comes from').click();
  await expect(app.getByText('342 combinations of round numbers')).toBeVisible();
  await app.getByLabel('Start from').selectOption('seed_004');
  await expect(key(app)).toHaveText('never');
  await picture(app, 'breakeven-never');
});

test('numbers are typed, slid and explained; a wrong one is named', async ({ app }) => {
  await visit(app, 'Break-even');
  await app.getByLabel('Start from').selectOption('example');
  await expect(key(app)).toHaveText('2.64 million tokens a day');
  await app.getByLabel('Price of a card', { exact: true }).fill('600');
  await expect(key(app)).not.toHaveText('2.64 million tokens a day');
  const cheap = await key(app).textContent();
  await app.getByLabel('Price of a card, slider').press('End');
  await expect(key(app)).not.toHaveText(cheap ?? '');
  await expect(app.getByLabel('Price of a card', { exact: true })).toHaveValue('5000');
  await app.getByText('Worth and interest').click();
  await app.getByLabel('Worth when sold', { exact: true }).fill('150');
  await expect(app.getByRole('alert')).toContainText('resale_fraction is 1.5');
  await expect(app.getByRole('alert')).toContainText('a number from 0 to 1');
  await accessible(app);
  await picture(app, 'breakeven-error');
  await app.getByLabel('Worth when sold', { exact: true }).fill('35');
  await expect(app.getByRole('alert')).toHaveCount(0);
  await app.getByLabel('Published price').selectOption({ label: 'gpt-4o · $2.50 in, $10.00 out' });
  await expect(app.getByLabel('API price of text', { exact: true })).toHaveValue('10');
  await expect(app.getByText('genai-prices 0.2.3, taken Nov 21, 2026').first()).toBeVisible();
  await app.getByRole('button', { name: 'Why: capital' }).click();
  await expect(app.getByText('CRF·cards')).toBeVisible();
  await accessible(app);
  await picture(app, 'breakeven-why');
});

test('the picture is read by keyboard, by pointer and as a table', async ({ app }) => {
  await visit(app, 'Break-even');
  await app.getByLabel('Start from').selectOption('example');
  await expect(key(app)).toHaveText('2.64 million tokens a day');
  const chart = app.getByRole('slider', { name: 'Cost per day against tokens per day' });
  await chart.focus();
  await chart.press('ArrowRight');
  await expect(chart).toHaveAttribute('aria-valuetext', /At 2\.64 million tokens a day: owning \$1\.58 .*buying \$1\.58/);
  await chart.press('Home');
  await expect(chart).toHaveAttribute('aria-valuetext', /At 0 tokens a day: owning \$1\.08.*buying \$0 /);
  await chart.press('Escape');
  await chart.hover({ position: { x: 400, y: 120 } });
  await expect(app.locator('.reading')).toContainText('Owning is cheaper by');
  await picture(app, 'breakeven-hover');
  await app.getByRole('button', { name: 'Show as table' }).click();
  await expect(app.getByRole('row', { name: /2\.64 million .* Crossing/ })).toBeVisible();
  await accessible(app);
});

for (const look of [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const) {
  test(`a bill becomes an answer and a page, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await visit(app, 'Break-even');
    await app.getByLabel('Start from').selectOption('example');
    await drop(app, 'usage.csv', bill(true));
    await expect(app.getByText('140 lines, 70 days')).toBeVisible();
    await expect(app.getByText(/^Cheapest over these days: /)).toBeVisible();
    await expect(app.getByRole('rowheader', { name: 'Aug 2026' })).toBeVisible();
    await settled(app, 'Break-even');
    // The bill's price is of text with its prompts: it is called that, and prompts have none of their own.
    await expect(app.getByLabel('API cost per million tokens of text, prompts included', { exact: true })).toHaveValue('0.90097');
    await app.getByText('Prompts', { exact: true }).click();
    await expect(app.getByLabel('Prompt per token of text', { exact: true })).toBeVisible();
    await expect(app.getByLabel('API price of prompts', { exact: true })).toHaveCount(0);
    await expect(app.locator('.verdict')).toContainText('on this card may stand in for gpt-4o-mini and gpt-5.4.');
    await expect(key(app)).toContainText('million tokens a day');
    await fits(app);
    await accessible(app);
    await app.screenshot({ path: `e2e/.shots/breakeven-bill-${look.name}.png`, fullPage: true });

    const saved = app.waitForEvent('download');
    await app.getByRole('button', { name: 'Export as a page' }).click();
    const page = await readFile(await (await saved).path(), 'utf8');
    for (const part of ['Assumptions', 'Regret by month', 'How each number follows', '<svg', 'Price of a card', 'may stand in for gpt-4o-mini and gpt-5.4.', 'prompts included']) expect(page).toContain(part);
    for (const outside of ['<script', 'http', 'src=', 'url(', 'NaN', 'undefined', 'API price of prompts']) expect(page).not.toContain(outside);
    // By itself, in a browser that knows nothing of Tender.
    const alone = await app.context().newPage();
    await alone.emulateMedia({ colorScheme: look.colorScheme });
    await alone.setViewportSize({ width: look.width, height: look.height });
    await alone.setContent(page);
    await fits(alone);
    await accessible(alone);
    await alone.screenshot({ path: `e2e/.shots/breakeven-page-${look.name}.png`, fullPage: true });
    await alone.close();
  });
}

test('models are left out, a card is rented, and a bill without costs is priced by day', async ({ app }) => {
  await visit(app, 'Break-even');
  await drop(app, 'usage.csv', bill(false));
  await expect(app.getByText('The bill has no costs: they are the published prices of each day')).toBeVisible();
  const alternatives = app.getByRole('region', { name: 'Alternatives' });
  await expect(alternatives.getByRole('row')).toHaveCount(6);
  await app.getByRole('checkbox', { name: 'gpt-5.4' }).uncheck();
  await expect(app.getByText('stays with the API and is left out')).toBeVisible();
  const rent = app.getByRole('group', { name: 'Rent a card instead' });
  await rent.getByLabel('$ per hour').fill('0.30');
  await rent.getByLabel('tokens/s', { exact: true }).fill('120');
  await rent.getByLabel('prompt tokens/s').fill('5000');
  await expect(alternatives.getByRole('rowheader', { name: 'Rent by the hour' })).toBeVisible();
});

test('a bill that cannot be read says the line and the field', async ({ app }) => {
  await visit(app, 'Break-even');
  await drop(app, 'usage.csv', 'date,model,input_tokens,output_tokens,cost\n2026-08-01,gpt-4o-mini,many,1,1\n');
  const alert = app.getByRole('alert');
  await expect(alert).toContainText('ine 2');
  await expect(alert).toContainText('input tokens: many');
  await accessible(app);
  await app.getByRole('button', { name: 'Remove the bill' }).click();
  await expect(alert).toHaveCount(0);
});

test('without the node it says so', async ({ app }) => {
  await app.route('**/api/breakeven_presets', (route) =>
    route.fulfill({ status: 500, json: { code: 'invalid', message: 'taken_on: the API prices are from 2026-11-21, which lies in the future', hint: 'set the machine’s clock' } }),
  );
  await app.getByRole('navigation').getByRole('link', { name: 'Break-even' }).click();
  await expect(app.getByRole('alert')).toContainText('set the machine’s clock', { ignoreCase: true });
  await app.unroute('**/api/breakeven_presets');
  await app.getByRole('button', { name: 'Try again' }).click();
  await app.getByLabel('Start from').selectOption('example');
  await expect(key(app)).toHaveText('2.64 million tokens a day');
});
