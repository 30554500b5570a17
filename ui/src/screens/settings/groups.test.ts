import { describe, expect, test } from 'vitest';
import type { Setting } from '$lib/api/types';
import { arrange, isMoney } from './groups';

const setting = (key: string, value: Setting['value'] = 1): Setting => ({ key, value, default: value, about: `What ${key} does.` });
const named = (settings: Setting[], name: string) => arrange(settings).find((group) => group.name === name);

describe('settings', () => {
  test('stand in groups under words, in one order', () => {
    const groups = arrange([setting('worker', ''), setting('name', ''), setting('tariff_usd_per_kwh', 0.17), setting('selling', false)]);
    expect(groups.map((group) => group.name)).toEqual(['selling', 'models', 'runtimes', 'energy', 'machine']);
    expect(groups[4]?.rows.map((row) => row.fields[0]?.setting.key)).toEqual(['name', 'worker']);
    for (const group of groups) for (const row of group.rows) expect(row.label).not.toBe(row.fields[0]?.setting.key);
  });

  test('a price and what it buys are one row', () => {
    const prices = named([setting('price.gemm.per_units', 1_000_000), setting('price.gemm.micro_usd', 1)], 'prices');
    expect(prices?.rows).toHaveLength(1);
    expect(prices?.rows[0]?.fields.map((field) => [field.setting.key, field.before])).toEqual([
      ['price.gemm.micro_usd', '$'],
      ['price.gemm.per_units', 'per'],
    ]);
  });

  test('hours bring the clock that they are told by', () => {
    const clock = setting('utc_offset_minutes', 60);
    expect(named([setting('guard.hours', ''), clock], 'guard')?.rows[0]?.fields[0]?.clock).toEqual(clock);
    expect(named([setting('guard.hours', '')], 'guard')?.rows[0]?.fields[0]?.clock).toBeUndefined();
  });

  test('half a price is still shown', () => {
    expect(named([setting('price.gemm.per_units')], 'prices')?.rows).toHaveLength(1);
    expect(named([setting('price.gemm.micro_usd')], 'prices')?.rows).toHaveLength(1);
  });

  test('what this version does not know appears under its key, with the node’s words', () => {
    expect(named([setting('colour', 'red')], 'other')?.rows).toEqual([
      { label: 'colour', about: 'What colour does.', known: false, fields: [{ setting: setting('colour', 'red') }] },
    ]);
    expect(named([setting('price.image.micro_usd')], 'prices')?.rows[0]).toMatchObject({ known: false, fields: [{ before: '$' }] });
    expect(named([setting('models_hub', '')], 'models')?.rows).toHaveLength(1);
  });

  test('no setting is lost and none is shown twice', () => {
    const keys = ['a', 'price.embed.per_units', 'price.embed.micro_usd', 'price.new.per_units', 'slots', 'worker', 'models_dir', 'b'];
    const shown = arrange(keys.map((key) => setting(key))).flatMap((group) => group.rows.flatMap((row) => row.fields.map((field) => field.setting.key)));
    expect(shown.toSorted()).toEqual(keys.toSorted());
  });
});

test('amounts are told from other numbers by their name', () => {
  expect(['daily_spend_cap_micro_usd', 'price.embed.micro_usd', 'micro_usd'].every(isMoney)).toBe(true);
  expect(['tariff_usd_per_kwh', 'price.embed.per_units', 'nanomicro_usd_'].some(isMoney)).toBe(false);
});
