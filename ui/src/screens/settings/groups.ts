import type { Setting } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

/** Hours of the day, which the node counts by the clock of `utc_offset_minutes`. */
const HOURS = ['guard.hours', 'tariff_windows'];

/** The groups of settings, in the order in which they are shown. */
export const GROUPS = ['selling', 'guard', 'prices', 'buying', 'models', 'runtimes', 'card', 'energy', 'machine', 'other'] as const;
export type GroupName = (typeof GROUPS)[number];

/** One field of a row. */
export type FieldOf = {
  setting: Setting;
  /** What a screen reader calls it; the row's label when absent. */
  label?: string;
  /** What stands before and after the value. */
  before?: string;
  unit?: string;
  /** How far the clock of these hours is ahead of UTC. */
  clock?: Setting;
};

/** What belongs together: a label, what it means, and one field or two. */
export type Row = { label: string; about: string; fields: FieldOf[]; known: boolean };

export type Group = { name: GroupName; title: string; rows: Row[] };

type Known = { group: GroupName; label: () => string; about?: () => string; unit?: () => string };

const KNOWN: Record<string, Known> = {
  selling: { group: 'selling', label: m.set_selling },
  paused_until: { group: 'selling', label: m.set_paused_until },
  slots: { group: 'selling', label: m.set_slots, unit: m.unit_jobs },
  text_slots: { group: 'selling', label: m.set_text_slots, unit: m.unit_texts },
  requests_per_second: { group: 'selling', label: m.set_requests, unit: m.unit_requests },
  streams: { group: 'selling', label: m.set_streams, unit: m.unit_streams },
  a2a_grpc: { group: 'selling', label: m.set_grpc },
  sell_unconfined_kernels: { group: 'selling', label: m.set_unconfined },
  review_seconds: { group: 'selling', label: m.set_review, unit: m.unit_seconds },
  finish_then_pause: { group: 'selling', label: m.set_finish },
  'guard.full_screen': { group: 'guard', label: m.set_guard_full_screen },
  'guard.programs': { group: 'guard', label: m.set_guard_programs },
  'guard.ignored': { group: 'guard', label: m.set_guard_ignored },
  'guard.program_mib': { group: 'guard', label: m.set_guard_memory, unit: m.unit_mib },
  'guard.temperature_c': { group: 'guard', label: m.set_guard_temperature, unit: m.unit_celsius },
  'guard.card_watts': { group: 'guard', label: m.set_guard_power, unit: m.unit_watts },
  'guard.battery': { group: 'guard', label: m.set_guard_battery },
  'guard.activity_minutes': { group: 'guard', label: m.set_guard_activity, unit: m.unit_minutes },
  'guard.hours': { group: 'guard', label: m.set_guard_hours },
  'guard.metered': { group: 'guard', label: m.set_guard_metered },
  'guard.resume_seconds': { group: 'guard', label: m.set_guard_resume, unit: m.unit_seconds },
  daily_spend_cap_micro_usd: { group: 'buying', label: m.set_daily_cap, about: m.set_daily_cap_about },
  use_own_gpu: { group: 'buying', label: m.set_use_own_gpu },
  proposal_deadline_ms: { group: 'buying', label: m.set_proposal_deadline, unit: m.unit_milliseconds },
  decision_policy: { group: 'buying', label: m.set_policy },
  waiting_usd_per_hour: { group: 'buying', label: m.set_waiting, unit: m.unit_usd_per_hour },
  models_dir: { group: 'models', label: m.set_models_dir },
  models_source: { group: 'models', label: m.set_models_source },
  'card.price_usd': { group: 'card', label: m.set_card_price, unit: m.unit_usd },
  'card.resale_fraction': { group: 'card', label: m.set_card_resale, unit: m.unit_of_price },
  'card.lifetime_years': { group: 'card', label: m.set_card_lifetime, unit: m.unit_years },
  'card.discount_rate': { group: 'card', label: m.set_card_interest, unit: m.unit_a_year },
  'card.maintenance_fraction': { group: 'card', label: m.set_card_maintenance, unit: m.unit_of_price_a_year },
  'card.utilisation': { group: 'card', label: m.set_card_utilisation, unit: m.unit_of_the_year },
  rent_usd_per_hour: { group: 'card', label: m.set_rent, unit: m.unit_usd_per_hour },
  tariff_usd_per_kwh: { group: 'energy', label: m.set_tariff, unit: m.unit_usd_per_kwh },
  tariff_windows: { group: 'energy', label: m.set_tariff_windows },
  utc_offset_minutes: { group: 'energy', label: m.set_utc_offset, unit: m.unit_minutes },
  card_watts: { group: 'energy', label: m.set_card_watts, unit: m.unit_watts },
  'card.idle_watts': { group: 'energy', label: m.set_idle_watts, unit: m.unit_watts },
  'card.host_watts': { group: 'energy', label: m.set_host_watts, unit: m.unit_watts },
  'card.psu_efficiency': { group: 'energy', label: m.set_psu, unit: m.unit_of_the_power },
  'card.cooling_overhead': { group: 'energy', label: m.set_cooling, unit: m.unit_of_the_energy },
  wall_meter: { group: 'energy', label: m.set_wall_meter, unit: m.unit_watts },
  sensor: { group: 'energy', label: m.set_sensor },
  name: { group: 'machine', label: m.set_name },
  worker: { group: 'machine', label: m.set_worker },
  notifications: { group: 'machine', label: m.set_notifications },
  stopped: { group: 'machine', label: m.set_stopped },
};

/** Kinds of work that are sold: their name, what a unit is, and what the price is for. */
const PRICED: Record<string, { label: () => string; unit: () => string; about: () => string }> = {
  generate: { label: m.price_generate, unit: m.unit_tokens, about: m.price_generate_about },
  generate_prompt: { label: m.price_prompt, unit: m.unit_tokens, about: m.price_prompt_about },
  embed: { label: m.price_embed, unit: m.unit_tokens, about: m.price_embed_about },
  gemm: { label: m.price_gemm, unit: m.unit_flop, about: m.price_gemm_about },
  kernel: { label: m.price_kernel, unit: m.unit_elements, about: m.price_kernel_about },
  wgsl: { label: m.price_wgsl, unit: m.unit_fuel, about: m.price_wgsl_about },
};

const TITLES: Record<GroupName, () => string> = {
  selling: m.group_selling,
  guard: m.group_guard,
  prices: m.group_prices,
  buying: m.group_buying,
  models: m.group_models,
  runtimes: m.group_runtimes,
  card: m.group_card,
  energy: m.group_energy,
  machine: m.group_machine,
  other: m.group_other,
};

/** Whether the value is an amount in micro-dollars, which people read and write in dollars. */
export const isMoney = (key: string): boolean => /(^|[._])micro_usd$/.test(key);

/**
 * The settings as people think of them: grouped, with labels and units, a price and what it buys in one row. A setting
 * that this version does not know stands in the group that its name points to, else in "other", under its key.
 */
export function arrange(settings: Setting[]): Group[] {
  const rows = new Map<GroupName, Row[]>(GROUPS.map((name) => [name, []]));
  const byKey = new Map(settings.map((setting) => [setting.key, setting]));
  for (const setting of settings) {
    const [, work = '', part = ''] = /^price\.(\w+)\.(micro_usd|per_units)$/.exec(setting.key) ?? [];
    const priced = PRICED[work];
    const units = byKey.get(`price.${work}.per_units`);
    if (priced && part === 'per_units' && byKey.has(`price.${work}.micro_usd`)) continue;
    if (priced && part === 'micro_usd' && units) {
      const label = priced.label();
      rows.get('prices')?.push({
        label,
        about: priced.about(),
        known: true,
        fields: [
          { setting, label: m.price_of({ work: label }), before: '$' },
          { setting: units, label: m.price_per({ work: label, unit: priced.unit() }), before: m.per(), unit: priced.unit() },
        ],
      });
      continue;
    }
    const known = KNOWN[setting.key];
    const field: FieldOf = { setting };
    if (isMoney(setting.key)) field.before = '$';
    if (known?.unit) field.unit = known.unit();
    const clock = byKey.get('utc_offset_minutes');
    if (clock && HOURS.includes(setting.key)) field.clock = clock;
    rows.get(known?.group ?? guessed(setting.key))?.push({
      label: known?.label() ?? setting.key,
      about: known?.about?.() ?? setting.about,
      known: known !== undefined,
      fields: [field],
    });
  }
  // Models and runtimes themselves stand in their groups, which are there without settings, too.
  return GROUPS.map((name) => ({ name, title: TITLES[name](), rows: order(rows.get(name) ?? []) })).filter(
    (group) => group.rows.length > 0 || group.name === 'models' || group.name === 'runtimes',
  );
}

const guessed = (key: string): GroupName => (key.startsWith('price') ? 'prices' : key.startsWith('model') ? 'models' : 'other');

/** As listed above; what is unknown comes last. */
function order(rows: Row[]): Row[] {
  const keys = Object.keys(KNOWN);
  const place = (row: Row) => {
    const at = keys.indexOf(row.fields[0]?.setting.key ?? '');
    return row.known ? at : keys.length;
  };
  return rows.map((row, index) => ({ row, index })).sort((a, b) => place(a.row) - place(b.row) || a.index - b.index).map(({ row }) => row);
}
