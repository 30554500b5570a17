import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 120_000 });

test('a key is issued, shown once, works, and is taken back', async ({ app, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await visit(app, 'Network');
  await app.getByRole('button', { name: 'Issue a key' }).click();
  const dialog = app.getByRole('dialog', { name: 'Issue a key' });
  await dialog.getByRole('button', { name: 'Issue a key' }).click();
  await expect(dialog.getByLabel('Name of the client')).toHaveAccessibleDescription(/Write a name\./);
  await dialog.getByLabel('Name of the client').fill('nightly tests');
  await dialog.getByLabel('Credit limit, dollars').fill('0.25');
  await accessible(app);
  await dialog.getByRole('button', { name: 'Issue a key' }).click();
  const made = app.getByRole('dialog', { name: 'Key for nightly tests' });
  const key = made.getByLabel('Key', { exact: true });
  await expect(key).toHaveValue(/\S{20,}/);
  await accessible(app);
  await picture(app, 'key-made');
  await made.getByRole('button', { name: 'Copy key' }).click();
  const text = await key.inputValue();
  expect(await app.evaluate(() => navigator.clipboard.readText())).toBe(text);
  await made.getByRole('button', { name: 'Done' }).click();
  await expect(app.getByText(text)).toHaveCount(0);

  const row = app.getByRole('region', { name: 'List of API keys' }).getByRole('row', { name: /nightly tests/ });
  await expect(row).toContainText('$0.25');
  await app.getByRole('heading', { level: 2, name: 'API keys' }).scrollIntoViewIfNeeded();
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'API keys' }).evaluate((title) => title.scrollIntoView({ block: 'start' }));
    await fits(app);
    await accessible(app);
    await picture(app, `keys-${look.name}`);
  }
  await app.setViewportSize({ width: 1280, height: 860 });
  await app.getByRole('button', { name: 'Take back the key of nightly tests' }).click();
  const ask = app.getByRole('dialog', { name: 'Take back the key of nightly tests?' });
  await accessible(app);
  await ask.getByRole('button', { name: 'Take back' }).click();
  await expect(app.getByText('No key was issued')).toBeVisible();
});

test('how others reach this node is said', async ({ app }) => {
  await visit(app, 'Network');
  const facts = app.getByRole('region', { name: 'How others reach you' });
  await expect(facts).toContainText('http://127.0.0.1:');
  await expect(facts).toContainText('Only this machine can reach this address.');
});
