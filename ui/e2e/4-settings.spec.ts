import { accessible, expect, picture, test, visit } from './tender';

test('a refused value is said at its field, a good one is kept', async ({ app }) => {
  await visit(app, 'Settings');
  const row = app.locator('[data-key="slots"]');
  const field = row.getByRole('textbox', { name: 'slots' });
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
  await row.getByRole('button', { name: 'Use the default of slots' }).click();
  await expect(field).toHaveValue('1');
});

test('selling is switched, paused and stopped', async ({ app }) => {
  const card = app.getByRole('region', { name: /selling|stopped/i });
  const toggle = card.getByRole('switch', { name: 'Sell spare compute' });
  if ((await toggle.getAttribute('aria-checked')) !== 'true') await toggle.click();
  await expect(toggle).toHaveAttribute('aria-checked', 'true');

  // By keyboard: the menu opens, its first item is taken.
  const pause = card.getByRole('button', { name: 'Pause' });
  await expect(pause).toBeEnabled();
  await pause.focus();
  await app.keyboard.press('Enter');
  await expect(app.getByRole('menuitem', { name: '30 minutes' })).toBeFocused();
  await app.keyboard.press('Enter');
  await expect(app.getByRole('heading', { name: 'Selling is paused' })).toBeVisible();
  await card.getByRole('button', { name: 'End the pause' }).click();
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
