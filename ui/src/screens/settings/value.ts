import type { Setting } from '$lib/api/types';
import { moneyField, parseMoney } from '$lib/format/money';
import { isMoney } from './groups';

export type Value = Setting['value'];

/** What a field shows for a value: amounts in dollars. */
export const asText = (value: Value, key = ''): string =>
  value === null ? '' : isMoney(key) && typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? moneyField(value) : String(value);

/**
 * What the text in a field means. A setting whose value or default is a number takes numbers; text that is none goes
 * to the node as it is, which answers with the accepted range. Empty is null where null is the default. An amount
 * that is none is undefined: the node, which counts micro-dollars, could only answer in those.
 */
export function fromText(text: string, setting: Setting): Value | undefined {
  const trimmed = text.trim();
  if (trimmed === '' && setting.default === null) return null;
  if (isMoney(setting.key)) return parseMoney(trimmed) ?? undefined;
  const numeric = typeof (setting.value ?? setting.default) === 'number' || typeof setting.default === 'number';
  const number = Number(trimmed.replace(',', '.'));
  return numeric && trimmed !== '' && Number.isFinite(number) ? number : trimmed;
}
