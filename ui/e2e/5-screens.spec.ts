import { accessible, address, expect, fits, picture, test, visit } from './tender';

const PLACES = ['Overview', 'Sell', 'Jobs', 'Buy', 'Decisions', 'Earnings', 'Break-even', 'Simulator', 'Network', 'Settings', 'Health'];
const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
  // 800 × 600 at 200 % zoom.
  { name: 'zoomed', colorScheme: 'light', width: 400, height: 300 },
] as const;

// Every place is looked at by axe, which takes seconds.
test.describe.configure({ timeout: 240_000 });

for (const look of LOOKS) {
  test(`every screen, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    for (const place of PLACES) {
      await visit(app, place);
      await fits(app);
      await accessible(app);
      await picture(app, `${place.toLowerCase()}-${look.name}`);
    }
  });
}

test('the token leaves the address', async ({ app }) => {
  expect(app.url()).not.toContain('token');
  await app.reload();
  await expect(app.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  await expect(app.getByTestId('connection-lost')).toHaveCount(0);
});

test('the keyboard reaches a screen, and the focus goes to its title', async ({ app }) => {
  await app.keyboard.press('Tab');
  await expect(app.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  const jobs = app.getByRole('navigation').getByRole('link', { name: 'Jobs' });
  await jobs.focus();
  await app.keyboard.press('Enter');
  await expect(app.getByRole('heading', { level: 1, name: 'Jobs' })).toBeFocused();
  await expect(jobs).toHaveAttribute('aria-current', 'page');
});

test('a lost connection is shown, and ends by itself', async ({ page }) => {
  await page.route('**/api/**', (route) => route.abort());
  await page.goto(address);
  const lost = page.getByTestId('connection-lost');
  await expect(lost).toContainText('Connection to the node lost.');
  await accessible(page);
  await picture(page, 'connection-lost');
  await page.unroute('**/api/**');
  await expect(lost).toHaveCount(0, { timeout: 15_000 });
  await expect(page.locator('.skeleton')).toHaveCount(0);
});

test('an error says what it means and what to do', async ({ app }) => {
  await app.route('**/api/peers', (route) =>
    route.fulfill({ status: 500, json: { code: 'storage', message: 'the disk is full', hint: 'free some space' } }),
  );
  await app.getByRole('navigation').getByRole('link', { name: 'Network' }).click();
  const alert = app.getByRole('alert');
  await expect(alert).toContainText('The disk is full.');
  await expect(alert).toContainText('No money moved and no job changed.');
  await expect(alert).toContainText('Free some space.');
  await accessible(app);
  await picture(app, 'network-error');
  await app.unroute('**/api/peers');
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(alert).toHaveCount(0);
});

test('a key that the node does not know is told from a lost connection', async ({ page }) => {
  await page.goto(address.replace(/token=.*/, 'token=wrong'));
  await expect(page.getByTestId('connection-lost')).toContainText('The node does not know this window.');
});
