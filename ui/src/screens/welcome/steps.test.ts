import { expect, test } from 'vitest';
import { DONE, openStep, STEPS } from './steps';

test('the first start opens on a new node, goes on where it was left, and stays closed', () => {
  expect(openStep('', false)).toBe('role');
  expect(openStep('', true)).toBeNull();
  expect(openStep(DONE, false)).toBeNull();
  for (const step of STEPS) expect(openStep(step, true)).toBe(step);
  // The name of a later version's step: from the beginning, where there is something to set up.
  expect(openStep('taxes', false)).toBe('role');
});
