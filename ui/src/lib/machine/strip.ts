import type { Machine, MachineSample } from '$lib/api/types';

/** What a lane draws: a quantity of the samples, from zero up to `top`. */
export type LaneName = 'power' | 'temperature' | 'memory' | 'load' | 'processor';
export const LANES: readonly LaneName[] = ['power', 'temperature', 'memory', 'load', 'processor'];

const READ: Record<LaneName, (sample: MachineSample) => number | null> = {
  power: (sample) => sample.power_watts,
  temperature: (sample) => sample.temperature_c,
  memory: (sample) => sample.memory_used_bytes,
  load: (sample) => sample.utilisation,
  processor: (sample) => sample.cpu_utilisation,
};

export const valueIn = (lane: LaneName, sample: MachineSample): number | null => READ[lane](sample);

/** Lanes for which at least one sample has a value: only these are drawn. */
export const measured = (machine: Machine): LaneName[] => LANES.filter((lane) => machine.samples.some((sample) => READ[lane](sample) !== null));

const total = (values: (number | null)[]): number | null => {
  const known = values.filter((value): value is number => value !== null);
  return known.length > 0 ? known.reduce((sum, value) => sum + value, 0) : null;
};

/** The most that a lane can reach, where the cards tell: its line stands at the top. */
export function limitOf(lane: LaneName, machine: Machine): number | null {
  if (lane === 'power') return total(machine.cards.map((card) => card.power_limit_watts));
  if (lane === 'memory') return total(machine.cards.map((card) => card.memory_total_bytes));
  return lane === 'load' || lane === 'processor' ? 1 : null;
}

/** Degrees that stand for a full lane: cards slow themselves down not far below. */
const HOT_C = 100;

/** The upper end of a lane's axis; zero is always the lower one. */
export function topOf(lane: LaneName, machine: Machine): number {
  const most = Math.max(0, ...machine.samples.map((sample) => READ[lane](sample) ?? 0));
  const limit = limitOf(lane, machine) ?? (lane === 'temperature' ? HOT_C : 0);
  return Math.max(most, limit, Number.MIN_VALUE);
}

/** A point of a line: how far along the axis, 0 to 1, and the value. */
export type Point = { along: number; value: number };

/** Where a moment lies on the axis: 0 at its beginning, 1 now. */
export const along = (machine: Machine, at: string): number =>
  1 - (Date.parse(machine.now) - Date.parse(at)) / machine.span_ms;

/** A step longer than so many usual ones is a time in which nobody looked. */
const GAP = 2.5;

/** The stretches of a lane in which somebody looked and the value was told. */
export function stretches(lane: LaneName, machine: Machine): Point[][] {
  const all: Point[][] = [];
  let last: number | null = null;
  for (const sample of machine.samples) {
    const at = Date.parse(sample.at);
    const value = READ[lane](sample);
    if (value === null) {
      last = null;
      continue;
    }
    const place = along(machine, sample.at);
    if (place < 0) continue;
    if (last === null || at - last > machine.every_ms * GAP) all.push([]);
    all.at(-1)?.push({ along: place, value });
    last = at;
  }
  return all;
}

/** A job on the axis: from where to where, and in which row, so that none covers another. */
export type Block = { id: string; title: string; role: 'client' | 'contractor'; from: number; to: number; row: number; running: boolean };

/** Rows of blocks; what would need more shares the last one. */
const MOST_ROWS = 3;

export function blocks(machine: Machine): Block[] {
  const ends: number[] = [];
  return machine.jobs
    .map((job) => ({ job, from: Math.max(0, along(machine, job.from)), to: Math.min(1, job.until === null ? 1 : along(machine, job.until)) }))
    .filter(({ to }) => to > 0)
    .map(({ job, from, to }) => {
      const free = ends.findIndex((end) => end <= from);
      const row = free >= 0 ? free : Math.min(ends.length, MOST_ROWS - 1);
      ends[row] = Math.max(ends[row] ?? 0, to);
      return { id: job.id, title: job.title, role: job.role, from, to, row, running: job.until === null };
    });
}

/** Corners of a line in a box, as an SVG path. */
export const pathOf = (points: readonly Point[], x: (along: number) => number, y: (value: number) => number): string =>
  points.map(({ along, value }, index) => `${index === 0 ? 'M' : 'L'}${x(along).toFixed(1)} ${y(value).toFixed(1)}`).join('');
