import { accessible, expect, picture, test, visit } from './tender';

test('a newcomer runs a first trade and sees every step, every price and how it was verified', async ({ app }) => {
  test.setTimeout(240_000);
  const start = app.getByRole('button', { name: 'Run a first trade' });
  await expect(start).toBeVisible();
  await accessible(app);
  await picture(app, 'overview-empty');
  await start.click();

  const trade = app.getByTestId('first-trade');
  await expect(trade).toBeVisible();
  await expect(trade.getByText('Demonstration money').first()).toBeVisible();
  await accessible(app);
  await picture(app, 'first-trade-running');
  await expect(trade).toHaveAttribute('data-state', 'done', { timeout: 200_000 });
  await expect(trade.getByRole('listitem')).not.toHaveCount(0);

  const jobs = trade.getByRole('row');
  expect(await jobs.count()).toBeGreaterThan(1);
  for (const job of (await jobs.all()).slice(1)) {
    await expect(job).toContainText('$');
    await expect(job).toContainText('Verified.');
  }
  await accessible(app);
  await picture(app, 'first-trade-done');

  await visit(app, 'Earnings');
  await app.getByRole('radio', { name: 'Demonstration' }).check({ force: true });
  await expect(app.getByText('Demonstration money')).toBeVisible();
  await picture(app, 'earnings-demonstration');
});
