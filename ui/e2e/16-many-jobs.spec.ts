import type { Browser, Page } from '@playwright/test';
import { accessible, expect, fits, picture, test } from './tender';

const MANY = 10_000;
const PAGE = 200;

// Playwright's own trace works in the page, too.
test.use({ trace: 'off' });

test('the list draws what is seen of 10,000 jobs, and no step of scrolling takes 50 ms of the processor', async ({ app, browser }) => {
  test.setTimeout(240_000);
  await app.route('**/api/jobs', async (route) => {
    const { before } = route.request().postDataJSON() as { before: string | null };
    const from = before === null ? 0 : Number(before.slice(-5)) + 1;
    const jobs = Array.from({ length: Math.min(PAGE, MANY - from) }, (_, index) => old(from + index));
    await route.fulfill({ json: { jobs, next: from + jobs.length < MANY ? jobs.at(-1)?.id : null } });
  });
  await app.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: 'Jobs' }).click();
  const list = app.getByRole('region', { name: 'Jobs' });
  await expect(list.getByRole('row').nth(5)).toBeVisible();
  expect(await list.getByRole('row').count()).toBeLessThan(60);
  await fits(app);
  await accessible(app);

  const box = (await list.boundingBox())!;
  await app.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const longest = await busiest(browser, app, async () => {
    await expect(async () => {
      for (let turn = 0; turn < 20; turn += 1) await app.mouse.wheel(0, 1_200);
      const left = await list.evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop);
      expect(left).toBeLessThan(2);
      await expect(list.getByRole('table')).not.toHaveAttribute('aria-rowcount', '-1', { timeout: 1 });
    }).toPass({ timeout: 180_000, intervals: [1] });
  });
  await expect(list.getByRole('row').last()).toContainText('job 9999');
  expect(await list.getByRole('row').count()).toBeLessThan(60);
  expect(longest).toBeGreaterThan(0);
  expect(longest).toBeLessThan(50);
  await picture(app, 'jobs-many');

  // Every row has the height that the others count on.
  const heights = await list.locator('tr[aria-rowindex]').evaluateAll((rows) => rows.map((row) => row.getBoundingClientRect().height));
  expect(new Set(heights.map(Math.round))).toEqual(new Set([62]));
});

/** The longest that the page's main thread worked on one task, in milliseconds of the processor: others at work on the machine do not count. */
async function busiest(browser: Browser, page: Page, run: () => Promise<void>): Promise<number> {
  await browser.startTracing(page, { categories: ['toplevel', '__metadata'] });
  await run();
  type Event = { name: string; pid: number; tid: number; tdur?: number; args?: { name?: string } };
  const events = (JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: Event[] }).traceEvents;
  const thread = ({ pid, tid }: Event) => `${pid} ${tid}`;
  const mains = new Set(events.filter((event) => event.name === 'thread_name' && event.args?.name === 'CrRendererMain').map(thread));
  return Math.max(0, ...events.filter((event) => event.name.endsWith('RunTask') && mains.has(thread(event))).map((event) => (event.tdur ?? 0) / 1_000));
}

const old = (index: number) => {
  const at = new Date(Date.UTC(2026, 0, 1) - index * 60_000).toISOString();
  return {
    id: `00000000-0000-7000-8000-0000000${String(index).padStart(5, '0')}`,
    role: index % 3 === 0 ? 'contractor' : 'client',
    book: 'real',
    kind: 'kernel',
    title: `job ${index}`,
    state: index % 3 === 0 ? null : index % 7 === 0 ? 'failed' : 'completed',
    contract_state: index % 3 === 0 ? 'settled' : null,
    reason: index % 7 === 0 ? 'no alternative is feasible: this machine is not available: own jobs do not run on the own GPU' : 'Computed on this machine',
    with: index % 3 === 0 ? 'Cellar' : 'this machine',
    amount_micro_usd: 1 + (index % 900),
    progress: null,
    created_at: at,
    changed_at: at,
  };
};
