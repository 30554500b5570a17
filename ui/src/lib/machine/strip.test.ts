import type { Machine, MachineSample } from '$lib/api/types';
import { describe, expect, test } from 'vitest';
import { along, blocks, limitOf, measured, pathOf, stretches, topOf } from './strip';

const AT = Date.parse('2026-11-21T12:00:00Z');
const iso = (secondsAgo: number) => new Date(AT - secondsAgo * 1000).toISOString();
const sample = (secondsAgo: number, power: number | null): MachineSample => ({ at: iso(secondsAgo), power_watts: power, temperature_c: null, memory_used_bytes: null, utilisation: null, cpu_utilisation: 0.5 });
const card = (limit: number | null) => ({ name: 'c', address: '', power_watts: null, power_limit_watts: limit, temperature_c: null, memory_used_bytes: null, memory_total_bytes: null, utilisation: null, slowed_by: [] });
const machine = (part: Partial<Machine>): Machine => ({ now: iso(0), every_ms: 2000, span_ms: 600_000, cards: [card(320)], host: { cpu_utilisation: null, memory_used_bytes: null, memory_total_bytes: null }, samples: [], jobs: [], ...part });

describe('the machine strip', () => {
  test('draws only what was measured', () => {
    expect(measured(machine({ samples: [sample(2, null), sample(0, null)] }))).toEqual(['processor']);
    expect(measured(machine({ samples: [sample(2, 90)] }))).toEqual(['power', 'processor']);
  });

  test('stands from zero up to the limit, or to what was seen', () => {
    expect(topOf('power', machine({ samples: [sample(0, 90)] }))).toBe(320);
    expect(topOf('power', machine({ samples: [sample(0, 400)] }))).toBe(400);
    expect(limitOf('power', machine({ cards: [card(320), card(200)] }))).toBe(520);
    expect(limitOf('power', machine({ cards: [card(null)] }))).toBeNull();
  });

  test('breaks where nobody looked or nothing was told', () => {
    const samples = [sample(60, 10), sample(58, 20), sample(20, 30), sample(18, null), sample(16, 40)];
    expect(stretches('power', machine({ samples })).map((points) => points.map((point) => point.value))).toEqual([[10, 20], [30], [40]]);
  });

  test('begins at the span and ends now', () => {
    expect(along(machine({}), iso(600))).toBeCloseTo(0);
    expect(along(machine({}), iso(0))).toBe(1);
    expect(stretches('power', machine({ samples: [sample(700, 1), sample(300, 2)] }))).toEqual([[{ along: 0.5, value: 2 }]]);
  });

  test('lays jobs side by side where they overlap, and ends running ones now', () => {
    const job = (id: string, from: number, until: number | null) => ({ id, title: id, role: 'client' as const, from: iso(from), until: until === null ? null : iso(until) });
    const rows = blocks(machine({ jobs: [job('old', 900, 800), job('a', 700, 300), job('b', 400, 100), job('c', 200, null)] }));
    expect(rows.map(({ id, row, running }) => [id, row, running])).toEqual([
      ['a', 0, false],
      ['b', 1, false],
      ['c', 0, true],
    ]);
    expect(rows[0]?.from).toBe(0);
    expect(rows[2]?.to).toBe(1);
  });

  test('a path goes through its points', () => {
    expect(pathOf([{ along: 0, value: 0 }, { along: 1, value: 5 }], (place) => place * 100, (value) => 10 - value)).toBe('M0.0 10.0L100.0 5.0');
  });
});
