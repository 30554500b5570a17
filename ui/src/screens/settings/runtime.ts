import type { AttachRuntimeInput, RuntimeRow } from '$lib/api/types';
import { parseMoney } from '$lib/format/money';
import { count } from '$lib/format/number';
import { m } from '$lib/paraglide/messages.js';

/** What a runtime said of itself, piece by piece; what it did not say is left out. */
export function facts(runtime: RuntimeRow): string[] {
  const pieces: string[] = [];
  const engine = [runtime.engine, runtime.build].filter(Boolean).join(' ');
  if (engine) pieces.push(engine);
  if (runtime.model) pieces.push(runtime.model);
  if (runtime.quantisation) pieces.push(runtime.quantisation);
  if (runtime.context_tokens !== null) pieces.push(m.model_context_short({ count: count(runtime.context_tokens) }));
  if (runtime.slots !== null) pieces.push(m.runtime_slots_short({ count: runtime.slots }));
  if (runtime.has_key) pieces.push(m.runtime_has_key());
  return pieces;
}

/** What the fields of the dialog hold, as typed. */
export type AttachFields = {
  place: RuntimeRow['place'];
  name: string;
  /** Each place has an address of its own, so that trying the other one loses nothing. */
  address: Record<RuntimeRow['place'], string>;
  /** Name of a model; empty for none chosen, which for a cloud is any text. */
  serves: string;
  model: string;
  key: string;
  slots: string;
  promptPrice: string;
  textPrice: string;
};

export type AttachErrors = Partial<Record<keyof AttachFields, string>>;

// The node's limits (`node/runtimes.rs`); it checks them again.
const NAME = /^(?!\.)[\w.-]{1,40}$/;
const MAX_SLOTS = 64;
/** Micro-dollars per million tokens. */
const MAX_PRICE = 10_000_000_000;

export const emptyAttach = (): AttachFields => ({
  place: 'this_machine',
  name: '',
  address: { this_machine: '127.0.0.1:8080', cloud: '' },
  serves: '',
  model: '',
  key: '',
  slots: '',
  promptPrice: '',
  textPrice: '',
});

/** The runtime that the fields describe, and what is wrong with them by field. */
export function attachInput(fields: AttachFields): { input: AttachRuntimeInput; errors: AttachErrors } {
  const errors: AttachErrors = {};
  const cloud = fields.place === 'cloud';
  const ask = (field: keyof AttachFields, fine: boolean, message: () => string) => {
    if (!fine) errors[field] = message();
  };
  const price = (field: 'promptPrice' | 'textPrice'): number | null => {
    if (!cloud) return null;
    const micro = parseMoney(fields[field]);
    ask(field, micro !== null, m.money_invalid);
    ask(field, micro === null || micro <= MAX_PRICE, m.runtime_price_invalid);
    return micro;
  };
  const said = (text: string): string | null => text.trim() || null;
  const name = fields.name.trim();
  const address = fields.address[fields.place].trim();
  const slots = said(fields.slots);
  ask('name', NAME.test(name), m.runtime_name_invalid);
  ask('address', !cloud || !address.includes('://') || /^https:\/\//i.test(address), m.runtime_address_unencrypted);
  ask('address', address !== '', m.runtime_address_missing);
  ask('serves', cloud || fields.serves !== '', m.runtime_serves_missing);
  ask('model', !cloud || fields.model.trim() !== '', m.runtime_model_missing);
  ask('slots', slots === null || (/^\d+$/.test(slots) && Number(slots) >= 1 && Number(slots) <= MAX_SLOTS), m.runtime_slots_invalid);
  return {
    input: {
      name,
      address,
      model: said(fields.model),
      serves: said(fields.serves),
      slots: slots === null ? null : Number(slots),
      key: said(fields.key),
      prompt_micro_usd_per_million: price('promptPrice'),
      text_micro_usd_per_million: price('textPrice'),
    },
    errors,
  };
}
