/**
 * A reader of the conformance captures for the tests of the reference: pcap, little-endian, raw IP, well-formed packets.
 *
 * It is deliberately not the program's own decoder, so that the reference and its tests share nothing with the packet path.
 */
import { formatIpv4, formatIpv6 } from '../../src/base/ip.ts';
import type { TrackerPacket, TrackerTuple } from '../../src/reference/conntrack.ts';

/** A whole datagram and the numbers (from 1) of the packets that carried it; fragments are judged when the last one came. */
export interface Datagram {
  readonly packet: TrackerPacket;
  readonly numbers: readonly number[];
}

export function readCapture(bytes: Buffer): Datagram[] {
  const datagrams: Datagram[] = [];
  const incomplete = new Map<string, Fragments>();
  let offset = 24;
  for (let number = 1; offset < bytes.length; number++) {
    const seconds = bytes.readUInt32LE(offset);
    const timeMs = seconds * 1000 + bytes.readUInt32LE(offset + 4) / 1000;
    const length = bytes.readUInt32LE(offset + 8);
    const ip = readIp(bytes.subarray(offset + 16, offset + 16 + length));
    offset += 16 + length;
    if (ip.fragment === undefined) {
      datagrams.push({ packet: { timeMs, ...transport(ip, ip.payload) }, numbers: [number] });
      continue;
    }
    const key = `${ip.src} ${ip.dst} ${ip.protocol} ${ip.fragment.id}`;
    const fragments = incomplete.get(key) ?? { parts: [], numbers: [], lengthBytes: undefined };
    incomplete.set(key, fragments);
    fragments.parts.push({ at: ip.fragment.offsetBytes, payload: ip.payload });
    fragments.numbers.push(number);
    if (!ip.fragment.hasMore) fragments.lengthBytes = ip.fragment.offsetBytes + ip.payload.length;
    const whole = assemble(fragments);
    if (whole === undefined) continue;
    incomplete.delete(key);
    datagrams.push({ packet: { timeMs, ...transport(ip, whole) }, numbers: fragments.numbers });
  }
  if (incomplete.size > 0) throw new Error('the capture has datagrams that never became whole');
  return datagrams;
}

/** One whole datagram, from its IP header on; `undefined` if its transport header contradicts itself. */
export function readPacket(bytes: Buffer, timeMs: number): TrackerPacket | undefined {
  const ip = readIp(bytes);
  if (isMalformed(ip)) return undefined;
  return { timeMs, ...transport(ip, ip.payload) };
}

function isMalformed({ protocol, payload }: Ip): boolean {
  const length = payload.length;
  if (protocol === 6) return length < 20 || payload[12]! >> 4 < 5 || (payload[12]! >> 4) * 4 > length;
  if (protocol === 17) return length < 8 || payload.readUInt16BE(4) < 8 || payload.readUInt16BE(4) > length;
  if (protocol === 1 || protocol === 58) return length < 8;
  if (protocol !== 136) return false;
  // UDP-Lite has a coverage there (0 = all), and always a checksum.
  const coverage = length < 8 ? 1 : payload.readUInt16BE(4);
  return (coverage !== 0 && coverage < 8) || coverage > length || payload.readUInt16BE(6) === 0;
}

interface Fragments {
  readonly parts: { readonly at: number; readonly payload: Buffer }[];
  readonly numbers: number[];
  lengthBytes: number | undefined;
}

function assemble({ parts, lengthBytes }: Fragments): Buffer | undefined {
  const sorted = [...parts].sort((a, b) => a.at - b.at);
  const whole = Buffer.concat(sorted.map((part) => part.payload));
  return whole.length === lengthBytes ? whole : undefined;
}

interface Ip {
  readonly src: string;
  readonly dst: string;
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly payload: Buffer;
  readonly fragment: { readonly id: number; readonly offsetBytes: number; readonly hasMore: boolean } | undefined;
}

/** `isQuoted`: the lengths in the header are those of a packet of which only the beginning is here. */
function readIp(data: Buffer, isQuoted = false): Ip {
  if (data[0]! >> 4 === 4) {
    const header = (data[0]! & 15) * 4;
    const word = data.readUInt16BE(6);
    const isFragment = (word & 0x3fff) !== 0;
    const fragment = { id: data.readUInt16BE(4), offsetBytes: (word & 0x1fff) * 8, hasMore: (word & 0x2000) !== 0 };
    return {
      src: formatIpv4(data.readInt32BE(12)),
      dst: formatIpv4(data.readInt32BE(16)),
      version: 4,
      protocol: data[9]!,
      payload: data.subarray(header, isQuoted ? data.length : data.readUInt16BE(2)),
      fragment: isFragment ? fragment : undefined,
    };
  }
  const address = (at: number): string =>
    formatIpv6(data.readInt32BE(at), data.readInt32BE(at + 4), data.readInt32BE(at + 8), data.readInt32BE(at + 12));
  const isFragment = data[6] === 44;
  const word = isFragment ? data.readUInt16BE(42) : 0;
  const fragment = {
    id: isFragment ? data.readUInt32BE(44) : 0,
    offsetBytes: word & 0xfff8,
    hasMore: (word & 1) !== 0,
  };
  return {
    src: address(8),
    dst: address(24),
    version: 6,
    protocol: isFragment ? data[40]! : data[6]!,
    payload: data.subarray(isFragment ? 48 : 40, isQuoted ? data.length : 40 + data.readUInt16BE(4)),
    fragment: isFragment ? fragment : undefined,
  };
}

function transport(ip: Ip, payload: Buffer): Omit<TrackerPacket, 'timeMs'> {
  const tuple = tupleIn(ip, payload);
  if (ip.protocol === 6) {
    const header = (payload[12]! >> 4) * 4;
    return {
      ...tuple,
      seq: payload.readUInt32BE(4),
      ack: payload.readUInt32BE(8),
      tcpFlags: payload[13]!,
      window: payload.readUInt16BE(14),
      payloadLengthBytes: payload.length - header,
      ...tcpOptions(payload.subarray(20, header)),
    };
  }
  const isError =
    (ip.protocol === 1 && [3, 4, 5, 11, 12].includes(payload[0]!)) || (ip.protocol === 58 && payload[0]! < 128);
  if (!isError) return tuple;
  const quoted = quotedIn(payload.subarray(8));
  return { ...tuple, ...(quoted && { quoted }) };
}

/** `undefined` if too little of the quoted packet is there, or none of its first fragment. */
function quotedIn(data: Buffer): TrackerTuple | undefined {
  try {
    const inner = readIp(data, true);
    if (inner.fragment !== undefined && inner.fragment.offsetBytes > 0) return undefined;
    return tupleIn(inner, inner.payload);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function tupleIn({ src, dst, protocol }: Ip, payload: Buffer): TrackerTuple {
  if ([6, 17, 132, 136].includes(protocol)) {
    return { src, dst, protocol, srcPort: payload.readUInt16BE(0), dstPort: payload.readUInt16BE(2) };
  }
  if (protocol !== 1 && protocol !== 58) return { src, dst, protocol };
  return { src, dst, protocol, icmpType: payload[0]!, icmpCode: payload[1]!, icmpId: payload.readUInt16BE(4) };
}

function tcpOptions(options: Buffer): Pick<TrackerPacket, 'windowScale' | 'permitsSack' | 'sack'> {
  const found: { windowScale?: number; permitsSack?: boolean; sack?: number } = {};
  for (let at = 0; at < options.length && options[at] !== 0; ) {
    if (options[at] === 1) {
      at++;
      continue;
    }
    const length = Math.max(options[at + 1] ?? 2, 2);
    if (options[at] === 3) found.windowScale = Math.min(options[at + 2]!, 14);
    if (options[at] === 4) found.permitsSack = true;
    if (options[at] === 5) {
      for (let edge = at + 6; edge + 4 <= Math.min(at + length, options.length); edge += 8) {
        const right = options.readUInt32BE(edge);
        if (found.sack === undefined || ((right - found.sack) | 0) > 0) found.sack = right;
      }
    }
    at += length;
  }
  return found;
}
