import { accessible, expect, fits, picture, settled, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 120_000 });

test('the own log says what it rests on, or that it is too short', async ({ app }) => {
  await visit(app, 'Break-even');
  const log = app.getByRole('region', { name: 'Your own job log', exact: true });
  await expect(log).toContainText(/Rests on \d+ text jobs of the card|No text was written here yet/);
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await app.getByRole('heading', { level: 2, name: 'Your own job log' }).evaluate((title) => title.scrollIntoView({ block: 'start' }));
    await fits(app);
    await accessible(app);
    await picture(app, `log-${look.name}`);
  }
});

test('what the log measured goes into the calculation', async ({ app }) => {
  await visit(app, 'Break-even');
  const log = app.getByRole('region', { name: 'Your own job log', exact: true });
  await expect(log).toContainText(/Rests on|No text was written/);
  const take = log.getByRole('button', { name: 'Put these figures into the calculation' });
  // Twenty text jobs make a log; a younger node says how many are missing.
  test.skip((await take.count()) === 0, 'the log of this node is too short');
  await log.getByLabel('API to compare with').selectOption({ label: 'gpt-4o' });
  await expect(log).toContainText('$10.00 out per million tokens');
  await take.click();
  await expect(app.getByLabel('API price of text', { exact: true })).toHaveValue('10');
  await expect(app.getByText('measured', { exact: true }).first()).toBeVisible();
  await settled(app, 'Break-even');
  await expect(app.locator('.figure').first()).not.toHaveText('');
});

test('a log that cannot be read leaves the rest of the screen as it is', async ({ app }) => {
  await app.route('**/api/breakeven_log', (route) => route.fulfill({ status: 500, json: { code: 'storage', message: 'the log is not readable', hint: 'look at Health' } }));
  await app.getByRole('navigation').getByRole('link', { name: 'Break-even' }).click();
  await expect(app.getByRole('alert')).toContainText('The log is not readable.');
  await expect(app.locator('.figure').first()).toHaveText(/tokens a day|never|beyond these cards/);
});
