/** Segments of captures in a worker: counts alone, each packet by itself (workers/segments.ts). */
import { openCapture } from '../packets/pcap-file.ts';
import { guessRecord, PcapSegmentReader } from '../packets/pcap-segment.ts';
import { type CaptureReader, createRecordBatch } from '../packets/source.ts';
import { viewTables } from '../tables/tables.ts';
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
import { STAGE_READ, StageTimes } from './stage-times.ts';

/** A function that judges one segment, to be called again when it is done. */
export function judgeSegments(start: WorkerStart): (task: SegmentTask) => Promise<SegmentResult> {
  const judge = new SegmentJudge(start);
  return async (task) => {
    const file = start.files[task.file]!;
    if (file.header === undefined) {
      const judged = await judge.judge(await openCapture(file.path));
      return { ...judged, file: task.file, index: 0, start: 0, stop: 0 };
    }
    const first = task.isExact ? task.start : (guessRecord(file.path, file.header, task.start) ?? -1);
    const reader = new PcapSegmentReader(file.path, file.header, Math.max(first, 0), first < 0 ? 0 : task.end);
    const judged = await judge.judge(reader);
    return { ...judged, file: task.file, index: task.index, start: first, stop: reader.stop, source: undefined };
  };
}

type Judged = Omit<SegmentResult, 'file' | 'index' | 'start' | 'stop'>;

/** One path for all segments of a worker: what it made once, and what the loops have learnt, serve all of them. */
class SegmentJudge {
  readonly #gate: FeedGate;
  readonly #progress: Float64Array;
  readonly #frames = new FramePacker();
  readonly #batch = createRecordBatch();
  readonly #replayer: Replayer;
  readonly #times: StageTimes | undefined;
  #reader: CaptureReader | undefined;

  constructor(start: WorkerStart) {
    this.#gate = new FeedGate(start.feed);
    this.#progress = new Float64Array(start.progress, start.worker * PROGRESS_NUMBERS * 8, PROGRESS_NUMBERS);
    this.#times = start.wantsTimes ? new StageTimes() : undefined;
    const times = this.#times === undefined ? {} : { times: this.#times };
    this.#replayer = new Replayer(
      viewTables(start.tables),
      { ...start.options, ...times, lane: start.lane },
      {
        onFragment: (batch, index, packet) =>
          this.#frames.add(batch, index, packet, this.#reader?.interfaceName(batch.interfaces[index]!)),
      },
    );
  }

  async judge(reader: CaptureReader): Promise<Judged> {
    this.#reader = reader;
    this.#progress.fill(0);
    let wasStopped = false;
    try {
      for (;;) {
        this.#replayer.drain(reader, this.#batch);
        this.#progress[PROGRESS_BYTES] = reader.bytesRead;
        this.#progress[PROGRESS_PACKETS] = reader.packetsRead;
        wasStopped = this.#gate.isEnding;
        if (wasStopped) break;
        const reading = this.#times === undefined ? 0 : performance.now();
        const more = reader.fill();
        const hasMore = typeof more === 'boolean' ? more : await more;
        this.#times?.addWhole(STAGE_READ, reading);
        if (!hasMore) break;
      }
    } finally {
      reader.close();
    }
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
      counters: this.#replayer.takeCounters(),
      frames: this.#frames.take(),
      hasError: error !== undefined,
      source,
      stageMs: this.#times?.take(),
    };
  }
}
