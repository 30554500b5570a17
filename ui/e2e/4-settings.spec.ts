import { accessible, expect, picture, test, visit } from './tender';

test('a refused value is said at its field, a good one is kept', async ({ app }) => {
  await visit(app, 'Settings');
  const row = app.locator('[data-key="slots"]');
  const field = row.getByRole('textbox', { name: 'Jobs at once' });
  await field.fill('99');
  await field.press('Enter');
  await expect(row.getByRole('alert')).toContainText('16');
  await expect(field).toHaveAttribute('aria-invalid', 'true');
  await accessible(app);
  await picture(app, 'settings-refused');

  await field.fill('2');
  await row.getByRole('button', { name: 'Save' }).click();
  await expect(row.getByRole('button', { name: 'Save' })).toHaveCount(0);
  await visit(app, 'Health');
  await visit(app, 'Settings');
  await expect(field).toHaveValue('2');
  await row.getByRole('button', { name: 'Use the default of Jobs at once' }).click();
  await expect(field).toHaveValue('1');
});

test('every setting has words of its own, and amounts are in dollars', async ({ app }) => {
  await visit(app, 'Settings');
  // What this version does not know would stand under "Other", by its key.
  await expect(app.getByRole('heading', { level: 2, name: 'Machine', exact: true })).toBeVisible();
  await expect(app.getByRole('heading', { level: 2, name: 'Other' })).toHaveCount(0);
  const price = app.getByRole('textbox', { name: 'Text: price in dollars' });
  const units = app.getByRole('textbox', { name: 'Text: tokens for that price' });
  await expect(price).toHaveValue('0.00008');
  await expect(units).toHaveValue('1000');
  await price.fill('cheap');
  await price.press('Enter');
  await expect(price).toHaveAccessibleDescription(/Write an amount in dollars/);
  await price.fill('0.0001');
  await price.press('Enter');
  const form = app.locator('[data-key="price.generate.micro_usd"]');
  await expect(form.getByRole('button', { name: 'Save' })).toHaveCount(0);
  await expect(form).toContainText('Default: $0.00008');
  await form.getByRole('button', { name: 'Use the default of Text: price in dollars' }).click();
  await expect(price).toHaveValue('0.00008');
});

test('selling is switched, paused and stopped', async ({ app }) => {
  const card = app.getByRole('region', { name: /selling|stopped/i });
  const toggle = card.getByRole('switch', { name: 'Sell spare compute' });
  await expect(toggle).toHaveAttribute('aria-checked', 'false');
  await toggle.click();
  await expect(toggle).toHaveAttribute('aria-checked', 'true');

  // By keyboard: the menu opens, its first item is taken.
  const pause = card.getByRole('button', { name: 'Pause' });
  await expect(pause).toBeEnabled();
  await pause.focus();
  await app.keyboard.press('Enter');
  await expect(app.getByRole('menuitem', { name: '30 minutes' })).toBeFocused();
  await app.keyboard.press('Enter');
  await expect(app.getByRole('heading', { name: 'Selling is paused' })).toBeVisible();
  await card.getByRole('button', { name: 'Go on selling' }).click();
  await expect(app.getByRole('heading', { name: /^Selling, / })).toBeVisible();

  await card.getByRole('button', { name: 'Stop everything' }).click();
  const ask = app.getByRole('dialog', { name: 'Stop everything?' });
  await accessible(app);
  await ask.getByRole('button', { name: 'Stop everything' }).click();
  await expect(app.getByRole('heading', { name: 'Everything is stopped' })).toBeVisible();
  await visit(app, 'Jobs');
  await expect(app.getByText('Everything is stopped.').first()).toBeVisible();
  await visit(app, 'Overview');
  await card.getByRole('button', { name: 'Start again' }).click();
  await expect(app.getByRole('heading', { name: 'Everything is stopped' })).toHaveCount(0);
  await toggle.click();
  await expect(toggle).toHaveAttribute('aria-checked', 'false');
});

test.describe('in a zone ahead of UTC', () => {
  test.use({ timezoneId: 'Asia/Kolkata' });
  test('hours are saved with the clock that they are meant by', async ({ app }) => {
    await visit(app, 'Settings');
    const hours = app.locator('[data-key="guard.hours"]');
    const offset = app.locator('[data-key="utc_offset_minutes"]').getByRole('textbox');
    await expect(hours.getByText(/^By this clock it is .+, by this window’s .+/)).toBeVisible();
    await hours.getByRole('textbox').fill('00:00-24:00');
    await hours.getByRole('button', { name: 'Save' }).click();
    await expect(hours.getByText(/^By this clock it is \w+ .+ now\.$/)).toBeVisible();
    await expect(offset).toHaveValue('330');
    await accessible(app);

    // Nonsense leaves hours and clock as they are.
    await offset.fill('0');
    await offset.press('Enter');
    await expect(hours.getByRole('button', { name: 'Use the window’s clock' })).toBeVisible();
    await hours.getByRole('textbox').fill('late');
    await hours.getByRole('textbox').press('Enter');
    await expect(hours.getByRole('alert')).toContainText('hours such as');
    await expect(offset).toHaveValue('0');
    await hours.getByRole('textbox').fill('00:00-24:00');
    await hours.getByRole('button', { name: 'Use the window’s clock' }).click();
    await expect(offset).toHaveValue('330');
    await picture(app, 'settings-hours');

    await hours.getByRole('button', { name: /^Use the default of/ }).click();
    await app.locator('[data-key="utc_offset_minutes"]').getByRole('button', { name: /^Use the default of/ }).click();
    await expect(offset).toHaveValue('0');
  });
});
