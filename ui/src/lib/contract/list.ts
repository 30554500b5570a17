import type { JobSummary } from '$lib/api/types';

/** Fetched pages with what is known to be newer laid over them: each job once, newest first. */
export function mergeJobs(pages: JobSummary[], fresh: JobSummary[], role: JobSummary['role'] | null): JobSummary[] {
  const byId = new Map(pages.map((job) => [job.id, job]));
  for (const job of fresh) {
    const known = byId.get(job.id);
    if (!known || known.changed_at <= job.changed_at) byId.set(job.id, job);
  }
  return [...byId.values()]
    .filter((job) => role === null || job.role === role)
    .sort((a, b) => (a.created_at === b.created_at ? compare(b.id, a.id) : compare(b.created_at, a.created_at)));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
