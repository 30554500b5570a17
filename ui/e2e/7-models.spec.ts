import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test('the models say what they are, what they need and whether they are here', async ({ app }) => {
  await visit(app, 'Settings');
  await app.getByRole('navigation', { name: 'Groups of settings' }).getByRole('link', { name: 'Models' }).click();
  await expect(app).toHaveURL(/#\/settings\/models$/);
  await expect(app.getByRole('heading', { level: 2, name: 'Models' })).toBeFocused();
  const model = app.locator('[data-model="SmolLM2-135M-Instruct"]');
  await expect(model).toHaveAttribute('data-state', 'ready');
  for (const fact of ['135 M parameters', 'Q4_1', 'context 8,192', 'Apache-2.0', '98.4 MB', 'GiB', 'Ready']) await expect(model).toContainText(fact);
  await model.getByRole('button', { name: 'why?' }).click();
  await expect(app.getByText(/^It needs .+/)).toBeVisible();
  await app.keyboard.press('Escape');
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'Models' }).scrollIntoViewIfNeeded();
    await fits(app);
    await accessible(app);
    await picture(app, `models-${look.name}`);
  }
});

test('a model is not deleted without being asked for, and a file that is none is refused', async ({ app }) => {
  await visit(app, 'Settings');
  const model = app.locator('[data-model="SmolLM2-135M-Instruct"]');
  await model.getByRole('button', { name: 'Actions for SmolLM2-135M-Instruct' }).click();
  await app.getByRole('menuitem', { name: 'Delete' }).click();
  const ask = app.getByRole('dialog', { name: 'Delete SmolLM2-135M-Instruct?' });
  await expect(ask).toContainText('98.4 MB');
  await accessible(app);
  await picture(app, 'model-delete');
  await ask.getByRole('button', { name: 'Keep model' }).click();
  await expect(ask).toHaveCount(0);
  await expect(model).toHaveAttribute('data-state', 'ready');

  await app.getByRole('button', { name: 'Add a file' }).click();
  const dialog = app.getByRole('dialog', { name: 'Add a file' });
  await dialog.getByRole('button', { name: 'Add a file' }).click();
  await expect(dialog.getByLabel('Path of the file')).toHaveAccessibleDescription(/Write the path of a GGUF file\./);
  await dialog.getByLabel('Path of the file').fill('models/here.gguf');
  await dialog.getByRole('button', { name: 'Add a file' }).click();
  await expect(dialog.getByRole('alert')).toContainText('no absolute path');
  await expect(dialog.getByRole('alert')).toContainText('The file was not added.');
  await accessible(app);
  await picture(app, 'model-add-refused');
});

test('a download that cannot begin says why, and changes nothing', async ({ app }) => {
  test.setTimeout(180_000);
  // Nothing listens on port 1 of this machine; the node tries a few times before it gives up.
  await visit(app, 'Settings');
  const source = app.getByRole('textbox', { name: 'Source of downloads' });
  await source.fill('http://127.0.0.1:1');
  await source.press('Enter');
  const form = app.locator('[data-key="models_source"]');
  await expect(form.getByRole('button', { name: 'Save' })).toHaveCount(0);
  const model = app.locator('[data-model][data-state="absent"]').first();
  const name = (await model.getAttribute('data-model'))!;
  const row = app.locator(`[data-model="${name}"]`);
  await row.getByRole('button', { name: `Download ${name}` }).click();
  await expect(row).toContainText('127.0.0.1:1', { timeout: 60_000 });
  await expect(row).not.toHaveAttribute('data-state', 'ready');
  await row.scrollIntoViewIfNeeded();
  await accessible(app);
  await picture(app, 'model-download-failed');
  const stop = row.getByRole('button', { name: `Cancel the download of ${name}` });
  if (await stop.isVisible()) await stop.click();
  await form.getByRole('button', { name: 'Use the default of Source of downloads' }).click();
  await expect(source).not.toHaveValue('http://127.0.0.1:1');
});
