import type { GuardTriggerName, PriceRow, SuggestedPrice } from '$lib/api/types';
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

const TRIGGERS: Record<GuardTriggerName, () => string> = {
  test: m.gd_trigger_test,
  game: m.gd_trigger_game,
  other_program: m.gd_trigger_other_program,
  temperature: m.gd_trigger_temperature,
  power: m.gd_trigger_power,
  battery: m.gd_trigger_battery,
  activity: m.gd_trigger_activity,
  schedule: m.gd_trigger_schedule,
  metered: m.gd_trigger_metered,
};

/** What the machine is given back for. */
export const triggerWords = (name: GuardTriggerName): string => TRIGGERS[name]();

const REFUSED: Record<string, () => string> = {
  stopped: m.dm_stopped,
  not_selling: m.dm_not_selling,
  paused: m.dm_paused,
  guard: m.dm_guard,
  slots_taken: m.dm_slots_taken,
  too_many_open: m.dm_too_many_open,
  credit_used_up: m.dm_credit_used_up,
  no_such_model: m.dm_no_such_model,
  does_not_fit: m.dm_does_not_fit,
  deadline: m.dm_deadline,
  unconfined: m.dm_unconfined,
  other_money: m.dm_other_money,
  other: m.dm_other,
};
const LOST: Record<string, () => string> = {
  declined: m.dm_declined,
  expired: m.dm_expired,
  failed: m.dm_failed,
  abandoned: m.dm_abandoned,
  handed_back: m.dm_handed_back,
  rejected: m.dm_rejected,
};

/** Why calls were refused; a word of a later version stands as it is. */
export const refusedWords = (why: string): string => REFUSED[why]?.() ?? why;

/** How proposals and awards ended that brought nothing. */
export const lostWords = (why: string): string => LOST[why]?.() ?? why;

/** What is priced, as the settings name it. */
export const pricedWord = (kind: PriceRow['kind']): string => PRICED[kind]();

/** For how much work a price is told: `million tokens`. */
export const unitWords = (kind: PriceRow['kind']): string => UNITS[kind]();

/** What held the suggestion where it is. */
export const heldWords = (held: SuggestedPrice['held']): string => HELD[held]();
