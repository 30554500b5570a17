/** The steps of the first start, in order. The setting `onboarding` keeps the name of the one that is open. */
export const STEPS = ['role', 'machine', 'models', 'electricity', 'speed', 'price', 'trade', 'sell'] as const;
export type Step = (typeof STEPS)[number];

/** What the setting holds once the first start is over. */
export const DONE = 'done';

/** The step that is open; null when there is nothing to set up. A node that has traded needs no first start. */
export function openStep(setting: unknown, tradedBefore: boolean): Step | null {
  if (setting === DONE) return null;
  const known = STEPS.find((step) => step === setting);
  if (known) return known;
  return tradedBefore ? null : 'role';
}
