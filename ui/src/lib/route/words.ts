import { m } from '$lib/paraglide/messages.js';
import type { Place, Section } from './route';

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

/** What stands above a section of the rail; the first one needs no title. */
export const SECTION_WORDS: Record<Section, () => string> = {
  business: m.section_business,
  analysis: m.section_analysis,
  node: m.section_node,
};
