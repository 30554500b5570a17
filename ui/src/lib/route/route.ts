/** The places of the rail, in order. */
export const PLACES = ['overview', 'jobs', 'earnings', 'network', 'settings', 'health'] as const;
export type Place = (typeof PLACES)[number];

/** What the address says: a place, and in Jobs the one that is open. */
export type Route = { place: Place; id: string | null };

/** Reads `#/jobs/ID`; anything unknown is the overview. */
export function parseRoute(hash: string): Route {
  const [place = '', id = ''] = hash.replace(/^#?\/?/, '').split('/');
  const known = PLACES.find((name) => name === place) ?? 'overview';
  return { place: known, id: known === 'jobs' && id !== '' ? safeDecode(id) : null };
}

/** The address of a place, or of a job. */
export const href = (place: Place, id?: string): string =>
  `#/${place}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`;

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
