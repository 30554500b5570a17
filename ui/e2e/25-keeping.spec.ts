import { mkdtemp, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 120_000 });

test('a backup is written where it is asked for, and a refusal says why', async ({ app }) => {
  const folder = join(await mkdtemp(join(tmpdir(), 'tender-')), 'backup');
  await visit(app, 'Settings');
  await app.getByRole('link', { name: 'Backup and help' }).click();
  await expect(app.getByRole('heading', { level: 2, name: 'Backup and help' })).toBeFocused();
  const write = app.getByRole('button', { name: 'Write backup' });
  await write.click();
  await expect(app.getByLabel('New folder')).toHaveAccessibleDescription(/does not exist yet/);
  await app.getByLabel('New folder').fill(folder);
  await write.click();
  await expect(app.getByText(`${folder} is written`).first()).toBeVisible();
  expect((await stat(folder)).isDirectory()).toBe(true);
  await write.click();
  await expect(app.getByRole('alert')).toContainText('No backup was written.');
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'Backup and help' }).evaluate((title) => title.scrollIntoView({ block: 'start' }));
    await fits(app);
    await accessible(app);
    await picture(app, `keeping-${look.name}`);
  }
});

test('the support bundle is shown whole before it is saved', async ({ app }) => {
  await visit(app, 'Settings');
  await app.getByRole('button', { name: 'Look at it' }).click();
  const drawer = app.getByRole('dialog', { name: 'Support bundle' });
  const text = drawer.locator('pre');
  await expect(text).toContainText(/\S{3,}/);
  await accessible(app);
  await picture(app, 'bundle');
  const shown = await text.textContent();
  const token = await app.evaluate(() => sessionStorage.getItem('tender.token'));
  expect(shown).not.toContain(token ?? 'no token');
  const saved = app.waitForEvent('download');
  await drawer.getByRole('button', { name: 'Save' }).click();
  expect(await readFile(await (await saved).path(), 'utf8')).toBe(shown);
});
