import type { AddAgentInput, AgentRow } from '$lib/api/types';
import { exactMoney, parseMoney } from '$lib/format/money';
import { m } from '$lib/paraglide/messages.js';

/** What a text of an agent costs at most, with its unit. */
export function priceOf(agent: AgentRow): { amount: string; per: string } {
  if (agent.price_micro_usd !== null) return { amount: exactMoney(agent.price_micro_usd), per: m.agent_per_text() };
  if (agent.price_micro_usd_per_million === null) return { amount: '', per: m.agent_no_price() };
  const prompt = agent.prompt_micro_usd_per_million;
  const per = prompt === null ? m.runtime_price_per() : m.agent_per_million_prompt({ prompt: exactMoney(prompt) });
  return { amount: exactMoney(agent.price_micro_usd_per_million), per };
}

/** What the fields of the dialog hold, as typed. */
export type AgentFields = {
  url: string;
  name: string;
  priceOf: AgentRow['price_of'];
  price: string;
  did: string;
  key: string;
};

export type AgentErrors = Partial<Record<keyof AgentFields, string>>;

// The node's limits (`node/agents.rs`); it checks them again.
const NAME = /^(?!\.)[\w.-]{1,40}$/;
/** Micro-dollars for one text. */
const MAX_PRICE = 1_000_000_000;

export const emptyAgent = (): AgentFields => ({ url: '', name: '', priceOf: 'owner', price: '', did: '', key: '' });

/** The agent that the fields describe, and what is wrong with them by field. */
export function agentInput(fields: AgentFields): { input: AddAgentInput; errors: AgentErrors } {
  const errors: AgentErrors = {};
  const said = (text: string): string | null => text.trim() || null;
  const url = fields.url.trim();
  const [name, did] = [said(fields.name), said(fields.did)];
  const price = fields.priceOf === 'owner' ? parseMoney(fields.price) : null;
  if (url === '') errors.url = m.agent_url_missing();
  if (name !== null && !NAME.test(name)) errors.name = m.runtime_name_invalid();
  if (fields.priceOf === 'owner' && price === null) errors.price = m.money_invalid();
  if (price !== null && price > MAX_PRICE) errors.price = m.agent_price_invalid();
  if (did !== null && !did.startsWith('did:key:')) errors.did = m.agent_did_invalid();
  return { input: { url, name, price_micro_usd: price, did, key: said(fields.key) }, errors };
}
