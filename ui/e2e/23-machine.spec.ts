import { accessible, expect, fits, picture, test } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test.describe.configure({ timeout: 120_000 });

test('the machine is shown live, by pointer, by keyboard and as a table', async ({ app }) => {
  const strip = app.getByRole('slider', { name: 'The machine in the last 10 minutes' });
  await expect(strip).toBeVisible();
  // What is live moves on by itself.
  const line = () => app.locator('path.line.processor').last().getAttribute('d');
  const first = await line();
  await expect.poll(line, { timeout: 15_000 }).not.toBe(first);
  await strip.focus();
  await strip.press('End');
  await expect(strip).toHaveAttribute('aria-valuetext', /^now: .*Processor load \d+%/);
  await strip.press('Home');
  await expect(strip).toHaveAttribute('aria-valuetext', / ago: /);
  await strip.press('Escape');
  await strip.hover({ position: { x: 400, y: 40 } });
  await expect(app.locator('.reading')).toContainText('Processor');
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await fits(app);
    await accessible(app);
    await app.screenshot({ path: `e2e/.shots/machine-${look.name}.png`, fullPage: true });
  }
  await app.getByRole('button', { name: 'Show as table' }).click();
  await expect(app.getByRole('region', { name: 'The machine in the last ten minutes, as a table' }).getByRole('columnheader', { name: 'Processor' })).toBeVisible();
  await accessible(app);
  await picture(app, 'machine-table');
});

test('what no card reports is said to be not measured', async ({ app }) => {
  const card = app.getByRole('slider', { name: 'The machine in the last 10 minutes' });
  await expect(card).toBeVisible();
  const missing = app.getByText(/^Not measured: /);
  const words = (await card.getAttribute('aria-valuetext')) ?? '';
  if (/Power \d/.test(words)) await expect(missing).toHaveCount(0);
  else await expect(missing).toContainText('power');
});
