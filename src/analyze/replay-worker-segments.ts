/** Segments of captures in a worker: counts alone, each packet by itself (workers/segments.ts). */
import { openCapture } from '../packets/pcap-file.ts';
import { guessRecord, PcapSegmentReader } from '../packets/pcap-segment.ts';
import { type CaptureReader, createRecordBatch } from '../packets/source.ts';
import { openTables, type Tables } from '../tables/tables.ts';
import { FeedGate } from '../workers/feed.ts';
import { FramePacker } from '../workers/frames.ts';
import type { SegmentTask } from '../workers/segments.ts';
import type { SourceResult } from './replay.ts';
import {
  PROGRESS_BYTES,
  PROGRESS_NUMBERS,
  PROGRESS_PACKETS,
  type SegmentResult,
  type WorkerStart,
} from './replay-parallel-messages.ts';
import { Replayer } from './replayer.ts';

/** A function that judges one segment. */
export function judgeSegments(start: WorkerStart): (task: SegmentTask) => Promise<SegmentResult> {
  const tables = openTables(start.tables);
  const gate = new FeedGate(start.feed);
  const progress = new Float64Array(start.progress, start.worker * PROGRESS_NUMBERS * 8, PROGRESS_NUMBERS);
  return async (task) => {
    const file = start.files[task.file]!;
    progress.fill(0);
    if (file.header === undefined) {
      const reader = await openCapture(file.path);
      return { ...(await judge(tables, start, reader, gate, progress)), file: task.file, index: 0, start: 0, stop: 0 };
    }
    const first = task.isExact ? task.start : (guessRecord(file.path, file.header, task.start) ?? -1);
    const reader = new PcapSegmentReader(file.path, file.header, Math.max(first, 0), first < 0 ? 0 : task.end);
    const judged = await judge(tables, start, reader, gate, progress);
    return { ...judged, file: task.file, index: task.index, start: first, stop: reader.stop, source: undefined };
  };
}

type Judged = Omit<SegmentResult, 'file' | 'index' | 'start' | 'stop'>;

async function judge(
  tables: Tables,
  start: WorkerStart,
  reader: CaptureReader,
  gate: FeedGate,
  progress: Float64Array,
): Promise<Judged> {
  const frames = new FramePacker();
  const replayer = new Replayer(tables, start.options, {
    onFragment: (batch, index, packet) =>
      frames.add(batch, index, packet, reader.interfaceName(batch.interfaces[index]!)),
  });
  const batch = createRecordBatch();
  let wasStopped = false;
  try {
    for (;;) {
      replayer.drain(reader, batch);
      progress[PROGRESS_BYTES] = reader.bytesRead;
      progress[PROGRESS_PACKETS] = reader.packetsRead;
      wasStopped = gate.isEnding;
      if (wasStopped) break;
      const more = reader.fill();
      if (!(typeof more === 'boolean' ? more : await more)) break;
    }
    replayer.finish();
    const { error, linkType, lostPackets, packetsRead } = reader;
    const source: SourceResult = {
      file: reader.name,
      packets: packetsRead,
      link_type: linkType,
      lost: lostPackets,
      error: error?.message ?? null,
    };
    return {
      kind: 'segment',
      isLast: wasStopped || error !== undefined,
      packets: packetsRead,
      counters: replayer.counters,
      frames: frames.take(),
      hasError: error !== undefined,
      source,
    };
  } finally {
    reader.close();
  }
}
