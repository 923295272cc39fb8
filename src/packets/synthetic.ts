/**
 * Made-up packets: frames with right lengths and checksums from a description, and a seeded random source.
 *
 * Tests, benches and recorded cases build their captures here, so that every byte in them has a reason. Addresses are
 * the numbers of the program (`base/ip.ts` makes them from text): an int32 is IPv4, four int32 are IPv6.
 */

/** An address: IPv4 as one int32, IPv6 as four, most significant first. */
export type SyntheticAddress = number | readonly [number, number, number, number];

export interface FrameSpec {
  readonly src: SyntheticAddress;
  readonly dst: SyntheticAddress;
  /** IP protocol number; decides what is built behind the IP header. */
  readonly protocol: number;
  /** TCP, UDP, UDP-Lite, SCTP; default 0. */
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Flag byte; default SYN. */
  readonly tcpFlags?: number;
  readonly tcpSeq?: number;
  readonly tcpAck?: number;
  readonly tcpWindow?: number;
  /** Bytes of TCP options, a multiple of 4 up to 40, filled with no-operation. */
  readonly tcpOptionBytes?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** Bytes 4-7 of the ICMP header; echo: identifier in the upper half, sequence number in the lower. */
  readonly icmpRest?: number;
  /** Behind the transport header; for other protocols all behind the IP header. */
  readonly payload?: Uint8Array;
  /** 802.1Q tags, outermost first; several: all but the last are 802.1ad. */
  readonly vlanIds?: readonly number[];
  /** IPv4: a multiple of 4 up to 40, filled with no-operation. */
  readonly ipOptionBytes?: number;
  readonly ipId?: number;
  readonly ttl?: number;
  /** IPv6: extension headers in order. */
  readonly extensionHeaders?: readonly ExtensionHeaderSpec[];
}

export interface ExtensionHeaderSpec {
  /** 0 hop-by-hop, 43 routing, 60 destination options, 51 authentication. */
  readonly protocol: number;
  /** A multiple of 8 (authentication: of 4 from 8 on). */
  readonly bytes: number;
}

const ETHERNET_BYTES = 14;
const PROTOCOL_TCP = 6;
const PROTOCOL_AH = 51;

/** xorshift32 (Marsaglia 2003): the same numbers for the same seed everywhere. */
export class Xorshift32 {
  private state: number;

  /** @param seed  any number but 0, which xorshift cannot leave; 0 becomes 1 */
  constructor(seed: number) {
    this.state = seed | 0 || 1;
  }

  /** Next uint32, never 0. */
  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** A whole number from 0 to `bound - 1`. */
  below(bound: number): number {
    return Math.floor((this.next() / 4294967296) * bound);
  }

  /** A number from 0 (excluded) to 1 (excluded). */
  float(): number {
    return this.next() / 4294967296;
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let index = 0; index < count; index++) out[index] = this.next();
    return out;
  }
}

/** An Ethernet frame with tags, IP packet and correct checksums, unpadded. */
export function buildFrame(spec: FrameSpec): Uint8Array {
  const packet = buildPacket(spec);
  const vlanIds = spec.vlanIds ?? [];
  const frame = new Uint8Array(ETHERNET_BYTES + 4 * vlanIds.length + packet.length);
  const view = new DataView(frame.buffer);
  frame.set([0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01]);
  let at = 12;
  vlanIds.forEach((vlanId, index) => {
    view.setUint16(at, index < vlanIds.length - 1 ? 0x88a8 : 0x8100);
    view.setUint16(at + 2, vlanId);
    at += 4;
  });
  view.setUint16(at, typeof spec.src === 'number' ? 0x0800 : 0x86dd);
  frame.set(packet, at + 2);
  return frame;
}

/** The IP packet of the description. */
export function buildPacket(spec: FrameSpec): Uint8Array {
  if (typeof spec.src !== typeof spec.dst) throw new Error('a packet has addresses of one family');
  return typeof spec.src === 'number' ? buildIpv4(spec) : buildIpv6(spec);
}

/**
 * The packet cut into fragments with at most `dataBytesMax` bytes of data each (rounded down to a multiple of 8),
 * in order. IPv6 needs no extension headers of its own for this: the fragment header goes in front of the transport.
 */
export function buildFragments(spec: FrameSpec, dataBytesMax: number): Uint8Array[] {
  const step = Math.max(8, dataBytesMax & ~7);
  const isIpv4 = typeof spec.src === 'number';
  const transport = buildTransport(spec);
  const fragments: Uint8Array[] = [];
  for (let start = 0; start < transport.length; start += step) {
    const data = transport.subarray(start, start + step);
    const hasMore = start + step < transport.length;
    fragments.push(
      isIpv4
        ? ipv4Packet(spec, data, (start >> 3) | (hasMore ? 0x2000 : 0))
        : ipv6Packet(spec, 44, fragmentHeader(spec, data, start | (hasMore ? 1 : 0))),
    );
  }
  return fragments;
}

/** An Ethernet header in front of an IP packet, whose version gives the type. */
export function wrapEthernet(packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + packet.length);
  frame.set([0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01]);
  frame.set(packet[0]! >>> 4 === 4 ? [0x08, 0x00] : [0x86, 0xdd], 12);
  frame.set(packet, ETHERNET_BYTES);
  return frame;
}

/** Internet checksum (RFC 1071) of `bytes`, continuing from an unfolded `sum`. */
export function internetChecksum(bytes: Uint8Array, sum = 0): number {
  for (let index = 0; index < bytes.length; index += 2) sum += (bytes[index]! << 8) | (bytes[index + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

/** CRC-32C as SCTP uses it (RFC 9260, appendix A). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function buildIpv4(spec: FrameSpec): Uint8Array {
  return ipv4Packet(spec, buildTransport(spec), 0x4000);
}

function ipv4Packet(spec: FrameSpec, data: Uint8Array, flagsAndOffset: number): Uint8Array {
  const optionBytes = spec.ipOptionBytes ?? 0;
  const headerBytes = 20 + optionBytes;
  const packet = new Uint8Array(headerBytes + data.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x40 | (headerBytes >> 2));
  view.setUint16(2, packet.length);
  view.setUint16(4, spec.ipId ?? 0);
  view.setUint16(6, flagsAndOffset);
  view.setUint8(8, spec.ttl ?? 64);
  view.setUint8(9, spec.protocol);
  view.setInt32(12, spec.src as number);
  view.setInt32(16, spec.dst as number);
  packet.fill(1, 20, headerBytes);
  view.setUint16(10, internetChecksum(packet.subarray(0, headerBytes)));
  packet.set(data, headerBytes);
  return packet;
}

function buildIpv6(spec: FrameSpec): Uint8Array {
  let following = spec.protocol;
  let payload = buildTransport(spec);
  for (const header of [...(spec.extensionHeaders ?? [])].reverse()) {
    const bytes = new Uint8Array(header.bytes);
    bytes[0] = following;
    bytes[1] = header.protocol === PROTOCOL_AH ? header.bytes / 4 - 2 : header.bytes / 8 - 1;
    // The rest of an options header is one padding option (PadN); of the other headers it is zero.
    if (header.protocol === 0 || header.protocol === 60) bytes.set([1, (header.bytes - 4) & 0xff], 2);
    payload = concatBytes([bytes, payload]);
    following = header.protocol;
  }
  return ipv6Packet(spec, following, payload);
}

function ipv6Packet(spec: FrameSpec, nextHeader: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + payload.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, payload.length);
  view.setUint8(6, nextHeader);
  view.setUint8(7, spec.ttl ?? 64);
  packet.set(addressBytes(spec.src), 8);
  packet.set(addressBytes(spec.dst), 24);
  packet.set(payload, 40);
  return packet;
}

function fragmentHeader(spec: FrameSpec, data: Uint8Array, offsetAndMore: number): Uint8Array {
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  view.setUint8(0, spec.protocol);
  view.setUint16(2, offsetAndMore);
  view.setUint32(4, spec.ipId ?? 0);
  return concatBytes([header, data]);
}

/** Transport header, payload and checksum. */
function buildTransport(spec: FrameSpec): Uint8Array {
  const payload = spec.payload ?? new Uint8Array(0);
  switch (spec.protocol) {
    case PROTOCOL_TCP:
      return buildTcp(spec, payload);
    case 17:
    case 136:
      return buildUdp(spec, payload);
    case 1:
    case 58:
      return buildIcmp(spec, payload);
    case 132:
      return buildSctp(spec, payload);
    default:
      return payload;
  }
}

function buildTcp(spec: FrameSpec, payload: Uint8Array): Uint8Array {
  const headerBytes = 20 + (spec.tcpOptionBytes ?? 0);
  const segment = new Uint8Array(headerBytes + payload.length);
  const view = new DataView(segment.buffer);
  view.setUint16(0, spec.srcPort ?? 0);
  view.setUint16(2, spec.dstPort ?? 0);
  view.setUint32(4, spec.tcpSeq ?? 0);
  view.setUint32(8, spec.tcpAck ?? 0);
  view.setUint8(12, (headerBytes >> 2) << 4);
  view.setUint8(13, spec.tcpFlags ?? 0x02);
  view.setUint16(14, spec.tcpWindow ?? 64_240);
  segment.fill(1, 20, headerBytes);
  segment.set(payload, headerBytes);
  view.setUint16(16, internetChecksum(segment, pseudoHeaderSum(spec, segment.length)));
  return segment;
}

function buildUdp(spec: FrameSpec, payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  const view = new DataView(datagram.buffer);
  view.setUint16(0, spec.srcPort ?? 0);
  view.setUint16(2, spec.dstPort ?? 0);
  // In UDP-Lite the same place holds the checksum coverage; here it covers everything.
  view.setUint16(4, datagram.length);
  datagram.set(payload, 8);
  const checksum = internetChecksum(datagram, pseudoHeaderSum(spec, datagram.length));
  view.setUint16(6, checksum === 0 ? 0xffff : checksum);
  return datagram;
}

function buildIcmp(spec: FrameSpec, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(8 + payload.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, spec.icmpType ?? (spec.protocol === 1 ? 8 : 128));
  view.setUint8(1, spec.icmpCode ?? 0);
  view.setUint32(4, spec.icmpRest ?? 0);
  message.set(payload, 8);
  const isIpv4 = spec.protocol === 1;
  view.setUint16(2, internetChecksum(message, isIpv4 ? 0 : pseudoHeaderSum(spec, message.length)));
  return message;
}

/** An SCTP packet with one INIT chunk if no payload (chunks) is given. */
function buildSctp(spec: FrameSpec, payload: Uint8Array): Uint8Array {
  const chunks = payload.length > 0 ? payload : initChunk();
  const packet = new Uint8Array(12 + chunks.length);
  const view = new DataView(packet.buffer);
  view.setUint16(0, spec.srcPort ?? 0);
  view.setUint16(2, spec.dstPort ?? 0);
  packet.set(chunks, 12);
  view.setUint32(8, crc32c(packet), true);
  return packet;
}

function initChunk(): Uint8Array {
  const chunk = new Uint8Array(20);
  const view = new DataView(chunk.buffer);
  view.setUint8(0, 1);
  view.setUint16(2, 20);
  view.setUint32(4, 1);
  view.setUint32(8, 65_536);
  view.setUint16(12, 1);
  view.setUint16(14, 1);
  view.setUint32(16, 1);
  return chunk;
}

function pseudoHeaderSum(spec: FrameSpec, lengthBytes: number): number {
  let sum = spec.protocol + (lengthBytes & 0xffff) + Math.floor(lengthBytes / 65536);
  for (const address of [addressBytes(spec.src), addressBytes(spec.dst)]) {
    for (let index = 0; index < address.length; index += 2) sum += (address[index]! << 8) | address[index + 1]!;
  }
  return sum;
}

function addressBytes(address: SyntheticAddress): Uint8Array {
  const words = typeof address === 'number' ? [address] : address;
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  words.forEach((word, index) => {
    view.setInt32(index * 4, word);
  });
  return bytes;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
