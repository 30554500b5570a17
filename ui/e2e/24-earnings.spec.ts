import { readFile } from 'node:fs/promises';
import { accessible, expect, fits, settled, test, visit } from './tender';

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
  await net.press('End');
  await expect(net).toHaveAttribute('aria-valuetext', /: .+/);
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
