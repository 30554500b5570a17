import { defineConfig } from '@playwright/test';

/** Against a real node: whoever starts it gives its address, with the token in the fragment, as TENDER_URL. */
export default defineConfig({
  testDir: './e2e',
  outputDir: './test-results',
  // One node, one ledger: the specs run in order, each from where the one before left it.
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    locale: 'en-US',
    viewport: { width: 1280, height: 860 },
    // What is not there is said soon, not when the whole test's time is over.
    actionTimeout: 20_000,
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    },
  },
});
