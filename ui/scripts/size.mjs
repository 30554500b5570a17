// What a browser loads, compressed as a server would send it, stays within its budget.
import { readFileSync, readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET_KB = 350;
const dist = new URL('../dist/', import.meta.url);
const files = readdirSync(dist, { recursive: true }).filter((name) => /\.(js|css|html)$/.test(name));
const kb = files.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, dist))).length, 0) / 1000;
console.log(`bundle: ${kb.toFixed(1)} kB gzipped of ${BUDGET_KB} kB`);
if (files.length === 0 || kb > BUDGET_KB) {
  console.error('The bundle is over its budget: look at what was added, or load it when its screen is opened.');
  process.exit(1);
}
