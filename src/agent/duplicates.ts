/**
 * Copies of a packet: what the interface `any` shows several times is judged once.
 *
 * Problem. A forwarded packet passes a packet socket on its way in and on its way out, and once more for each bridge or tunnel between. The
 * copies differ in link header, lifetime and header checksum; nothing in a capture says that they are one.
 *
 * Idea. What routers leave alone is the packet's name: addresses, protocol, ports, IP id and length, sequence numbers, place in a fragmented
 * datagram, and the checksum of the transport, which stands for its data. A second packet of the same name within WINDOW_MS of the first is a
 * copy. A retransmission has another IP id, an echo another sequence number; two equal UDP datagrams under one IP id (Linux sends 0 where nothing
 * may be fragmented) 50 ms apart or less are taken for one, which is the price.
 *
 *   bucket of hash h   | name 0 | name 1 | name 2 | name 3 |   BUCKET_PACKETS names of NAME_WORDS words, and when each was first seen
 *
 * Worked example: `any` shows 10.0.0.1:40000 > 10.0.0.2:80 id 77 seq 1000 at 5.000 s (in by a veth) and at 5.0001 s (out by eth0). The first
 * takes the oldest place of its bucket, the second finds it: counted as duplicate. At 5.2 s the same name would be a packet of its own.
 *
 * Bound. A new name replaces the oldest of its bucket, even one that is younger than the window: `crowded` counts these, whose copies
 * would be judged again. 65 536 names hold 1.3 million packets a second for 50 ms.
 */
import {
  DECODE_OK,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_ICMP_ID,
  PACKET_IP_ID,
  PACKET_IP_TOTAL_BYTES,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_STATUS,
  PACKET_TCP_ACK,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/record.ts';

/** How long after the first copy of a packet another one may come. */
const WINDOW_MS = 50;
const BUCKETS = 1 << 14;
const BUCKET_PACKETS = 4;
const NAME_WORDS = 16;

export class Duplicates {
  /** Names that had to go while a copy could still come. */
  crowded = 0;
  readonly #names = new Int32Array(BUCKETS * BUCKET_PACKETS * NAME_WORDS);
  readonly #times = new Float64Array(BUCKETS * BUCKET_PACKETS).fill(Number.NEGATIVE_INFINITY);
  readonly #name = new Int32Array(NAME_WORDS);

  /** True if the decoded packet is a copy of one seen before; else it is remembered. What is not decoded is never a copy. */
  isCopy(records: Int32Array, at: number, view: DataView, timeMs: number): boolean {
    if (records[at + PACKET_STATUS] !== DECODE_OK) return false;
    const name = this.#name;
    const names = this.#names;
    const times = this.#times;
    this.#setName(records, at, view);
    let hash = 0;
    for (let word = 0; word < NAME_WORDS; word++) hash = Math.imul(hash ^ name[word]!, 0x9e3779b1) ^ (hash >>> 15);
    const first = ((hash ^ (hash >>> 13)) & (BUCKETS - 1)) * BUCKET_PACKETS;
    let oldest = first;
    for (let slot = first; slot < first + BUCKET_PACKETS; slot++) {
      const age = timeMs - times[slot]!;
      if (age < WINDOW_MS && age > -WINDOW_MS && this.#isNamed(slot)) return true;
      if (times[slot]! < times[oldest]!) oldest = slot;
    }
    if (Math.abs(timeMs - times[oldest]!) < WINDOW_MS) this.crowded++;
    names.set(name, oldest * NAME_WORDS);
    times[oldest] = timeMs;
    return false;
  }

  #isNamed(slot: number): boolean {
    const name = this.#name;
    const names = this.#names;
    const base = slot * NAME_WORDS;
    for (let word = 0; word < NAME_WORDS; word++) if (names[base + word] !== name[word]) return false;
    return true;
  }

  #setName(records: Int32Array, at: number, view: DataView): void {
    const name = this.#name;
    const flags = records[at + PACKET_FLAGS]!;
    const protocol = records[at + PACKET_PROTOCOL]!;
    for (let word = 0; word < 4; word++) {
      name[word] = records[at + PACKET_SRC + word]!;
      name[4 + word] = records[at + PACKET_DST + word]!;
    }
    name[8] = (protocol << 1) | (flags & FLAG_IPV6);
    name[9] = (records[at + PACKET_SRC_PORT]! << 16) | records[at + PACKET_DST_PORT]!;
    name[10] = records[at + PACKET_IP_ID]!;
    name[11] = records[at + PACKET_IP_TOTAL_BYTES]!;
    const isFragment = (flags & FLAG_FRAGMENT) !== 0;
    name[12] = isFragment ? records[at + PACKET_FRAGMENT_OFFSET_BYTES]! : -1;
    name[13] = 0;
    name[14] = 0;
    if (protocol === PROTOCOL_TCP) {
      name[13] = records[at + PACKET_TCP_SEQ]!;
      name[14] = records[at + PACKET_TCP_ACK]! ^ records[at + PACKET_TCP_FLAGS]!;
    } else if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
      name[13] = records[at + PACKET_ICMP_ID]!;
    }
    const checksumAt = checksumOffset(protocol);
    const isThere = !isFragment && records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! >= checksumAt + 2;
    name[15] = isThere ? view.getUint16(records[at + PACKET_TRANSPORT_OFFSET]! + checksumAt) : -1;
  }
}

/** Where the transport's checksum stands in its header. */
function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 16;
  if (protocol === PROTOCOL_UDP) return 6;
  return 2;
}
