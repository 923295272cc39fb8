/** Counts of capture children, alive and dead, as the one sum that always adds up. */
import { DECODE_STATUS_COUNT, DECODE_STATUS_NAMES } from '../wire/record.ts';
import type { Accounting } from './api.ts';
import * as ledger from './ledger.ts';

/** Numbers of children that are gone, and what went with them. */
export interface PastCounts {
  readonly counts: Float64Array;
  childCrash: number;
  /** Of children that did not stop in time. */
  stop: number;
}

export function createPastCounts(): PastCounts {
  return { counts: new Float64Array(ledger.LEDGER_NUMBERS), childCrash: 0, stop: 0 };
}

/** Adds the last ledger of a child that is gone: what it had seen and not judged is lost, for `reason`. */
export function closeBooks(past: PastCounts, last: Float64Array, reason: 'childCrash' | 'stop'): void {
  past[reason] += Math.max(0, last[ledger.LEDGER_SEEN]! - ledger.settledPackets(last));
  for (let number = 0; number < last.length; number++) past.counts[number]! += last[number]!;
  past.counts[ledger.LEDGER_IS_ESTIMATED] =
    Math.max(past.counts[ledger.LEDGER_IS_ESTIMATED]!, last[ledger.LEDGER_IS_ESTIMATED]!) > 0 ? 1 : 0;
  past.counts[ledger.LEDGER_FLOWS_ACTIVE] = 0;
}

/**
 * The accounting of all. `seen` counts a packet when its fate is known: those in a ring at this moment come with the next look.
 *
 * @param live  ledgers of the children that run
 */
export function accountingOf(past: PastCounts, live: readonly Float64Array[]): Accounting {
  const sum = Float64Array.from(past.counts);
  let isEstimated = sum[ledger.LEDGER_IS_ESTIMATED]! > 0;
  for (const counts of live) {
    for (let number = 0; number < sum.length; number++) sum[number]! += counts[number]!;
    if (counts[ledger.LEDGER_IS_ESTIMATED]! > 0) isEstimated = true;
  }
  const undecodedByReason: Record<string, number> = {};
  let undecoded = 0;
  for (let status = 0; status < DECODE_STATUS_COUNT; status++) {
    const count = sum[ledger.LEDGER_UNDECODED + status]!;
    undecoded += count;
    if (count > 0) undecodedByReason[DECODE_STATUS_NAMES[status]!] = count;
  }
  const lostByReason: Record<string, number> = {};
  const losses: readonly (readonly [string, number])[] = [
    ['ring-full', sum[ledger.LEDGER_LOST_RING]!],
    ['child-crash', past.childCrash],
    ['stop', sum[ledger.LEDGER_LOST_STOP]! + past.stop],
  ];
  for (const [reason, count] of losses) if (count > 0) lostByReason[reason] = count;
  const [allow, deny] = [sum[ledger.LEDGER_ALLOW]!, sum[ledger.LEDGER_DENY]!];
  const [unpoliced, uncertain] = [sum[ledger.LEDGER_UNPOLICED]!, sum[ledger.LEDGER_UNCERTAIN]!];
  const judged = allow + deny + unpoliced + uncertain;
  const duplicate = sum[ledger.LEDGER_DUPLICATE]!;
  const lost = losses.reduce((total, [, count]) => total + count, 0);
  return {
    seen: judged + duplicate + undecoded + lost,
    judged,
    duplicate,
    undecoded,
    lost,
    droppedByKernel: sum[ledger.LEDGER_KERNEL_DROPS]!,
    isKernelDropEstimated: isEstimated,
    allow,
    deny,
    unpoliced,
    uncertain,
    bytes: sum[ledger.LEDGER_BYTES]!,
    undecodedByReason,
    lostByReason,
  };
}
