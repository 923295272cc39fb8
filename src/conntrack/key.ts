/**
 * Keys and hashes of packets and entries: table.ts explains them. Nothing here allocates or throws.
 */
import { foldAddress } from '../base/ip.ts';
import * as record from '../wire/record.ts';
import * as table from './table.ts';

// Copies: Node 20 reads an imported constant anew at every use, which cost a quarter of the time of a lookup.
const PACKET_FLAGS = record.PACKET_FLAGS;
const PACKET_PROTOCOL = record.PACKET_PROTOCOL;
const PACKET_SRC_PORT = record.PACKET_SRC_PORT;
const PACKET_ICMP_TYPE = record.PACKET_ICMP_TYPE;
const PACKET_DST_PORT = record.PACKET_DST_PORT;
const PACKET_ICMP_CODE = record.PACKET_ICMP_CODE;
const PACKET_SRC = record.PACKET_SRC;
const PACKET_DST = record.PACKET_DST;
const PACKET_TRANSPORT_OFFSET = record.PACKET_TRANSPORT_OFFSET;
const PACKET_TRANSPORT_BYTES = record.PACKET_TRANSPORT_BYTES;
const PACKET_TRANSPORT_CAPTURED_BYTES = record.PACKET_TRANSPORT_CAPTURED_BYTES;
const PACKET_ICMP_ID = record.PACKET_ICMP_ID;
const FLAG_IPV6 = record.FLAG_IPV6;
const FLAG_L4_PORTS = record.FLAG_L4_PORTS;
const ENTRY_META = table.ENTRY_META;
const ENTRY_OWN = table.ENTRY_OWN;
const ENTRY_INVERSE = table.ENTRY_INVERSE;
const ENTRY_SRC = table.ENTRY_SRC;
const ENTRY_DST = table.ENTRY_DST;
const KEY_OWN = table.KEY_OWN;
const KEY_INVERSE = table.KEY_INVERSE;
const KEY_META = table.KEY_META;
const KEY_HASH = table.KEY_HASH;
const KEY_NODE_HASH = table.KEY_NODE_HASH;
const META_LIVE = table.META_LIVE;
const META_IPV6 = table.META_IPV6;

/** Ethernet type of PPP in enhanced GRE. */
const GRE_PROTOCOL_PPP = 0x880b;
/** Odd, so that protocols spread. */
export const PROTOCOL_FACTOR = 0x27d4eb2f;

/**
 * Hash of the packet's flow, on whichever node: its top six bits are the shard, which divides packets among workers. Both
 * directions of a flow have the same; for an ICMP error pass the record of the packet it quotes.
 *
 * Packets that share an entry, or a connection of a replay (analyze/connections.ts), have equal hashes: so ICMP goes by what
 * question and answer have in common, not by its code, and GRE by its addresses.
 */
export function flowHash(records: Int32Array, at: number): number {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const flags = records[at + PACKET_FLAGS]!;
  const hasPorts = (flags & FLAG_L4_PORTS) !== 0;
  let own = 0;
  let inverse = 0;
  if (protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136) {
    if (hasPorts) {
      own = (records[at + PACKET_SRC_PORT]! << 16) | records[at + PACKET_DST_PORT]!;
      inverse = (own << 16) | (own >>> 16);
    }
  } else if (protocol === 1 || protocol === 58) {
    const type = hasPorts ? records[at + PACKET_ICMP_TYPE]! : 0;
    own = ((hasPorts ? records[at + PACKET_ICMP_ID]! : 0) << 16) | icmpPair(protocol, type);
    inverse = own;
  }
  const isIpv6 = (flags & FLAG_IPV6) !== 0;
  const src = endOf(isIpv6, records, at + PACKET_SRC);
  const dst = endOf(isIpv6, records, at + PACKET_DST);
  return hashEnds(src, own, dst, inverse, protocol);
}

/**
 * The same of a packet with ports; `own` is `source port << 16 | destination port`.
 *
 * @param src, dst  addresses as `endOf` has them
 */
export function flowHashPorts(src: number, dst: number, own: number, protocol: number): number {
  return hashEnds(src, own, dst, (own << 16) | (own >>> 16), protocol);
}

/** One number for an ICMP question and its answer; the type itself for other messages. */
export function icmpPair(protocol: number, type: number): number {
  if (protocol === 1) {
    if (type === 0) return 8;
    return type === 14 || type === 16 || type === 18 ? type - 1 : type;
  }
  return type === 129 ? 128 : type === 140 ? 139 : type;
}

function hashEnds(src: number, own: number, dst: number, inverse: number, protocol: number): number {
  return finishHash(mixEnd(src, own) + mixEnd(dst, inverse) + Math.imul(protocol, PROTOCOL_FACTOR));
}

/** Writes the key of the packet; false if no tuple can be formed or inverted, which the kernel calls INVALID. */
export function packetKey(key: Int32Array, node: number, records: Int32Array, at: number, view: DataView): boolean {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const isIpv6 = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0;
  let own = 0;
  let inverse = 0;
  // What the hash sees of the tuple words: less than they are where a connection of a replay is wider than an entry.
  let hashOwn = 0;
  let hashInverse = 0;
  if (protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136) {
    const srcPort = records[at + PACKET_SRC_PORT]!;
    const dstPort = records[at + PACKET_DST_PORT]!;
    own = (srcPort << 16) | dstPort;
    inverse = (dstPort << 16) | srcPort;
    hashOwn = own;
    hashInverse = inverse;
  } else if (protocol === 1 || protocol === 58) {
    const type = records[at + PACKET_ICMP_TYPE]!;
    const inverseType = (protocol === 58) === isIpv6 ? inverseIcmpType(protocol, type) : -1;
    if (inverseType < 0) return false;
    const rest = (records[at + PACKET_ICMP_ID]! << 16) | records[at + PACKET_ICMP_CODE]!;
    own = rest | (type << 8);
    inverse = rest | (inverseType << 8);
    hashOwn = (rest & ~0xffff) | icmpPair(protocol, type);
    hashInverse = hashOwn;
  } else if (protocol === 47) {
    own = greCallId(records, at, view);
    if (own < 0) return false;
    inverse = own << 16;
  }
  const src = endOf(isIpv6, records, at + PACKET_SRC);
  const dst = endOf(isIpv6, records, at + PACKET_DST);
  const hash = hashEnds(src, hashOwn, dst, hashInverse, protocol);
  key[KEY_OWN] = own;
  key[KEY_INVERSE] = inverse;
  key[KEY_META] = META_LIVE | (node << 9) | (isIpv6 ? META_IPV6 : 0) | protocol;
  key[KEY_HASH] = hash;
  key[KEY_NODE_HASH] = mixNode(hash, node);
  return true;
}

/** Type of the answer to a question, of the question to an answer; -1 for any other message. */
function inverseIcmpType(protocol: number, type: number): number {
  if (protocol === 1) {
    if (type === 8) return 0;
    if (type === 0) return 8;
    if (type >= 13 && type <= 18) return type & 1 ? type + 1 : type - 1;
    return -1;
  }
  // Echo 128 and 129, node information 139 and 140.
  if (type === 128 || type === 139) return type + 1;
  return type === 129 || type === 140 ? type - 1 : -1;
}

/**
 * Call ID of enhanced GRE (version 1, RFC 2637), which Linux keys PPTP's data channel by; 0 for plain GRE, -1 if enhanced
 * GRE carries anything but PPP. Each direction has its own call ID, which only PPTP's control channel relates to the other:
 * without a PPTP helper they are two connections.
 */
function greCallId(records: Int32Array, at: number, view: DataView): number {
  if (records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < 8 || records[at + PACKET_TRANSPORT_BYTES]! < 8) return 0;
  const offset = records[at + PACKET_TRANSPORT_OFFSET]!;
  if ((view.getUint8(offset + 1) & 7) !== 1) return 0;
  return view.getUint16(offset + 2) === GRE_PROTOCOL_PPP ? view.getUint16(offset + 6) : -1;
}

/** An address as hashes see it: IPv4 itself, IPv6 folded to a word. */
export function endOf(isIpv6: boolean, words: Int32Array, at: number): number {
  return isIpv6 ? foldAddress(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) : words[at]!;
}

export function mixEnd(address: number, tuple: number): number {
  const h = Math.imul(address ^ Math.imul(tuple, 0x9e3779b1), 0x85ebca6b);
  return Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
}

/** The hash on one node: chooses the bucket inside the shard. */
export function mixNode(hash: number, node: number): number {
  return Math.imul(hash ^ Math.imul(node, 0x632be5ab), 0x9e3779b1);
}

export function finishHash(sum: number): number {
  const h = Math.imul(sum ^ (sum >>> 16), 0x7feb352d);
  return h ^ (h >>> 15);
}

/** The hash of an entry, as `packetKey` had it for its packets: without the node, or with it. */
export function entryHash(words: Int32Array, base: number, withNode: boolean): number {
  const meta = words[base + ENTRY_META]!;
  const isIpv6 = (meta & META_IPV6) !== 0;
  const src = endOf(isIpv6, words, base + ENTRY_SRC);
  const dst = endOf(isIpv6, words, base + ENTRY_DST);
  const protocol = meta & 0xff;
  let own = words[base + ENTRY_OWN]!;
  let inverse = words[base + ENTRY_INVERSE]!;
  if (protocol === 1 || protocol === 58) {
    own = (own & ~0xffff) | icmpPair(protocol, (own >>> 8) & 0xff);
    inverse = own;
  } else if (protocol === 47) {
    own = 0;
    inverse = 0;
  }
  const hash = hashEnds(src, own, dst, inverse, protocol);
  if (!withNode) return hash;
  const node = (meta & ~META_LIVE) >>> 9;
  return mixNode(hash, node);
}
