/** Rates as columns for a chart: one array of seconds, one of counts for each verdict. Pure. */

import type { RateStep } from '../../agent/api.ts';
import { VERDICT_NAMES, type VerdictName } from '../shared/verdict-names.ts';

/** Ten minutes, as many as the agent keeps. */
const STEPS_MAX = 600;

export interface RateColumns {
  /** Consecutive seconds since 1970, without holes. */
  readonly times: number[];
  /** null where nothing was heard of a second, which a chart leaves open. */
  readonly counts: Readonly<Record<VerdictName, (number | null)[]>>;
}

/** @param steps by time, each second once; @param spanSeconds how far back from the newest step */
export function columnsOf(steps: readonly RateStep[], spanSeconds: number): RateColumns {
  const counts = Object.fromEntries(VERDICT_NAMES.map((name) => [name, [] as (number | null)[]])) as Record<
    VerdictName,
    (number | null)[]
  >;
  const newest = steps.at(-1)?.time;
  if (newest === undefined) return { times: [], counts };
  const byTime = new Map(steps.map((step) => [step.time, step]));
  const oldest = Math.max(steps[0]!.time, newest - spanSeconds + 1);
  const times: number[] = [];
  for (let time = oldest; time <= newest; time++) {
    const step = byTime.get(time);
    times.push(time);
    for (const name of VERDICT_NAMES) counts[name].push(step === undefined ? null : step[name]);
  }
  return { times, counts };
}

/** Mean a second over the last `seconds` that were heard of, the newest one included. */
export function recentRate(steps: readonly RateStep[], name: VerdictName, seconds: number): number {
  const recent = steps.slice(-seconds);
  if (recent.length === 0) return 0;
  return recent.reduce((sum, step) => sum + step[name], 0) / recent.length;
}

/**
 * Points of a small line in a box of `width` by `height`, for SVG's `points`: newest at the right edge, largest at the top. Empty when
 * nothing but zeros is to be shown.
 */
export function sparkline(counts: readonly (number | null)[], width: number, height: number, slots: number): string {
  const most = Math.max(0, ...counts.map((count) => count ?? 0));
  if (most === 0) return '';
  const shown = counts.slice(-slots);
  const step = width / (slots - 1);
  const start = slots - shown.length;
  return shown
    .map((count, index) => {
      const x = (start + index) * step;
      const y = height - ((count ?? 0) / most) * (height - 2) - 1;
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(' ');
}

/** Both lists by time, a newer word on the same second replacing the older; the newest `STEPS_MAX`. */
export function mergeSteps(known: readonly RateStep[], added: readonly RateStep[]): RateStep[] {
  const byTime = new Map(known.map((step) => [step.time, step]));
  for (const step of added) byTime.set(step.time, step);
  const merged = [...byTime.values()].sort((a, b) => a.time - b.time);
  return merged.slice(-STEPS_MAX);
}
