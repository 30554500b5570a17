import type { BreakevenInput } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

/** A number of the input that has a field. Time at work is not among them: it follows from the volume. */
export type FieldName = Exclude<keyof BreakevenInput, 'utilisation'>;

/** How a number is shown and moved. */
export type Field = {
  name: FieldName | 'volume' | 'margin' | 'busy_hours';
  label: () => string;
  unit: () => string;
  /** What is shown for one of the contract: 100 for fractions that are shown in per cent. */
  scale: number;
  /** The slider's ends, as shown. Beyond them a number can still be typed. */
  from: number;
  to: number;
  /** The slider's step, as shown; none for a logarithmic one. */
  step: number | null;
};

const field = (name: Field['name'], label: () => string, unit: () => string, from: number, to: number, step: number | null, scale = 1): Field => ({
  name,
  label,
  unit,
  scale,
  from,
  to,
  step,
});

const usd = m.be_unit_usd;
const percent = m.be_unit_percent;
const watts = m.be_unit_watts;
const perSecond = m.be_unit_tokens_per_second;
const perMillion = m.be_unit_usd_per_million;

export const VOLUME = field('volume', m.be_volume, m.be_unit_tokens_per_day, 10_000, 1_000_000_000, null);
export const MARGIN = field('margin', m.be_margin, percent, 0, 50, 1, 100);
export const BUSY_HOURS = field('busy_hours', m.be_busy_hours, m.be_unit_hours, 1, 24, 1);

/** What most people know or want to try, and what is seldom touched. */
export const MAIN: Field[] = [
  field('api_usd_per_million', m.be_api_price, perMillion, 0.01, 100, null),
  field('price_usd', m.be_price, usd, 0, 5_000, 1),
  field('tokens_per_second', m.be_speed, perSecond, 1, 10_000, null),
  field('tariff_usd_per_kwh', m.be_tariff, m.be_unit_usd_per_kwh, 0, 0.8, 0.01),
  field('cards', m.be_cards, () => '', 1, 4, 1),
];
export const PROMPTS: Field[] = [
  field('input_output_ratio', m.be_ratio, () => '', 0, 50, 0.1),
  field('api_usd_per_million_input', m.be_api_price_input, perMillion, 0.01, 100, null),
  field('prefill_tokens_per_second', m.be_prefill, perSecond, 10, 100_000, null),
];
export const CARD: Field[] = [
  field('resale_fraction', m.be_resale, percent, 0, 100, 1, 100),
  field('lifetime_years', m.be_lifetime, m.be_unit_years, 0.5, 10, 0.5),
  field('discount_rate', m.be_interest, percent, 0, 30, 0.5, 100),
  field('maintenance_fraction', m.be_maintenance, percent, 0, 20, 0.5, 100),
  field('opportunity_usd_per_active_hour', m.be_opportunity, m.be_unit_usd_per_hour, 0, 1, 0.01),
];
export const POWER: Field[] = [
  field('gpu_watts', m.be_gpu_watts, watts, 10, 1_000, 5),
  field('host_watts', m.be_host_watts, watts, 0, 500, 5),
  field('idle_watts', m.be_idle_watts, watts, 0, 200, 1),
  field('psu_efficiency', m.be_psu, percent, 50, 100, 1, 100),
  field('cooling_overhead', m.be_cooling, percent, 0, 100, 1, 100),
];
/** The price of text where the bill gave it: what its prompts cost is in it, and has no price of its own. */
export const FOLDED: Field = field('api_usd_per_million', m.be_api_folded, perMillion, 0.01, 100, null);
/** The fields of a calculation; `folded` where the price of prompts is in that of text. */
export const fields = (list: readonly Field[], folded: boolean): Field[] =>
  folded ? list.filter(({ name }) => name !== 'api_usd_per_million_input').map((known) => (known.name === FOLDED.name ? FOLDED : known)) : [...list];
export const ALL: Field[] = [...MAIN, ...PROMPTS, ...CARD, ...POWER];

/** A number as it is typed, with a comma or a point for decimals; null when it is none. `1,199` could be either. */
export function readNumber(text: string): number | null {
  const clean = text.replace(/[\s'’_]/g, '');
  if (/^\d{1,3},\d{3}$/.test(clean)) return null;
  const grouped = /^\d{1,3}(,\d{3})+(\.\d+)?$/.test(clean);
  const plain = grouped ? clean.replaceAll(',', '') : clean.replace(',', '.');
  if (!/^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return null;
  const value = Number(plain);
  return Number.isFinite(value) ? value : null;
}

/** A number as a field shows it for editing: no grouping, no digits of rounding. */
export const showNumber = (value: number): string => String(Number(value.toPrecision(6)));

/** A number of the contract with its unit. */
export function shownWithUnit(field: Field, value: number): string {
  const shown = showNumber(value * field.scale);
  const unit = field.unit();
  if (unit.startsWith('$')) return `$${shown}${unit.slice(1)}`;
  return [shown, unit].filter(Boolean).join(' ');
}

const STEPS = 1_000;

/** Where the slider stands for a number as shown, 0 to 1,000. */
export function position(field: Field, shown: number): number {
  const share =
    field.step === null
      ? Math.log(Math.max(shown, field.from) / field.from) / Math.log(field.to / field.from)
      : (shown - field.from) / (field.to - field.from);
  return Math.round(Math.min(1, Math.max(0, share)) * STEPS);
}

/** The number as shown for where the slider stands. */
export function atPosition(field: Field, place: number): number {
  const share = place / STEPS;
  if (field.step === null) return Number((field.from * (field.to / field.from) ** share).toPrecision(2));
  const steps = Math.round(((field.to - field.from) * share) / field.step);
  return Number((field.from + steps * field.step).toPrecision(6));
}

/** The field that a refusal of the node is about: the first name in it. */
export function blamed(message: string): Field['name'] | null {
  const names = new Set<string>([...ALL, MARGIN, BUSY_HOURS].map((known) => known.name));
  return (message.match(/[a-z_]+/g)?.find((word) => names.has(word)) as Field['name'] | undefined) ?? null;
}

/** Tokens of text that the cards can make a day, their prompts read. */
export function capacity(input: BreakevenInput): number {
  const ratio = input.input_output_ratio ?? 0;
  const prompt = ratio > 0 ? ratio / (input.prefill_tokens_per_second ?? Number.NaN) : 0;
  return ((input.cards ?? 1) * 86_400) / (prompt + 1 / input.tokens_per_second);
}

/** The input at a volume: the cards work as much of the year as that takes, and at most always. */
export function atVolume(input: BreakevenInput, volume: number): BreakevenInput {
  const share = volume / capacity(input);
  // A volume of nothing is still asked about: at a share too small to matter.
  return { ...input, utilisation: Number.isFinite(share) ? Math.min(1, Math.max(share, 1e-6)) : input.utilisation };
}
