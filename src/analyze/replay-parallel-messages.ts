/** What the main thread of a replay and its workers tell each other. Everything here is plain data that can be copied. */
import type { MessagePort } from 'node:worker_threads';
import type { Counters } from '../match/counters.ts';
import type { PcapHeader } from '../packets/pcap.ts';
import type { FeedMemory } from '../workers/feed.ts';
import type { PackedFrames } from '../workers/frames.ts';
import type { SegmentEnd, SegmentTask } from '../workers/segments.ts';
import type { Orphan } from './connections.ts';
import type { SourceResult } from './replay.ts';
import type { ReplayOptions } from './replayer.ts';
import type { LanePlan } from './wasm-lane.ts';

/** How a capture is divided (replay-parallel.ts). */
export type Division = 'segments' | 'blocks' | 'flows';

export interface PlannedFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Of a plain classic pcap file. */
  readonly header: PcapHeader | undefined;
}

/** The first message to a worker. */
export interface WorkerStart {
  readonly tables: ArrayBufferLike;
  readonly options: Omit<
    ReplayOptions,
    'onConnection' | 'onPacket' | 'onProgress' | 'signal' | 'timeline' | 'isStale' | 'times' | 'lane'
  >;
  readonly worker: number;
  readonly workers: number;
  readonly division: Division;
  readonly files: readonly PlannedFile[];
  readonly wantsLines: boolean;
  readonly wantsConnections: boolean;
  /** Measure where the time goes. */
  readonly wantsTimes: boolean;
  readonly feed: FeedMemory;
  /** Where the feed's errors come. */
  readonly errors: MessagePort;
  readonly conntrack: SharedArrayBuffer | undefined;
  /** The tables as WebAssembly's loops want them; undefined: they do not fit that form, or it is not wanted. */
  readonly lane: LanePlan | undefined;
  /** PROGRESS_NUMBERS float64 a worker: what it has done of its segment. */
  readonly progress: SharedArrayBuffer;
}

/** `WorkerStart.progress`: bytes and packets of the segment in hand; a line of 64 bytes a worker. */
export const PROGRESS_NUMBERS = 8;
export const PROGRESS_BYTES = 0;
export const PROGRESS_PACKETS = 1;

/** To a worker that judges segments. */
export type SegmentRequest = SegmentTask;

/** What a worker found in a segment. */
export interface SegmentResult extends SegmentEnd {
  readonly kind: 'segment';
  readonly file: number;
  readonly index: number;
  readonly packets: number;
  readonly counters: Counters;
  readonly frames: PackedFrames | undefined;
  /** True: it ended in damage. */
  readonly hasError: boolean;
  /** Of a capture that was judged as a whole. */
  readonly source: SourceResult | undefined;
  /** StageTimes.ms of the segment. */
  readonly stageMs: Float64Array | undefined;
}

/** What a worker that goes through the whole capture has found since its last report. */
export interface Report {
  readonly kind: 'report';
  /** Steps of the feed that it has done (workers/feed.ts). */
  readonly steps: number;
  readonly file: number;
  readonly bytesRead: number;
  readonly packets: number;
  /** Everything up to this moment (replayer.ts, MOMENTS) has been reported. */
  readonly moment: number;
  /** Packet number of each line, and the lines of JSON, a line feed between them. */
  readonly lineNumbers: Float64Array;
  readonly lines: string;
  /** Of each event in order: its moment, and the number of the connection's first packet. */
  readonly moments: Float64Array;
  readonly firsts: Float64Array;
  /** Records of connections that closed as JSON, a line feed between them; empty where an orphan is the event. */
  readonly records: string;
  readonly orphans: readonly Orphan[];
  readonly frames: PackedFrames | undefined;
}

/** The last word of such a worker. */
export interface Final {
  readonly kind: 'final';
  readonly counters: Counters;
  readonly sources: readonly SourceResult[];
  readonly packets: number;
  readonly connections: number;
  readonly evictedConnections: number;
  readonly wasStopped: boolean;
  readonly stageMs: Float64Array | undefined;
}

export type WorkerMessage = SegmentResult | Report | Final;
