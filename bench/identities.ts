/** Identities: the store at 100 000 pods, changes from publisher to packet path, and packets while changes flow (children/identities.ts). */
import type { IdentityFigures } from './children/identities.ts';
import { type Measurement, measured } from './measurement.ts';
import { runOnce } from './once.ts';

const SCENARIO = 'identities';

/** `capture`: packets to judge while changes flow; without it that figure is left out. Empty where there is no `redis-server`. */
export function runIdentities(capture?: string): Measurement[] {
  const figures = runOnce<IdentityFigures | undefined>('identities', capture === undefined ? [] : [capture]);
  if (figures === undefined) return [];
  const { loadMs, addressesMs, snapshotMs, memoryMB, slowestUs, rates, replay } = figures;
  const row = (name: string, unit: Measurement['unit'], values: readonly number[], note: string): Measurement =>
    measured(SCENARIO, name, unit, values, { note });
  return [
    row('100 000 pods into Redis', 'ms', [loadMs], 'asked: under 3 s'),
    row('100 000 addresses into a reader', 'ms', addressesMs, 'asked: under 500 ms'),
    row('100 000 addresses and pods into a reader', 'ms', snapshotMs, 'all that a compile needs'),
    row('memory of the ep keys', 'MB', [memoryMB], 'asked: under 10 MB'),
    row(
      'slowest command of the server',
      'us',
      [slowestUs],
      "asked: under 1 ms; the server's wall clock, so a busy machine shows in it",
    ),
    ...rates.flatMap(({ rate, seconds, changes, latenciesMs, behindMs }) => {
      const sorted = [...latenciesMs].sort((a, b) => a - b);
      const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
      return [
        row(`${rate} changes/s: change to packet path, p50`, 'ms', [at(0.5)], 'asked at 1 000: under 1 ms'),
        row(`${rate} changes/s: change to packet path, p99`, 'ms', [at(0.99)], 'asked at 1 000: under 10 ms'),
        row(`${rate} changes/s: published`, '1/s', [changes / seconds], 'asked: 5 000 without falling behind'),
        row(`${rate} changes/s: behind at the end`, 'ms', [behindMs], 'two polls of 50 ms at least'),
      ];
    }),
    ...(replay === undefined
      ? []
      : [
          row(
            'packets while 1 000 changes/s flow, of the rate without',
            'x',
            replay.busy.map((busy, i) => busy / replay.quiet[i]!),
            'asked: at least 0.9',
          ),
        ]),
  ];
}
