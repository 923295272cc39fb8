/** Ratios of this run beside stored ones: only ratios compare across machines. */
import type { Measurement, Results } from './measurement.ts';
import { isMemoryBound } from './scenario.ts';

/** Percent that a ratio may be worse: where tables stay in the caches, and where they do not. */
export const CACHED_TOLERANCE = 10;
export const MEMORY_TOLERANCE = 25;

/**
 * Captures of other lengths are not compared.
 *
 * @param tolerancePercent  for all rows; undefined = what each row's scenario allows
 */
export function compareResults(
  stored: Results,
  current: Results,
  tolerancePercent?: number,
): { readonly text: string; readonly isWorse: boolean } {
  if (stored.packets !== current.packets) {
    const text = `not comparable: ${stored.packets} packets are stored, ${current.packets} were run; run with --packets ${stored.packets}\n`;
    return { text, isWorse: false };
  }
  const before = new Map(stored.measurements.filter(isRatio).map((row) => [keyOf(row), row]));
  const lines: string[] = [];
  let isWorse = false;
  for (const row of current.measurements.filter(isRatio)) {
    const old = before.get(keyOf(row));
    if (old === undefined) {
      lines.push(`new    ${keyOf(row)}: ${row.median.toFixed(2)} x`);
      continue;
    }
    const tolerance = tolerancePercent ?? (isMemoryBound(row.scenario) ? MEMORY_TOLERANCE : CACHED_TOLERANCE);
    const change = (row.median / old.median - 1) * 100;
    const isBad = change < -tolerance;
    isWorse ||= isBad;
    const sign = change >= 0 ? '+' : '';
    lines.push(
      `${isBad ? 'WORSE ' : 'ok    '} ${keyOf(row)}: ${old.median.toFixed(2)} x, now ${row.median.toFixed(2)} x ` +
        `(${sign}${change.toFixed(0)} %, allowed -${tolerance} %)`,
    );
  }
  if (lines.length === 0) lines.push('no ratios to compare: run both with --peers');
  return { text: `${lines.join('\n')}\n`, isWorse };
}

function isRatio(row: Measurement): boolean {
  return row.unit === 'x';
}

function keyOf(row: Measurement): string {
  return `${row.scenario}: ${row.name}`;
}
