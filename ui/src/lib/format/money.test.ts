import { describe, expect, test } from 'vitest';
import { columnDecimals, decimals, exactMoney, money, moneyField, parseMoney } from './money';

describe('money', () => {
  test.each([
    [0, '$0.00'],
    [1, '$0.000001'],
    [420, '$0.00042'],
    [50_000, '$0.05'],
    [412_080, '$0.41208'],
    [999_999, '$0.999999'],
    [1_000_000, '$1.00'],
    [1_234_567, '$1.23'],
    [-420, '-$0.00042'],
    [12_345_678_900_000, '$12,345,678.90'],
  ])('%i micro-dollars are %s', (micro, text) => {
    expect(money(micro, undefined, 'en-US')).toBe(text);
  });

  test('a sum under a dollar is never rounded', () => {
    for (let micro = 1; micro < 1_000_000; micro += 977) {
      const shown = Number(money(micro, undefined, 'en-US').replace('$', ''));
      expect(Math.round(shown * 1_000_000)).toBe(micro);
    }
  });

  test('writes as the locale does', () => {
    expect(money(420, undefined, 'de-DE')).toBe('0,00042\u00a0$');
  });

  test('exact money shows every digit of large sums too', () => {
    expect(exactMoney(1_234_567, 'en-US')).toBe('$1.234567');
    expect(exactMoney(2_000_000, 'en-US')).toBe('$2.00');
  });

  test('a column takes the digits of its neediest amount', () => {
    expect(decimals(420)).toBe(5);
    expect(columnDecimals([1_000_000, 420, null])).toBe(5);
    expect(columnDecimals([])).toBe(2);
  });
});

describe('fields', () => {
  test.each([
    ['0.05', 50_000],
    ['$ 0.05', 50_000],
    ['0,05', 50_000],
    ['.5', 500_000],
    ['12', 12_000_000],
    ['0.000001', 1],
  ])('%s is read', (text, micro) => {
    expect(parseMoney(text)).toBe(micro);
  });

  test.each(['', ' ', 'five', '-1', '1.0000001', '1,000', '1.2.3', '.', '1e3', '99999999999999999'])('%s is refused', (text) => {
    expect(parseMoney(text)).toBeNull();
  });

  test('what a field shows is read back the same', () => {
    for (const micro of [0, 1, 420, 50_000, 999_999, 1_000_000, 5_000_000, 12_345_678]) {
      expect(parseMoney(moneyField(micro))).toBe(micro);
    }
    expect(moneyField(5_000_000)).toBe('5.00');
  });
});
