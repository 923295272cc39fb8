/** One verification while captures are read: each packet to its verdict and its connection, each connection to its record. */
import { formatMoment } from '../base/time.ts';
import type { Counters } from '../match/counters.ts';
import { VERDICT_DENY, VERDICT_NAMES, VERDICT_UNDECODED } from '../model/flow.ts';
import { createRecordBatch, type RecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { decodePacket } from '../wire/decode.ts';
import { isIcmpError } from '../wire/quoted.ts';
import { DECODE_OK, PACKET_PROTOCOL, PACKET_SRC } from '../wire/record.ts';
import { type CaptureInput, endsOf, type Place, Places, pointText, STAGE_BEHIND, stageAt } from './capture-places.ts';
import { communityId } from './community-id.ts';
import { CrossCapture, DUPLICATE_MS, type SeenPacket, WAIT_MS, WAIT_ONE_CLOCK_MS } from './cross-capture.ts';
import { Fingerprints } from './fingerprint.ts';
import { PodInterfaces } from './interfaces.ts';
import type { MergedReader } from './merged-reader.ts';
import { Connection, type Frame } from './outcome.ts';
import { OutcomeTable } from './outcome-table.ts';
import { looksLikeAnswer, openedEitherWay, opensConnection } from './prediction.ts';
import { addressText } from './record.ts';
import { type PacketVerdict, Replayer } from './replayer.ts';
import type { ServiceTranslation } from './service-translation.ts';
import { InnermostDecoder, type Survey } from './survey.ts';
import type { VerifiedPacket, VerifyOptions } from './verify.ts';
import { forbiddenStage, isComparable, MAY_BE_SEEN, type PacketDetail, Passages } from './verify-passage.ts';
import { Settlement } from './verify-settle.ts';
import type { TimelineColumn } from './verify-totals.ts';

/** LINKTYPE_LINUX_SLL and SLL2: captures of all interfaces at once. */
const LINKTYPES_ANY: readonly number[] = [113, 276];
const PACKETS_BETWEEN_PAUSES = 4096;

type Packet = SeenPacket<PacketDetail>;

export class VerifyRun {
  readonly settlement: Settlement;
  seenAgain = 0;
  readonly #options: VerifyOptions;
  readonly #tables: Tables;
  readonly #reader: MergedReader;
  readonly #translation: ServiceTranslation;
  readonly #places: Places;
  readonly #decoder: InnermostDecoder;
  readonly #replayer: Replayer;
  readonly #cross: CrossCapture<PacketDetail>;
  readonly #table: OutcomeTable;
  readonly #files: readonly string[];
  readonly #passages: Passages;
  /** Fragments whose datagram is not whole yet, by packet number. */
  readonly #unjudged = new Map<number, { readonly packet: Packet; readonly frame: Frame; readonly places: Place[] }>();
  readonly #numbers = new Float64Array(1);
  readonly #rewritten: RecordBatch = createRecordBatch();
  readonly #names: { interfaceName(number: number): string | undefined };
  /** The packet in hand. */
  #packets = 0;
  #current: Packet | undefined;
  #frame: Frame = { capture: 0, number: 0 };
  #startMs = Number.NaN;
  #endMs = Number.NaN;
  #opened = 0;

  constructor(
    tables: Tables,
    captures: readonly CaptureInput[],
    reader: MergedReader,
    translation: ServiceTranslation,
    survey: Survey | undefined,
    options: VerifyOptions,
  ) {
    this.#tables = tables;
    this.#reader = reader;
    this.#translation = translation;
    this.#options = options;
    this.#files = captures.map(({ file }) => file);
    const interfaces = new PodInterfaces(tables);
    this.#places = new Places(captures, (name) => {
      const endpoint = interfaces.find(name);
      if (endpoint < 0) return undefined;
      const { namespace, name: pod } = options.plan.endpoints[endpoint]!;
      return { kind: 'pod', name: `${namespace}/${pod}`, endpoint };
    });
    this.#passages = new Passages(this.#places, survey, captures.length);
    this.#names = { interfaceName: (number) => reader.reader(this.#frame.capture).interfaceName(number) };
    this.#decoder = new InnermostDecoder(options.decapsulate === true);
    this.settlement = new Settlement(options, this.#files);
    this.#table = new OutcomeTable(
      (connection) => this.settlement.close(connection, reader.timeMs),
      options.connectionEntries,
    );
    this.#cross = new CrossCapture(
      new Fingerprints(survey?.hashedBytes),
      () => (captures.length > 1 ? WAIT_MS : this.#places.all.length > 1 ? WAIT_ONE_CLOCK_MS : DUPLICATE_MS),
      (packet, wasEarly) => {
        this.#passages.settle(packet, wasEarly);
        if (packet.detail !== undefined) this.#table.release(packet.detail.connection);
      },
      options.sightingEntries,
    );
    this.#replayer = new Replayer(tables, {
      ...(options.decapsulate === true ? { decapsulate: true } : {}),
      ...(options.capturePoint === undefined ? {} : { capturePoint: options.capturePoint }),
      ...(options.conntrackEntries === undefined ? {} : { conntrackEntries: options.conntrackEntries }),
      timeline: options.timeline,
      onVerdict: (verdict) => this.#judged(verdict),
      onUndecoded: (packet) => this.#undecoded(packet),
    });
  }

  get counters(): Counters {
    return this.#replayer.counters;
  }

  /** How much a capture lacks of what others show that it saw. */
  missedBy(capture: number): number {
    return this.#passages.missed[capture]!;
  }

  /** Where a capture was taken, if its interfaces tell it. */
  pointOf(capture: number): string | undefined {
    const points = new Set(
      this.#places.all.filter((place) => place.capture === capture).map(({ point }) => pointText(point)),
    );
    if (points.size <= 1) return [...points][0];
    return `${points.size} interfaces`;
  }

  /** Reads everything, or up to where the signal ends it. */
  async read(): Promise<void> {
    const { signal, onProgress } = this.#options;
    const reader = this.#reader;
    while (signal?.aborted !== true) {
      const more = reader.next();
      if (!(typeof more === 'boolean' ? more : await more)) break;
      this.#packets++;
      this.#take();
      if (this.#packets % PACKETS_BETWEEN_PAUSES !== 0) continue;
      onProgress?.({ file: this.#files.join(', '), ...reader.progress(), packets: this.#packets, phase: 'verify' });
      // Lets Ctrl-C in.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Judges what waits, closes what is open, and settles the findings. Call once. */
  finish(): void {
    this.#replayer.finish();
    this.#unjudged.clear();
    this.#cross.finish();
    this.#table.closeAll();
    this.settlement.finish(
      ({ capture }) => this.#passages.missed[capture]! > 0 || this.#reader.reader(capture).lostPackets > 0,
      (place, isBetweenPods) => this.#passages.isBlind(place, isBetweenPods),
    );
  }

  /** Times of the first and the last packet. */
  span(): { readonly start: string; readonly end: string } | undefined {
    if (Number.isNaN(this.#startMs)) return undefined;
    return { start: formatMoment(this.#startMs), end: formatMoment(this.#endMs) };
  }

  /** What was lost or given up here, a sentence each. */
  incomplete(): string[] {
    const { settledEarly } = this.#cross.counts;
    const unsupported = this.#replayer.counters.undecoded[3]!;
    const blind = this.#passages.blindPlaces();
    return [
      ...blind.map(
        ({ capture, point }) =>
          `${this.#files[capture]}: no packet between pods is in it as they send it, so it shows nothing of ${pointText(point)}; they may be in tunnels (--decapsulate) or pass another interface`,
      ),
      ...(settledEarly > 0
        ? [`${settledEarly} packets were looked for elsewhere for less than a second, since too many waited`]
        : []),
      ...(this.#table.evicted > 0
        ? [`${this.#table.evicted} connections were settled early, since too many were open at one time`]
        : []),
      ...this.settlement.incomplete(),
      ...(unsupported > 0 ? [`${unsupported} packets are of a link type that margay does not read`] : []),
    ];
  }

  /* ---- packets ---- */

  /** The packet in hand of the reader: a new one, or one that was seen before. */
  #take(): void {
    const reader = this.#reader;
    const timeMs = reader.timeMs;
    this.#frame = { capture: reader.capture, number: reader.number };
    this.#current = undefined;
    if (!(this.#startMs <= timeMs)) this.#startMs = timeMs;
    if (!(this.#endMs >= timeMs)) this.#endMs = timeMs;
    const row = this.#translated();
    if (this.#decoder.decode(row) === DECODE_OK) {
      const { records } = this.#decoder;
      const place = this.#placeOf(row);
      const seen = this.#cross.see(records, row.view, place, timeMs);
      if (!seen.isNew) {
        this.#again(seen.packet, place, seen.isNewPlace);
        return;
      }
      this.#current = seen.packet;
    }
    this.#numbers[0] = this.#packets;
    this.#replayer.batch(row, this.#names, this.#numbers);
    const current = this.#current;
    if (current !== undefined && current.detail === undefined) {
      this.#unjudged.set(this.#packets, { packet: current, frame: this.#frame, places: current.places });
    }
  }

  /** The row in hand, with a backend in place of a service's address where that is known. */
  #translated(): RecordBatch {
    const { row } = this.#reader;
    if (this.#translation.learnedCount === 0) return row;
    const [offset, captured] = [row.offsets[0]!, row.capturedBytes[0]!];
    const { records } = this.#decoder;
    if (decodePacket(row.view, offset, captured, row.wireBytes[0]!, row.linkTypes[0]!, records, 0) !== DECODE_OK)
      return row;
    const frame = row.bytes.subarray(offset, offset + captured);
    const copy = this.#translation.rewrite(records, 0, frame, offset);
    if (copy === undefined) return row;
    const out = this.#rewritten;
    out.count = 1;
    out.bytes = copy;
    out.view = new DataView(copy.buffer);
    out.offsets[0] = 0;
    out.capturedBytes[0] = captured;
    out.wireBytes[0] = row.wireBytes[0]!;
    out.linkTypes[0] = row.linkTypes[0]!;
    out.interfaces[0] = row.interfaces[0]!;
    out.directions[0] = row.directions[0]!;
    out.seconds[0] = row.seconds[0]!;
    out.nanos[0] = row.nanos[0]!;
    return out;
  }

  #placeOf(row: RecordBatch): Place {
    const number = row.interfaces[0]!;
    const name = this.#reader.reader(this.#frame.capture).interfaceName(number);
    return this.#places.at(this.#frame.capture, number, name, LINKTYPES_ANY.includes(row.linkTypes[0]!));
  }

  /** A packet that was seen before, now at `place`. */
  #again(packet: Packet, place: Place, isNewPlace: boolean): void {
    this.seenAgain++;
    const { detail } = packet;
    this.#tell(detail?.verdict ?? VERDICT_UNDECODED, detail?.connection.id ?? 0, detail?.packet ?? 0);
    if (detail === undefined || !isNewPlace) return;
    if (stageAt(place.point, detail.ends, detail.isReply) === STAGE_BEHIND) {
      detail.connection.note(detail.isReply ? 'answer arrived' : 'arrived', this.#frame);
    }
  }

  #tell(verdict: number, connection: number, seenBefore: number, packet = this.#packets): void {
    this.#options.onPacket?.({ packet, verdict, connection, seenBefore } satisfies VerifiedPacket);
  }

  #undecoded(packet: number): void {
    this.#unjudged.delete(packet);
    this.settlement.timeline.add(this.#reader.timeMs, 'undecoded');
    this.#tell(VERDICT_UNDECODED, 0, 0, packet);
  }

  /** The verdict on a packet: its connection, and what is to be known of it while it may be seen elsewhere. */
  #judged(judged: PacketVerdict): void {
    const { packet, verdict, judge, records, at, quotedAt, seconds, nanos, bytes } = judged;
    const held = this.#unjudged.get(packet);
    this.#unjudged.delete(packet);
    const seen = held?.packet ?? (packet === this.#packets ? this.#current : undefined);
    const frame = held?.frame ?? this.#frame;
    const timeMs = seconds * 1000 + nanos / 1e6;
    this.settlement.timeline.add(timeMs, VERDICT_NAMES[verdict] as TimelineColumn);
    const { connection, isReply, isError } = this.#connectionOf(judged, frame, timeMs);
    connection.verdicts[verdict]! += 1;
    connection.bytes += bytes;
    connection.endSeconds = seconds;
    connection.endNanos = nanos;
    if (isError) connection.addError(records, at, isReply, frame, addressText(judge.version, records, at + PACKET_SRC));
    else if (quotedAt < 0) connection.add(records, at, isReply, verdict, timeMs, frame);
    this.#tell(verdict, connection.id, 0, packet);
    if (seen === undefined) return;
    seen.detail = {
      connection,
      ends: endsOf(judge),
      isReply,
      verdict,
      forbiddenStage: verdict === VERDICT_DENY && quotedAt < 0 ? forbiddenStage(judge) : MAY_BE_SEEN,
      isCounted: quotedAt < 0,
      isComparable: isComparable(judged),
      frame,
      packet,
    };
    connection.waiting++;
    if (quotedAt < 0 && !isReply && stageAt(seen.places[0]!.point, seen.detail.ends, isReply) === STAGE_BEHIND) {
      connection.note('arrived', frame);
    }
  }

  /** The connection of a packet, opened if there is none; an ICMP error's is that of what it quotes. */
  #connectionOf(
    judged: PacketVerdict,
    frame: Frame,
    timeMs: number,
  ): { readonly connection: Connection; readonly isReply: boolean; readonly isError: boolean } {
    const { records, at, quotedAt, seconds, nanos } = judged;
    // Nobody answers an error by an error (RFC 1122): one that quotes another is its own.
    if (quotedAt >= 0 && !isIcmpError(records, quotedAt)) {
      const quoted = this.#table.find(records, quotedAt, Number.NaN);
      if (quoted !== undefined) return { ...quoted, isError: true };
    }
    const known = this.#table.find(records, at, seconds);
    if (known !== undefined) return { ...known, isError: false };
    const protocol = records[at + PACKET_PROTOCOL]!;
    const record = judged.record();
    const connection = new Connection(
      ++this.#opened,
      record,
      communityId(records, at),
      protocol,
      frame,
      seconds,
      nanos,
    );
    const isAnswer = looksLikeAnswer(record, protocol, timeMs - this.#startMs);
    if (quotedAt >= 0) connection.isMidstream = true;
    else if (!opensConnection(records, at) || isAnswer) {
      const { capturePoint } = this.#options;
      const options = capturePoint === undefined ? {} : { capturePoint };
      connection.eitherWay = openedEitherWay(this.#tables, record, protocol, options);
      connection.isMidstream = !isAnswer;
    }
    this.#table.open(connection, records, at);
    return { connection, isReply: false, isError: false };
  }
}
