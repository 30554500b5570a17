/** The sentence that screen readers hear next; shown nowhere. */
export const announcer = $state({ text: '' });

/** Says something once. */
export function announce(text: string): void {
  // The same sentence twice is heard twice only if it changes in between.
  announcer.text = '';
  setTimeout(() => (announcer.text = text), 50);
}
