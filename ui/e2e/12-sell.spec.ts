import type { Page } from '@playwright/test';
import { accessible, expect, fits, picture, settingsStay, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

// Prices are tried, and asked in other units than those of the defaults.
settingsStay();

/** The ladder of embeddings. */
const ladder = (app: Page) => app.locator('[data-kind="embed"]');

test('what is not measured is measured, and every price has its floor then', async ({ app }) => {
  test.setTimeout(240_000);
  await visit(app, 'Sell');
  await expect(ladder(app)).toBeVisible();
  const measure = app.getByRole('button', { name: 'Measure what is not measured' });
  // The specs before have run some kinds of work here, and never all.
  await expect(app.getByText('Floor: not measured.')).not.toHaveCount(0);
  await measure.click();
  await expect(app.getByText('Floor: not measured.')).toHaveCount(0, { timeout: 200_000 });
  await expect(measure).toHaveCount(0, { timeout: 30_000 });
});

test('a price is tried on its ladder, asked only when confirmed, and below the floor its loss is said', async ({ app }) => {
  await visit(app, 'Sell');
  const row = ladder(app);
  const handle = row.getByRole('slider', { name: /^Embeddings: asking price/ });
  const price = row.getByRole('textbox', { name: 'Embeddings: dollars per million tokens' });
  await expect(price).toHaveValue('0.02');
  await expect(row.getByText(/^Floor \$/)).toBeVisible();
  await expect(row.getByText(/^energy \$/)).toBeVisible();

  // Typed far below any floor: what each sale loses, before anything is asked.
  await price.fill('0.000001');
  await expect(row.getByText(/^Below the floor: each million tokens sold loses \$/)).toBeVisible();
  await expect(handle).toHaveAttribute('aria-valuetext', /Below the floor/);
  await row.getByRole('button', { name: 'Undo' }).click();
  await expect(price).toHaveValue('0.02');
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);

  // By keyboard to the end of the axis, beyond the floor.
  await handle.focus();
  await app.keyboard.press('End');
  await expect(row.getByText(/^Each million tokens sold leaves \$.+ beyond the floor\.$/)).toBeVisible();
  await app.keyboard.press('Escape');
  await expect(price).toHaveValue('0.02');

  // Dragged with the mouse: the number follows.
  const box = (await handle.boundingBox())!;
  await app.mouse.move(box.x + 20, box.y + box.height / 2);
  await app.mouse.down();
  await app.mouse.move(box.x + box.width * 0.75, box.y + box.height / 2, { steps: 5 });
  await app.mouse.up();
  const dragged = Number(await price.inputValue());
  expect(dragged).toBeGreaterThan(0.02);
  await accessible(app);
  await picture(app, 'sell-dragged');
  await row.getByRole('button', { name: 'Ask this' }).click();
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);
  await app.reload();
  await visit(app, 'Sell');
  expect(Number(await price.inputValue())).toBeCloseTo(dragged, 4);

  // Back to what it was, for the specs that follow.
  await price.fill('0.02');
  await price.press('Enter');
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);

  await price.fill('cheap');
  await expect(row.getByRole('alert')).toContainText('Write a number');
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);
});

test('the suggestion follows the margin, and the ladders are a table too', async ({ app }) => {
  await visit(app, 'Sell');
  const margin = app.getByLabel('Margin of the suggestions');
  await margin.fill('much');
  await expect(app.getByText('Write a number from 0 to 1000.')).toBeVisible();
  const suggested = ladder(app).getByText(/^suggested \$/);
  await margin.fill('0');
  const without = (await suggested.textContent())!;
  await margin.fill('900');
  await expect(suggested).not.toHaveText(without);
  await suggested.locator('..').getByRole('button', { name: /^Why/ }).click();
  await expect(app.getByRole('dialog').getByText('speed', { exact: true })).toBeVisible();
  await accessible(app);
  await app.keyboard.press('Escape');
  await app.getByRole('region', { name: 'Prices', exact: true }).getByRole('button', { name: 'Show as table' }).click();
  await expect(app.getByRole('row', { name: /^Embeddings/ })).toContainText('$');
  await accessible(app);
});

test('the prompt of a text gets a price of its own, and loses it again', async ({ app }) => {
  await visit(app, 'Sell');
  const row = app.locator('[data-kind="generate"]');
  const own = row.getByRole('switch', { name: 'The prompt has its own price' });
  await own.click();
  const price = row.getByRole('textbox', { name: 'Prompt: dollars per million tokens' });
  // It begins where the text's price is.
  await expect(price).toHaveValue('0.08');
  await price.fill('0.01');
  await row.getByRole('button', { name: 'Ask this' }).click();
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);
  await expect(price).toHaveValue('0.01');
  // The text's own price changes without the prompt's.
  const text = row.getByRole('textbox', { name: 'Text: dollars per million tokens' });
  await text.fill('0.09');
  await text.press('Enter');
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);
  await expect(price).toHaveValue('0.01');
  await text.fill('0.08');
  await text.press('Enter');
  await expect(row.getByRole('button', { name: 'Ask this' })).toHaveCount(0);
  await own.click();
  await expect(price).toHaveCount(0);
  await expect(text).toHaveValue('0.08');
});

test('selling finishes what runs, then pauses, and goes on when told', async ({ app }) => {
  await visit(app, 'Sell');
  const card = app.getByRole('region', { name: /selling|finishing|stopped/i });
  const toggle = card.getByRole('switch', { name: 'Sell spare compute' });
  await expect(toggle).toHaveAttribute('aria-checked', 'false');
  await toggle.click();
  await expect(toggle).toHaveAttribute('aria-checked', 'true');
  await card.getByRole('button', { name: 'Pause' }).click();
  await app.getByRole('menuitem', { name: 'Finish, then pause' }).click();
  await expect(app.getByRole('heading', { name: 'Selling is paused' })).toBeVisible();
  await accessible(app);
  await card.getByRole('button', { name: 'Go on selling' }).click();
  await expect(app.getByRole('heading', { name: /^Selling, / })).toBeVisible();
  await toggle.click();
  await expect(toggle).toHaveAttribute('aria-checked', 'false');
});

test('the guard tests itself, and says within which time memory is free', async ({ app }) => {
  test.setTimeout(300_000);
  await visit(app, 'Sell');
  const guard = app.getByRole('region', { name: 'Giving the machine back', exact: true });
  await expect(guard.getByText('Full-screen program')).toBeVisible();
  await guard.getByRole('button', { name: 'Test now' }).click();
  await expect(guard.getByText(/^\d+ of \d+ times given back$/)).toBeVisible({ timeout: 60_000 });
  await accessible(app);
  await expect(guard.getByText(/^\d+ of \d+ times given back$/)).toHaveCount(0, { timeout: 200_000 });
  await expect(guard.getByText(/^Video memory is free within .+$/)).toBeVisible();
  await expect(guard.getByText(/Given back \d+ times on .+ in the middle, .+ at the longest\./)).toBeVisible();
  await accessible(app);
  await guard.scrollIntoViewIfNeeded();
  await picture(app, 'sell-guard');
});

test('why jobs came or did not is told by step and by day', async ({ app }) => {
  await visit(app, 'Sell');
  const demand = app.getByRole('region', { name: 'Why jobs came or did not', exact: true });
  await expect(demand.getByText('No peer has called in this time.')).toBeVisible();
  await demand.getByRole('radio', { name: '7 days' }).check({ force: true });
  await demand.getByRole('button', { name: 'Show as table' }).click();
  // A row for each day, and the head.
  await expect(demand.getByRole('row')).toHaveCount(8);
  await accessible(app);
});

test('a limit is changed where it is understood', async ({ app }) => {
  await visit(app, 'Sell');
  const field = app.locator('[data-key="slots"]').getByRole('textbox', { name: 'Jobs at once' });
  await field.fill('99');
  await field.press('Enter');
  await expect(app.locator('[data-key="slots"]').getByRole('alert')).toContainText('16');
  await app.getByRole('button', { name: 'Use the default of Jobs at once' }).click();
  await expect(field).toHaveValue('1');
});

for (const look of LOOKS) {
  test(`the place Sell, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await visit(app, 'Sell');
    await fits(app);
    await accessible(app);
    await app.screenshot({ path: `e2e/.shots/sell-whole-${look.name}.png`, fullPage: true });
  });
}

test('prices that do not come are an error with its next step', async ({ app }) => {
  await app.route('**/api/prices', (route) => route.fulfill({ status: 500, json: { code: 'storage', message: 'the disk is full', hint: 'free some space' } }));
  await app.getByRole('navigation').getByRole('link', { name: 'Sell' }).click();
  const alert = app.getByRole('alert');
  await expect(alert).toContainText('The disk is full.');
  const asked = app.waitForRequest('**/api/prices');
  await alert.getByRole('button', { name: 'Try again' }).click();
  await asked;
  await app.unroute('**/api/prices');
  // It is asked for again when something is measured, too; who waits for neither asks once more.
  await app.reload();
  await visit(app, 'Sell');
  await expect(alert).toHaveCount(0);
  await expect(ladder(app)).toBeVisible();
});
