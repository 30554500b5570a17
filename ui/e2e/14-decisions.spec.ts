import { readFile } from 'node:fs/promises';
import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test('a decision says what was compared, why not another, and what another policy would have done', async ({ app }) => {
  await visit(app, 'Decisions');
  await expect(app.getByRole('row')).not.toHaveCount(0);
  await app.getByRole('link', { name: /128|64|passage|softmax|monte/ }).first().click();
  await expect(app).toHaveURL(/#\/decisions\/.+/);
  const decision = app.getByTestId('decision');
  const strip = decision.getByRole('region', { name: 'What was compared' });
  await expect(strip.getByRole('columnheader', { name: /Expected total/ })).toBeVisible();
  await expect(strip.getByRole('columnheader', { name: /Closeness/ })).toBeVisible();
  await expect(strip.getByRole('rowheader').first()).toContainText('chosen');
  await expect(decision.getByText('Decided again just now from the receipt: the same bits came out.')).toBeVisible();
  await accessible(app);
  await picture(app, 'decision');

  await decision.getByLabel('Replay with').selectOption('cheapest');
  await expect(decision.getByRole('region', { name: 'What cheapest compares' })).toBeVisible();
  await expect(decision.getByText('The same place.')).toBeVisible();
  await accessible(app);
  await picture(app, 'decision-replayed');

  const file = app.waitForEvent('download');
  await decision.getByRole('button', { name: 'Download receipt' }).click();
  const saved = await file;
  expect(saved.suggestedFilename()).toMatch(/^tender-decision-.+\.json$/);
  const receipt = JSON.parse(await readFile(await saved.path(), 'utf8')) as { engine: string; rows: unknown[] };
  expect(receipt.engine).toMatch(/^tender-engine\//);
  expect(receipt.rows.length).toBeGreaterThan(0);

  // It has its own address, and leads to its job and back.
  const address = app.url();
  await decision.getByRole('link', { name: 'To the job' }).click();
  await expect(app.getByTestId('job-detail')).toBeVisible();
  await app.getByRole('link', { name: 'Everything that was compared' }).click();
  await expect(app).toHaveURL(address);
  await expect(app.getByTestId('decision')).toBeVisible();
  await app.keyboard.press('Escape');
  await expect(app).toHaveURL(/#\/decisions$/);
});

for (const look of LOOKS) {
  test(`the place Decisions, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await visit(app, 'Decisions');
    await fits(app);
    await accessible(app);
    await picture(app, `decisions-list-${look.name}`);
    await app.getByRole('link', { name: /×|passage|monte/ }).first().click();
    await expect(app.getByTestId('decision')).toBeVisible();
    await fits(app);
    await accessible(app);
    await picture(app, `decision-${look.name}`);
  });
}

test('without decisions it says what will stand here, and an unknown one is an error', async ({ app }) => {
  await app.route('**/api/decisions', (route) => route.fulfill({ json: { decisions: [], next: null } }));
  await app.getByRole('navigation').getByRole('link', { name: 'Decisions' }).click();
  await expect(app.getByRole('heading', { name: 'No decisions yet' })).toBeVisible();
  await accessible(app);
  await picture(app, 'decisions-empty');
  await app.goto(app.url() + '/01a1ffd9-0000-7000-8000-000000000000');
  await expect(app.getByRole('dialog').getByRole('alert')).toBeVisible();
});
