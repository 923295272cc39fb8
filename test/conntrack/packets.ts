/** Packets of the tests: bytes made from a few numbers, decoded by the real decoder. */
import { decodePacket } from '../../src/wire/decode.ts';
import { decodeQuoted } from '../../src/wire/quoted.ts';
import { DECODE_OK, PACKET_WORDS } from '../../src/wire/record.ts';

const LINKTYPE_RAW = 101;

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;

/** One packet, ready to be tracked. */
export interface TestPacket {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly record: Int32Array;
  /** Record of the packet that an ICMP error quotes; its status says whether there is one. */
  readonly quoted: Int32Array;
}

/** Decodes an IP packet; `capturedBytes` cuts it like a snap length. */
export function packet(bytes: Uint8Array, capturedBytes = bytes.length): TestPacket {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const record = new Int32Array(PACKET_WORDS);
  const quoted = new Int32Array(PACKET_WORDS);
  const status = decodePacket(view, 0, capturedBytes, bytes.length, LINKTYPE_RAW, record, 0);
  if (status !== DECODE_OK) throw new Error(`the test packet has decode status ${status}`);
  decodeQuoted(view, record, 0, quoted, 0);
  return { bytes, view, record, quoted };
}

/** `10.0.0.1` or eight colon-separated groups (no `::`) to bytes. */
export function addressBytes(text: string): number[] {
  if (text.includes('.')) return text.split('.').map(Number);
  return text.split(':').flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]);
}

/** An IPv4 or IPv6 packet, by the form of its addresses. */
export function ip(src: string, dst: string, protocol: number, payload: readonly number[]): Uint8Array {
  if (src.includes('.')) {
    const total = 20 + payload.length;
    const header = [0x45, 0, total >> 8, total & 255, 0, 0, 0, 0, 64, protocol, 0, 0];
    return Uint8Array.from([...header, ...addressBytes(src), ...addressBytes(dst), ...payload]);
  }
  const header = [0x60, 0, 0, 0, payload.length >> 8, payload.length & 255, protocol, 64];
  return Uint8Array.from([...header, ...addressBytes(src), ...addressBytes(dst), ...payload]);
}

export interface Segment {
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly dataBytes?: number;
  /** TCP options; padded with zeros to a multiple of four. */
  readonly options?: readonly number[];
}

export function tcpPayload(srcPort: number, dstPort: number, flags: number, segment: Segment = {}): number[] {
  const options = [...(segment.options ?? [])];
  while (options.length % 4 !== 0) options.push(0);
  const offset = 5 + options.length / 4;
  return [
    ...be16(srcPort),
    ...be16(dstPort),
    ...be32(segment.seq ?? 0),
    ...be32(segment.ack ?? 0),
    offset << 4,
    flags,
    ...be16(segment.window ?? 1000),
    ...[0, 0, 0, 0],
    ...options,
    ...new Array<number>(segment.dataBytes ?? 0).fill(0x78),
  ];
}

export function udpPayload(srcPort: number, dstPort: number, dataBytes = 4): number[] {
  return [
    ...be16(srcPort),
    ...be16(dstPort),
    ...be16(8 + dataBytes),
    ...[0, 0],
    ...new Array<number>(dataBytes).fill(0x78),
  ];
}

export function icmpPayload(type: number, code: number, id: number, rest: readonly number[] = []): number[] {
  return [type, code, 0, 0, ...be16(id), 0, 1, ...rest];
}

/** One SCTP chunk: type, flags, value. */
export function chunk(type: number, value: readonly number[] = [], flags = 0): number[] {
  const bytes = [type, flags, ...be16(4 + value.length), ...value];
  while (bytes.length % 4 !== 0) bytes.push(0);
  return bytes;
}

export function sctpPayload(srcPort: number, dstPort: number, tag: number, chunks: readonly number[][]): number[] {
  return [...be16(srcPort), ...be16(dstPort), ...be32(tag), 0, 0, 0, 0, ...chunks.flat()];
}

export function be16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

export function be32(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}
