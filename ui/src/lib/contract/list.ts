import type { JobSummary } from '$lib/api/types';

/** Fetched pages with what is known to be newer laid over them: each job once, newest first. */
export function mergeJobs(pages: JobSummary[], fresh: JobSummary[], role: JobSummary['role'] | null): JobSummary[] {
  // Pages may be long and hold each job once; what is fresh is short.
  const newer = new Map(fresh.map((job) => [job.id, job]));
  const known = pages.map((job) => {
    const other = newer.get(job.id);
    newer.delete(job.id);
    return other && other.changed_at >= job.changed_at ? other : job;
  });
  return [...newer.values(), ...known]
    .filter((job) => role === null || job.role === role)
    .sort((a, b) => (a.created_at === b.created_at ? compare(b.id, a.id) : compare(b.created_at, a.created_at)));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
