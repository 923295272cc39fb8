/**
 * Finding the entry of a packet. Nothing here allocates or throws.
 */
import * as record from '../wire/record.ts';
import { bucketOf, removeEntry } from './entries.ts';
import { forgetUnanswered } from './flows.ts';
import * as keys from './key.ts';
import { endOf, finishHash, mixEnd, mixNode } from './key.ts';
import type { Conntrack } from './table.ts';
import * as table from './table.ts';

// Copies: Node 20 reads an imported constant anew at every use, which cost a quarter of the time of a lookup.
const PACKET_SRC_PORT = record.PACKET_SRC_PORT;
const PACKET_DST_PORT = record.PACKET_DST_PORT;
const PACKET_SRC = record.PACKET_SRC;
const PACKET_DST = record.PACKET_DST;
const FLAG_IPV6 = record.FLAG_IPV6;
const NO_ENTRY = table.NO_ENTRY;
const DIRECTION_ORIGINAL = table.DIRECTION_ORIGINAL;
const DIRECTION_REPLY = table.DIRECTION_REPLY;
const ENTRY_NEXT = table.ENTRY_NEXT;
const ENTRY_META = table.ENTRY_META;
const ENTRY_OWN = table.ENTRY_OWN;
const ENTRY_INVERSE = table.ENTRY_INVERSE;
const ENTRY_SRC = table.ENTRY_SRC;
const ENTRY_DST = table.ENTRY_DST;
const KEY_OWN = table.KEY_OWN;
const KEY_META = table.KEY_META;
const KEY_HASH = table.KEY_HASH;
const KEY_NODE_HASH = table.KEY_NODE_HASH;
const META_LIVE = table.META_LIVE;
const META_IPV6 = table.META_IPV6;
const PROTOCOL_FACTOR = keys.PROTOCOL_FACTOR;

/**
 * Entry of the packet whose key was written last, as `entry << 1 | direction`, or NO_ENTRY. An entry that is expired at
 * `timeMs` is freed and not found.
 */
export function findEntry(ct: Conntrack, records: Int32Array, at: number, timeMs: number): number {
  const key = ct.key;
  const bucket = bucketOf(ct, key[KEY_HASH]!, key[KEY_NODE_HASH]!);
  return findInBucket(ct, bucket, key[KEY_META]!, key[KEY_OWN]!, records, at, timeMs);
}

function findInBucket(
  ct: Conntrack,
  bucket: number,
  meta: number,
  own: number,
  records: Int32Array,
  at: number,
  timeMs: number,
): number {
  const words = ct.words;
  const src = records[at + PACKET_SRC]!;
  const dst = records[at + PACKET_DST]!;
  const isIpv6 = (meta & META_IPV6) !== 0;
  let entry = words[bucket]!;
  while (entry !== NO_ENTRY) {
    const base = entry << 5;
    if (words[base + ENTRY_META] === meta) {
      const direction = directionOf(words, base, own, src, dst, isIpv6, records, at);
      if (direction >= 0) {
        if (ct.times[base >> 5]! > timeMs) return (entry << 1) | direction;
        removeEntry(ct, entry);
        return NO_ENTRY;
      }
    }
    entry = words[base + ENTRY_NEXT]!;
  }
  return NO_ENTRY;
}

/**
 * `packetKey` and `findEntry` in one for TCP and UDP, the packets that come by the million: the key stays in registers.
 * `ct.key` is not written. Gained 9 ns of 83 a packet. The caller may move what is found, so lines of the flow go (flows.ts).
 */
export function findPorts(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  protocol: number,
  flags: number,
  timeMs: number,
): number {
  const words = ct.words;
  const own = (records[at + PACKET_SRC_PORT]! << 16) | records[at + PACKET_DST_PORT]!;
  const inverse = (own << 16) | (own >>> 16);
  const src = records[at + PACKET_SRC]!;
  const dst = records[at + PACKET_DST]!;
  const isIpv6 = (flags & FLAG_IPV6) !== 0;
  if (isIpv6) return findPortsIpv6(ct, node, records, at, protocol, timeMs);
  const hash = finishHash(mixEnd(src, own) + mixEnd(dst, inverse) + Math.imul(protocol, PROTOCOL_FACTOR));
  forgetUnanswered(ct, hash, false, src, dst);
  const meta = META_LIVE | (node << 9) | protocol;
  let entry = words[bucketOf(ct, hash, mixNode(hash, node))]!;
  while (entry !== NO_ENTRY) {
    const base = entry << 5;
    if (words[base + ENTRY_META] === meta) {
      const first = words[base + ENTRY_SRC]!;
      const second = words[base + ENTRY_DST]!;
      let direction = -1;
      if (first === src && second === dst && words[base + ENTRY_OWN] === own) direction = DIRECTION_ORIGINAL;
      else if (first === dst && second === src && words[base + ENTRY_INVERSE] === own) direction = DIRECTION_REPLY;
      if (direction >= 0) {
        if (ct.times[base >> 5]! > timeMs) return (entry << 1) | direction;
        removeEntry(ct, entry);
        return NO_ENTRY;
      }
    }
    entry = words[base + ENTRY_NEXT]!;
  }
  return NO_ENTRY;
}

function findPortsIpv6(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  protocol: number,
  timeMs: number,
): number {
  const own = (records[at + PACKET_SRC_PORT]! << 16) | records[at + PACKET_DST_PORT]!;
  const inverse = (own << 16) | (own >>> 16);
  const src = endOf(true, records, at + PACKET_SRC);
  const dst = endOf(true, records, at + PACKET_DST);
  const hash = finishHash(mixEnd(src, own) + mixEnd(dst, inverse) + Math.imul(protocol, PROTOCOL_FACTOR));
  forgetUnanswered(ct, hash, true, src, dst);
  const meta = META_LIVE | (node << 9) | META_IPV6 | protocol;
  return findInBucket(ct, bucketOf(ct, hash, mixNode(hash, node)), meta, own, records, at, timeMs);
}

/** Direction of a packet whose protocol and node are those of the entry, or -1 if it is not of the entry. */
function directionOf(
  words: Int32Array,
  base: number,
  own: number,
  src: number,
  dst: number,
  isIpv6: boolean,
  records: Int32Array,
  at: number,
): number {
  const first = words[base + ENTRY_SRC]!;
  const second = words[base + ENTRY_DST]!;
  const isOriginal = words[base + ENTRY_OWN] === own && first === src && second === dst;
  if (!isOriginal && !(words[base + ENTRY_INVERSE] === own && first === dst && second === src)) return -1;
  if (isIpv6) return directionIpv6(words, base, records, at, own);
  return isOriginal ? DIRECTION_ORIGINAL : DIRECTION_REPLY;
}

/** Direction by the whole addresses, or -1: the first words may fit both ways where the rest fits one. */
function directionIpv6(words: Int32Array, base: number, records: Int32Array, at: number, own: number): number {
  if (
    words[base + ENTRY_OWN] === own &&
    sameAddress(words, base + ENTRY_SRC, records, at + PACKET_SRC) &&
    sameAddress(words, base + ENTRY_DST, records, at + PACKET_DST)
  ) {
    return DIRECTION_ORIGINAL;
  }
  if (
    words[base + ENTRY_INVERSE] === own &&
    sameAddress(words, base + ENTRY_SRC, records, at + PACKET_DST) &&
    sameAddress(words, base + ENTRY_DST, records, at + PACKET_SRC)
  ) {
    return DIRECTION_REPLY;
  }
  return -1;
}

function sameAddress(words: Int32Array, first: number, records: Int32Array, second: number): boolean {
  return (
    words[first] === records[second] &&
    words[first + 1] === records[second + 1] &&
    words[first + 2] === records[second + 2] &&
    words[first + 3] === records[second + 3]
  );
}
