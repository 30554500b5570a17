import type { Locator } from '@playwright/test';
import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;

test('a text is asked for, read while it is written, and kept', async ({ app, context }) => {
  test.setTimeout(240_000);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await expect(form.getByRole('radio', { name: 'Text' })).toBeChecked();
  await expect(form.getByLabel('Model')).toHaveValue('SmolLM2-135M-Instruct');
  await accessible(app);
  await picture(app, 'text-form');

  // What is wrong is said at its field, and the first such field has the focus, folded or not.
  await form.getByRole('button', { name: 'Submit job' }).click();
  const prompt = form.getByRole('textbox', { name: 'Prompt' });
  await expect(prompt).toBeFocused();
  await expect(prompt).toHaveAccessibleDescription('Write what the model is to answer.');
  await prompt.fill('Count from one to twenty in words.');
  await form.locator('summary').click();
  const temperature = form.getByLabel('Temperature');
  await temperature.fill('warm');
  await form.locator('summary').click();
  await expect(temperature).toBeHidden();
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(temperature).toBeFocused();
  await expect(temperature).toHaveAccessibleDescription(/Write a number from 0 to 2\./);
  await accessible(app);
  await picture(app, 'text-form-errors');
  await temperature.fill('0');
  await form.getByLabel('Tokens at most').fill('9000');
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(form.getByLabel('Tokens at most')).toHaveAccessibleDescription(/may have 8,192 tokens with this model/);
  await form.getByLabel('Tokens at most').fill('48');

  await form.getByRole('button', { name: 'What would it cost where?' }).click();
  const decision = form.getByRole('region', { name: 'What was compared' });
  await expect(decision.getByRole('rowheader', { name: 'This machine' })).toBeVisible({ timeout: 60_000 });
  await expect(form.getByText('Nothing was submitted.')).toBeVisible();
  await picture(app, 'text-form-decided');
  await form.getByRole('radio', { name: 'Only on this machine' }).check({ force: true });
  await expect(decision).toHaveCount(0);
  await form.getByRole('button', { name: 'Submit job' }).click();

  await expect(app).toHaveURL(/#\/jobs\/.+/);
  const detail = app.getByTestId('job-detail');
  const text = detail.getByRole('region', { name: 'The text itself' });
  const size = async () => (await text.boundingBox())!;
  await expect(text).toContainText(/\w+/);
  // It grows: what is read later begins with what was read before.
  const early = await growing(text, '');
  const later = await growing(text, early);
  expect(later.startsWith(early)).toBe(true);
  const before = await size();
  await picture(app, 'text-writing');

  await expect(detail).toHaveAttribute('data-state', 'completed', { timeout: 200_000 });
  await expect(detail.getByText(/^(By itself, or at a stop sequence|Cut off at the limit of 48 tokens)\.$/).last()).toBeVisible();
  await expect(detail.getByText('Run on this machine, nothing to verify.')).toBeVisible();
  const whole = (await text.textContent())!;
  expect(whole.startsWith(later)).toBe(true);
  // Nothing jumps when it ends.
  expect(await size()).toEqual(before);
  await detail.getByRole('button', { name: 'Copy', exact: true }).click();
  expect(await app.evaluate(() => navigator.clipboard.readText())).toBe(whole);

  const address = app.url();
  for (const look of LOOKS) {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await fits(app);
    await accessible(app);
    await picture(app, `text-${look.name}`);
  }
  await app.keyboard.press('Escape');
  await app.goto(address);
  await expect(text).toHaveText(whole);
  const file = app.waitForEvent('download');
  await detail.getByRole('button', { name: 'Download output' }).click();
  expect((await file).suggestedFilename()).toMatch(/^tender-generate-.+\.json$/);
});

/** The text once it is longer than `known`, or whole: a fast card is done before the page looks. */
async function growing(text: Locator, known: string): Promise<string> {
  const page = text.page();
  let now = known;
  await expect
    .poll(
      async () => {
        const over = (await page.locator('[data-testid="job-detail"][data-state="completed"]').count()) > 0;
        now = (await text.locator('.text').allTextContents())[0] ?? known;
        return now !== known || (over && now !== '');
      },
      { timeout: 100_000, intervals: [50] },
    )
    .toBe(true);
  return now;
}

test('a text that is cancelled keeps what was read of it', async ({ app }) => {
  test.setTimeout(180_000);
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('textbox', { name: 'Prompt' }).fill('Tell a very long story about a lighthouse.');
  await form.getByLabel('Tokens at most').fill('2000');
  await expect(form.getByLabel('Model')).toHaveValue(/.+/);
  await form.getByRole('button', { name: 'Submit job' }).click();
  const detail = app.getByTestId('job-detail');
  const text = detail.getByRole('region', { name: 'The text itself' });
  const early = await growing(text, '');
  await detail.getByRole('button', { name: 'Cancel job' }).click();
  await expect(detail).toHaveAttribute('data-state', 'cancelled', { timeout: 30_000 });
  expect((await text.textContent())!.startsWith(early)).toBe(true);
  await expect(detail.getByText('The job ended before the text did.').last()).toBeVisible();
  await expect(detail.getByRole('button', { name: 'Cancel job' })).toHaveCount(0);
  await accessible(app);
  await picture(app, 'text-cancelled');
});
