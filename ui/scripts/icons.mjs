// Renders icons/icon.svg to the sizes that the shell, the tray and the packages need. Run by hand after a change of the
// drawing: `npm run icons`. The outputs are committed, so that a build needs no browser.
import { chromium } from '@playwright/test';
import { copyFile, readFile, writeFile } from 'node:fs/promises';

const icons = new URL('../../icons/', import.meta.url);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage();

async function png(svg, size) {
  await page.setViewportSize({ width: size, height: size });
  await page.setContent(`<style>body{margin:0}svg{display:block;width:${size}px;height:${size}px}</style>${svg}`);
  return page.screenshot({ omitBackground: true });
}

/** Windows: a directory of PNGs. */
function ico(images) {
  const head = Buffer.alloc(6 + 16 * images.length);
  head.writeUInt16LE(1, 2);
  head.writeUInt16LE(images.length, 4);
  let offset = head.length;
  images.forEach(({ size, data }, index) => {
    const at = 6 + 16 * index;
    // 0 stands for 256.
    head.writeUInt8(size % 256, at);
    head.writeUInt8(size % 256, at + 1);
    head.writeUInt16LE(1, at + 4);
    head.writeUInt16LE(32, at + 6);
    head.writeUInt32LE(data.length, at + 8);
    head.writeUInt32LE(offset, at + 12);
    offset += data.length;
  });
  return Buffer.concat([head, ...images.map(({ data }) => data)]);
}

/** macOS: tagged PNGs with their lengths. */
function icns(images) {
  const parts = images.map(({ tag, data }) => {
    const head = Buffer.alloc(8);
    head.write(tag, 'ascii');
    head.writeUInt32BE(data.length + 8, 4);
    return Buffer.concat([head, data]);
  });
  const head = Buffer.alloc(8);
  head.write('icns', 'ascii');
  head.writeUInt32BE(8 + parts.reduce((sum, part) => sum + part.length, 0), 4);
  return Buffer.concat([head, ...parts]);
}

const mark = await readFile(new URL('icon.svg', icons), 'utf8');
const sizes = new Map();
for (const size of [16, 24, 32, 48, 64, 128, 256, 512, 1024]) sizes.set(size, await png(mark, size));

const write = (name, data) => writeFile(new URL(name, icons), data);
for (const size of [16, 24, 32, 48, 64, 128, 256, 512]) await write(`${size}x${size}.png`, sizes.get(size));
await write('icon.ico', ico([16, 32, 48, 256].map((size) => ({ size, data: sizes.get(size) }))));
await write(
  'icon.icns',
  icns([
    { tag: 'ic07', data: sizes.get(128) },
    { tag: 'ic08', data: sizes.get(256) },
    { tag: 'ic09', data: sizes.get(512) },
    { tag: 'ic10', data: sizes.get(1024) },
  ]),
);
await copyFile(new URL('icon.svg', icons), new URL('../public/favicon.svg', import.meta.url));
await browser.close();
