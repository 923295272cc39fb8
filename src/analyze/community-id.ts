/**
 * Community ID v1: one text for a flow, the same for both directions and across tools (Zeek, Suricata, Wireshark).
 *
 * base64(SHA-1(seed 0 · lower address · higher address · protocol · 0 · ports)), where an ICMP type stands for the port and its counter
 * type for the other one if it has one. Source: the Community ID specification by Corelight.
 */
import { createHash } from 'node:crypto';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../model/flow.ts';
import {
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
} from '../wire/record.ts';

/** ICMP types that answer each other, both ways. */
const ICMP_PAIRS: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [0, 8],
  [13, 14],
  [14, 13],
  [15, 16],
  [16, 15],
  [17, 18],
  [18, 17],
  [10, 9],
  [9, 10],
]);
const ICMPV6_PAIRS: ReadonlyMap<number, number> = new Map([
  [128, 129],
  [129, 128],
  [130, 131],
  [131, 130],
  [133, 134],
  [134, 133],
  [135, 136],
  [136, 135],
  [139, 140],
  [140, 139],
  [144, 145],
  [145, 144],
]);

/** The ID of the packet record at `at`. */
export function communityId(records: Int32Array, at: number): string {
  const words = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 4 : 1;
  const protocol = records[at + PACKET_PROTOCOL]!;
  let first = records[at + PACKET_SRC_PORT]!;
  let second = records[at + PACKET_DST_PORT]!;
  const hasPorts = (records[at + PACKET_FLAGS]! & FLAG_L4_PORTS) !== 0;
  let isOneWay = false;
  if (hasPorts && (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6)) {
    const counterpart = (protocol === PROTOCOL_ICMP ? ICMP_PAIRS : ICMPV6_PAIRS).get(first);
    isOneWay = counterpart === undefined;
    second = counterpart ?? second;
  }
  const order = compareAddresses(records, at + PACKET_SRC, at + PACKET_DST, words);
  const swap = !isOneWay && (order > 0 || (order === 0 && first > second));
  if (swap) [first, second] = [second, first];
  // One call of the hash: it costs more than what it hashes.
  let length = 2;
  length = putAddress(records, at + (swap ? PACKET_DST : PACKET_SRC), words, length);
  length = putAddress(records, at + (swap ? PACKET_SRC : PACKET_DST), words, length);
  scratchView.setUint16(length, protocol << 8);
  length += 2;
  if (hasPorts) {
    scratchView.setUint16(length, first);
    scratchView.setUint16(length + 2, second);
    length += 4;
  }
  return `1:${createHash('sha1').update(scratch.subarray(0, length)).digest('base64')}`;
}

/** Seed 0, two addresses of 16 bytes, protocol and padding, two ports. */
const scratch = new Uint8Array(2 + 32 + 2 + 4);
const scratchView = new DataView(scratch.buffer);

function putAddress(records: Int32Array, at: number, words: number, length: number): number {
  for (let w = 0; w < words; w++) scratchView.setInt32(length + 4 * w, records[at + w]!);
  return length + 4 * words;
}

/** As texts of bytes. */
function compareAddresses(records: Int32Array, a: number, b: number, words: number): number {
  for (let w = 0; w < words; w++) {
    const difference = (records[a + w]! >>> 0) - (records[b + w]! >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
