import type { RentInput } from '$lib/api/types';

/** A card to rent, once its price and its speed are typed; null while something is missing or no number. */
export function rentOf(typed: Record<keyof RentInput, string>, read: (text: string) => number | null): RentInput | null {
  const usd = read(typed.usd_per_hour);
  const speed = read(typed.tokens_per_second);
  if (usd === null || speed === null) return null;
  return { usd_per_hour: usd, tokens_per_second: speed, prefill_tokens_per_second: read(typed.prefill_tokens_per_second) };
}
