/**
 * What a replay tells of a packet once its verdict is there: counts, connections, lines, and whoever listens to verdicts.
 *
 * Records with names and traces are made only where somebody wants one. They are made by the judge that has just answered, and by a second
 * one for what staged policies would say and for what a tunnel carries, so that the first one's answer stays what it is.
 */
import { CT_STATE_NAMES } from '../conntrack/track.ts';
import { type Counters, countPacket, countUndecoded } from '../match/counters.ts';
import { decidingStep, judgeNewPacket } from '../match/judge.ts';
import { CAPTURE_UNKNOWN, type Judge } from '../match/state.ts';
import { decodeQuoted, isIcmpError } from '../wire/quoted.ts';
import { DECODE_OK, DECODE_STATUS_NAMES, PACKET_WORDS } from '../wire/record.ts';
import { decodeInner, TUNNEL_NONE, tunnelKind } from '../wire/tunnel.ts';
import { ConnectionTable, formatTime } from './connections.ts';
import { LineQueue, type PacketRecord } from './packet-lines.ts';
import { addPending, type FlowRecord, flowRecord } from './record.ts';
import type { Arrival, ReplayOptions, ReplayShare } from './replay-options.ts';

/* Places in the records of a replay: the packet in hand at 0, what it quotes, what it carries; datagrams and parts as replayer.ts says. */
export const QUOTED = PACKET_WORDS;
export const INNER = 2 * PACKET_WORDS;
export const RECORDS = 3;

export class PacketOutput {
  readonly connections: ConnectionTable | undefined;
  readonly #lines: Pick<LineQueue<PacketRecord>, 'put'> | undefined;
  readonly #options: ReplayOptions;
  readonly #share: ReplayShare | undefined;
  readonly #records: Int32Array;
  #judge: Judge;
  #otherJudge: Judge;
  #counters: Counters;

  /** @param records  where the packets lie that are told of */
  constructor(
    options: ReplayOptions,
    share: ReplayShare | undefined,
    records: Int32Array,
    judges: readonly [Judge, Judge],
    counters: Counters,
  ) {
    const { connections, onConnection, connectionEntries, onPacket } = options;
    this.#options = options;
    this.#share = share;
    this.#records = records;
    [this.#judge, this.#otherJudge] = judges;
    this.#counters = counters;
    this.connections =
      connections ?? (onConnection === undefined ? undefined : new ConnectionTable(onConnection, connectionEntries));
    this.#lines = linesOf(onPacket, share !== undefined);
  }

  /** Goes on with the judges and counters of other tables. */
  swap(judges: readonly [Judge, Judge], counters: Counters): void {
    [this.#judge, this.#otherJudge] = judges;
    this.#counters = counters;
  }

  /** Nothing but counts is asked for. */
  get countsAlone(): boolean {
    return this.connections === undefined && this.#lines === undefined && this.#options.onVerdict === undefined;
  }

  /** Nothing but counts is asked for, or whoever listens to verdicts alone. */
  get isCounted(): boolean {
    return this.connections === undefined && this.#lines === undefined;
  }

  /** Counts a packet by the judge's answer, and tells of it. */
  settle(arrival: Arrival, at: number, view: DataView, verdict: number): void {
    const judge = this.#judge;
    countPacket(this.#counters, verdict, judge.reason, decidingStep(judge), arrival.bytes);
    if (this.connections !== undefined) this.#gather(this.connections, arrival, at, view, verdict);
    if (this.#lines !== undefined) this.#putLine(arrival, at, view);
    if (this.#options.onVerdict !== undefined) this.#tell(this.#options.onVerdict, arrival, at, view, verdict);
  }

  undecoded(arrival: Arrival, status: number): void {
    if (this.#share?.ownsNumber?.(arrival.packet) === false) return;
    countUndecoded(this.#counters, status, arrival.bytes);
    this.#options.onUndecoded?.(arrival.packet, status);
    if (this.#lines !== undefined) this.#putUndecoded(arrival, status);
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
      ...(this.#options.stateless === true ? {} : { state: CT_STATE_NAMES[this.#judge.state]! }),
      ...this.#fullRecord(at, view),
    };
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
}

/** Lines of one path among several are put in order by whoever gathers them. */
function linesOf(
  onPacket: ReplayOptions['onPacket'],
  isShare: boolean,
): Pick<LineQueue<PacketRecord>, 'put'> | undefined {
  if (onPacket === undefined) return undefined;
  return isShare ? { put: (_packet, make) => onPacket(make()) } : new LineQueue(onPacket);
}
