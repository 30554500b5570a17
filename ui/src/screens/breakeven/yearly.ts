import { m } from '$lib/paraglide/messages.js';

/** The pieces of the year's bill, their sum last. */
export const YEARLY = [
  { key: 'capital_usd_per_year', label: m.be_part_capital },
  { key: 'maintenance_usd_per_year', label: m.be_part_maintenance },
  { key: 'idle_energy_usd_per_year', label: m.be_part_idle },
  { key: 'active_energy_usd_per_year', label: m.be_part_active },
  { key: 'opportunity_usd_per_year', label: m.be_part_opportunity },
  { key: 'total_usd_per_year', label: m.be_part_total },
] as const;
