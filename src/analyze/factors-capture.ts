/**
 * Captures to flows with their handshakes: one pass, packets to connections, the beginnings of TCP streams to TLS sessions.
 *
 * A flow is a five-tuple in both directions, as in a replay; its verdict is that of its first packet as a new connection, by addresses
 * alone. What tunnels carry is read instead of the tunnels, since that is where pods talk. Memory is bounded: FLOWS_MAX flows are
 * open at a time, and their streams share one budget; whatever has to go early says so in its gap.
 */
import { momentOf } from '../base/time.ts';
import { judgeNewPacket } from '../match/judge.ts';
import { createJudge, type Judge } from '../match/state.ts';
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import { openCapture } from '../packets/pcap-file.ts';
import { type CaptureReader, createRecordBatch, type RecordBatch } from '../packets/source.ts';
import { OwnerTimeline, type TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { decodePacket } from '../wire/decode.ts';
import {
  DECODE_OK,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  FLAG_L4_TRUNCATED,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PACKET_WORDS,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../wire/record.ts';
import { decodeInner, TUNNEL_DEPTH_MAX, TUNNEL_NONE, tunnelKind } from '../wire/tunnel.ts';
import type { KeyStore } from './factors-keys.ts';
import { type NetworkIdentity, networkIdentity } from './factors-network.ts';
import { TlsSession } from './factors-tls.ts';
import { SessionMemory, type TlsOutcome } from './factors-tls-outcome.ts';
import { isLowerEnd, startsAnew } from './five-tuple.ts';
import { type FlowRecord, flowRecord } from './record.ts';
import { HalfStream, StreamBudget } from './tcp-stream.ts';

/** Flows that are open at one time; the oldest closes early. */
const FLOWS_MAX = 65_536;

/** One flow of a capture. */
export interface SeenFlow {
  /** Verdict by addresses, and both ends; the source is the side that opened it. */
  readonly record: FlowRecord;
  /** Who owned the addresses of both ends when it began. */
  readonly source: NetworkIdentity;
  readonly dest: NetworkIdentity;
  /** Number of the first packet, from 1, over all captures. */
  readonly firstPacket: number;
  readonly packets: number;
  /** Milliseconds since 1970. */
  readonly startMs: number;
  readonly endMs: number;
  /** TCP alone. */
  readonly tls: TlsOutcome | undefined;
}

export interface CaptureSource {
  readonly file: string;
  readonly packets: number;
  /** Frames without ports or addresses to read: ARP, ICMP, later fragments, what is cut too short. */
  readonly passedOver: number;
  readonly lost: number;
  readonly linkType: number | undefined;
  readonly error: string | null;
}

interface OpenFlow {
  readonly record: FlowRecord;
  readonly source: NetworkIdentity;
  readonly dest: NetworkIdentity;
  /** Sequence number of its SYN; undefined if it was not seen. */
  synSequence: number | undefined;
  readonly firstPacket: number;
  /** The sender of the first packet is the end that has the lower key; see `flowKey`. */
  readonly isLowerSource: boolean;
  readonly startMs: number;
  endMs: number;
  packets: number;
  finished: number;
  hasReset: boolean;
  /** Of the source, then of the destination; undefined when read, or for other protocols. */
  session: TlsSession | undefined;
  readonly streams: readonly [HalfStream, HalfStream] | undefined;
  tls: TlsOutcome | undefined;
}

export interface ReadOptions {
  readonly onFlow: (flow: SeenFlow) => void;
  readonly keys: KeyStore;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    file: string;
    bytesRead: number;
    sizeBytes: number | undefined;
    packets: number;
  }) => void;
  readonly flowsMax?: number;
  readonly budget?: StreamBudget;
  /** How the owners of addresses change with time; the tables must be those that it was compiled with, and are changed. */
  readonly timeline?: TimelineData | undefined;
}

export interface ReadResult {
  readonly sources: readonly CaptureSource[];
  /** Flows that closed early because too many were open. */
  readonly evicted: number;
}

/** Reads captures one after the other as one stream of packets. Flows come as they close. */
export async function readFlows(tables: Tables, files: readonly string[], options: ReadOptions): Promise<ReadResult> {
  const tracker = new FlowTracker(tables, options);
  const sources: CaptureSource[] = [];
  for (const file of files) {
    if (options.signal?.aborted === true) break;
    const aborted = abortOf(options.signal);
    const reader = await Promise.race([openCapture(file), aborted]);
    if (reader === undefined) break;
    try {
      sources.push(await readOne(tracker, reader, file, options, aborted));
    } finally {
      reader.close();
    }
  }
  tracker.finish();
  return { sources, evicted: tracker.evicted };
}

async function readOne(
  tracker: FlowTracker,
  reader: CaptureReader,
  file: string,
  options: ReadOptions,
  aborted: Promise<undefined>,
): Promise<CaptureSource> {
  const batch = createRecordBatch();
  const before = tracker.passedOver;
  let secrets = 0;
  while (options.signal?.aborted !== true) {
    while (reader.next(batch) > 0) {
      for (; secrets < reader.tlsSecrets.length; secrets++) addSecrets(options.keys, reader, secrets);
      tracker.batch(batch);
    }
    options.onProgress?.({
      file,
      bytesRead: reader.bytesRead,
      sizeBytes: reader.sizeBytes,
      packets: reader.packetsRead,
    });
    const more = reader.fill();
    // A stream may give nothing for hours: an abort must not wait for it.
    if (!(typeof more === 'boolean' ? more : await Promise.race([more, aborted]))) break;
    // Lets Ctrl-C in: reading a plain file never yields by itself.
    if (typeof more === 'boolean') await new Promise((resolve) => setImmediate(resolve));
  }
  for (; secrets < reader.tlsSecrets.length; secrets++) addSecrets(options.keys, reader, secrets);
  return {
    file,
    packets: reader.packetsRead,
    passedOver: tracker.passedOver - before,
    lost: reader.lostPackets,
    linkType: reader.linkType,
    error: reader.error?.message ?? null,
  };
}

/** Resolves when `signal` is aborted, if ever. */
function abortOf(signal: AbortSignal | undefined): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve(undefined);
    else signal?.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function addSecrets(keys: KeyStore, reader: CaptureReader, index: number): void {
  keys.addText(`${reader.name}, secrets block ${index + 1}, line`, reader.tlsSecrets[index]!);
}

const INNER = PACKET_WORDS;

class FlowTracker {
  passedOver = 0;
  /** Flows that closed early because too many were open. */
  evicted = 0;
  readonly #judge: Judge;
  readonly #options: ReadOptions;
  readonly #budget: StreamBudget;
  readonly #memory = new SessionMemory();
  readonly #records = new Int32Array(2 * PACKET_WORDS);
  /** Open flows, the oldest first. */
  readonly #flows = new Map<string, OpenFlow>();
  /** Flows whose streams are being kept, the oldest first. */
  readonly #reading = new Set<OpenFlow>();
  readonly #owners: OwnerTimeline | undefined;
  #packets = 0;

  constructor(tables: Tables, options: ReadOptions) {
    this.#judge = createJudge(tables);
    this.#options = options;
    this.#budget = options.budget ?? new StreamBudget();
    const { timeline } = options;
    this.#owners = timeline === undefined ? undefined : new OwnerTimeline(tables, timeline);
    this.#moveOwners(Number.NEGATIVE_INFINITY);
  }

  batch(batch: RecordBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const status = decodePacket(
        batch.view,
        batch.offsets[i]!,
        batch.capturedBytes[i]!,
        batch.wireBytes[i]!,
        batch.linkTypes[i]!,
        this.#records,
        0,
      );
      this.#packets++;
      this.#moveOwners(momentOf(batch.seconds[i]!, batch.nanos[i]!));
      if (status === DECODE_OK) this.#unwrap(batch.view);
      const timeMs = batch.seconds[i]! * 1000 + batch.nanos[i]! / 1e6;
      if (status === DECODE_OK && this.#isOfFlow()) this.#packet(batch.view, timeMs);
      else this.passedOver++;
    }
  }

  /** Closes what is open, in the order of first packets. */
  finish(): void {
    for (const [key, flow] of this.#flows) this.#close(key, flow);
    this.#moveOwners(Number.NEGATIVE_INFINITY);
  }

  /** Moves the tables to the owners of a moment. */
  #moveOwners(ms: number): void {
    if (this.#owners?.isBusy(ms, ms) === true) this.#owners.moveTo(ms, () => {});
  }

  /** Replaces the record by that of the packet inside all tunnels, as far as they can be read. */
  #unwrap(view: DataView): void {
    const records = this.#records;
    for (let depth = 0; depth < TUNNEL_DEPTH_MAX; depth++) {
      const kind = tunnelKind(records, 0);
      if (kind === TUNNEL_NONE || decodeInner(kind, view, records, 0, records, INNER) !== DECODE_OK) return;
      records.copyWithin(0, INNER, INNER + PACKET_WORDS);
    }
  }

  #isOfFlow(): boolean {
    const records = this.#records;
    const protocol = records[PACKET_PROTOCOL]!;
    const flags = records[PACKET_FLAGS]!;
    return (
      (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP) &&
      (flags & FLAG_L4_PORTS) !== 0 &&
      (flags & FLAG_FRAGMENT) === 0
    );
  }

  #packet(view: DataView, timeMs: number): void {
    const records = this.#records;
    const isLower = isLowerEnd(records, 0, records[PACKET_SRC_PORT]!, records[PACKET_DST_PORT]!);
    const key = flowKey(records, isLower);
    const isTcp = records[PACKET_PROTOCOL] === PROTOCOL_TCP;
    let flow = this.#flows.get(key);
    if (flow !== undefined && isAnew(flow, records, timeMs)) {
      this.#close(key, flow);
      flow = undefined;
    }
    flow ??= this.#open(key, isLower, isTcp, timeMs);
    flow.endMs = Math.max(flow.endMs, timeMs);
    flow.packets++;
    if (isTcp) this.#segment(flow, isLower === flow.isLowerSource, view);
  }

  #open(key: string, isLower: boolean, isTcp: boolean, timeMs: number): OpenFlow {
    const records = this.#records;
    if (this.#flows.size >= (this.#options.flowsMax ?? FLOWS_MAX)) {
      const [oldestKey, oldest] = this.#flows.entries().next().value!;
      this.evicted++;
      this.#close(oldestKey, oldest);
    }
    // The SYN of a connection that begins with its SYN-ACK was lost, and it was sent the other way.
    const isAnswer = isTcp && (records[PACKET_TCP_FLAGS]! & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK);
    if (isAnswer) swapEnds(records);
    judgeNewPacket(this.#judge, records, 0);
    const record = flowRecord(this.#judge, records, 0);
    const version = (records[PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
    const source = networkIdentity(this.#judge.tables, version, records, PACKET_SRC);
    const dest = networkIdentity(this.#judge.tables, version, records, PACKET_DST);
    if (isAnswer) swapEnds(records);
    const streams = isTcp ? ([new HalfStream(this.#budget), new HalfStream(this.#budget)] as const) : undefined;
    const flow: OpenFlow = {
      record,
      source,
      dest,
      synSequence: undefined,
      firstPacket: this.#packets,
      isLowerSource: isLower !== isAnswer,
      startMs: timeMs,
      endMs: timeMs,
      packets: 0,
      finished: 0,
      hasReset: false,
      session: streams && new TlsSession(streams[0], streams[1], this.#options.keys, this.#memory),
      streams,
      tls: undefined,
    };
    this.#flows.set(key, flow);
    if (streams !== undefined) this.#reading.add(flow);
    return flow;
  }

  #segment(flow: OpenFlow, isFromSource: boolean, view: DataView): void {
    const records = this.#records;
    const flags = records[PACKET_TCP_FLAGS]!;
    if ((flags & TCP_FIN) !== 0) flow.finished |= isFromSource ? 1 : 2;
    if ((flags & TCP_RST) !== 0) flow.hasReset = true;
    if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) flow.synSequence = records[PACKET_TCP_SEQ]!;
    const { session, streams } = flow;
    if (session === undefined || streams === undefined || (records[PACKET_FLAGS]! & FLAG_L4_TRUNCATED) !== 0) return;
    const stream = isFromSource ? streams[0] : streams[1];
    const headerBytes = records[PACKET_TRANSPORT_HEADER_BYTES]!;
    const payloadBytes = records[PACKET_TRANSPORT_BYTES]! - headerBytes;
    const capturedBytes = records[PACKET_TRANSPORT_CAPTURED_BYTES]! - headerBytes;
    const before = stream.length;
    const isSyn = (flags & TCP_SYN) !== 0;
    const offset = records[PACKET_TRANSPORT_OFFSET]! + headerBytes;
    while (!stream.add(records[PACKET_TCP_SEQ]!, isSyn, view, offset, capturedBytes, payloadBytes)) {
      if (!this.#freeOldest(flow)) return;
    }
    if (stream.length === before) return;
    session.advance();
    if (session.isDone) this.#settle(flow);
  }

  /** Gives up the oldest flow that is being read, for its memory; false if there is none but `flow`, which goes itself then. */
  #freeOldest(flow: OpenFlow): boolean {
    for (const oldest of this.#reading) {
      if (oldest === flow) continue;
      const detail = 'too many handshakes were open at one time; read the capture in parts';
      this.#settle(oldest, { kind: 'evicted', detail });
      return true;
    }
    this.#settle(flow, { kind: 'evicted', detail: 'it takes more memory than all streams may have' });
    return false;
  }

  #settle(flow: OpenFlow, end?: Parameters<TlsSession['outcome']>[0]): void {
    if (flow.session === undefined) return;
    const isWaiting = flow.session.isWaitingForKeys;
    flow.tls = flow.session.outcome(isWaiting ? undefined : end);
    flow.session = undefined;
    this.#reading.delete(flow);
    for (const stream of flow.streams ?? []) stream.release();
  }

  #close(key: string, flow: OpenFlow): void {
    this.#settle(flow);
    this.#flows.delete(key);
    const { record, source, dest, firstPacket, packets, startMs, endMs, tls } = flow;
    this.#options.onFlow({ record, source, dest, firstPacket, packets, startMs, endMs, tls });
  }
}

function isAnew(flow: OpenFlow, records: Int32Array, timeMs: number): boolean {
  const isOther = flow.synSequence !== undefined && flow.synSequence !== records[PACKET_TCP_SEQ];
  return startsAnew(records, 0, (timeMs - flow.endMs) / 1000, flow.finished === 3 || flow.hasReset || isOther);
}

/** The same for both directions. */
function flowKey(records: Int32Array, isLower: boolean): string {
  const low = isLower ? PACKET_SRC : PACKET_DST;
  const high = isLower ? PACKET_DST : PACKET_SRC;
  const lowPort = records[isLower ? PACKET_SRC_PORT : PACKET_DST_PORT]!;
  const highPort = records[isLower ? PACKET_DST_PORT : PACKET_SRC_PORT]!;
  let key = `${records[PACKET_PROTOCOL]},${records[PACKET_FLAGS]! & FLAG_IPV6},${lowPort},${highPort}`;
  for (let word = 0; word < 4; word++) key += `,${records[low + word]},${records[high + word]}`;
  return key;
}

function swapEnds(records: Int32Array): void {
  const swap = (a: number, b: number): void => {
    const kept = records[a]!;
    records[a] = records[b]!;
    records[b] = kept;
  };
  swap(PACKET_SRC_PORT, PACKET_DST_PORT);
  for (let word = 0; word < 4; word++) swap(PACKET_SRC + word, PACKET_DST + word);
}
