import { readFile } from 'node:fs/promises';
import { accessible, expect, picture, test, visit } from './tender';

test('a job is run again, and its input comes back as it was', async ({ app }) => {
  test.setTimeout(120_000);
  await visit(app, 'Jobs');
  const such = app.getByRole('row', { name: /3 passages/ });
  const before = await such.count();
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('radio', { name: 'Embeddings' }).check({ force: true });
  await form.getByLabel('Passages').fill('The first of three.\nThe second.\nThe third.');
  await form.getByRole('button', { name: 'Submit job' }).click();
  const detail = app.getByTestId('job-detail');
  await expect(detail).toHaveAttribute('data-state', 'completed', { timeout: 100_000 });
  const first = app.url();

  const file = app.waitForEvent('download');
  await detail.getByRole('button', { name: 'Download input' }).click();
  const saved = await file;
  expect(saved.suggestedFilename()).toMatch(/^tender-embed-.+-input\.json$/);
  expect(JSON.parse(await readFile(await saved.path(), 'utf8'))).toEqual(['The first of three.', 'The second.', 'The third.']);

  await detail.getByRole('button', { name: 'Run again' }).click();
  await expect(app).not.toHaveURL(first);
  await expect(detail).toHaveAttribute('data-state', 'completed', { timeout: 100_000 });
  await accessible(app);
  await picture(app, 'job-again');
  await app.keyboard.press('Escape');
  await expect(such).toHaveCount(before + 2);
});
