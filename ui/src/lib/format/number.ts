import { numberFormat } from './intl';

/** A count with the locale's separators. */
export const count = (value: number, locale?: string): string => numberFormat(locale, {}).format(value);

/** A size in steps of 1,000: `12.3 kB`. */
export function bytes(size: number, locale?: string): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  let step = 0;
  let value = size;
  while (value >= 1_000 && step < units.length - 1) {
    value /= 1_000;
    step += 1;
  }
  return numberFormat(locale, {
    style: 'unit',
    unit: units[step] ?? 'byte',
    unitDisplay: step === 0 ? 'long' : 'short',
    maximumFractionDigits: step === 0 ? 0 : 1,
  }).format(value);
}

/** Memory in steps of 1,024, as cards and drivers count it: `343 MiB`, `1.3 GiB`. */
export function memory(size: number, locale?: string): string {
  const [step, name] = size < 2 ** 30 ? [2 ** 20, 'MiB'] : [2 ** 30, 'GiB'];
  return `${numberFormat(locale, { maximumFractionDigits: name === 'MiB' ? 0 : 1 }).format(size / step)} ${name}`;
}

/** Energy in joules, with as many digits as are worth reading. */
export const joules = (value: number, locale?: string): string =>
  `${numberFormat(locale, { maximumSignificantDigits: 3 }).format(value)} J`;

/** The last characters of a key: what people compare. */
export const keyTail = (did: string): string => `…${did.slice(-8)}`;

/** Power in whole watts. */
export const watts = (value: number, locale?: string): string => `${new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(value)} W`;

/** A temperature in whole degrees. */
export const celsius = (value: number, locale?: string): string =>
  new Intl.NumberFormat(locale, { style: 'unit', unit: 'celsius', maximumFractionDigits: 0 }).format(value);
