import type { Setting } from '$lib/api/types';

export type Value = Setting['value'];

/** What a field shows for a value. */
export const asText = (value: Value): string => (value === null ? '' : String(value));

/**
 * What the text in a field means. A setting whose value or default is a number takes numbers; text that is none goes
 * to the node as it is, which answers with the accepted range. Empty is null where null is the default.
 */
export function fromText(text: string, setting: Setting): Value {
  const trimmed = text.trim();
  if (trimmed === '' && setting.default === null) return null;
  const numeric = typeof (setting.value ?? setting.default) === 'number' || typeof setting.default === 'number';
  const number = Number(trimmed.replace(',', '.'));
  return numeric && trimmed !== '' && Number.isFinite(number) ? number : trimmed;
}
