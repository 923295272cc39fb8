/** Counters of several workers added up. Counts are whole numbers below 2^53, so the order of adding changes nothing. */
import type { Counters } from '../match/counters.ts';

/** Adds every count of `from` to the same one of `to`. */
export function addCounters(to: Counters, from: Counters): void {
  for (const name of Object.keys(to) as (keyof Counters)[]) {
    const sums = to[name];
    const counts = from[name];
    for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
  }
}

/** Packets in all verdicts. */
export function countedPackets(counters: Counters): number {
  return counters.packets.reduce((sum, count) => sum + count, 0);
}
