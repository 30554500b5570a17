import { readFile } from 'node:fs/promises';
import { accessible, call, expect, fits, settled, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 240_000 });

test('what was earned is shown after electricity and wear, by day and by hour, and leaves as lines', async ({ app }) => {
  await visit(app, 'Earnings');
  // The first trade filled the book of demonstrations.
  await app.getByRole('radio', { name: 'Demonstration' }).check({ force: true });
  await settled(app, 'Earnings');
  const net = app.getByRole('slider', { name: 'Net of everything' });
  await expect(net).toBeVisible();
  await net.focus();
  // The owner of the demonstration bought.
  await net.press('End');
  await expect(net).toHaveAttribute('aria-valuetext', /: nothing sold\.$/);
  const hours = app.getByRole('slider', { name: 'Hours of the week' });
  await hours.focus();
  await hours.press('Home');
  await expect(hours).toHaveAttribute('aria-valuetext', /^Monday, 00:00 to 01:00: \$/);
  await hours.press('ArrowDown');
  await hours.press('ArrowRight');
  await expect(hours).toHaveAttribute('aria-valuetext', /^Tuesday, 01:00 to 02:00: \$/);
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await fits(app);
    await accessible(app);
    await app.screenshot({ path: `e2e/.shots/earnings-net-${look.name}.png`, fullPage: true });
  }
  await app.getByRole('button', { name: /^Show as table.*Net of everything/ }).click();
  await expect(app.getByRole('region', { name: 'Net of everything' }).getByRole('columnheader', { name: 'Predicted' })).toBeVisible();
  await app.getByRole('button', { name: /^Show as table.*Hours of the week/ }).click();
  await expect(app.getByRole('region', { name: 'Hours of the week' }).getByRole('columnheader', { name: 'Sunday' })).toBeVisible();
  await accessible(app);

  const saved = app.waitForEvent('download');
  await app.getByRole('button', { name: 'Export CSV' }).click();
  const csv = await readFile(await (await saved).path(), 'utf8');
  expect(csv.split('\n').length).toBeGreaterThan(1);
  expect(csv).toContain(',');
});

test('a loss is told as one wherever money is told', async ({ app }) => {
  // A node alone has no buyer: what its last day came to is put into its answers.
  const day = { earned_micro_usd: 120, spent_micro_usd: 0, electricity_micro_usd: 100, wear_micro_usd: 50, net_micro_usd: -30, predicted_micro_usd: 20, jobs_sold: 2, measured: false };
  await app.route('**/api/earnings', async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    json.days[json.days.length - 1] = { ...json.days.at(-1), ...day };
    await route.fulfill({ response, json });
  });
  await app.route('**/api/watch_overview*', async (route) => {
    const overview = { ...(await call(app.request, 'overview', {})), earned_today_micro_usd: 120 };
    await route.fulfill({ contentType: 'text/event-stream', body: `id: 1\ndata: ${JSON.stringify(overview)}\n\n` });
  });
  await app.reload();
  await expect(app.getByText('Left today, after electricity and wear')).toBeVisible();
  await expect(app.locator('.figure').first()).toHaveText('−$0.00003');
  await expect(app.getByText('Earned $0.00012. Spent $0.00 of at most $5.00')).toBeVisible();
  await app.unroute('**/api/watch_overview*');
  await visit(app, 'Sell');
  const note = app.getByRole('note');
  await expect(note).toContainText('The last 2 jobs sold, in 7 days, came to −$0.00003 after electricity and wear: they took longer than expected');
  await accessible(app);
  await note.getByRole('link', { name: 'See Earnings' }).click();
  const net = app.getByRole('slider', { name: 'Net of everything' });
  await net.focus();
  await net.press('End');
  await expect(net).toHaveAttribute('aria-valuetext', /: earned \$0\.00012, electricity \$0\.0001, wear \$0\.00005, left −\$0\.00003; predicted \$0\.00002/);
});
