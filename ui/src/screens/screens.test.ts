import { expect, test } from 'vitest';
import { sentence } from '../lib/parts/sentence';
import { asText, fromText } from './settings/value';

test('what the node says becomes a sentence', () => {
  expect(sentence('the cap is reached')).toBe('The cap is reached.');
  expect(sentence('`slots` is 0')).toBe('`slots` is 0.');
  expect(sentence('price.embed takes a number')).toBe('price.embed takes a number.');
  expect(sentence('Done.')).toBe('Done.');
  expect(sentence('')).toBe('');
  // Names keep their case.
  expect(sentence('vm is expected to cost the least', 'vm')).toBe('vm is expected to cost the least.');
  expect(sentence('this machine has the lowest bill', 'this machine')).toBe('This machine has the lowest bill.');
});

test('the text of a setting becomes a value of its kind', () => {
  const setting = (value: string | number | null, initial: string | number | null) => ({ key: 'k', value, default: initial, about: '' });
  expect(fromText('0,31', setting(0.17, 0.17))).toBe(0.31);
  expect(fromText('two', setting(1, 1))).toBe('two');
  expect(fromText('42', setting('', ''))).toBe('42');
  expect(fromText('', setting('2026-11-21T00:00:00Z', null))).toBeNull();
  expect(fromText('', setting('x', ''))).toBe('');
});

test('amounts are read and written in dollars', () => {
  const setting = { key: 'price.embed.micro_usd', value: 20, default: 20, about: '' };
  expect(asText(20, setting.key)).toBe('0.00002');
  expect(fromText('0.00002', setting)).toBe(20);
  expect(fromText('$5', setting)).toBe(5_000_000);
  expect(fromText('five', setting)).toBeUndefined();
  expect(fromText('0.0000001', setting)).toBeUndefined();
});
