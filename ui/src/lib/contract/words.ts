import type { ContractStateName, JobSummary } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

const CONTRACT: Record<ContractStateName, () => string> = {
  announced: m.contract_announced,
  proposed: m.contract_proposed,
  awarded: m.contract_awarded,
  running: m.contract_running,
  delivered: m.contract_delivered,
  accepted: m.contract_accepted,
  settled: m.contract_settled,
  rejected: m.contract_rejected,
  lapsed: m.contract_lapsed,
  failed: m.contract_failed,
  abandoned: m.contract_abandoned,
  handed_back: m.contract_handed_back,
};
const JOB: Record<NonNullable<JobSummary['state']>, () => string> = {
  queued: m.job_queued,
  running: m.job_running,
  verifying: m.job_verifying,
  completed: m.job_completed,
  failed: m.job_failed,
  cancelled: m.job_cancelled,
};
const KIND: Record<JobSummary['kind'], () => string> = {
  generate: m.kind_generate,
  embed: m.kind_embed,
  gemm: m.kind_gemm,
  kernel: m.kind_kernel,
  wgsl: m.kind_wgsl,
};

export const contractWord = (state: ContractStateName): string => CONTRACT[state]();
export const jobWord = (state: NonNullable<JobSummary['state']>): string => JOB[state]();
export const kindWord = (kind: JobSummary['kind']): string => KIND[kind]();
export const roleWord = (role: JobSummary['role']): string => (role === 'client' ? m.role_bought() : m.role_sold());
