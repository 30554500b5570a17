import type { Page } from '@playwright/test';
import { accessible, address, expect, fits, picture, settingsStay, test } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

const STEPS = [
  { name: 'machine', title: 'What is in this machine' },
  { name: 'models', title: 'Which models it offers' },
  { name: 'electricity', title: 'What electricity costs' },
  { name: 'speed', title: 'How fast the card is' },
  { name: 'price', title: 'What to ask' },
  { name: 'trade', title: 'A first trade, as proof' },
  { name: 'sell', title: 'Ready to sell' },
];

// Every picture is looked at by axe, which takes seconds.
test.describe.configure({ timeout: 360_000 });

// The set-up changes prices, electricity and more.
settingsStay();

const title = (app: Page, name: string) => app.getByRole('heading', { level: 1, name });
/** Opens the set-up from Settings, as an owner would who skipped it. */
async function open(app: Page) {
  await app.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: 'Settings' }).click();
  await app.getByRole('button', { name: 'Open the set-up again' }).click();
  await expect(title(app, 'What is Tender for, on this machine?')).toBeVisible();
}
async function looks(app: Page, name: string) {
  await expect(app.locator('.skeleton')).toHaveCount(0);
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await fits(app);
    await accessible(app);
    await picture(app, `welcome-${name}-${look.name}`);
  }
  await app.setViewportSize({ width: 1280, height: 860 });
}

test('an owner is led from the card to the switch, step by step', async ({ app }) => {
  await open(app);
  const name = app.getByLabel('Name that peers see');
  await expect(name).toHaveValue(/.+/);
  await looks(app, 'role');
  await name.fill('x'.repeat(41));
  await app.getByRole('button', { name: /^I have a GPU/ }).click();
  await expect(name).toHaveAccessibleDescription('Up to 40 characters. It takes a text of at most 40 characters.');
  await name.fill('workshop');
  await app.getByRole('button', { name: /^I have a GPU/ }).click();
  for (const step of STEPS) {
    await expect(title(app, step.title)).toBeFocused();
    await looks(app, step.name);
    if (step.name === 'machine') await expect(app.getByText(/^Your identity is a key\./)).toBeVisible();
    if (step.name !== 'sell') await app.getByRole('button', { name: 'Continue' }).click();
  }
  const toggle = app.getByRole('switch', { name: 'Sell now' });
  await expect(toggle).toHaveAttribute('aria-checked', 'false');
  await toggle.click();
  await expect(app.getByRole('heading', { name: 'Selling is on' })).toBeVisible();
  await toggle.click();
  await app.getByRole('button', { name: 'To the overview' }).click();
  await expect(title(app, 'Overview')).toBeVisible();
});

test('what electricity costs is kept, and what is wrong is said at its field', async ({ app }) => {
  await open(app);
  await app.getByRole('button', { name: /^I have a GPU/ }).click();
  await app.getByRole('button', { name: 'Electricity' }).click();
  const price = app.getByLabel('Electricity price');
  await expect(price).toHaveValue(/\d/);
  await price.fill('cheap');
  await app.getByRole('button', { name: 'Continue' }).click();
  await expect(price).toHaveAccessibleDescription(/Write a price in dollars per kWh/);
  await accessible(app);
  await price.fill('0.31');
  await app.getByLabel('Some hours of the day have another price').check();
  await app.getByLabel('Price in these hours').fill('0,10');
  await picture(app, 'welcome-electricity-night');
  await app.getByRole('button', { name: 'Continue' }).click();
  await expect(title(app, 'How fast the card is')).toBeVisible();
  await app.getByRole('button', { name: 'Back' }).click();
  await expect(price).toHaveValue('0.31');
  await expect(app.getByLabel('Price in these hours')).toHaveValue('0.10');
  await app.getByRole('button', { name: 'Set up later' }).click();
});

test('the card is measured with progress, and prices are suggested from it', async ({ app }) => {
  await open(app);
  await app.getByRole('button', { name: /^I have a GPU/ }).click();
  await app.getByRole('button', { name: 'Speed' }).click();
  await app.getByRole('button', { name: /^Measure/ }).click();
  await expect(app.getByRole('progressbar', { name: 'Kinds of work measured' })).toBeVisible();
  await accessible(app);
  await picture(app, 'welcome-speed-running');
  const again = app.getByRole('button', { name: 'Measure again' });
  await expect(again).toBeVisible({ timeout: 150_000 });
  await expect(app.locator('li[data-state="done"]').first()).toContainText(/\/s/);
  await looks(app, 'speed-measured');
  await again.click();
  await app.getByRole('button', { name: 'Stop' }).click();
  await expect(app.getByText('Stopped. What was measured until then counts.')).toBeVisible({ timeout: 60_000 });
  await app.getByRole('button', { name: 'Continue' }).click();
  await expect(app.getByRole('heading', { name: /^An hour of work costs you / })).toBeVisible();
  await looks(app, 'price-suggested');
  await app.getByRole('button', { name: 'Set up later' }).click();
});

test('a step that was left is the one that opens next', async ({ app }) => {
  await open(app);
  await app.getByRole('button', { name: /^I have a GPU/ }).click();
  await app.getByRole('button', { name: 'Price' }).click();
  // A step has the focus when the node has kept it.
  await expect(title(app, 'What to ask')).toBeFocused();
  await app.reload();
  await expect(title(app, 'What to ask')).toBeVisible();
  // A node that is only starting answers late: what is shown meanwhile is not the answer.
  let answers = () => {};
  const promise = new Promise<void>((resolve) => (answers = resolve));
  await app.route('**/api/settings', async (route) => {
    await promise;
    await route.continue();
  });
  await app.reload();
  // Where the set-up was opened from.
  await expect(title(app, 'Settings')).toBeVisible();
  answers();
  await expect(title(app, 'What to ask')).toBeVisible();
  await app.unrouteAll({ behavior: 'wait' });
  const kept = app.waitForResponse('**/api/set_setting');
  await app.getByRole('button', { name: 'Set up later' }).click();
  await kept;
  await app.reload();
  await expect(title(app, 'Overview')).toBeVisible();
});

test('who has no card lands where the answer is', async ({ app }) => {
  await open(app);
  await app.getByRole('button', { name: /^I decide for a team/ }).click();
  await expect(title(app, 'Break-even')).toBeVisible();
  await open(app);
  await app.getByRole('button', { name: /^I only buy/ }).click();
  await expect(title(app, 'Buy')).toBeVisible();
});

test('a node that does not answer is told, not a blank window', async ({ page }) => {
  await page.route('**/api/**', (route) => route.abort());
  await page.goto(address);
  await expect(page.getByTestId('connection-lost')).toBeVisible();
});
