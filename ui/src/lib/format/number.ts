/** A count with the locale's separators. */
export const count = (value: number, locale?: string): string => new Intl.NumberFormat(locale).format(value);

/** A size in steps of 1,000: `12.3 kB`. */
export function bytes(size: number, locale?: string): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  let step = 0;
  let value = size;
  while (value >= 1_000 && step < units.length - 1) {
    value /= 1_000;
    step += 1;
  }
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: units[step] ?? 'byte',
    unitDisplay: step === 0 ? 'long' : 'short',
    maximumFractionDigits: step === 0 ? 0 : 1,
  }).format(value);
}

/** Energy in joules, with as many digits as are worth reading. */
export const joules = (value: number, locale?: string): string =>
  `${new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 }).format(value)} J`;

/** The last characters of a key: what people compare. */
export const keyTail = (did: string): string => `…${did.slice(-8)}`;
