import { describe, expect, test } from 'vitest';
import type { ContractStateName, ContractStep, JobSummary } from '../api/types';
import { contractLine, PATH } from './line';
import { mergeJobs } from './list';
import { ranHere, standing } from './standing';

const at = (second: number) => new Date(Date.UTC(2026, 10, 21, 12, 0, second)).toISOString();
const steps = (...states: ContractStateName[]): ContractStep[] => states.map((state, index) => ({ state, at: at(index * 2) }));

describe('contract line', () => {
  test('shows what was passed with its times, where it stands, and what is ahead', () => {
    const line = contractLine('running', steps('announced', 'proposed', 'awarded', 'running'));
    expect(line.map((stop) => stop.state)).toEqual([...PATH]);
    expect(line.map((stop) => stop.place)).toEqual(['past', 'past', 'past', 'here', 'ahead', 'ahead', 'ahead']);
    expect(line.map((stop) => stop.after)).toEqual([null, 2_000, 2_000, 2_000, null, null, null]);
  });

  test('a settled contract has nothing ahead and waits nowhere', () => {
    const line = contractLine('settled', steps(...PATH));
    expect(line.every((stop) => stop.place === 'past')).toBe(true);
  });

  test.each(['rejected', 'lapsed', 'failed', 'abandoned', 'handed_back'] as const)('%s ends the line', (end) => {
    const line = contractLine(end, steps('announced', 'proposed', end));
    expect(line.map((stop) => stop.place)).toEqual(['past', 'past', 'broken']);
  });

  test('a state without its step is still shown', () => {
    expect(contractLine('failed', []).map((stop) => stop.place)).toEqual(['broken']);
    expect(contractLine('proposed', steps('announced'))[1]).toEqual({ state: 'proposed', place: 'here', at: null, after: null });
  });

  test('clocks that run backwards give no negative time', () => {
    const line = contractLine('proposed', [
      { state: 'announced', at: at(5) },
      { state: 'proposed', at: at(3) },
    ]);
    expect(line[1]?.after).toBe(0);
  });
});

describe('standing', () => {
  test('the job’s own state says more than its contract’s', () => {
    expect(standing({ role: 'client', state: 'verifying', contract_state: 'delivered' })).toMatchObject({ shape: 'moving', open: true });
    expect(standing({ role: 'client', state: 'failed', contract_state: 'accepted' })).toMatchObject({ shape: 'fault', open: false });
    expect(standing({ role: 'contractor', state: null, contract_state: 'settled' })).toMatchObject({ shape: 'done', tone: 'earning' });
  });
});

describe('a job run on this machine', () => {
  test('is one that nobody contracted for', () => {
    expect(ranHere({ role: 'client', state: 'running', contract_state: null })).toBe(true);
    expect(ranHere({ role: 'client', state: 'completed', contract_state: null })).toBe(true);
    expect(ranHere({ role: 'client', state: 'completed', contract_state: 'accepted' })).toBe(false);
    // Nothing is known yet, or nothing came of it.
    expect(ranHere({ role: 'client', state: 'queued', contract_state: null })).toBe(false);
    expect(ranHere({ role: 'client', state: 'failed', contract_state: null })).toBe(false);
    expect(ranHere({ role: 'contractor', state: null, contract_state: null })).toBe(false);
  });
});

describe('job list', () => {
  const job = (id: string, created: number, more: Partial<JobSummary> = {}): JobSummary => ({
    id,
    role: 'client',
    book: 'real',
    kind: 'embed',
    title: '',
    state: 'queued',
    contract_state: null,
    reason: '',
    with: null,
    amount_micro_usd: null,
    progress: null,
    created_at: at(created),
    changed_at: at(created),
    ...more,
  });

  test('live rows replace older ones, each job once, newest first', () => {
    const merged = mergeJobs([job('b', 2), job('a', 1)], [job('c', 3), job('a', 1, { state: 'running', changed_at: at(9) })], null);
    expect(merged.map((row) => [row.id, row.state])).toEqual([
      ['c', 'queued'],
      ['b', 'queued'],
      ['a', 'running'],
    ]);
  });

  test('an older snapshot does not undo a newer page, and the filter holds for live rows', () => {
    const merged = mergeJobs([job('a', 1, { state: 'completed', changed_at: at(9) })], [job('a', 1), job('s', 4, { role: 'contractor' })], 'client');
    expect(merged.map((row) => [row.id, row.state])).toEqual([['a', 'completed']]);
  });
});
