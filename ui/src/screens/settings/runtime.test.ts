import { describe, expect, test } from 'vitest';
import type { RuntimeRow } from '$lib/api/types';
import { attachInput, emptyAttach, facts, type AttachFields } from './runtime';

const row = (more: Partial<RuntimeRow>): RuntimeRow => ({
  name: 'vllm',
  address: '127.0.0.1:8000',
  place: 'this_machine',
  state: 'connected',
  serves: 'SmolLM2-135M-Instruct',
  model: 'the-model',
  engine: 'vLLM',
  build: '0.11.0',
  quantisation: 'Q4_1',
  context_tokens: 2048,
  slots: 1,
  for_sale: true,
  about: '',
  has_key: false,
  prompt_micro_usd_per_million: null,
  text_micro_usd_per_million: null,
  problem: null,
  ...more,
});

test('a runtime’s facts leave out what it did not say', () => {
  expect(facts(row({}))).toEqual(['vLLM 0.11.0', 'the-model', 'Q4_1', 'context 2,048', '1 text at once']);
  expect(facts(row({ build: null, quantisation: null, context_tokens: null, slots: 4, has_key: true }))).toEqual([
    'vLLM',
    'the-model',
    '4 texts at once',
    'key kept',
  ]);
  expect(facts(row({ engine: null, build: null, model: null, quantisation: null, context_tokens: null, slots: null }))).toEqual([]);
});

const here = (more: Partial<AttachFields> = {}) => attachInput({ ...emptyAttach(), name: 'vllm', serves: 'SmolLM2-135M-Instruct', ...more });
const cloud = (more: Partial<AttachFields> = {}) =>
  attachInput({
    ...emptyAttach(),
    place: 'cloud',
    name: 'far',
    address: { this_machine: '127.0.0.1:8080', cloud: 'https://cloud.example/v1' },
    model: 'large',
    key: ' sk-1 ',
    promptPrice: '0.15',
    textPrice: '0,6',
    ...more,
  });

describe('what is attached', () => {
  test('on this machine has no price, and what is empty is not said', () => {
    expect(here()).toEqual({
      input: {
        name: 'vllm',
        address: '127.0.0.1:8080',
        model: null,
        serves: 'SmolLM2-135M-Instruct',
        slots: null,
        key: null,
        prompt_micro_usd_per_million: null,
        text_micro_usd_per_million: null,
      },
      errors: {},
    });
    // What was typed for a cloud stays behind.
    expect(here({ promptPrice: 'cheap', textPrice: '1' }).errors).toEqual({});
    expect(here({ promptPrice: 'cheap', textPrice: '1' }).input.text_micro_usd_per_million).toBeNull();
  });

  test('at a cloud has prices in micro-dollars per million tokens', () => {
    const { input, errors } = cloud();
    expect(errors).toEqual({});
    expect(input).toMatchObject({ address: 'https://cloud.example/v1', model: 'large', serves: null, key: 'sk-1' });
    expect([input.prompt_micro_usd_per_million, input.text_micro_usd_per_million]).toEqual([150_000, 600_000]);
    expect(cloud({ promptPrice: '0' }).input.prompt_micro_usd_per_million).toBe(0);
    expect(cloud({ promptPrice: '10000' }).errors).toEqual({});
  });

  test.each(['', 'cheap', '-1', '1,000', '1e3', '0.0000001', '10000.01', 'NaN', 'Infinity'])('a price of %j is refused', (text) => {
    expect(Object.keys(cloud({ promptPrice: text }).errors)).toEqual(['promptPrice']);
    expect(Object.keys(cloud({ textPrice: text }).errors)).toEqual(['textPrice']);
  });

  test.each(['', ' ', '.hidden', 'two words', '../x', 'größe', 'x'.repeat(41)])('a name of %j is refused', (name) => {
    expect(Object.keys(here({ name }).errors)).toEqual(['name']);
  });

  test.each(['0', '65', '1.5', '-1', 'many', '1e1'])('%j texts at once are refused', (slots) => {
    expect(Object.keys(here({ slots }).errors)).toEqual(['slots']);
  });

  test('slots within the limits are taken', () => {
    expect(here({ slots: ' 64 ' })).toMatchObject({ input: { slots: 64 }, errors: {} });
  });

  test('what only one place needs is asked for there alone', () => {
    expect(Object.keys(here({ serves: '' }).errors)).toEqual(['serves']);
    expect(Object.keys(cloud({ model: ' ' }).errors)).toEqual(['model']);
    expect(cloud({ serves: 'SmolLM2-135M-Instruct' }).input.serves).toBe('SmolLM2-135M-Instruct');
  });

  test('a cloud’s address is encrypted', () => {
    const at = (address: string) => Object.keys(cloud({ address: { this_machine: '', cloud: address } }).errors);
    expect(at('cloud.example/v1')).toEqual([]);
    expect(at('HTTPS://cloud.example/v1')).toEqual([]);
    expect(at('http://cloud.example/v1')).toEqual(['address']);
    expect(at(' ')).toEqual(['address']);
  });
});
