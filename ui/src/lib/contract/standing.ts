import type { JobSummary } from '$lib/api/types';
import { contractWord, jobWord } from './words';

export type Standing = {
  word: string;
  shape: 'waiting' | 'moving' | 'done' | 'given_up' | 'fault';
  tone: 'waiting' | 'earning' | 'spending' | 'fault' | 'attention';
  /** Whether something may still happen without anybody asking. */
  open: boolean;
};

/** Whether a bought job runs or ran on this machine: nobody delivered it, so nothing is owed or verified. */
export const ranHere = (job: Pick<JobSummary, 'role' | 'state' | 'contract_state'>): boolean =>
  job.role === 'client' &&
  job.contract_state === null &&
  (job.state === 'running' || job.state === 'verifying' || job.state === 'completed');

/** Where a job stands, in a word, with its shape and colour. A bought job's own state says more than its contract's. */
export function standing(job: Pick<JobSummary, 'state' | 'contract_state' | 'role'>): Standing {
  const money = job.role === 'client' ? 'spending' : 'earning';
  const moving = (word: string): Standing => ({ word, shape: 'moving', tone: money, open: true });
  const waiting = (word: string): Standing => ({ word, shape: 'waiting', tone: 'waiting', open: true });
  const done = (word: string): Standing => ({ word, shape: 'done', tone: money, open: false });
  const over = (word: string): Standing => ({ word, shape: 'given_up', tone: 'waiting', open: false });
  const fault = (word: string): Standing => ({ word, shape: 'fault', tone: 'fault', open: false });

  if (job.state !== null) {
    const word = jobWord(job.state);
    switch (job.state) {
      case 'queued':
        return waiting(word);
      case 'running':
      case 'verifying':
        return moving(word);
      case 'completed':
        return done(word);
      case 'cancelled':
        return over(word);
      case 'failed':
        return fault(word);
    }
  }
  const state = job.contract_state ?? 'announced';
  const word = contractWord(state);
  switch (state) {
    case 'announced':
    case 'proposed':
    case 'awarded':
      return waiting(word);
    case 'running':
    case 'delivered':
      return moving(word);
    case 'accepted':
    case 'settled':
      return done(word);
    case 'lapsed':
    case 'abandoned':
    case 'handed_back':
      return over(word);
    case 'rejected':
    case 'failed':
      return fault(word);
  }
}
