import { expect, test } from 'vitest';
import { reach } from './reach';

test.each([
  ['http://127.0.0.1:36081', true, false],
  ['http://[::1]:80', true, false],
  ['http://localhost:7', true, false],
  ['https://tender.example:7433', false, true],
  ['http://192.168.1.4:7433', false, false],
  ['nowhere', false, false],
])('%s', (address, local, encrypted) => {
  expect(reach(address)).toEqual({ local, encrypted });
});
