/**
 * What the place of capture adds to the addresses (semantics 6.4, 10.13; design, `--capture-point`).
 *
 * `unknown`: nothing; packets are judged by address alone. `host`: see path.ts, isSourceMasked. `veth`: the capture was taken
 * on the host's side of pods' interfaces, before Calico's hooks for what leaves a pod, behind them for what goes to one. There
 * the interface says who sends, and a foreign source is dropped before anything else, known connection or not:
 *
 * - Who: an interface that the capture names (pcapng) is a pod's if it is `cali` and 11 digits of SHA-1 of `namespace.pod`
 *   (analyze/interfaces.ts). Named like that but no pod's: Felix does not know it and drops everything (corner case 107). Any other
 *   name is no pod's interface, and its packets are judged by address alone.
 * - Which way: what the capture says (direction in pcapng's packet flags, packet type of Linux cooked captures); else a
 *   packet to an address of the interface's pod goes to it. Where the pod is not known either, a packet goes to a pod if a pod
 *   owns its destination, and has left one otherwise.
 * - What is foreign: for a packet that left a pod, a source that is none of its addresses, of its allowed prefixes and floating
 *   addresses (while the settings allow them), and not IPv6 link-local. Where the pod is not known, it is enough that any pod may
 *   use the source. The unspecified address is not foreign: DHCP and duplicate address detection use it.
 *
 * A pod that is known replaces what its address would say: an address that two pods claim is then no riddle, and a source
 * from an allowed prefix is judged by the egress policy of the pod that uses it.
 */
import * as layout from '../tables/layout.ts';
import { type Tables, templateOf } from '../tables/tables.ts';
import { FLAG_IPV6, PACKET_DST, PACKET_FLAGS, PACKET_SRC } from '../wire/record.ts';
import { claimPod, findOwner } from './lookup.ts';
import { INTERFACE_NO_POD, INTERFACE_OTHER, INTERFACE_UNKNOWN, type Judge, PACKET_IN, PACKET_OUT } from './state.ts';

const ENDPOINT_WORDS = layout.ENDPOINT_SIZE;
const TEMPLATE_WORDS = layout.TEMPLATE_SIZE;
const PREFIX_WORDS = layout.PREFIX_SIZE;

/** By address alone. */
export const SENDER_BY_ADDRESS = 0;
/** The packet left `judge.atInterface`, or goes to it. */
export const SENDER_IS_POD = 1;
export const RECEIVER_IS_POD = 2;
/** Dropped as spoofed, leaving a pod or on the way to one. */
export const SENDER_IS_FOREIGN = 3;
export const RECEIVER_IS_FOREIGN = 4;

/** What a packet seen at a veth is: SENDER_* or RECEIVER_*. */
export function placeAtVeth(judge: Judge, records: Int32Array, at: number): number {
  const { atInterface, atDirection, tables } = judge;
  if (atInterface === INTERFACE_OTHER) return SENDER_BY_ADDRESS;
  if (atInterface === INTERFACE_NO_POD) return atDirection === PACKET_OUT ? RECEIVER_IS_FOREIGN : SENDER_IS_FOREIGN;
  const version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
  if (atInterface === INTERFACE_UNKNOWN) {
    const isToPod = atDirection === PACKET_OUT || (atDirection !== PACKET_IN && ownsPod(tables, version, records, at));
    if (isToPod || maySomePodSend(tables, version, records, at)) return SENDER_BY_ADDRESS;
    return SENDER_IS_FOREIGN;
  }
  const isToPod =
    atDirection === PACKET_OUT ||
    (atDirection !== PACKET_IN && owns(tables, atInterface, version, records, at + PACKET_DST));
  if (isToPod)
    return owns(tables, atInterface, version, records, at + PACKET_DST) ? RECEIVER_IS_POD : SENDER_BY_ADDRESS;
  const mayUse =
    owns(tables, atInterface, version, records, at + PACKET_SRC) ||
    mayAlsoSend(tables, atInterface, version, records, at);
  return mayUse || isLocal(version, records, at + PACKET_SRC) ? SENDER_IS_POD : SENDER_IS_FOREIGN;
}

/** A pod owns the destination. */
function ownsPod(tables: Tables, version: number, records: Int32Array, at: number): boolean {
  return claimPod(tables, ownerOf(tables, version, records, at + PACKET_DST), 0) !== layout.NONE;
}

function maySomePodSend(tables: Tables, version: number, records: Int32Array, at: number): boolean {
  if (isLocal(version, records, at + PACKET_SRC)) return true;
  if (claimPod(tables, ownerOf(tables, version, records, at + PACKET_SRC), 0) !== layout.NONE) return true;
  // Off the common way: few pods have allowed prefixes, and few packets come so far.
  const { endpoints } = tables;
  for (let endpoint = 0; endpoint * ENDPOINT_WORDS < endpoints.length; endpoint++) {
    if (mayAlsoSend(tables, endpoint, version, records, at)) return true;
  }
  return false;
}

function ownerOf(tables: Tables, version: number, words: Int32Array, at: number): number {
  return findOwner(tables, version, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

function owns(tables: Tables, endpoint: number, version: number, words: Int32Array, at: number): boolean {
  return isInPrefixes(
    tables,
    tables.endpoints,
    endpoint * ENDPOINT_WORDS + layout.ENDPOINT_ADDRESSES,
    version,
    words,
    at,
  );
}

function mayAlsoSend(tables: Tables, endpoint: number, version: number, records: Int32Array, at: number): boolean {
  const list = templateOf(tables, endpoint) * TEMPLATE_WORDS + layout.TEMPLATE_ALLOWED_SOURCES;
  return isInPrefixes(tables, tables.templates, list, version, records, at + PACKET_SRC);
}

/** Whether the address whose words start at `words[at]` is in a prefix of the list that `lists[list]` and the word behind it name. */
function isInPrefixes(
  { prefixes }: Tables,
  lists: Int32Array,
  list: number,
  version: number,
  words: Int32Array,
  at: number,
): boolean {
  const start = lists[list]!;
  const count = lists[list + 1]!;
  for (let prefix = start * PREFIX_WORDS; prefix < (start + count) * PREFIX_WORDS; prefix += PREFIX_WORDS) {
    const form = prefixes[prefix]!;
    if (form >> 8 !== version) continue;
    let word = 0;
    let left = form & 255;
    for (; left > 0; word++, left -= 32) {
      const mask = left >= 32 ? -1 : -1 << (32 - left);
      if (((words[at + word]! ^ prefixes[prefix + layout.PREFIX_WORDS + word]!) & mask) !== 0) break;
    }
    if (left <= 0) return true;
  }
  return false;
}

/** IPv6 link-local, or the unspecified address. */
function isLocal(version: number, words: Int32Array, at: number): boolean {
  const first = words[at]!;
  if (version === 4) return first === 0;
  if ((first & 0xffc00000) === (0xfe800000 | 0)) return true;
  return first === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
}
