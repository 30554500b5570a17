import { expect, test } from 'vitest';
import { href, parseRoute, PLACES } from './route';

test.each([
  ['', 'overview', null],
  ['#/', 'overview', null],
  ['#/nowhere', 'overview', null],
  ['#token=abc', 'overview', null],
  ['#/jobs', 'jobs', null],
  ['#/jobs/', 'jobs', null],
  ['#/jobs/0197-a', 'jobs', '0197-a'],
  ['#/jobs/%zz', 'jobs', '%zz'],
  ['#/settings/models', 'settings', 'models'],
  ['#/earnings/x', 'earnings', null],
])('%s is %s, %s', (hash, place, id) => {
  expect(parseRoute(hash)).toEqual({ place, id });
});

test('addresses lead back to their place', () => {
  for (const place of PLACES) expect(parseRoute(href(place))).toEqual({ place, id: null });
  expect(parseRoute(href('jobs', 'a/b c'))).toEqual({ place: 'jobs', id: 'a/b c' });
});
