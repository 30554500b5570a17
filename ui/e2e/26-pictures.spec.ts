import type { Page } from '@playwright/test';
import { expect, settled, test, visit } from './tender';

// The pictures of the README are taken, not drawn: from a node that has traded, when they are asked for.
test.skip(process.env['TENDER_WRITE_PICTURES'] !== '1', 'TENDER_WRITE_PICTURES=1 writes docs/*.png');
test.use({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });

const write = async (app: Page, name: string) => {
  await app.mouse.move(0, 0);
  await app.evaluate(() => {
    (document.activeElement as HTMLElement | null)?.blur();
    window.scrollTo(0, 0);
  });
  await app.screenshot({ path: `../docs/${name}.png`, animations: 'disabled' });
};

test('the overview of a node that sells', async ({ app }) => {
  await settled(app, 'Overview');
  await expect(app.getByRole('slider', { name: /^The machine in the last/ })).toBeVisible();
  const hide = app.getByRole('button', { name: 'Hide' });
  if (await hide.isVisible()) await hide.click();
  await write(app, 'overview');
});

test('what to ask', async ({ app }) => {
  await visit(app, 'Sell');
  await write(app, 'sell');
});

test('why a job went where it went', async ({ app }) => {
  await visit(app, 'Decisions');
  const row = app.getByRole('table').getByRole('link').first();
  if ((await row.count()) > 0) {
    await row.click();
    await expect(app.getByRole('dialog')).toBeVisible();
    await expect(app.locator('.skeleton')).toHaveCount(0);
  }
  await write(app, 'decisions');
});

test('buy or outsource', async ({ app }) => {
  await visit(app, 'Break-even');
  await app.getByLabel('Start from').selectOption('example');
  await expect(app.locator('.figure').first()).toHaveText('2.64 million tokens a day');
  await write(app, 'breakeven');
});
