/**
 * A replay by several worker threads, with the answer of one: verdicts, connections, totals, order of lines, errors, to the byte.
 *
 * Three ways to divide, the first that fits:
 *
 *   segments   nothing but counts of packets judged each by itself. Plain pcap files are cut into pieces at offsets, whole other files are
 *              pieces too where there are enough of them (workers/segments.ts). Nothing is read twice.
 *   blocks     packets judged each by itself, but with lines, or out of a capture that only a walk from its start can read. Every
 *              worker walks over all packets and judges every n-th block of them (workers/rows.ts).
 *   flows      connection tracking, or connections to gather. Every worker walks over all packets and judges those whose flow
 *              hashes to its shards; whatever packets share lies in one shard (conntrack/key.ts).
 *
 * Fragments: without connections the main thread puts them all together and judges them; with flows every worker does, for
 * itself, since who owns a datagram shows when it is whole. Orphaned ICMP errors (connections.ts) are gathered by the main thread.
 *
 * The tables go to the workers once, as the shared buffer that they are. A worker that dies ends the replay with a WorkerFault. The end
 * checks that the counts add up to the packets that were read.
 */

import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { assert } from '../base/assert.ts';
import { isCompressed } from '../packets/pcap-file.ts';
import { readPcapHeader } from '../packets/pcap-segment.ts';
import type { Tables } from '../tables/tables.ts';
import { countedPackets } from '../workers/counters.ts';
import type { ReplayResult } from './replay.ts';
import type { Division, PlannedFile } from './replay-parallel-messages.ts';
import { replaySegments } from './replay-parallel-segments.ts';
import { replayShares } from './replay-parallel-shares.ts';
import type { ReplayOptions } from './replayer.ts';

/** How many workers; `auto` is one a core. Fewer where the captures are small. */
export type WorkerCount = number | 'auto';

/** A thread takes some 60 ms to start: one is not worth its while for less. Standard input and pipes count as large. */
const BYTES_PER_WORKER = 4 * 1024 * 1024;
export interface ParallelOptions extends ReplayOptions {
  readonly workers?: WorkerCount;
  /** What `onConnection` and `onPacket` get, as a line of JSON: instead of them, where several threads judge. */
  readonly onConnectionText?: (record: string) => void;
  readonly onPacketText?: (line: string) => void;
  /** Bytes of captures that another worker is worth, for tests; default BYTES_PER_WORKER. */
  readonly bytesPerWorker?: number;
  /** Bytes of a segment, for tests. */
  readonly segmentBytes?: number;
}

export interface ParallelPlan {
  readonly workers: number;
  readonly division: Division;
  readonly files: readonly PlannedFile[];
  /** Some capture is a stream or compressed: the main thread reads for all. */
  readonly needsRing: boolean;
}

/** How to divide the work, or undefined: one thread, this one, is right. Opens nothing that cannot be read again. */
export async function planParallel(
  files: readonly string[],
  options: ParallelOptions,
): Promise<ParallelPlan | undefined> {
  const { workers: wanted = 1, bytesPerWorker = BYTES_PER_WORKER } = options;
  if (wanted === 1 || files.length === 0) return undefined;
  const stats = files.map((file) => (file === '-' ? undefined : statSync(file, { throwIfNoEntry: false })));
  const isStream = stats.map((stat) => stat === undefined || !stat.isFile());
  // A stream may be a live one, of a packet a second: only who asks for them gets workers.
  if (wanted === 'auto' && isStream.some(Boolean)) return undefined;
  const bytes = stats.reduce((sum, stat, i) => sum + (isStream[i] ? Number.POSITIVE_INFINITY : stat!.size), 0);
  const workers = Math.min(wanted === 'auto' ? availableParallelism() : wanted, Math.floor(bytes / bytesPerWorker));
  if (workers < 2) return undefined;
  try {
    return await divide(
      files,
      isStream,
      stats.map((stat) => stat?.size ?? 0),
      workers,
      options,
    );
  } catch (error) {
    // A file that cannot be opened is reported where it stands among the others.
    if (error instanceof Error && error.name === 'CaptureError') return undefined;
    throw error;
  }
}

async function divide(
  files: readonly string[],
  isStream: readonly boolean[],
  sizes: readonly number[],
  workers: number,
  options: ParallelOptions,
): Promise<ParallelPlan> {
  const planned = files.map((path, i): PlannedFile => {
    const found = isStream[i] ? undefined : readPcapHeader(path);
    const header = found === undefined ? undefined : { form: found.form, linkType: found.linkType };
    return { path, sizeBytes: sizes[i]!, header };
  });
  const hasConnections = options.onConnection !== undefined || options.onConnectionText !== undefined;
  const hasLines = options.onPacket !== undefined || options.onPacketText !== undefined;
  const isStateless = options.stateless === true && !hasConnections;
  const arePlain = planned.every(({ header }) => header !== undefined);
  const areMany = !isStream.some(Boolean) && files.length >= workers;
  if (isStateless && !hasLines && (arePlain || areMany)) {
    return { workers, division: 'segments', files: planned, needsRing: false };
  }
  let needsRing = isStream.some(Boolean);
  for (const { path, header } of planned) needsRing ||= header === undefined && (await isCompressed(path));
  return { workers, division: isStateless ? 'blocks' : 'flows', files: planned, needsRing };
}

/** Replays by the plan. Rejects with a WorkerFault if a worker fails. */
export async function replayParallel(
  tables: Tables,
  plan: ParallelPlan,
  options: ParallelOptions,
): Promise<ReplayResult> {
  const result =
    plan.division === 'segments'
      ? await replaySegments(tables, plan, options)
      : await replayShares(tables, plan, options);
  const read = result.sources.reduce((sum, { packets }) => sum + packets, 0);
  assert(
    countedPackets(result.counters) === read,
    `${read} packets were read and ${countedPackets(result.counters)} counted`,
  );
  return result;
}
