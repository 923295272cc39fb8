/**
 * Replay: captures in, verdicts out. Files are read one after the other as one stream of packets; what happens to a packet is in
 * replayer.ts.
 */
import type { Counters } from '../match/counters.ts';
import { openCapture } from '../packets/pcap-file.ts';
import { type CaptureReader, createRecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { type Totals, totalsOf } from './counters.ts';
import type { PacketRecord } from './packet-lines.ts';
import type { ParallelOptions, WorkerCount } from './replay-parallel.ts';
import { type Progress, Replayer } from './replayer.ts';
import { STAGE_READ } from './stage-times.ts';

export type { PacketRecord, WorkerCount };
export type ReplayOptions = ParallelOptions;

export interface SourceResult {
  file: string;
  packets: number;
  link_type: number | undefined;
  lost: number;
  /** Why reading ended early, or `null`. */
  error: string | null;
}

export interface ReplayResult {
  totals: Totals;
  counters: Counters;
  sources: SourceResult[];
  /** True if the signal ended it. */
  interrupted: boolean;
  /** Connections whose record closed early because too many were open. */
  evictedConnections: number;
  /** Workers that judged. */
  workers: number;
}

/** Replays `files` in order, as one stream of packets: connections go on from one capture to the next. */
export async function replayCaptures(
  tables: Tables,
  files: readonly string[],
  options: ReplayOptions = {},
): Promise<ReplayResult> {
  // Loaded only where more than one worker is asked for: a short replay starts as fast as ever.
  // Tables that change with the time of packets stand at one time, and who vouches for them is known here alone.
  const isFixed = options.timeline === undefined && options.live === undefined && options.isStale === undefined;
  if (options.workers !== undefined && options.workers !== 1 && isFixed) {
    const { planParallel, replayParallel } = await import('./replay-parallel.ts');
    const plan = await planParallel(files, options);
    if (plan !== undefined) return replayParallel(tables, plan, options);
  }
  const replayer = new Replayer(tables, options);
  const sources: SourceResult[] = [];
  for (const file of files) {
    if (options.signal?.aborted === true) break;
    sources.push(await replayFile(replayer, file, options));
  }
  replayer.finish();
  return {
    totals: totalsOf(replayer.counters, replayer.connectionCount),
    counters: replayer.counters,
    sources,
    interrupted: options.signal?.aborted === true,
    evictedConnections: replayer.evictedConnections,
    workers: 1,
  };
}

async function replayFile(replayer: Replayer, file: string, options: ReplayOptions): Promise<SourceResult> {
  // A stream may give nothing for hours: an abort must not wait for it.
  const aborted = abortOf(options.signal);
  const reader = await Promise.race([openCapture(file), aborted]);
  if (reader === undefined) return { file, packets: 0, link_type: undefined, lost: 0, error: null };
  const batch = createRecordBatch();
  try {
    while (options.signal?.aborted !== true) {
      replayer.drain(reader, batch);
      options.onProgress?.(progressOf(reader));
      const start = options.times === undefined ? 0 : performance.now();
      const more = reader.fill();
      const hasMore = typeof more === 'boolean' ? more : await Promise.race([more, aborted]);
      options.times?.addWhole(STAGE_READ, start);
      if (hasMore !== true) break;
      // Lets Ctrl-C in: reading a plain file never yields by itself.
      if (typeof more === 'boolean') await new Promise((resolve) => setImmediate(resolve));
    }
    return {
      file,
      packets: reader.packetsRead,
      link_type: reader.linkType,
      lost: reader.lostPackets,
      error: reader.error?.message ?? null,
    };
  } finally {
    reader.close();
  }
}

/** Resolves when `signal` is aborted, if ever. */
function abortOf(signal: AbortSignal | undefined): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve(undefined);
    else signal?.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function progressOf(reader: CaptureReader): Progress {
  return {
    file: reader.name,
    bytesRead: reader.bytesRead,
    sizeBytes: reader.sizeBytes,
    packets: reader.packetsRead,
  };
}
