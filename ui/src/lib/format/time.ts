import { dateFormat, numberFormat, relativeFormat } from './intl';

const unit = (value: number, name: string, digits: number, locale?: string) =>
  numberFormat(locale, {
    style: 'unit',
    unit: name,
    unitDisplay: 'short',
    maximumFractionDigits: digits,
  }).format(value);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span as one or two units: `420 ms`, `3.2 sec`, `2 min 5 sec`. */
export function span(ms: number, locale?: string): string {
  if (ms < 1_000) return unit(Math.max(0, Math.round(ms)), 'millisecond', 0, locale);
  if (ms < 10_000) return unit(ms / 1_000, 'second', 1, locale);
  if (ms < MINUTE) return unit(Math.floor(ms / 1_000), 'second', 0, locale);
  const two = (size: number, name: string, small: number, smallName: string) => {
    const rest = Math.floor((ms % size) / small);
    const first = unit(Math.floor(ms / size), name, 0, locale);
    return rest === 0 ? first : `${first} ${unit(rest, smallName, 0, locale)}`;
  };
  if (ms < HOUR) return two(MINUTE, 'minute', 1_000, 'second');
  if (ms < DAY) return two(HOUR, 'hour', MINUTE, 'minute');
  return two(DAY, 'day', HOUR, 'hour');
}

/** How long ago, in the largest unit: `3 min. ago`. */
export function ago(at: string, now: number, locale?: string): string {
  const ms = Math.max(0, now - Date.parse(at));
  const relative = relativeFormat(locale, { style: 'narrow', numeric: 'auto' });
  if (ms < MINUTE) return relative.format(-Math.floor(ms / 1_000), 'second');
  if (ms < HOUR) return relative.format(-Math.floor(ms / MINUTE), 'minute');
  if (ms < DAY) return relative.format(-Math.floor(ms / HOUR), 'hour');
  return relative.format(-Math.floor(ms / DAY), 'day');
}

/** Local date and time, to the second. */
export const moment = (at: string | number, locale?: string): string =>
  dateFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(at));

/** Local time of day. */
export const clock = (at: string | number, locale?: string): string =>
  dateFormat(locale, { timeStyle: 'short' }).format(new Date(at));

/** A moment that is near: the time of day, with its date when it is more than half a day away. */
export const soon = (at: string, locale?: string): string =>
  Math.abs(Date.parse(at) - Date.now()) <= DAY / 2
    ? clock(at, locale)
    : dateFormat(locale, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(at));

/** Day of the week and time of day on a clock that is so many minutes ahead of UTC. */
export const clockAhead = (now: number, minutes: number, locale?: string): string =>
  dateFormat(locale, { weekday: 'long', hour: 'numeric', minute: '2-digit', timeZone: 'UTC' }).format(new Date(now + minutes * MINUTE));

/** A UTC date `2026-11-21` as the locale writes it, short. */
export const day = (date: string, locale?: string): string =>
  dateFormat(locale, { day: 'numeric', month: 'short', timeZone: 'UTC' }).format(
    new Date(`${date}T00:00:00Z`),
  );

/** A Monday, from which the days of the week are counted. */
const MONDAY = Date.UTC(2026, 0, 5);

/** The name of a day of the week, 0 for Monday. */
export const weekday = (day: number, length: 'long' | 'short' = 'long', locale?: string): string =>
  new Intl.DateTimeFormat(locale, { weekday: length, timeZone: 'UTC' }).format(new Date(MONDAY + day * DAY));
