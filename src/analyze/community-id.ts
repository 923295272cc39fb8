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
  const src = addressBytes(records, at + PACKET_SRC, words);
  const dst = addressBytes(records, at + PACKET_DST, words);
  const order = Buffer.compare(src, dst);
  const swap = !isOneWay && (order > 0 || (order === 0 && first > second));
  if (swap) [first, second] = [second, first];
  const hash = createHash('sha1');
  hash.update(Buffer.from([0, 0]));
  hash.update(swap ? dst : src);
  hash.update(swap ? src : dst);
  hash.update(Buffer.from([protocol, 0]));
  if (hasPorts) hash.update(Buffer.from([first >> 8, first & 255, second >> 8, second & 255]));
  return `1:${hash.digest('base64')}`;
}

function addressBytes(records: Int32Array, at: number, words: number): Buffer {
  const bytes = Buffer.alloc(words * 4);
  for (let w = 0; w < words; w++) bytes.writeInt32BE(records[at + w]!, w * 4);
  return bytes;
}
