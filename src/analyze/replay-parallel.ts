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
import type { WorkerPool } from '../workers/pool.ts';
import type { ReplayResult } from './replay.ts';
import type { Division, PlannedFile } from './replay-parallel-messages.ts';
import { replaySegments, startPool } from './replay-parallel-segments.ts';
import { replayShares } from './replay-parallel-shares.ts';
import type { ReplayOptions } from './replayer.ts';

/** How many workers; `auto` is one a core. Fewer where the captures are small. */
export type WorkerCount = number | 'auto';

/** A thread takes some 60 ms to start: one is not worth its while for less. Standard input and pipes count as large. */
const BYTES_PER_WORKER = 4 * 1024 * 1024;
/** The same for `auto` where nothing but counts of packets by themselves is asked for, of which one thread judges 20 million a second. */
const BYTES_PER_COUNTING_WORKER = 128 * 1024 * 1024;
export interface ParallelOptions extends ReplayOptions {
  readonly workers?: WorkerCount;
  /** What `onConnection` and `onPacket` get, as a line of JSON: instead of them, where several threads judge. */
  readonly onConnectionText?: (record: string) => void;
  readonly onPacketText?: (line: string) => void;
  /** Threads that `startWorkers` has started for this replay. It ends them; whoever started them waits for that (`stop`). */
  readonly pool?: WorkerPool;
  /** Bytes of captures that another worker is worth, for tests; default as said below. */
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

/**
 * Starts the threads that a replay of `files` will want, ahead of the time when there are tables; undefined: it will want none. To be
 * stopped by the caller if there will be no replay.
 */
export function startWorkers(files: readonly string[], options: ParallelOptions): WorkerPool | undefined {
  const workers = countWorkers(files, options);
  return workers < 2 ? undefined : startPool(workers);
}

/** How to divide the work, or undefined: one thread, this one, is right. Opens nothing that cannot be read again. */
export async function planParallel(
  files: readonly string[],
  options: ParallelOptions,
): Promise<ParallelPlan | undefined> {
  const workers = countWorkers(files, options);
  if (workers < 2) return undefined;
  try {
    return await divide(files, workers, options);
  } catch (error) {
    // A file that cannot be opened is reported where it stands among the others.
    if (error instanceof Error && error.name === 'CaptureError') return undefined;
    throw error;
  }
}

/** As many as are asked for and the captures are worth. */
function countWorkers(files: readonly string[], options: ParallelOptions): number {
  const { workers: wanted = 1 } = options;
  if (wanted === 1 || files.length === 0) return 1;
  const sizes = files.map(sizeOf);
  // A stream may be a live one, of a packet a second: only who asks for them gets workers.
  if (wanted === 'auto' && sizes.includes(undefined)) return 1;
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? Number.POSITIVE_INFINITY), 0);
  const worth = wanted === 'auto' && countsAlone(options) ? BYTES_PER_COUNTING_WORKER : BYTES_PER_WORKER;
  const most = Math.floor(bytes / (options.bytesPerWorker ?? worth));
  return Math.min(wanted === 'auto' ? availableParallelism() : wanted, most);
}

/** Whether nothing but counts of packets, each judged by itself, is asked for. */
function countsAlone(options: ParallelOptions): boolean {
  return options.stateless === true && !hasConnections(options) && !hasLines(options);
}

function hasConnections({ onConnection, onConnectionText }: ParallelOptions): boolean {
  return onConnection !== undefined || onConnectionText !== undefined;
}

function hasLines({ onPacket, onPacketText }: ParallelOptions): boolean {
  return onPacket !== undefined || onPacketText !== undefined;
}

/** Bytes of a file on disk; undefined for a stream, and for what is not there. */
function sizeOf(file: string): number | undefined {
  if (file === '-') return undefined;
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() === true ? stat.size : undefined;
}

async function divide(files: readonly string[], workers: number, options: ParallelOptions): Promise<ParallelPlan> {
  const sizes = files.map(sizeOf);
  const hasStream = sizes.includes(undefined);
  const planned = files.map((path, i): PlannedFile => {
    const found = sizes[i] === undefined ? undefined : readPcapHeader(path);
    const header = found === undefined ? undefined : { form: found.form, linkType: found.linkType };
    return { path, sizeBytes: sizes[i] ?? 0, header };
  });
  const isStateless = options.stateless === true && !hasConnections(options);
  const arePlain = planned.every(({ header }) => header !== undefined);
  const areMany = !hasStream && files.length >= workers;
  if (countsAlone(options) && (arePlain || areMany)) {
    return { workers, division: 'segments', files: planned, needsRing: false };
  }
  let needsRing = hasStream;
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
