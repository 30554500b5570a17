import type { ModelRow } from '$lib/api/types';
import { count } from '$lib/format/number';
import { m } from '$lib/paraglide/messages.js';

/** Parameters as people say them: `135 M`, `8.03 B`. */
export const parameters = (value: number, locale?: string): string =>
  new Intl.NumberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 }).format(value).replace(/(\d)([A-Z])$/, '$1 $2');

/** What a model is, piece by piece; what is not known is left out, save the licence, which somebody must know. */
export function facts(model: ModelRow): string[] {
  const pieces: string[] = [model.kind === 'text' ? m.model_text() : m.model_embed()];
  if (model.parameters !== null) pieces.push(m.model_parameters({ count: parameters(model.parameters) }));
  if (model.quantisation) pieces.push(model.quantisation);
  if (model.context_tokens !== null) pieces.push(m.model_context_short({ count: count(model.context_tokens) }));
  pieces.push(model.licence ?? m.licence_unknown());
  return pieces;
}
