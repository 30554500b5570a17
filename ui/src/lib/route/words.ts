import { m } from '$lib/paraglide/messages.js';
import type { Place } from './route';

/** The names of the places. */
export const PLACE_WORDS: Record<Place, () => string> = {
  overview: m.place_overview,
  sell: m.place_sell,
  jobs: m.place_jobs,
  buy: m.place_buy,
  decisions: m.place_decisions,
  earnings: m.place_earnings,
  breakeven: m.place_breakeven,
  simulator: m.place_simulator,
  network: m.place_network,
  settings: m.place_settings,
  health: m.place_health,
};
