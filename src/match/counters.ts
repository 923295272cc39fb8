/**
 * Counters of verdicts, as typed arrays. They always add up: every packet is in exactly one verdict, and every undecoded one
 * in exactly one reason.
 *
 * Packets and bytes are also counted by the step that decided (a rule, an end of tier, a profile), and for verdicts that no step
 * gave (established connections, invalid packets, evidence that is missing) by their reason.
 */
import { REASON_NAMES, VERDICT_NAMES, VERDICT_UNDECODED } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { DECODE_STATUS_COUNT } from '../wire/record.ts';

export interface Counters {
  /** By VERDICT_*. */
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  /** Undecoded packets by DECODE_*. */
  readonly undecoded: Float64Array;
  /** By step, for packets that a step decided. */
  readonly stepPackets: Float64Array;
  readonly stepBytes: Float64Array;
  /** By `verdict * REASON_COUNT + reason`, for the others. */
  readonly otherPackets: Float64Array;
  readonly otherBytes: Float64Array;
}

export const REASON_COUNT = REASON_NAMES.length;

export function createCounters(tables: Tables): Counters {
  const steps = tables.counts[layout.SECTION_STEPS]!;
  return {
    packets: new Float64Array(VERDICT_NAMES.length),
    bytes: new Float64Array(VERDICT_NAMES.length),
    undecoded: new Float64Array(DECODE_STATUS_COUNT),
    stepPackets: new Float64Array(steps),
    stepBytes: new Float64Array(steps),
    otherPackets: new Float64Array(VERDICT_NAMES.length * REASON_COUNT),
    otherBytes: new Float64Array(VERDICT_NAMES.length * REASON_COUNT),
  };
}

/** Counts a packet. `step` < 0: no step decided it. */
export function countPacket(counters: Counters, verdict: number, reason: number, step: number, bytes: number): void {
  addPackets(counters, verdict, reason, step, 1, bytes);
}

/** Counts `packets` alike packets of `bytes` bytes together. */
export function addPackets(
  counters: Counters,
  verdict: number,
  reason: number,
  step: number,
  packets: number,
  bytes: number,
): void {
  counters.packets[verdict]! += packets;
  counters.bytes[verdict]! += bytes;
  if (step >= 0) {
    counters.stepPackets[step]! += packets;
    counters.stepBytes[step]! += bytes;
  } else {
    counters.otherPackets[verdict * REASON_COUNT + reason]! += packets;
    counters.otherBytes[verdict * REASON_COUNT + reason]! += bytes;
  }
}

export function countUndecoded(counters: Counters, status: number, bytes: number): void {
  counters.packets[VERDICT_UNDECODED]! += 1;
  counters.bytes[VERDICT_UNDECODED]! += bytes;
  counters.undecoded[status]! += 1;
}
