/** Moments: RFC 3339 text to milliseconds since 1970 and back. A float64 keeps a present moment to a quarter of a microsecond. */

const RFC_3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;

/** `2026-01-01T00:00:00.000001Z`, any offset, up to nine decimals; or seconds since 1970 with decimals. `undefined` if it is neither. */
export function parseMoment(text: string): number | undefined {
  if (/^\d{1,12}(\.\d{1,9})?$/.test(text)) {
    const [seconds, decimals = ''] = text.split('.');
    return milliseconds(Number(seconds), decimals);
  }
  const match = RFC_3339.exec(text);
  if (match === null) return undefined;
  const [, date, clock, decimals = '', zone] = match;
  const whole = Date.parse(`${date}T${clock}${zone!.toUpperCase()}`);
  // `Date.parse` takes February 30th for March 2nd.
  const day = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(whole) || Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== date) return undefined;
  return milliseconds(whole / 1000, decimals);
}

function milliseconds(seconds: number, decimals: string): number {
  return momentOf(seconds, Number(decimals.padEnd(9, '0')));
}

/** The moment of a packet's time stamp; the same sum everywhere, so that equal times are equal numbers. */
export function momentOf(seconds: number, nanos: number): number {
  return seconds * 1000 + nanos / 1e6;
}

/** `2026-01-01T00:00:00.000001Z`: with the decimals that the number holds, to the microsecond. */
export function formatMoment(ms: number): string {
  const micros = Math.round(ms * 1000);
  const date = new Date(Math.floor(micros / 1e6) * 1000);
  if (Number.isNaN(date.getTime())) return String(ms);
  const decimals = String(((micros % 1e6) + 1e6) % 1e6)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return `${date.toISOString().slice(0, 19)}${decimals === '' ? '' : `.${decimals}`}Z`;
}
