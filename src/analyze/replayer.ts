/**
 * One packet after the other through the same stations: decode, put fragments together, judge (with connection tracking of
 * each node, or each packet by itself), and tell of it.
 *
 *   replay-options.ts    what is asked for, and what is told
 *   replay-fragments.ts  fragments of datagrams that are not whole yet
 *   replay-output.ts     counts, connections, lines
 *   replay-batches.ts    batches, where nothing but counts is asked for
 *
 * Packets whose verdict must wait (fragments) hold their line back, so that `--packets` prints in the order of the file.
 */
import { CONNTRACK_ENTRIES_DEFAULT, type Conntrack, createConntrack } from '../conntrack/table.ts';
import type { Counters } from '../match/counters.ts';
import { judgeFolded } from '../match/folded.ts';
import { judgeNewPacket, judgeTrackedPacket, markUncertain } from '../match/judge.ts';
import {
  CAPTURE_POINT_NAMES,
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
import type { Tables } from '../tables/tables.ts';
import { decodePacket } from '../wire/decode.ts';
import { frameDirection, LINKTYPE_IPV4, LINKTYPE_IPV6 } from '../wire/link.ts';
import { decodeQuoted, isIcmpError } from '../wire/quoted.ts';
import { DECODE_OK, FLAG_FRAGMENT, FLAG_L4_PORTS, PACKET_FLAGS, PACKET_WORDS } from '../wire/record.ts';
import { decodeInner, TUNNEL_DEPTH_MAX, TUNNEL_NONE, tunnelKind } from '../wire/tunnel.ts';
import type { RuleCount } from './counters.ts';
import { GenerationCounters, NodeNumbers } from './generations.ts';
import { PodInterfaces } from './interfaces.ts';
import { OwnerChanges } from './owner-changes.ts';
import { type BatchPath, batchPath, mayTakeBatches } from './replay-batches.ts';
import { WaitingFragments, type WaitingPart } from './replay-fragments.ts';
import { type Arrival, MOMENTS, type ReplayOptions, type ReplayShare } from './replay-options.ts';
import { INNER, PacketOutput, QUOTED, RECORDS } from './replay-output.ts';
import { STAGE_CONNTRACK, STAGE_COUNT, STAGE_OUTPUT, STAGE_PARSE, STAGE_SLOW } from './stage-times.ts';

export type { PacketVerdict, Progress, ReplayOptions, ReplayShare } from './replay-options.ts';

/** A whole datagram. */
const WHOLE = RECORDS * PACKET_WORDS;
/** A part given up, while the packet that made it so is still in hand. */
const PART = (RECORDS + 1) * PACKET_WORDS;

/** The stations of one packet after the other; memory is made once, but for one record a connection and one line a packet if asked. */
export class Replayer {
  readonly #generations: GenerationCounters;
  readonly #nodeNumbers = new NodeNumbers();
  #judge: Judge;
  readonly #conntrack: Conntrack | undefined;
  readonly #output: PacketOutput;
  readonly #options: ReplayOptions;
  readonly #records = new Int32Array((RECORDS + 2) * PACKET_WORDS);
  /** Of the packet in hand; used again for the next one, so whoever keeps it copies it. */
  readonly #arrival: Arrival = {
    packet: 0,
    bytes: 0,
    seconds: 0,
    nanos: 0,
    atInterface: INTERFACE_UNKNOWN,
    atDirection: PACKET_EITHER_WAY,
  };
  readonly #fragments: WaitingFragments;
  /** Absent where there is none, and until it is time for it: `#hasPath` tells whether that has come. */
  #path: BatchPath | undefined;
  #hasPath = false;
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
    const judges = this.#judgesOf(tables);
    this.#judge = judges[0];
    this.#judge.capturePoint = CAPTURE_POINT_NAMES.indexOf(options.capturePoint ?? 'unknown');
    this.#interfaces = new PodInterfaces(tables);
    this.#generations = new GenerationCounters(tables);
    this.#conntrack = options.stateless === true ? undefined : conntrackOf(options, share);
    this.#output = new PacketOutput(options, share, this.#records, judges, this.counters);
    this.#fragments = new WaitingFragments({
      whole: (view, captured, wire, parts) => this.#whole(view, captured, wire, parts),
      incomplete: (parts) => this.#incomplete(parts),
    });
    this.#owners =
      options.timeline === undefined && options.live === undefined
        ? undefined
        : new OwnerChanges(tables, options.timeline, options.live, this.#conntrack, this.#output.connections);
    this.#path = this.#batchPath();
  }

  /** The judge of packets, and a second one for what records say beside its answer. */
  #judgesOf(tables: Tables): readonly [Judge, Judge] {
    const nodeNumbers = this.#nodeNumbers.of(tables);
    return [createJudge(tables, nodeNumbers), createJudge(tables, nodeNumbers)];
  }

  #batchPath(): BatchPath | undefined {
    this.#hasPath = mayTakeBatches(this.#options, this.#packets);
    if (!this.#hasPath) return undefined;
    return batchPath(this.#options, {
      judge: this.#judge,
      conntrack: this.#conntrack,
      owners: this.#owners,
      counters: this.counters,
      countsAlone: this.#output.countsAlone,
      ownsShard: this.#share?.ownsShard,
      slow: (batch, row, number) => this.#single(batch, row, this.#numberOf(row, number)),
    });
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
    this.#path?.fold(this.counters);
    this.#generations.swap(tables);
    const { capturePoint } = this.#judge;
    const judges = this.#judgesOf(tables);
    this.#judge = judges[0];
    this.#judge.capturePoint = capturePoint;
    this.#output.swap(judges, this.counters);
    this.#interfaces = new PodInterfaces(tables);
    this.#path = this.#batchPath();
  }

  get connectionCount(): number {
    return this.#output.connections?.opened ?? 0;
  }

  get evictedConnections(): number {
    return this.#output.connections?.evicted ?? 0;
  }

  /**
   * `names` tells the names of the batch's interfaces. With `numbers`, the packet number of each row, rows may be missing:
   * `skip` then says how many packets have gone by.
   */
  batch(batch: RecordBatch, names?: Pick<CaptureReader, 'interfaceName'>, numbers?: Float64Array): void {
    this.#names = names;
    this.#numbers = numbers;
    if (!this.#hasPath) this.#path = this.#batchPath();
    if (this.#path !== undefined && this.#isSettled(batch)) this.#path.batch(batch);
    else for (let i = 0; i < batch.count; i++) this.#single(batch, i, this.#numberOf(i, i + 1));
    if (numbers === undefined) this.#packets += batch.count;
  }

  /** Nothing but counts is asked for, so that `drain` takes batches, of a share of flows as well. */
  get takesBatches(): boolean {
    return this.#path !== undefined;
  }

  /** Judges all packets that `reader` holds; `batch` is room to work in. */
  drain(reader: CaptureReader, batch: RecordBatch): void {
    const { newTables } = this.#options;
    this.#names = reader;
    this.#numbers = undefined;
    for (;;) {
      const newer = newTables?.();
      if (newer !== undefined) this.#swap(newer);
      if (!this.#hasPath) this.#path = this.#batchPath();
      // A scan does not look at times.
      const mayScan = this.#options.timeline === undefined && this.#options.isStale?.() !== true;
      const taken = mayScan ? (this.#path?.scan(reader, batch) ?? -1) : -1;
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
    this.#path?.fold(this.counters);
    const taken = { ...this.counters };
    for (const name of Object.keys(taken) as (keyof Counters)[]) {
      taken[name] = this.counters[name].slice();
      this.counters[name].fill(0);
    }
    return taken;
  }

  /** So many packets were read, whoever judged them. */
  skip(packets: number): void {
    this.#packets += packets;
  }

  /** Judges what still waits and closes the connections. Call once, after the last batch. */
  finish(): void {
    this.moment = (this.#packets + 1) * MOMENTS;
    this.#path?.fold(this.counters);
    this.#fragments.finish();
    this.moment = (this.#packets + 2) * MOMENTS;
    this.#output.connections?.closeAll();
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
    const isTimed = times !== undefined && this.#path === undefined && times.takesPacket();
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
      this.#output.undecoded(arrival, status);
      return;
    }
    if (this.#options.decapsulate === true) {
      const inner = this.#unwrap(view);
      if (inner !== DECODE_OK) {
        this.#output.undecoded(arrival, inner);
        return;
      }
    }
    if ((records[PACKET_FLAGS]! & FLAG_FRAGMENT) === 0) {
      const value = this.#path?.count === undefined ? NONE : judgeFolded(this.#judge.tables, records, 0);
      if (value !== NONE) this.#path!.count!(value, arrival.bytes);
      else if (this.#owns(0, view)) {
        if (this.#judge.isTimed) this.#settleTimed(arrival, view);
        else this.#output.settle(arrival, 0, view, this.#judgeAt(0, view, arrival));
      }
      return;
    }
    if (this.#share?.onFragment !== undefined) {
      this.#share.onFragment(this.#batch!, this.#row, arrival.packet);
      return;
    }
    this.#fragments.add(arrival, records, view);
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
    this.#output.settle(arrival, 0, view, verdict);
    this.#options.times!.add(this.#output.isCounted ? STAGE_COUNT : STAGE_OUTPUT, start);
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
  #whole(view: DataView, capturedBytes: number, wireBytes: number, parts: readonly WaitingPart[]): void {
    this.moment++;
    const records = this.#records;
    const linkType = view.getUint8(0) >> 4 === 6 ? LINKTYPE_IPV6 : LINKTYPE_IPV4;
    const status = decodePacket(view, 0, capturedBytes, wireBytes, linkType, records, WHOLE);
    if (status !== DECODE_OK) {
      for (const part of parts) this.#output.undecoded(part, status);
      return;
    }
    if (!this.#owns(WHOLE, view)) return;
    const verdict = this.#judgeAt(WHOLE, view, parts.at(-1)!);
    for (const part of parts) this.#output.settle(part, WHOLE, view, verdict);
  }

  /** Fragments whose datagram stayed incomplete: uncertain, unless nothing polices their addresses. */
  #incomplete(parts: readonly WaitingPart[]): void {
    for (const part of parts) {
      this.moment++;
      this.#owners?.moveTo(part.seconds, part.nanos);
      this.#records.set(part.record, PART);
      this.#records[PART + PACKET_FLAGS]! &= ~FLAG_L4_PORTS;
      if (!this.#owns(PART, EMPTY_VIEW)) continue;
      this.#judge.atInterface = part.atInterface;
      this.#judge.atDirection = part.atDirection;
      const verdict = judgeNewPacket(this.#judge, this.#records, PART);
      const isSpoofed = verdict === VERDICT_DENY && this.#judge.reason === REASON_SPOOFED;
      if (verdict !== VERDICT_UNPOLICED && !isSpoofed) markUncertain(this.#judge, REASON_FRAGMENT);
      this.#output.settle(part, PART, EMPTY_VIEW, this.#judge.verdict);
    }
    this.#owners?.moveTo(this.#arrival.seconds, this.#arrival.nanos);
  }
}

function conntrackOf({ conntrackEntries }: ReplayOptions, share: ReplayShare | undefined): Conntrack {
  return createConntrack({
    capacityEntries: conntrackEntries ?? CONNTRACK_ENTRIES_DEFAULT,
    ...(share?.conntrackBuffer === undefined ? {} : { buffer: share.conntrackBuffer }),
  });
}

/** By the capture's own word, else by the header that Linux writes before cooked frames. */
function directionOf(batch: RecordBatch, index: number): number {
  const told = batch.directions[index]!;
  if (told !== DIRECTION_UNKNOWN) return told;
  return frameDirection(batch.view, batch.offsets[index]!, batch.capturedBytes[index]!, batch.linkTypes[index]!);
}

const EMPTY_VIEW = new DataView(new ArrayBuffer(0));
