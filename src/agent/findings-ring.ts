/**
 * Raw packets around findings, in bounded memory.
 *
 * Two stores. `recent` is a ring of the last packets of all flows, written over and over: half of the bytes. When something is found, the packets of its
 * flow in there are copied to `kept`, the other half, and for FOLLOW_SECONDS those that still come. When `kept` is full the oldest packets
 * go. So the capture shows what came before a finding as well as after, at the price of one copy a packet.
 *
 *   recent   | frame | frame | … the newest overwrite the oldest … |       kept   [ flow 17: 4 packets ] [ flow 90: 2 packets ] …
 */
import { parseAddress } from '../base/ip.ts';
import type { RecordBatch } from '../packets/source.ts';
import { type CaptureRecord, type PcapngInterface, writePcapng } from '../packets/write.ts';
import { decodePacket } from '../wire/decode.ts';
import {
  DECODE_OK,
  FLAG_IPV6,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_WORDS,
} from '../wire/record.ts';

/** Packets of a flow are kept for so long after it was found. */
const FOLLOW_SECONDS = 5;
/** Flows looked for at one time; each look decodes what is recent. */
const FOLLOWED_MAX = 64;
/** Bytes of a frame that are kept. */
const FRAME_BYTES_MAX = 2048;
/** A frame takes this many bytes on average, as the number of places in `recent` assumes. */
const FRAME_BYTES_MEAN = 128;

/** Ends of a flow, for comparing with packets of either direction. */
export interface FlowEnds {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly source: readonly number[];
  readonly dest: readonly number[];
  readonly sourcePort: number | undefined;
  readonly destPort: number | undefined;
}

interface Followed {
  readonly ends: FlowEnds;
  readonly untilSeconds: number;
  /** Number of the next packet to look at. */
  next: number;
}

interface Kept {
  readonly record: CaptureRecord;
  readonly linkType: number;
  readonly interfaceName: string;
  readonly number: number;
}

/** The ends of a record's flow; undefined if its addresses are none. */
export function flowEnds(
  protocol: number,
  record: { source_ip: string; dest_ip: string; source_port?: number; dest_port?: number },
): FlowEnds | undefined {
  const source = parseAddress(record.source_ip);
  const dest = parseAddress(record.dest_ip);
  if (source === undefined || dest === undefined) return undefined;
  const { version, words } = source;
  return {
    version,
    protocol,
    source: words,
    dest: dest.words,
    sourcePort: record.source_port,
    destPort: record.dest_port,
  };
}

export class FindingsRing {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #keptMax: number;
  readonly #places: number;
  readonly #offsets: Int32Array;
  readonly #lengths: Int32Array;
  readonly #wireBytes: Float64Array;
  readonly #seconds: Float64Array;
  readonly #nanos: Int32Array;
  readonly #linkTypes: Int32Array;
  readonly #names: string[];
  readonly #records = new Int32Array(PACKET_WORDS);
  /** Number of the next packet, from 0, and of the oldest one that is whole. */
  #next = 0;
  #oldest = 0;
  #at = 0;
  #followed: Followed[] = [];
  #kept: Kept[] = [];
  #keptBytes = 0;

  /** @param bytes  of both stores together; frames are at most FRAME_BYTES_MAX of them */
  constructor(bytes: number) {
    const half = Math.max(4 * FRAME_BYTES_MAX, (bytes >> 1) & ~3);
    this.#bytes = new Uint8Array(half);
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#view = new DataView(this.#bytes.buffer);
    this.#keptMax = half;
    this.#places = Math.ceil(half / FRAME_BYTES_MEAN);
    this.#offsets = new Int32Array(this.#places);
    this.#lengths = new Int32Array(this.#places);
    this.#wireBytes = new Float64Array(this.#places);
    this.#seconds = new Float64Array(this.#places);
    this.#nanos = new Int32Array(this.#places);
    this.#linkTypes = new Int32Array(this.#places);
    this.#names = new Array<string>(this.#places).fill('');
  }

  /** Remembers the packets of `batch`. */
  add(batch: RecordBatch, nameOf: (interfaceNumber: number) => string | undefined): void {
    for (let row = 0; row < batch.count; row++) {
      const length = Math.min(batch.capturedBytes[row]!, FRAME_BYTES_MAX);
      if (this.#at + FRAME_BYTES_MAX > this.#bytes.length) this.#wrap();
      this.#makeRoom(length);
      const place = this.#next % this.#places;
      const from = batch.offsets[row]!;
      copyFrame(batch, from, this.#bytes, this.#words, this.#at, length);
      this.#offsets[place] = this.#at;
      this.#lengths[place] = length;
      this.#wireBytes[place] = batch.wireBytes[row]!;
      this.#seconds[place] = batch.seconds[row]!;
      this.#nanos[place] = batch.nanos[row]!;
      this.#linkTypes[place] = batch.linkTypes[row]!;
      this.#names[place] = nameOf(batch.interfaces[row]!) ?? '';
      // Places start at whole words.
      this.#at += (length + 3) & ~3;
      this.#next++;
    }
  }

  /** What lies behind the write position goes with the wrap. */
  #wrap(): void {
    while (this.#oldest < this.#next && this.#offsets[this.#oldest % this.#places]! >= this.#at) this.#oldest++;
    this.#at = 0;
  }

  /** The oldest packets go: those in the way of the next `length` bytes, and one if all places are taken. */
  #makeRoom(length: number): void {
    if (this.#next - this.#oldest === this.#places) this.#oldest++;
    while (this.#oldest < this.#next) {
      const offset = this.#offsets[this.#oldest % this.#places]!;
      const isInTheWay = offset < this.#at + length && offset + this.#lengths[this.#oldest % this.#places]! > this.#at;
      if (!isInTheWay) return;
      this.#oldest++;
    }
  }

  /** Keeps the packets of a flow: those that are recent, at the next `collect`, and those that come until FOLLOW_SECONDS from now. */
  follow(ends: FlowEnds, nowSeconds: number): void {
    if (this.#followed.length === FOLLOWED_MAX) this.#followed.shift();
    this.#followed.push({ ends, untilSeconds: nowSeconds + FOLLOW_SECONDS, next: this.#oldest });
  }

  /** Copies what belongs to the flows that are followed. Call now and then: it decodes what has come since. */
  collect(nowSeconds: number): void {
    if (this.#followed.length === 0) return;
    const first = Math.max(this.#oldest, Math.min(...this.#followed.map(({ next }) => next)));
    for (let number = first; number < this.#next; number++) {
      const place = number % this.#places;
      const offset = this.#offsets[place]!;
      const length = this.#lengths[place]!;
      const linkType = this.#linkTypes[place]!;
      const status = decodePacket(this.#view, offset, length, this.#wireBytes[place]!, linkType, this.#records, 0);
      if (status !== DECODE_OK) continue;
      if (this.#followed.some(({ ends, next }) => number >= next && isOfFlow(this.#records, ends))) this.#keep(number);
    }
    for (const followed of this.#followed) followed.next = this.#next;
    this.#followed = this.#followed.filter(({ untilSeconds }) => untilSeconds > nowSeconds);
  }

  #keep(number: number): void {
    const place = number % this.#places;
    const offset = this.#offsets[place]!;
    this.#kept.push({
      record: {
        bytes: this.#bytes.slice(offset, offset + this.#lengths[place]!),
        wireBytes: this.#wireBytes[place]!,
        seconds: this.#seconds[place]!,
        nanos: this.#nanos[place]!,
      },
      linkType: this.#linkTypes[place]!,
      interfaceName: this.#names[place]!,
      number,
    });
    this.#keptBytes += this.#lengths[place]!;
    let gone = 0;
    for (; this.#keptBytes > this.#keptMax; gone++) this.#keptBytes -= this.#kept[gone]!.record.bytes.length;
    if (gone > 0) this.#kept.splice(0, gone);
  }

  /** One pcapng section with the packets kept, each once, in the order in which they came; empty without any. */
  capture(): Uint8Array {
    if (this.#kept.length === 0) return new Uint8Array(0);
    const interfaces: PcapngInterface[] = [];
    const numbers = new Map<string, number>();
    const byNumber = new Map(this.#kept.map((kept) => [kept.number, kept]));
    const records = [...byNumber.values()]
      .sort((a, b) => a.number - b.number)
      .map(({ record, linkType, interfaceName }): CaptureRecord => {
        const key = `${linkType} ${interfaceName}`;
        let number = numbers.get(key);
        if (number === undefined) {
          number = interfaces.length;
          numbers.set(key, number);
          interfaces.push({ linkType, resolution: 9, ...(interfaceName === '' ? {} : { name: interfaceName }) });
        }
        return { ...record, interface: number };
      });
    return writePcapng(records, { interfaces });
  }
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Copies in words, which takes a quarter of the time of bytes; `at` is a multiple of 4. */
function copyFrame(
  batch: RecordBatch,
  from: number,
  bytes: Uint8Array,
  words: Int32Array,
  at: number,
  length: number,
): void {
  const { view } = batch;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) words[(at + i) >> 2] = view.getInt32(from + i, IS_LITTLE_ENDIAN);
  for (let i = whole; i < length; i++) bytes[at + i] = batch.bytes[from + i]!;
}

function isOfFlow(records: Int32Array, ends: FlowEnds): boolean {
  const version = (records[PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
  if (version !== ends.version || records[PACKET_PROTOCOL] !== ends.protocol) return false;
  const [srcPort, dstPort] = [records[PACKET_SRC_PORT]!, records[PACKET_DST_PORT]!];
  const isThere = isAt(records, PACKET_SRC, ends.source) && isAt(records, PACKET_DST, ends.dest);
  if (isThere && isPort(srcPort, ends.sourcePort) && isPort(dstPort, ends.destPort)) return true;
  const isBack = isAt(records, PACKET_SRC, ends.dest) && isAt(records, PACKET_DST, ends.source);
  return isBack && isPort(srcPort, ends.destPort) && isPort(dstPort, ends.sourcePort);
}

function isPort(port: number, wanted: number | undefined): boolean {
  return wanted === undefined || port === wanted;
}

function isAt(records: Int32Array, at: number, words: readonly number[]): boolean {
  for (let word = 0; word < 4; word++) if (records[at + word] !== (words[word]! | 0)) return false;
  return true;
}
