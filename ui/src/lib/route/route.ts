/** The places of the rail, in order. */
export const PLACES = ['overview', 'sell', 'jobs', 'buy', 'decisions', 'earnings', 'breakeven', 'simulator', 'network', 'settings', 'health'] as const;
export type Place = (typeof PLACES)[number];

/** What a place is for: every day's business, thinking it over, or this node itself. */
export type Section = 'business' | 'analysis' | 'node';
export const SECTIONS: Section[] = ['business', 'analysis', 'node'];
export const SECTION_OF: Record<Place, Section> = {
  overview: 'business',
  sell: 'business',
  jobs: 'business',
  buy: 'business',
  earnings: 'business',
  decisions: 'analysis',
  breakeven: 'analysis',
  simulator: 'analysis',
  network: 'node',
  settings: 'node',
  health: 'node',
};

/** Places in which something can be open, or gone to, that has an address of its own. */
const WITH_ID: ReadonlySet<Place> = new Set(['jobs', 'decisions', 'settings']);

/** What the address says: a place, in Jobs and Decisions the one that is open, in Settings the group that is gone to. */
export type Route = { place: Place; id: string | null };

/** Reads `#/jobs/ID` and `#/settings/GROUP`; anything unknown is the overview. */
export function parseRoute(hash: string): Route {
  const [place = '', id = ''] = hash.replace(/^#?\/?/, '').split('/');
  const known = PLACES.find((name) => name === place) ?? 'overview';
  return { place: known, id: WITH_ID.has(known) && id !== '' ? safeDecode(id) : null };
}

/** The address of a place, of a job, of a decision, or of a group of settings. */
export const href = (place: Place, id?: string): string =>
  `#/${place}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`;

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
