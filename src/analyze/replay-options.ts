/** What a packet path is asked for, and what it tells: types of replayer.ts and its parts. */
import type { CAPTURE_POINT_NAMES, Judge } from '../match/state.ts';
import type { RecordBatch } from '../packets/source.ts';
import type { TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import type { ConnectionRecord, ConnectionTable, Orphan } from './connections.ts';
import type { LiveOwnership } from './owner-changes.ts';
import type { PacketRecord } from './packet-lines.ts';
import type { FlowRecord } from './record.ts';
import type { StageTimes } from './stage-times.ts';
import type { LanePlan } from './wasm-lane.ts';

/**
 * Forms of the loops over stateless batches (match/plain.ts): in WebAssembly from the first packet on where the tables have that form, as scripts
 * throughout, or as scripts that search also where a direct table would do. Answers are the same.
 */
export const BATCH_FORMS = ['wasm', 'script', 'search'] as const;
export type BatchForm = (typeof BATCH_FORMS)[number];

export interface ReplayOptions {
  /** Judge each packet by itself, as the first of a new connection. */
  readonly stateless?: boolean;
  /** Judge what tunnels carry instead of the tunnel packets. */
  readonly decapsulate?: boolean;
  /** Called with each connection as it closes; without it no connections are gathered. */
  readonly onConnection?: (record: ConnectionRecord) => void;
  /** Called with each packet, in the order of the captures. */
  readonly onPacket?: (line: PacketRecord) => void;
  /** Called with the verdict on each packet, in the order of judging; what it is given is good during the call alone. */
  readonly onVerdict?: (verdict: PacketVerdict) => void;
  /** Called with each packet that is no flow: its number and DECODE_* status. */
  readonly onUndecoded?: (packet: number, status: number) => void;
  /** Called now and then with what has been read. */
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting ends the replay after the batch in hand; what was read is counted. */
  readonly signal?: AbortSignal;
  readonly conntrackEntries?: number;
  /** Packets that are tracked one by one before batches begin (replay-batches.ts), for tests. */
  readonly trackedBatchesFrom?: number;
  /** Gathers the connections, instead of a table of this path's own; `onConnection` is then its affair. */
  readonly connections?: ConnectionTable;
  /** Connections gathered at one time. */
  readonly connectionEntries?: number;
  /** Asked before each batch: tables of a newer generation, by which it is to be judged (tables/publish.ts). Not with `timeline`. */
  readonly newTables?: () => Tables | undefined;
  /** How stateless batches are judged; unless said, as a script first, and in WebAssembly where a capture turns out long. */
  readonly form?: BatchForm;
  /** That form of the tables, where another thread has made it: it judges from the first packet. */
  readonly lane?: LanePlan | undefined;
  /** Where the captures were taken (match/capture-point.ts); default `unknown`. */
  readonly capturePoint?: (typeof CAPTURE_POINT_NAMES)[number];
  /** How the owners of addresses change with time; the tables must be those that it was compiled with, and are changed. */
  readonly timeline?: TimelineData | undefined;
  /** Measures where the time goes. */
  readonly times?: StageTimes;
  /** Who changes the owners of addresses while packets are judged. */
  readonly live?: LiveOwnership | undefined;
  /** True while nobody vouches for who owns which address: verdicts of policy are then `stale-identity`. */
  readonly isStale?: () => boolean;
}

/** What is known of a packet once its verdict is there. */
export interface PacketVerdict {
  readonly packet: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly nanos: number;
  /** VERDICT_*. */
  readonly verdict: number;
  /** The judge that gave it: reason, ends, deciding step. */
  readonly judge: Judge;
  /** Its packet record is at `records[at]`, and that of the packet that it quotes, if it is an ICMP error, at `quotedAt`, else -1. */
  readonly records: Int32Array;
  readonly at: number;
  readonly quotedAt: number;
  /** What `records` was decoded from; empty for fragments whose datagram stayed incomplete. */
  readonly view: DataView;
  /** The record of the flow, with names and traces. */
  readonly record: () => FlowRecord;
}

/** Of a path that is one of several over the same capture: what it judges itself, and where the rest goes. */
export interface ReplayShare {
  /** Whether a decoded packet (or whole datagram) is judged here; absent: all that come are. */
  readonly owns?: (records: Int32Array, at: number, view: DataView) => boolean;
  /** The same for the flows of one of the 64 shards (conntrack/key.ts), where batches are judged. */
  readonly ownsShard?: (shard: number) => boolean;
  /** The same for what has no flow, by its packet number. */
  readonly ownsNumber?: (packet: number) => boolean;
  /** Takes all fragments; absent: they are put together here. */
  readonly onFragment?: (batch: RecordBatch, index: number, packet: number) => void;
  readonly onOrphan?: (orphan: Orphan) => void;
  /** Connection tracking's memory, of all workers. */
  readonly conntrackBuffer?: SharedArrayBuffer;
}

/**
 * What happens at one packet counts upwards from `packet number * MOMENTS`: each datagram that is whole there, each part of those given
 * up there. The reassembler holds no more parts than that.
 */
export const MOMENTS = 2 ** 20;

export interface Progress {
  readonly file: string;
  readonly bytesRead: number;
  readonly sizeBytes: number | undefined;
  readonly packets: number;
}

/** A packet that was read: what its line and its counts need once the verdict is there. */
export interface Arrival {
  packet: number;
  bytes: number;
  seconds: number;
  nanos: number;
  /** For captures at a veth: `Judge.atInterface` and `Judge.atDirection`. */
  atInterface: number;
  atDirection: number;
}
