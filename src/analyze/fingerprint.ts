/**
 * The fingerprint of a packet: what stays the same on its way, in 53 bits, so that captures of the same traffic at several places
 * can be laid over each other.
 *
 *   in    addresses, protocol, ports (ICMP type and code), IPv4 identification, place of a fragment, declared length, transport
 *         header and payload (the first bytes: `HASHED_BYTES_MAX`, or fewer where some capture kept fewer)
 *   out   what routers change (hop limit, DSCP, header checksum), what offloads leave empty at the sender (TCP and UDP
 *         checksums), all of the link layer
 *
 * TCP's sequence numbers and time stamps are in the header, so a retransmission differs from the first try, by its identification
 * at least; where it does not, the packets are told apart by their order (cross-capture.ts). Two sums of FNV's kind with seeds
 * drawn for each run: nobody can write two packets that are taken for one.
 */
import { randomBytes } from 'node:crypto';
import {
  FLAG_FIRST_FRAGMENT,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_IP_ID,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDP_LITE,
} from '../wire/record.ts';

/** Bytes of the transport header and behind it that count. */
export const HASHED_BYTES_MAX = 128;

export class Fingerprints {
  readonly #first: number;
  readonly #second: number;
  readonly #bytesMax: number;
  #a = 0;
  #b = 0;

  /**
   * @param bytesMax  transport bytes that count: no more than the captures kept of those packets that they cut
   * @param seed  8 bytes
   */
  constructor(bytesMax: number = HASHED_BYTES_MAX, seed: Uint8Array = randomBytes(8)) {
    this.#bytesMax = bytesMax;
    const view = new DataView(seed.buffer, seed.byteOffset, 8);
    this.#first = view.getInt32(0);
    this.#second = view.getInt32(4);
  }

  /** Of the packet whose record is at `records[at]`, decoded from `view`. */
  of(records: Int32Array, at: number, view: DataView): number {
    this.#start(records, at);
    for (let word = 0; word < 4; word++) this.#word(records[at + PACKET_DST + word]!);
    this.#word(records[at + PACKET_DST_PORT]!);
    return this.#end(records, at, view);
  }

  /** The same without the destination: what stays the same behind the translation of a service's address. */
  withoutDestination(records: Int32Array, at: number, view: DataView): number {
    this.#start(records, at);
    return this.#end(records, at, view);
  }

  #start(records: Int32Array, at: number): void {
    this.#a = this.#first;
    this.#b = this.#second;
    const version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
    this.#word((records[at + PACKET_PROTOCOL]! << 8) | version);
    for (let word = 0; word < 4; word++) this.#word(records[at + PACKET_SRC + word]!);
    this.#word(records[at + PACKET_SRC_PORT]!);
    this.#word(records[at + PACKET_IP_ID]!);
    this.#word(records[at + PACKET_FRAGMENT_OFFSET_BYTES]!);
    this.#word(records[at + PACKET_TRANSPORT_BYTES]!);
  }

  #end(records: Int32Array, at: number, view: DataView): number {
    const offset = records[at + PACKET_TRANSPORT_OFFSET]!;
    const end = offset + Math.min(records[at + PACKET_TRANSPORT_CAPTURED_BYTES]!, this.#bytesMax);
    const skipped = checksumAt(records, at);
    // Ports and types are in already, as they are after translation.
    for (let i = skipped < 0 ? offset : offset + 4; i < end; i++) {
      if (i !== offset + skipped && i !== offset + skipped + 1) this.#byte(view.getUint8(i));
    }
    return (this.#a >>> 0) * 0x20_0000 + (this.#b >>> 11);
  }

  #word(word: number): void {
    this.#byte(word & 0xffff);
    this.#byte(word >>> 16);
  }

  #byte(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x0100_0193);
    this.#a ^= this.#a >>> 15;
    this.#b = Math.imul(this.#b ^ value, 0x85eb_ca6b);
    this.#b ^= this.#b >>> 13;
  }
}

/** Where the checksum lies in the transport header, or -1 where there is no header that we know. */
function checksumAt(records: Int32Array, at: number): number {
  const flags = records[at + PACKET_FLAGS]!;
  if ((flags & FLAG_FRAGMENT) !== 0 && (flags & FLAG_FIRST_FRAGMENT) === 0) return -1;
  switch (records[at + PACKET_PROTOCOL]) {
    case PROTOCOL_TCP:
      return 16;
    case PROTOCOL_UDP:
    case PROTOCOL_UDP_LITE:
      return 6;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
      return 2;
    default:
      return -1;
  }
}
