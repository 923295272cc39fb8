/** Numbers, sizes and times as text. Fixed forms, whatever the language of the browser, so that a shared picture reads the same. */

const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const COUNT_UNITS = ['', 'k', 'M', 'G', 'T'];

/** Groups of three, apart by a thin space: `1 234 567`. */
export function formatCount(value: number): string {
  const digits = Math.trunc(Math.abs(value)).toString();
  const grouped = digits.replace(/\B(?=(\d{3})+$)/g, '\u202f');
  return value < 0 ? `-${grouped}` : grouped;
}

/** At most four signs and a unit, for places where a full count has no room: `950`, `12.3k`, `4.01M`. */
export function formatShort(value: number): string {
  return withUnit(value, COUNT_UNITS, '');
}

/** Decimal units: `512 B`, `1.50 kB`, `12.3 MB`. */
export function formatBytes(value: number): string {
  return withUnit(value, SIZE_UNITS, '\u00a0');
}

function withUnit(value: number, units: readonly string[], space: string): string {
  let scaled = value;
  let step = 0;
  while (Math.abs(scaled) >= 999.5 && step < units.length - 1) {
    scaled /= 1000;
    step++;
  }
  const isWhole = step === 0 && Number.isInteger(scaled);
  const text = isWhole ? String(scaled) : scaled.toPrecision(3);
  return `${text}${space}${units[step]}`;
}

/** `0.0 %`, `12.5 %`; a share that is not zero never reads as zero. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return '–';
  const percent = (part / whole) * 100;
  if (percent > 0 && percent < 0.1) return '<0.1\u00a0%';
  return `${percent.toFixed(percent === 100 ? 0 : 1)}\u00a0%`;
}

/** A span as its two largest units: `14 ms`, `3 s`, `2 min 5 s`, `4 h 10 min`, `3 d 2 h`. */
export function formatSpan(spanMs: number): string {
  if (Number.isNaN(spanMs)) return '–';
  if (spanMs < 999.5) return `${Math.max(0, Math.round(spanMs))}\u00a0ms`;
  const seconds = Math.round(spanMs / 1000);
  if (seconds < 60) return `${seconds}\u00a0s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return joinUnits(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return joinUnits(hours, 'h', minutes % 60, 'min');
  return joinUnits(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function joinUnits(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return `${large}\u00a0${largeUnit}${small > 0 ? ` ${small}\u00a0${smallUnit}` : ''}`;
}

/** The time of day of an RFC 3339 time, in UTC as written: `12:34:56`. What is no such time stays as it is. */
export function formatClock(time: string): string {
  return /T(\d\d:\d\d:\d\d)/.exec(time)?.[1] ?? time;
}

/** With milliseconds: `12:34:56.789`. */
export function formatPreciseClock(time: string): string {
  return /T(\d\d:\d\d:\d\d(\.\d{1,3})?)/.exec(time)?.[1] ?? time;
}

/** `2026-01-01 12:34:56 UTC` */
export function formatDate(time: string): string {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(time);
  return match ? `${match[1]} ${match[2]} UTC` : time;
}
