/** One window of another price: local hours, and its price as it is typed. */
export type Night = { from: string; to: string; price: string };

const WINDOW = /^(\d{2}:\d{2})-(\d{2}:\d{2})\s+([\d.]+)$/;

/** Reads the setting `tariff_windows` when it is one window of every day; null when it is none, or more. */
export function nightOf(windows: string): Night | null {
  const [, from, to, price] = WINDOW.exec(windows.trim()) ?? [];
  return from && to && price ? { from, to, price } : null;
}

/** The same as the node reads it. */
export const nightText = ({ from, to, price }: Night): string => `${from}-${to} ${price.trim().replace(',', '.')}`;

/** What a plug-in meter showed, beside what the card itself said, watts. */
export type Reading = { card: string; wall: string };

/** Reads the setting `wall_meter`: the first reading idle, the second under load. */
export function readingsOf(text: string): [Reading, Reading] {
  const [idle, load] = text.split(',').map((pair) => {
    const [card = '', wall = ''] = pair.trim().split(':');
    return { card, wall };
  });
  return [idle ?? { card: '', wall: '' }, load ?? { card: '', wall: '' }];
}

/** The same as the node reads it; empty when nothing was read. */
export function readingsText(readings: readonly Reading[]): string {
  const clean = readings.map(({ card, wall }) => [card, wall].map((part) => part.trim().replace(',', '.')));
  return clean.every((pair) => pair.every((part) => part === '')) ? '' : clean.map((pair) => pair.join(':')).join(', ');
}
