import { expect, test } from 'vitest';
import { nightOf, nightText, readingsOf, readingsText } from './night';

test('one window of every day is a night; what says more stays as it was written', () => {
  expect(nightOf('22:00-06:00 0.10')).toEqual({ from: '22:00', to: '06:00', price: '0.10' });
  expect(nightOf('')).toBeNull();
  expect(nightOf('weekend 00:00-24:00 0.12')).toBeNull();
  expect(nightOf('22:00-06:00 0.10, weekend 00:00-24:00 0.12')).toBeNull();
  expect(nightText({ from: '22:00', to: '06:00', price: '0,1' })).toBe('22:00-06:00 0.1');
});

test('readings of a meter are two pairs, or none at all', () => {
  expect(readingsOf('15:78, 310:424')).toEqual([{ card: '15', wall: '78' }, { card: '310', wall: '424' }]);
  expect(readingsText(readingsOf('15:78, 310:424'))).toBe('15:78, 310:424');
  expect(readingsText(readingsOf(''))).toBe('');
});
