import { expect, test } from 'vitest';
import type { ModelRow } from '$lib/api/types';
import { memory } from '$lib/format/number';
import { facts, parameters } from './model';

const model = (more: Partial<ModelRow>): ModelRow => ({
  name: 'm',
  kind: 'text',
  state: 'ready',
  added: false,
  bytes: 1,
  downloaded_bytes: 1,
  licence: 'Apache-2.0',
  quantisation: 'Q4_1',
  context_tokens: 8192,
  parameters: 134_515_008,
  sha256: '',
  needed_bytes: null,
  fits: null,
  fit: '',
  about: '',
  path: null,
  problem: null,
  ...more,
});

test('parameters are said as people say them', () => {
  expect(parameters(134_515_008, 'en')).toBe('135 M');
  expect(parameters(8_030_000_000, 'en')).toBe('8.03 B');
});

test('memory is counted as drivers count it', () => {
  expect(memory(359_288_320, 'en')).toBe('343 MiB');
  expect(memory(2 ** 30 - 1, 'en')).toBe('1,024 MiB');
  expect(memory(1_443_685_440, 'en')).toBe('1.3 GiB');
});

test('a model’s facts leave out what is not known, and say when the licence is not', () => {
  expect(facts(model({}))).toEqual(['Writes text', '135 M parameters', 'Q4_1', 'context 8,192', 'Apache-2.0']);
  expect(facts(model({ kind: 'embed', quantisation: null, context_tokens: null, parameters: null, licence: null }))).toEqual([
    'Embeds',
    'licence not stated',
  ]);
});
