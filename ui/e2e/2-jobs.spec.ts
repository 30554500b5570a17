import { accessible, expect, picture, test, visit } from './tender';

test('a job is submitted, followed in its drawer and kept in the list', async ({ app }) => {
  test.setTimeout(180_000);
  await visit(app, 'Jobs');
  await app.getByRole('link', { name: 'Run a job' }).first().click();
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('radio', { name: 'Embeddings' }).check({ force: true });

  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(form.getByText('Write at least one passage.')).toBeVisible();
  await form.getByLabel('Passages').fill('The cat sat on the mat.\n\nA call for tenders goes out.');
  await expect(form.getByText('2 passages.')).toBeVisible();
  await form.getByLabel('Budget, dollars').fill('much');
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(form.getByText('Write an amount in dollars')).toBeVisible();
  await accessible(app);
  await picture(app, 'run-a-job');
  await form.getByLabel('Budget, dollars').fill('0.50');
  await form.getByRole('button', { name: 'Submit job' }).click();

  await expect(app).toHaveURL(/#\/jobs\/.+/);
  const detail = app.getByTestId('job-detail');
  await expect(detail).toHaveAttribute('data-state', 'completed', { timeout: 150_000 });
  await expect(detail.getByText('SHA-256')).toBeVisible();
  await accessible(app);
  await picture(app, 'job-detail');
  const file = app.waitForEvent('download');
  await detail.getByRole('button', { name: 'Download output' }).click();
  expect((await file).suggestedFilename()).toMatch(/^tender-embed-.+\.bin$/);

  // The drawer has its own address: it opens again from there.
  const address = app.url();
  await app.keyboard.press('Escape');
  await expect(app).toHaveURL(/#\/jobs$/);
  await expect(app.getByRole('dialog')).toHaveCount(0);
  await app.goto(address);
  await expect(app.getByTestId('job-detail')).toBeVisible();
  await app.keyboard.press('Escape');

  await expect(app.getByRole('row', { name: /2 passages/ }).first()).toContainText('Completed');
  await app.getByRole('radio', { name: 'Sold' }).check({ force: true });
  await expect(app.getByRole('row', { name: /2 passages/ })).toHaveCount(0);
});
