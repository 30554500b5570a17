import { accessible, expect, picture, test, visit } from './tender';

test('an invitation is a link with an end', async ({ app, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await visit(app, 'Network');
  await app.getByRole('button', { name: 'Invite a peer' }).first().click();
  const dialog = app.getByRole('dialog', { name: 'Invite a peer' });
  await expect(dialog.getByLabel('Name that peers see')).toHaveValue(/.+/);
  await dialog.getByLabel('Credit limit, dollars').fill('0.25');
  await dialog.getByRole('button', { name: 'Make link' }).click();
  const link = dialog.getByLabel('Invitation link');
  await expect(link).toHaveValue(/\S+/);
  await expect(dialog.getByText(/^Works once, until /)).toBeVisible();
  await accessible(app);
  await picture(app, 'invite');
  await dialog.getByRole('button', { name: 'Copy link' }).click();
  expect(await app.evaluate(() => navigator.clipboard.readText())).toBe(await link.inputValue());

  // The link is a secret: it is gone when the dialog is.
  await dialog.getByRole('button', { name: 'Done' }).click();
  await app.getByRole('button', { name: 'Invite a peer' }).first().click();
  await expect(link).toHaveCount(0);
});

test('a link that is none is refused with a reason', async ({ app }) => {
  await visit(app, 'Network');
  await app.getByRole('button', { name: 'Add a peer' }).first().click();
  const dialog = app.getByRole('dialog', { name: 'Add a peer' });
  await dialog.getByLabel('Invitation link').fill('this is no link');
  await dialog.getByRole('button', { name: 'Add a peer' }).click();
  await expect(dialog.getByRole('alert')).toContainText('No money moved');
  await accessible(app);
  await picture(app, 'add-peer-refused');
});
