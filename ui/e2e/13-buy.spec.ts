import { accessible, expect, fits, picture, test, visit } from './tender';

const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1280, height: 860 },
  { name: 'dark', colorScheme: 'dark', width: 1280, height: 860 },
  { name: 'small', colorScheme: 'light', width: 800, height: 600 },
  { name: 'narrow', colorScheme: 'dark', width: 360, height: 720 },
] as const;
const KINDS = ['Text', 'Embeddings', 'Matrix product', 'Catalogue kernel', 'WGSL kernel'];

test('a matrix product: the shape says which file is wanted, a wrong one is refused, random numbers run', async ({ app }) => {
  test.setTimeout(120_000);
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('radio', { name: 'Matrix product' }).check({ force: true });
  await form.getByLabel('Rows of A').fill('64');
  await form.getByLabel('Columns of A').fill('32');
  await form.getByLabel('Columns of B').fill('16');
  await expect(form.getByText('Row by row, little-endian: 10,240 bytes in all.')).toBeVisible();
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(form.getByText('Choose the file, or use random numbers to try.')).toBeVisible();
  await form.locator('input[type="file"]').setInputFiles({ name: 'short.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(100) });
  await expect(form.getByText('The file has 100 bytes; this shape takes 10,240 bytes.')).toBeVisible();
  await accessible(app);
  await picture(app, 'buy-gemm-refused');
  await form.getByRole('button', { name: 'Use random numbers' }).click();

  await form.getByRole('button', { name: 'What would it cost where?' }).click();
  const decision = form.getByRole('region', { name: 'What was compared' });
  await expect(decision.getByRole('rowheader', { name: 'This machine' })).toBeVisible({ timeout: 60_000 });
  await accessible(app);
  await picture(app, 'buy-decided');
  // What is changed makes what was decided old.
  await form.getByLabel('Budget, dollars').fill('0.06');
  await expect(decision).toHaveCount(0);
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(app.getByTestId('job-detail')).toHaveAttribute('data-state', 'completed', { timeout: 100_000 });
});

test('a kernel of the catalogue needs no file for random paths', async ({ app }) => {
  test.setTimeout(120_000);
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('radio', { name: 'Catalogue kernel' }).check({ force: true });
  await form.getByLabel('Blocks').fill('0');
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(form.getByLabel('Blocks')).toBeFocused();
  await form.getByLabel('Blocks').fill('16');
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(app.getByTestId('job-detail')).toHaveAttribute('data-state', 'completed', { timeout: 100_000 });
});

test('an own kernel runs as the example stands, and a dropped file becomes its source', async ({ app }) => {
  test.setTimeout(120_000);
  await visit(app, 'Buy');
  const form = app.getByRole('form', { name: 'Run a job' });
  await form.getByRole('radio', { name: 'WGSL kernel' }).check({ force: true });
  const files = await app.evaluateHandle(() => {
    const data = new DataTransfer();
    data.items.add(new File(['// dropped'], 'kernel.wgsl', { type: 'text/plain' }));
    return data;
  });
  await form.dispatchEvent('drop', { dataTransfer: files });
  await expect(form.getByLabel('WGSL source')).toHaveValue('// dropped');
  await form.getByLabel('WGSL source').fill('');
  await form.getByRole('button', { name: 'Insert an example' }).click();
  await form.getByRole('radio', { name: 'Only on this machine' }).check({ force: true });
  await form.getByRole('button', { name: 'Submit job' }).click();
  await expect(app.getByTestId('job-detail')).toHaveAttribute('data-state', 'completed', { timeout: 100_000 });
});

test('the cap of a day is changed beside what was spent', async ({ app }) => {
  await visit(app, 'Buy');
  const today = app.getByRole('region', { name: 'Today' });
  const cap = today.getByRole('textbox', { name: 'Spend at most, per day' });
  await cap.fill('much');
  await cap.press('Enter');
  await expect(today.getByRole('alert')).toContainText('Write an amount in dollars');
  await cap.fill('7.50');
  await cap.press('Enter');
  await expect(today.getByText('$7.50')).toBeVisible();
  await today.getByRole('button', { name: 'Use the default of Spend at most, per day' }).click();
  await expect(today.getByText('$5.00').first()).toBeVisible();
});

for (const look of LOOKS) {
  test(`the place Buy with every kind of job, ${look.name}`, async ({ app }) => {
    await app.emulateMedia({ colorScheme: look.colorScheme });
    await app.setViewportSize({ width: look.width, height: look.height });
    await visit(app, 'Buy');
    for (const kind of KINDS) {
      await app.getByRole('radio', { name: kind, exact: true }).check({ force: true });
      await fits(app);
      await accessible(app);
      await app.screenshot({ path: `e2e/.shots/buy-${kind.toLowerCase().replace(' ', '-')}-${look.name}.png`, fullPage: true });
    }
  });
}
