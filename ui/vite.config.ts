import { paraglideVitePlugin } from '@inlang/paraglide-js';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: './',
  plugins: [
    // Unit tests compile the messages first (`npm test`): the plugin's file watcher would keep Vitest from ending.
    ...(process.env['VITEST']
      ? []
      : [paraglideVitePlugin({ project: './project.inlang', outdir: './src/lib/paraglide', strategy: ['baseLocale'] })]),
    svelte(),
  ],
  resolve: { alias: { $lib: new URL('./src/lib', import.meta.url).pathname } },
  build: {
    // The content security policy has no data: fonts and no inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ['chrome123', 'safari17.5', 'firefox120'],
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
