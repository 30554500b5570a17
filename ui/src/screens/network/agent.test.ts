import { expect, test } from 'vitest';
import type { AgentRow } from '$lib/api/types';
import { agentInput, emptyAgent, priceOf } from './agent';

const row = (more: Partial<AgentRow>): AgentRow => ({
  name: 'writer',
  url: 'https://a.example',
  about: null,
  signed: false,
  price_micro_usd: 2000,
  price_micro_usd_per_million: null,
  prompt_micro_usd_per_million: null,
  price_of: 'owner',
  has_key: false,
  problem: null,
  ...more,
});

test('a price is told with its unit, exactly', () => {
  expect(priceOf(row({}))).toEqual({ amount: '$0.002', per: 'per text' });
  expect(priceOf(row({ price_micro_usd: null, price_micro_usd_per_million: 400_000 }))).toEqual({ amount: '$0.40', per: 'per million tokens' });
  expect(priceOf(row({ price_micro_usd: null, price_micro_usd_per_million: 400_000, prompt_micro_usd_per_million: 20_000 }))).toEqual({ amount: '$0.40', per: 'per million tokens of text, $0.02 of prompt' });
});

test('what is missing or out of range is said at its field', () => {
  expect(Object.keys(agentInput(emptyAgent()).errors)).toEqual(['url', 'price']);
  const of = (more: object) => agentInput({ ...emptyAgent(), url: 'https://a.example', price: '0.002', ...more });
  expect(of({}).errors).toEqual({});
  for (const [field, value] of [
    ['name', '../x'],
    ['name', 'x'.repeat(41)],
    ['price', 'much'],
    ['price', '1000.01'],
    ['did', 'did:web:x'],
  ] as const) {
    expect(Object.keys(of({ [field]: value }).errors), `${field} ${value}`).toEqual([field]);
  }
});

test('what is left empty is left to the agent, and a price on the card is not typed', () => {
  const { input } = agentInput({ ...emptyAgent(), url: ' https://a.example ', price: '0.002', key: ' k ' });
  expect(input).toEqual({ url: 'https://a.example', name: null, price_micro_usd: 2000, did: null, key: 'k' });
  const card = agentInput({ ...emptyAgent(), url: 'https://a.example', priceOf: 'card', price: 'nonsense' });
  expect([card.input.price_micro_usd, card.errors]).toEqual([null, {}]);
});
