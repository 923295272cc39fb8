/**
 * One packet after the other through the same stations: decode, put fragments together, judge (with connection tracking of
 * each node, or each packet by itself), count, and gather into connections.
 *
 * Packets whose verdict must wait (fragments of a datagram that is not whole yet) hold their line back, so that `--packets`
 * prints in the order of the file. Where only counts of untracked packets are asked for, plain frames take the batches of
 * match/plain.ts, and the rest the folded tables, without any of the bookkeeping.
 */

import { forgetFlows } from '../conntrack/flows.ts';
import {
  addFragment,
  createReassembler,
  expireFragments,
  type Reassembler,
  type ReassemblyEvents,
} from '../conntrack/reassembly.ts';
import { CONNTRACK_ENTRIES_DEFAULT, type Conntrack, createConntrack } from '../conntrack/table.ts';
import { CT_STATE_NAMES } from '../conntrack/track.ts';
import { type Counters, countPacket, countUndecoded } from '../match/counters.ts';
import { judgeFolded } from '../match/folded.ts';
import { decidingStep, judgeNewPacket, judgeTrackedPacket, markUncertain } from '../match/judge.ts';
import {
  CAPTURE_POINT_NAMES,
  CAPTURE_UNKNOWN,
  CAPTURE_VETH,
  createJudge,
  INTERFACE_UNKNOWN,
  type Judge,
  PACKET_EITHER_WAY,
} from '../match/state.ts';
import {
  REASON_FRAGMENT,
  REASON_SPOOFED,
  REASON_STALE_IDENTITY,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_UNCERTAIN,
  VERDICT_UNPOLICED,
} from '../model/flow.ts';
import { type CaptureReader, DIRECTION_UNKNOWN, type RecordBatch } from '../packets/source.ts';
import { NONE } from '../tables/layout.ts';
import type { TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { decodePacket } from '../wire/decode.ts';
import { frameDirection, LINKTYPE_IPV4, LINKTYPE_IPV6 } from '../wire/link.ts';
import { decodeQuoted, isIcmpError } from '../wire/quoted.ts';
import {
  DECODE_OK,
  DECODE_STATUS_NAMES,
  FLAG_FRAGMENT,
  FLAG_L4_PORTS,
  PACKET_FLAGS,
  PACKET_WORDS,
} from '../wire/record.ts';
import { decodeInner, TUNNEL_DEPTH_MAX, TUNNEL_NONE, tunnelKind } from '../wire/tunnel.ts';
import { type ConnectionRecord, ConnectionTable, formatTime, type Orphan } from './connections.ts';
import type { RuleCount } from './counters.ts';
import { FastPath, type WasmUse } from './fast-path.ts';
import { GenerationCounters, NodeNumbers } from './generations.ts';
import { PodInterfaces } from './interfaces.ts';
import { type LiveOwnership, OwnerChanges } from './owner-changes.ts';
import { LineQueue, type PacketRecord } from './packet-lines.ts';
import { addPending, type FlowRecord, flowRecord } from './record.ts';
import { STAGE_CONNTRACK, STAGE_COUNT, STAGE_OUTPUT, STAGE_PARSE, STAGE_SLOW, type StageTimes } from './stage-times.ts';
import { TrackedPath } from './tracked-path.ts';

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
  /** Gathers the connections, instead of a table of this path's own; `onConnection` is then its affair. */
  readonly connections?: ConnectionTable;
  /** Connections gathered at one time. */
  readonly connectionEntries?: number;
  /** Asked before each batch: tables of a newer generation, by which it is to be judged (tables/publish.ts). Not with `timeline`. */
  readonly newTables?: () => Tables | undefined;
  /** Whether to judge in the WebAssembly form, where the tables have one: from the first packet (`true`), never, or (unless said) in long captures. */
  readonly wasm?: boolean;
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

const QUOTED = PACKET_WORDS;
const INNER = 2 * PACKET_WORDS;
const WHOLE = 3 * PACKET_WORDS;
/** A part given up, while the packet that made it so is still in hand. */
const PART = 4 * PACKET_WORDS;

/** A packet that was read: what its line and its counts need once the verdict is there. */
interface Arrival {
  packet: number;
  bytes: number;
  seconds: number;
  nanos: number;
  /** For captures at a veth: `Judge.atInterface` and `Judge.atDirection`. */
  atInterface: number;
  atDirection: number;
}

/** The stations of one packet after the other; memory is made once, but for one record a connection and one line a packet if asked. */
export class Replayer {
  readonly #generations: GenerationCounters;
  readonly #nodeNumbers = new NodeNumbers();
  #judge: Judge;
  #otherJudge: Judge;
  readonly #conntrack: Conntrack | undefined;
  readonly #connections: ConnectionTable | undefined;
  readonly #options: ReplayOptions;
  readonly #records = new Int32Array(5 * PACKET_WORDS);
  /** Of the packet in hand; used again for the next one, so whoever keeps it copies it. */
  readonly #arrival: Arrival = {
    packet: 0,
    bytes: 0,
    seconds: 0,
    nanos: 0,
    atInterface: INTERFACE_UNKNOWN,
    atDirection: PACKET_EITHER_WAY,
  };
  readonly #reassembler: Reassembler;
  readonly #fragmentEvents: ReassemblyEvents;
  /** The fast path, where nothing but counts is asked for. */
  #fast: FastPath | undefined;
  /** The same with connection tracking. */
  #tracked: TrackedPath | undefined;
  readonly #waiting = new Map<number, Arrival & { readonly record: Int32Array }>();
  readonly #lines: Pick<LineQueue<PacketRecord>, 'put'> | undefined;
  readonly #share: ReplayShare | undefined;
  #numbers: Float64Array | undefined;
  #batch: RecordBatch | undefined;
  #row = 0;
  /** When what is being judged is judged, in MOMENTS: the same in all workers that judge a share of the same capture. */
  moment = 0;
  #interfaces: PodInterfaces;
  /** Where addresses change their owners with time. */
  readonly #owners: OwnerChanges | undefined;
  #names: Pick<CaptureReader, 'interfaceName'> | undefined;
  #packets = 0;

  constructor(tables: Tables, options: ReplayOptions, share?: ReplayShare) {
    this.#options = options;
    this.#share = share;
    const nodeNumbers = this.#nodeNumbers.of(tables);
    this.#judge = createJudge(tables, nodeNumbers);
    this.#otherJudge = createJudge(tables, nodeNumbers);
    this.#judge.capturePoint = CAPTURE_POINT_NAMES.indexOf(options.capturePoint ?? 'unknown');
    this.#interfaces = new PodInterfaces(tables);
    this.#generations = new GenerationCounters(tables);
    this.#conntrack =
      options.stateless === true
        ? undefined
        : createConntrack({
            capacityEntries: options.conntrackEntries ?? CONNTRACK_ENTRIES_DEFAULT,
            ...(share?.conntrackBuffer === undefined ? {} : { buffer: share.conntrackBuffer }),
          });
    this.#connections =
      options.connections ??
      (options.onConnection === undefined
        ? undefined
        : new ConnectionTable(options.onConnection, options.connectionEntries));
    this.#lines = linesOf(options.onPacket, share !== undefined);
    this.#reassembler = createReassembler();
    this.#fragmentEvents = {
      complete: (view, captured, wire, tickets) => this.#whole(view, captured, wire, tickets),
      incomplete: (tickets) => this.#incomplete(tickets),
    };
    this.#owners =
      options.timeline === undefined && options.live === undefined
        ? undefined
        : new OwnerChanges(tables, options.timeline, options.live, this.#conntrack, this.#connections);
    this.#fast = this.#fastPath(tables);
    this.#tracked = this.#trackedPath();
  }

  /** Nothing but counts is asked for, of packets as they were captured. */
  get #countsAlone(): boolean {
    const { decapsulate, onVerdict } = this.#options;
    const tellsAll = onVerdict !== undefined || this.#connections !== undefined || this.#lines !== undefined;
    return decapsulate !== true && !tellsAll;
  }

  #trackedPath(): TrackedPath | undefined {
    const ct = this.#conntrack;
    if (ct === undefined || !this.#countsAlone || this.#judge.capturePoint === CAPTURE_VETH) return undefined;
    forgetFlows(ct);
    return new TrackedPath({
      judge: this.#judge,
      ct,
      owners: this.#owners,
      counters: this.counters,
      slow: (batch, row, number) => this.#single(batch, row, this.#numberOf(row, number)),
      times: this.#options.times,
    });
  }

  #fastPath(tables: Tables): FastPath | undefined {
    const options = this.#options;
    const isAnywhere = this.#judge.capturePoint === CAPTURE_UNKNOWN;
    if (this.#conntrack !== undefined || !isAnywhere || !this.#countsAlone) return undefined;
    return new FastPath(
      tables,
      (batch, row, number) => this.#single(batch, row, this.#numberOf(row, number)),
      this.#wasmUse(),
      options.times,
    );
  }

  /** The WebAssembly form has a copy of the tables, which takes a while to make and sees no change of owners. */
  #wasmUse(): WasmUse {
    const { wasm, timeline, isStale, newTables } = this.#options;
    if (wasm === false || timeline !== undefined || isStale !== undefined || newTables !== undefined) return 'never';
    return wasm === true ? 'at-once' : 'later';
  }

  /** Counts of the tables in use; totals are those of all generations. */
  get counters(): Counters {
    return this.#generations.counters;
  }

  /** Counts by rule, over all generations. Call once, after `finish`. */
  rules(): RuleCount[] {
    return this.#generations.rules();
  }

  /** Judges what comes from now on by `tables`, a newer generation; connections and totals go on. */
  #swap(tables: Tables): void {
    this.#foldFast();
    this.#generations.swap(tables);
    const { capturePoint } = this.#judge;
    const nodeNumbers = this.#nodeNumbers.of(tables);
    this.#judge = createJudge(tables, nodeNumbers);
    this.#otherJudge = createJudge(tables, nodeNumbers);
    this.#judge.capturePoint = capturePoint;
    this.#interfaces = new PodInterfaces(tables);
    this.#fast = this.#fastPath(tables);
    this.#tracked = this.#trackedPath();
  }

  #foldFast(): void {
    this.#fast?.fold(this.counters);
    this.#tracked?.fold(this.counters);
  }

  get connectionCount(): number {
    return this.#connections?.opened ?? 0;
  }

  get evictedConnections(): number {
    return this.#connections?.evicted ?? 0;
  }

  /**
   * `names` tells the names of the batch's interfaces. With `numbers`, the packet number of each row, rows may be missing:
   * `skip` then says how many packets have gone by.
   */
  batch(batch: RecordBatch, names?: Pick<CaptureReader, 'interfaceName'>, numbers?: Float64Array): void {
    this.#names = names;
    this.#numbers = numbers;
    const path = this.#fast ?? this.#tracked;
    if (path !== undefined && this.#isSettled(batch)) path.batch(batch);
    else for (let i = 0; i < batch.count; i++) this.#single(batch, i, this.#numberOf(i, i + 1));
    if (numbers === undefined) this.#packets += batch.count;
  }

  /** Judges all packets that `reader` holds; `batch` is room to work in. */
  drain(reader: CaptureReader, batch: RecordBatch): void {
    const { newTables } = this.#options;
    for (;;) {
      const newer = newTables?.();
      if (newer !== undefined) this.#swap(newer);
      // A scan does not look at times.
      const mayScan = this.#options.timeline === undefined && this.#options.isStale?.() !== true;
      const taken = mayScan ? ((this.#fast ?? this.#tracked)?.scan(reader, batch) ?? -1) : -1;
      if (taken === 0) return;
      if (taken > 0) this.#packets += taken;
      else if (this.#next(reader, batch) > 0) this.batch(batch, reader);
      else return;
    }
  }

  #next(reader: CaptureReader, batch: RecordBatch): number {
    const { times } = this.#options;
    if (times?.takesBatch(1) !== true) return reader.next(batch);
    const start = performance.now();
    const count = reader.next(batch);
    times.add(STAGE_PARSE, start);
    return count;
  }

  /** True if all packets of the batch may be judged by the tables as they now are. */
  #isSettled(batch: RecordBatch): boolean {
    return this.#options.isStale?.() !== true && this.#owners?.isQuiet(batch) !== false;
  }

  /** What has been counted since the last time. Of a path whose fragments go elsewhere, so that nothing waits. */
  takeCounters(): Counters {
    this.#foldFast();
    const taken = structuredClone(this.counters);
    for (const counts of Object.values(this.counters) as Float64Array[]) counts.fill(0);
    return taken;
  }

  /** So many packets were read, whoever judged them. */
  skip(packets: number): void {
    this.#packets += packets;
  }

  /** Judges what still waits and closes the connections. Call once, after the last batch. */
  finish(): void {
    this.moment = (this.#packets + 1) * MOMENTS;
    this.#foldFast();
    expireFragments(this.#reassembler, Number.POSITIVE_INFINITY, this.#fragmentEvents);
    this.moment = (this.#packets + 2) * MOMENTS;
    this.#connections?.closeAll();
    this.#owners?.rewind();
  }

  /** Packet number of a row of the batch in hand; `number` counts from 1 in what is in hand. */
  #numberOf(row: number, number: number): number {
    return this.#numbers === undefined ? this.#packets + number : this.#numbers[row]!;
  }

  /** One packet of the batch, number `packet`, through all stations. */
  #single(batch: RecordBatch, index: number, packet: number): void {
    const { times } = this.#options;
    // What a path of batches hands on is timed by it.
    const isBatch = this.#fast !== undefined || this.#tracked !== undefined;
    const isTimed = times !== undefined && !isBatch && times.takesPacket();
    this.#judge.isTimed = isTimed;
    const start = isTimed ? performance.now() : 0;
    const bytes = batch.wireBytes[index]!;
    const status = decodePacket(
      batch.view,
      batch.offsets[index]!,
      batch.capturedBytes[index]!,
      bytes,
      batch.linkTypes[index]!,
      this.#records,
      0,
    );
    if (isTimed) times.add(STAGE_PARSE, start);
    const arrival = this.#arrival;
    arrival.packet = packet;
    this.moment = arrival.packet * MOMENTS;
    this.#batch = batch;
    this.#row = index;
    arrival.bytes = bytes;
    arrival.seconds = batch.seconds[index]!;
    arrival.nanos = batch.nanos[index]!;
    this.#owners?.moveTo(arrival.seconds, arrival.nanos);
    if (this.#judge.capturePoint === CAPTURE_VETH) {
      arrival.atInterface = this.#interfaces.find(this.#names?.interfaceName(batch.interfaces[index]!));
      arrival.atDirection = directionOf(batch, index);
    }
    this.#packet(arrival, status, batch.view);
  }

  #packet(arrival: Arrival, status: number, view: DataView): void {
    const records = this.#records;
    if (status !== DECODE_OK) {
      this.#undecoded(arrival, status);
      return;
    }
    if (this.#options.decapsulate === true) {
      const inner = this.#unwrap(view);
      if (inner !== DECODE_OK) {
        this.#undecoded(arrival, inner);
        return;
      }
    }
    if ((records[PACKET_FLAGS]! & FLAG_FRAGMENT) === 0) {
      const value = this.#fast === undefined ? NONE : judgeFolded(this.#judge.tables, records, 0);
      if (value !== NONE && this.#fast !== undefined) this.#fast.count(value, arrival.bytes);
      else if (this.#owns(0, view)) {
        if (this.#judge.isTimed) this.#settleTimed(arrival, view);
        else this.#settle(arrival, 0, view, this.#judgeAt(0, view, arrival));
      }
      return;
    }
    if (this.#share?.onFragment !== undefined) {
      this.#share.onFragment(this.#batch!, this.#row, arrival.packet);
      return;
    }
    this.#waiting.set(arrival.packet, { ...arrival, record: records.slice(0, PACKET_WORDS) });
    const timeMs = arrival.seconds * 1000 + arrival.nanos / 1e6;
    addFragment(this.#reassembler, records, 0, view, timeMs, arrival.packet, this.#fragmentEvents);
  }

  #owns(at: number, view: DataView): boolean {
    const owns = this.#share?.owns;
    return owns === undefined || owns(this.#records, at, view);
  }

  #judgeAt(at: number, view: DataView, arrival: Arrival): number {
    const records = this.#records;
    this.#judge.atInterface = arrival.atInterface;
    this.#judge.atDirection = arrival.atDirection;
    this.#owners?.forget(records, at);
    if (this.#conntrack === undefined) return this.#aged(judgeNewPacket(this.#judge, records, at));
    const quotedAt = isIcmpError(records, at) ? QUOTED : -1;
    if (quotedAt >= 0) decodeQuoted(view, records, at, records, quotedAt);
    const timeMs = arrival.seconds * 1000 + arrival.nanos / 1e6;
    return this.#aged(judgeTrackedPacket(this.#judge, this.#conntrack, records, at, view, timeMs, records, quotedAt));
  }

  /** A verdict by owners that may have changed since is uncertain. */
  #aged(verdict: number): number {
    if (this.#options.isStale?.() !== true || (verdict !== VERDICT_ALLOW && verdict !== VERDICT_DENY)) return verdict;
    markUncertain(this.#judge, REASON_STALE_IDENTITY);
    return VERDICT_UNCERTAIN;
  }

  /** Counts a packet by the judge's answer. */
  #settle(arrival: Arrival, at: number, view: DataView, verdict: number): void {
    countPacket(this.counters, verdict, this.#judge.reason, decidingStep(this.#judge), arrival.bytes);
    if (this.#connections !== undefined) this.#gather(this.#connections, arrival, at, view, verdict);
    if (this.#lines !== undefined) this.#putLine(arrival, at, view);
    if (this.#options.onVerdict !== undefined) this.#tell(this.#options.onVerdict, arrival, at, view, verdict);
  }

  #tell(
    onVerdict: NonNullable<ReplayOptions['onVerdict']>,
    { packet, bytes, seconds, nanos }: Arrival,
    at: number,
    view: DataView,
    verdict: number,
  ): void {
    const records = this.#records;
    const isError = isIcmpError(records, at) && decodeQuoted(view, records, at, records, QUOTED) === DECODE_OK;
    const quotedAt = isError ? QUOTED : -1;
    const record = (): FlowRecord => this.#fullRecord(at, view);
    onVerdict({ packet, bytes, seconds, nanos, verdict, judge: this.#judge, records, at, quotedAt, view, record });
  }

  /** By itself: what a closure captures would be allocated for each packet, lines or not. */
  #putLine(arrival: Arrival, at: number, view: DataView): void {
    this.#lines!.put(arrival.packet, () => this.#line(arrival, at, view));
  }

  /** `#judgeAt` of a packet that is a sample. */
  #judgeTimed(at: number, view: DataView, arrival: Arrival): number {
    const times = this.#options.times!;
    const judge = this.#judge;
    judge.trackingMs = 0;
    judge.trackingLooks = 0;
    const start = performance.now();
    const verdict = this.#judgeAt(at, view, arrival);
    const ms = performance.now() - start;
    times.addMs(STAGE_CONNTRACK, judge.trackingMs, judge.trackingLooks);
    times.addMs(STAGE_SLOW, ms - judge.trackingMs, judge.trackingLooks + 1);
    return verdict;
  }

  /** Judges and counts a packet that is a sample. */
  #settleTimed(arrival: Arrival, view: DataView): void {
    const verdict = this.#judgeTimed(0, view, arrival);
    const start = performance.now();
    this.#settle(arrival, 0, view, verdict);
    const isCounted = this.#connections === undefined && this.#lines === undefined;
    this.#options.times!.add(isCounted ? STAGE_COUNT : STAGE_OUTPUT, start);
  }

  #gather(connections: ConnectionTable, arrival: Arrival, at: number, view: DataView, verdict: number): void {
    const records = this.#records;
    const { bytes, seconds, nanos } = arrival;
    if (isIcmpError(records, at) && decodeQuoted(view, records, at, records, QUOTED) === DECODE_OK) {
      if (connections.add(records, at, QUOTED, verdict, bytes, seconds, nanos)) return;
    }
    if (connections.add(records, at, -1, verdict, bytes, seconds, nanos)) return;
    const record = this.#fullRecord(at, view);
    const onOrphan = this.#share?.onOrphan;
    if (onOrphan !== undefined && isIcmpError(records, at)) {
      onOrphan(connections.orphanOf(record, records, at, arrival.packet, verdict, bytes, seconds, nanos));
      return;
    }
    connections.open(record, records, at, arrival.packet, verdict, bytes, seconds, nanos);
  }

  /** The record of the judge's answer, with `pending` and the inner flow of a tunnel. */
  #fullRecord(at: number, view: DataView): FlowRecord {
    const records = this.#records;
    const judge = this.#judge;
    const record = flowRecord(judge, records, at);
    // A second judge, so that the answer stays what it is for the packet's line and for further fragments.
    const other = this.#otherJudge;
    addPending(record, other, judge, records, at);
    const kind = tunnelKind(records, at);
    if (kind !== TUNNEL_NONE && decodeInner(kind, view, records, at, records, INNER) === DECODE_OK) {
      // What a tunnel carries was not seen at the interface itself.
      other.capturePoint = CAPTURE_UNKNOWN;
      judgeNewPacket(other, records, INNER);
      record.inner = flowRecord(other, records, INNER);
    }
    return record;
  }

  #line(arrival: Arrival, at: number, view: DataView): PacketRecord {
    return {
      packet: arrival.packet,
      time: formatTime(arrival.seconds, arrival.nanos),
      bytes: arrival.bytes,
      ...(this.#conntrack === undefined ? {} : { state: CT_STATE_NAMES[this.#judge.state]! }),
      ...this.#fullRecord(at, view),
    };
  }

  #undecoded(arrival: Arrival, status: number): void {
    if (this.#share?.ownsNumber?.(arrival.packet) === false) return;
    countUndecoded(this.counters, status, arrival.bytes);
    this.#options.onUndecoded?.(arrival.packet, status);
    if (this.#lines !== undefined) this.#putUndecoded(arrival, status);
  }

  #putUndecoded(arrival: Arrival, status: number): void {
    this.#lines!.put(arrival.packet, () => ({
      packet: arrival.packet,
      time: formatTime(arrival.seconds, arrival.nanos),
      bytes: arrival.bytes,
      action: 'undecoded',
      reason: DECODE_STATUS_NAMES[status]!,
    }));
  }

  /** Replaces the record by that of the packet inside all tunnels; the status of the innermost one. */
  #unwrap(view: DataView): number {
    const records = this.#records;
    for (let depth = 0; depth < TUNNEL_DEPTH_MAX; depth++) {
      const kind = tunnelKind(records, 0);
      if (kind === TUNNEL_NONE) break;
      const status = decodeInner(kind, view, records, 0, records, INNER);
      if (status !== DECODE_OK) return status;
      records.copyWithin(0, INNER, INNER + PACKET_WORDS);
    }
    return DECODE_OK;
  }

  /** All fragments of a datagram are there: one verdict for all of them. */
  #whole(view: DataView, capturedBytes: number, wireBytes: number, tickets: readonly number[]): void {
    this.moment++;
    const records = this.#records;
    const linkType = view.getUint8(0) >> 4 === 6 ? LINKTYPE_IPV6 : LINKTYPE_IPV4;
    const status = decodePacket(view, 0, capturedBytes, wireBytes, linkType, records, WHOLE);
    const parts = tickets.map((ticket) => this.#take(ticket));
    if (status !== DECODE_OK) {
      for (const part of parts) this.#undecoded(part, status);
      return;
    }
    if (!this.#owns(WHOLE, view)) return;
    const verdict = this.#judgeAt(WHOLE, view, parts.at(-1)!);
    for (const part of parts) this.#settle(part, WHOLE, view, verdict);
  }

  /** Fragments whose datagram stayed incomplete: uncertain, unless nothing polices their addresses. */
  #incomplete(tickets: readonly number[]): void {
    for (const ticket of tickets) {
      this.moment++;
      const part = this.#take(ticket);
      this.#owners?.moveTo(part.seconds, part.nanos);
      this.#records.set(part.record, PART);
      this.#records[PART + PACKET_FLAGS]! &= ~FLAG_L4_PORTS;
      if (!this.#owns(PART, EMPTY_VIEW)) continue;
      this.#judge.atInterface = part.atInterface;
      this.#judge.atDirection = part.atDirection;
      const verdict = judgeNewPacket(this.#judge, this.#records, PART);
      const isSpoofed = verdict === VERDICT_DENY && this.#judge.reason === REASON_SPOOFED;
      if (verdict !== VERDICT_UNPOLICED && !isSpoofed) markUncertain(this.#judge, REASON_FRAGMENT);
      this.#settle(part, PART, EMPTY_VIEW, this.#judge.verdict);
    }
    this.#owners?.moveTo(this.#arrival.seconds, this.#arrival.nanos);
  }

  #take(ticket: number): Arrival & { readonly record: Int32Array } {
    const part = this.#waiting.get(ticket)!;
    this.#waiting.delete(ticket);
    return part;
  }
}

/** Lines of one path among several are put in order by whoever gathers them. */
function linesOf(
  onPacket: ReplayOptions['onPacket'],
  isShare: boolean,
): Pick<LineQueue<PacketRecord>, 'put'> | undefined {
  if (onPacket === undefined) return undefined;
  return isShare ? { put: (_packet, make) => onPacket(make()) } : new LineQueue(onPacket);
}

/** By the capture's own word, else by the header that Linux writes before cooked frames. */
function directionOf(batch: RecordBatch, index: number): number {
  const told = batch.directions[index]!;
  if (told !== DIRECTION_UNKNOWN) return told;
  return frameDirection(batch.view, batch.offsets[index]!, batch.capturedBytes[index]!, batch.linkTypes[index]!);
}

const EMPTY_VIEW = new DataView(new ArrayBuffer(0));
