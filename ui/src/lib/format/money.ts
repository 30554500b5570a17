import { numberFormat } from './intl';

/** Micro-dollars in one dollar. */
export const MICRO = 1_000_000;

/** Below this a sum is shown to the last micro-dollar; above it cents carry the meaning. */
const EXACT_BELOW = 1 * MICRO;

/** Decimals that show `microUsd` truthfully: cents at least, as many as needed for a sum under a dollar. */
export function decimals(microUsd: number): number {
  const size = Math.abs(microUsd);
  if (size >= EXACT_BELOW) return 2;
  let digits = 6;
  for (let rest = size; digits > 2 && rest % 10 === 0; rest /= 10) digits -= 1;
  return digits;
}

/** Decimals for a column of amounts, so that the points stand under each other. */
export const columnDecimals = (amounts: Iterable<number | null>): number => {
  let digits = 2;
  for (const amount of amounts) if (amount !== null) digits = Math.max(digits, decimals(amount));
  return digits;
};

/** `42` micro-dollars as `$0.000042`. */
export function money(microUsd: number, digits = decimals(microUsd), locale?: string): string {
  return numberFormat(locale, {
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(microUsd / MICRO);
}

/** Every digit there is, for titles and copies. */
export function exactMoney(microUsd: number, locale?: string): string {
  let digits = 6;
  for (let rest = Math.abs(microUsd); digits > 2 && rest % 10 === 0; rest /= 10) digits -= 1;
  return money(microUsd, digits, locale);
}

/** Dollars as written in a field; null when it is no amount. A comma with three digits after it could be either. */
export function parseMoney(text: string): number | null {
  const clean = text.replace(/[\s$]/g, '');
  if (!/^\d*([.,]\d{1,6})?$/.test(clean) || !/\d/.test(clean) || /^\d{1,3},\d{3}$/.test(clean)) return null;
  const [whole = '', part = ''] = clean.split(/[.,]/);
  const micro = Number(whole || '0') * MICRO + Number(part.padEnd(6, '0'));
  return Number.isSafeInteger(micro) ? micro : null;
}

/** An amount as a field shows it for editing. */
export function moneyField(microUsd: number): string {
  const whole = Math.floor(microUsd / MICRO);
  const part = String(microUsd % MICRO)
    .padStart(6, '0')
    .replace(/0{1,4}$/, '');
  return `${whole}.${part}`;
}
