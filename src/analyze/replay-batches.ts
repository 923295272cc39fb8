/**
 * Which batches a replay may take instead of one packet after the other: none where lines, connections or verdicts are asked for one by one,
 * tunnels are opened, or an interface has a say.
 *
 *   each packet by itself    fast-path.ts
 *   with connection tracking tracked-path.ts
 */
import { forgetFlows } from '../conntrack/flows.ts';
import type { Conntrack } from '../conntrack/table.ts';
import type { Counters } from '../match/counters.ts';
import { CAPTURE_UNKNOWN, CAPTURE_VETH, type Judge } from '../match/state.ts';
import type { CaptureReader, RecordBatch } from '../packets/source.ts';
import { FastPath, type PathLoops } from './fast-path.ts';
import type { OwnerChanges } from './owner-changes.ts';
import type { ReplayOptions, ReplayShare } from './replay-options.ts';
import { TrackedPath } from './tracked-path.ts';

export interface BatchPath {
  /** Judges the packets of `batch`. */
  batch(batch: RecordBatch): void;
  /** Judges what `reader` holds, up to a batch, and returns how many packets that were; -1 if the records are of another form. */
  scan(reader: CaptureReader, batch: RecordBatch): number;
  /** Adds what was counted so far to `counters`. */
  fold(counters: Counters): void;
  /** Of packets judged by themselves: counts one that the folded tables had an answer for (match/folded.ts). */
  count?(value: number, bytes: number): void;
}

export interface BatchPathParts {
  readonly judge: Judge;
  readonly conntrack: Conntrack | undefined;
  readonly owners: OwnerChanges | undefined;
  /** Of the tables that `judge` has. */
  readonly counters: Counters;
  /** Nobody wants more than counts. */
  readonly countsAlone: boolean;
  readonly ownsShard: ReplayShare['ownsShard'];
  /** Judges row `row` of `batch`, the packet `number` (from 1) of what the path has been given since `number` was last 1. */
  readonly slow: (batch: RecordBatch, row: number, number: number) => void;
}

/**
 * Tracked packets that go one by one before batches begin: making their loops takes some 40 ms, which a capture of a few hundred packets would wait for
 * in vain. From 2 000 packets on batches are no dearer, as the way of one by one needs as long to be compiled.
 */
const TRACKED_FROM_PACKETS = 512;

/** Whether it is time for batches, so many packets into the replay. */
export function mayTakeBatches({ stateless, trackedBatchesFrom }: ReplayOptions, packets: number): boolean {
  return stateless === true || packets >= (trackedBatchesFrom ?? TRACKED_FROM_PACKETS);
}

/** The path for the judge's tables, or `undefined`: one packet after the other. */
export function batchPath(options: ReplayOptions, parts: BatchPathParts): BatchPath | undefined {
  const { judge, conntrack, owners, counters, countsAlone, ownsShard, slow } = parts;
  if (!countsAlone || options.decapsulate === true) return undefined;
  if (conntrack === undefined) {
    if (judge.capturePoint !== CAPTURE_UNKNOWN) return undefined;
    return new FastPath(judge.tables, slow, loopsOf(options), options.times);
  }
  if (judge.capturePoint === CAPTURE_VETH) return undefined;
  forgetFlows(conntrack);
  return new TrackedPath({ judge, ct: conntrack, owners, counters, slow, ownsShard, times: options.times });
}

/** The WebAssembly form has a copy of the tables, which takes a while to make and sees no change of owners. */
function loopsOf({ form, lane, timeline, isStale, newTables }: ReplayOptions): PathLoops {
  if (form === 'script' || form === 'search') return form;
  if (timeline !== undefined || isStale !== undefined || newTables !== undefined) return 'script-later';
  return lane ?? form ?? 'wasm-later';
}
