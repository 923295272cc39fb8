/** Ratios of this run beside stored ones: only ratios compare across machines. */
import type { Measurement, Results } from './measurement.ts';

export function compareResults(
  stored: Results,
  current: Results,
  tolerancePercent: number,
): { readonly text: string; readonly isWorse: boolean } {
  const before = new Map(stored.measurements.filter(isRatio).map((row) => [keyOf(row), row]));
  const lines: string[] = [];
  let isWorse = false;
  for (const row of current.measurements.filter(isRatio)) {
    const old = before.get(keyOf(row));
    if (old === undefined) {
      lines.push(`new    ${keyOf(row)}: ${row.median.toFixed(2)} x`);
      continue;
    }
    const change = (row.median / old.median - 1) * 100;
    const bad = change < -tolerancePercent;
    isWorse ||= bad;
    const sign = change >= 0 ? '+' : '';
    lines.push(
      `${bad ? 'WORSE ' : 'ok    '} ${keyOf(row)}: ${old.median.toFixed(2)} x, now ${row.median.toFixed(2)} x (${sign}${change.toFixed(0)} %)`,
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
