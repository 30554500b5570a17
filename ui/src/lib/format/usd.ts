import { dateFormat, numberFormat } from './intl';

const dollars = (least: number, most: number, locale?: string) =>
  numberFormat(locale, {
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: least,
    maximumFractionDigits: most,
  });

/** Dollars of an estimate: cents at least, three digits below a dollar, no cents from a thousand on. */
export function usd(value: number, locale?: string): string {
  const size = Math.abs(value);
  const least = size >= 1_000 || size === 0 ? 0 : 2;
  const most = size >= 1 || size === 0 ? least : 2 - Math.floor(Math.log10(size));
  return dollars(least, Math.min(12, most), locale).format(value);
}

/** Dollars without cents from a hundred on, for sums of a year and their intervals. */
export const roundUsd = (value: number, locale?: string): string =>
  Math.abs(value) < 100 ? usd(value, locale) : dollars(0, 0, locale).format(value);

/** A difference in dollars, with its sign. */
export const signedUsd = (value: number, locale?: string): string =>
  value > 0 ? `+${roundUsd(value, locale)}` : roundUsd(value, locale).replace('-', '−');

const WORDS = { notation: 'compact', compactDisplay: 'long', maximumSignificantDigits: 3 } as const;

/** A volume in words, to three digits: `2.64 million`. */
export const volume = (value: number, locale?: string): string =>
  numberFormat(locale, WORDS).format(value);

/** From one volume to another: `1.99–3.98 million`. */
export const volumeRange = (low: number, high: number, locale?: string): string => numberFormat(locale, WORDS).formatRange(low, high);

/** A volume for an axis: `2.6M`. */
export const shortVolume = (value: number, locale?: string): string =>
  numberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 }).format(value);

/** A fraction as a percentage, with one digit below ten. */
export const percent = (fraction: number, locale?: string): string =>
  numberFormat(locale, { style: 'percent', maximumFractionDigits: Math.abs(fraction) < 0.1 ? 1 : 0 }).format(fraction);

/** Six digits for a reader. */
export const figure = (value: number, locale?: string): string =>
  numberFormat(locale, { maximumSignificantDigits: 6 }).format(value);

/** A day `2026-11-21` with its year. */
export const fullDay = (date: string, locale?: string): string =>
  dateFormat(locale, { dateStyle: 'medium', timeZone: 'UTC' }).format(new Date(`${date}T00:00:00Z`));

/** A month `2026-11` with its year. */
export const month = (name: string, locale?: string): string =>
  dateFormat(locale, { month: 'short', year: 'numeric', timeZone: 'UTC' }).format(new Date(`${name}-01T00:00:00Z`));

/** A figure in per cent, with one digit behind the point. */
export const perCent = (value: number, locale?: string): string =>
  numberFormat(locale, { style: 'percent', maximumFractionDigits: 1 }).format(value / 100);

/** A figure with one digit behind the point. */
export const plain = (value: number, locale?: string): string => numberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: 'negative' }).format(value);
