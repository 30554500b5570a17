import type { PriceRow, SuggestedPrice } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

const UNITS: Record<PriceRow['kind'], () => string> = {
  generate: m.sl_unit_tokens,
  embed: m.sl_unit_tokens,
  gemm: m.sl_unit_operations,
  kernel: m.sl_unit_elements,
  wgsl: m.sl_unit_steps,
};
const PRICED: Record<PriceRow['kind'], () => string> = {
  generate: m.price_generate,
  embed: m.price_embed,
  gemm: m.price_gemm,
  kernel: m.price_kernel,
  wgsl: m.price_wgsl,
};
const HELD: Record<SuggestedPrice['held'], () => string> = {
  free: m.sl_held_free,
  at_floor: m.sl_held_floor,
  at_cap: m.sl_held_cap,
  cap_below_floor: m.sl_held_cap_below,
};

/** What is priced, as the settings name it. */
export const pricedWord = (kind: PriceRow['kind']): string => PRICED[kind]();

/** For how much work a price is told: `million tokens`. */
export const unitWords = (kind: PriceRow['kind']): string => UNITS[kind]();

/** What held the suggestion where it is. */
export const heldWords = (held: SuggestedPrice['held']): string => HELD[held]();
