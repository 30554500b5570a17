import { accessible, call, expect, fits, picture, settled, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 120_000 });

/** What the log is asked first by the screen. */
const QUERY = { api_model: 'openai/gpt-4o-mini', days: 90, busy_hours: 24, seed: null };
/** So many texts make a log that a calculation may rest on. */
const ENOUGH = 20;

test.beforeAll(async ({ request }) => {
  test.setTimeout(400_000);
  const before = (await call(request, 'breakeven_log', QUERY)).card_jobs;
  for (let text = 0; text < ENOUGH; text += 1) {
    const work = { kind: 'generate', model: null, messages: null, prompt: `Say ${text}.`, max_tokens: 4, temperature: 0, top_k: null, top_p: null, seed: null, stop: null } as const;
    await call(request, 'submit', { work, budget_micro_usd: 10_000, deadline_seconds: 350, private: true, dry_run: null, peers_only: null });
  }
  await expect.poll(async () => (await call(request, 'breakeven_log', QUERY)).card_jobs, { timeout: 350_000 }).toBe(before + ENOUGH);
});

test('the own log says what it rests on', async ({ app }) => {
  await visit(app, 'Break-even');
  const log = app.getByRole('region', { name: 'Your own job log', exact: true });
  await expect(log).toContainText(/Rests on \d+ text jobs of the card/);
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
  const take = log.getByRole('button', { name: 'Put these figures into the calculation' });
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
  await app.getByLabel('Start from').selectOption('example');
  await expect(app.locator('.figure').first()).toHaveText('2.64 million tokens a day');
});
