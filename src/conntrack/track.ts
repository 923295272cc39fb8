/**
 * Connection state of one packet on one node, as the Linux kernel of that node would have it.
 *
 * Problem. Calico's chains accept RELATED and ESTABLISHED packets, drop INVALID ones, and ask the policy about NEW and
 * UNTRACKED ones. Which of these a packet is depends on the packets that this node has *accepted* before, and on time.
 *
 * Idea. `trackPacket` looks the packet up in both directions (table.ts) and lets its protocol move the entry: tcp.ts,
 * sctp.ts, and here the simple ones. A reply is ESTABLISHED; the original direction is ESTABLISHED once a reply was seen
 * and NEW before that, so that unanswered questions and repeated SYNs are judged again. A packet without an entry is NEW
 * if its protocol lets it open one, else INVALID. It leaves no trace until the node's checks have accepted it:
 * `confirmPacket`, to be called then, makes the entry; for a dropped packet nothing is called. An ICMP error belongs to
 * the connection of the packet that it quotes: `trackError`.
 *
 *     for each node that the packet crosses, source's first:
 *       state = isIcmpError(...) ? trackError(ct, node, ..., quoted, ...) : trackPacket(ct, node, ...)
 *       verdict of that node's checks for this state (INVALID: drop; NEW, UNTRACKED: policy; else accept)
 *       if denied: stop
 *       if state is CT_NEW: confirmPacket(ct, node, ...)
 *
 * Worked example. Pod a on node 1 asks pod b on node 2 over UDP. Node 1: no entry, NEW, policy allows, confirmed. Node 2:
 * no entry, NEW, policy denies: no entry. The datagram again, after 10 s: node 1 has an entry that nobody answered, so NEW
 * again, policy again. Now b, in spite of everything, sends from the port that a had asked: node 2 has no entry, so NEW,
 * and suppose b's egress policy allows it: confirmed on node 2. Node 1: the reply of its entry, so ESTABLISHED, and
 * accepted without a look at a's ingress policy. That is why state is kept by node.
 *
 * Time is the packets' own. An entry is dead from the moment it expires, whether or not a sweep has freed it; a packet
 * whose clock runs backwards is judged by its own time, and gives the entry its time-out from then on.
 *
 * Differs: Linux counts a UDP flow as a stream (120 s) only when it is still answered two seconds after its start; here
 * the first answer is enough (semantics 6.7). Checksums are not examined: captures of the sending host hold wrong ones.
 *
 * Source: Linux 6.18 net/netfilter/nf_conntrack_core.c (`nf_conntrack_in`, `resolve_normal_ct`, `__nf_conntrack_confirm`),
 * nf_conntrack_proto_icmp.c, _icmpv6.c, _udp.c, _gre.c, _generic.c; semantics 6.7.
 */
import * as record from '../wire/record.ts';
import { forgetEntry, insertEntry, removeEntry, scratchEntry } from './entries.ts';
import { entryHash, packetKey } from './key.ts';
import { findEntry, findPorts } from './lookup.ts';
import { sctpIsReadable, sctpPacket } from './sctp.ts';
import type { Conntrack } from './table.ts';
import * as table from './table.ts';
import { TCP_ACCEPT, TCP_INVALID, TCP_REOPEN, tcpFlagsAreValid, tcpMayOpen, tcpOpen, tcpPacket } from './tcp.ts';
import { fastAck } from './tcp-fast.ts';
import { TCP_STATE_ESTABLISHED } from './tcp-layout.ts';

// Copies: Node 20 reads an imported constant anew at every use.
const PACKET_STATUS = record.PACKET_STATUS;
const PACKET_FLAGS = record.PACKET_FLAGS;
const PACKET_PROTOCOL = record.PACKET_PROTOCOL;
const PACKET_ICMP_TYPE = record.PACKET_ICMP_TYPE;
const PACKET_SRC = record.PACKET_SRC;
const PACKET_DST = record.PACKET_DST;
const PACKET_TCP_FLAGS = record.PACKET_TCP_FLAGS;
const PACKET_FRAGMENT_OFFSET_BYTES = record.PACKET_FRAGMENT_OFFSET_BYTES;
const PACKET_TRANSPORT_OFFSET = record.PACKET_TRANSPORT_OFFSET;
const PACKET_TRANSPORT_BYTES = record.PACKET_TRANSPORT_BYTES;
const PACKET_TRANSPORT_CAPTURED_BYTES = record.PACKET_TRANSPORT_CAPTURED_BYTES;
const FLAG_IPV6 = record.FLAG_IPV6;
const FLAG_L4_PORTS = record.FLAG_L4_PORTS;
const FLAG_L4_TRUNCATED = record.FLAG_L4_TRUNCATED;
const FLAG_L4_INVALID = record.FLAG_L4_INVALID;
const FLAG_PROTOCOL_UNKNOWN = record.FLAG_PROTOCOL_UNKNOWN;
const NO_ENTRY = table.NO_ENTRY;
const DIRECTION_ORIGINAL = table.DIRECTION_ORIGINAL;
const DIRECTION_REPLY = table.DIRECTION_REPLY;
const ENTRY_WORDS = table.ENTRY_WORDS;
const ENTRY_STATUS = table.ENTRY_STATUS;
const ENTRY_GENERATION = table.ENTRY_GENERATION;
const ENTRY_TAG = table.ENTRY_TAG;
const STATUS_SEEN_REPLY = table.STATUS_SEEN_REPLY;
const STATUS_ASSURED = table.STATUS_ASSURED;
const LAST_ENTRY = table.LAST_ENTRY;
const LAST_DIRECTION = table.LAST_DIRECTION;
/** Status of a TCP connection that `fastAck` may take: established, and answered. */
const PLAIN_STATUS_MASK = table.STATUS_STATE_MASK | table.STATUS_SEEN_REPLY;
const PLAIN_STATUS = TCP_STATE_ESTABLISHED | table.STATUS_SEEN_REPLY;
/** What the flags of a record must say before TCP, and UDP, is looked up: FLAG_L4_PORTS alone. */
const UDP_FLAGS_MASK = FLAG_L4_PORTS | FLAG_L4_INVALID;
const TCP_FLAGS_MASK = UDP_FLAGS_MASK | FLAG_L4_TRUNCATED;

/** The first packet of a connection, or one of the original direction that nobody has answered yet. */
export const CT_NEW = 0;
/** Of a known connection: a reply, or the original direction after one. */
export const CT_ESTABLISHED = 1;
/** An ICMP error about a known connection. */
export const CT_RELATED = 2;
export const CT_INVALID = 3;
/** Neighbour discovery and multicast listener messages, which the kernel never tracks. */
export const CT_UNTRACKED = 4;
/** The capture cut off what the state depends on. */
export const CT_TRUNCATED = 5;
const STATE_NEW = 0;
const STATE_ESTABLISHED = 1;
const STATE_INVALID = 3;
const STATE_TRUNCATED = 5;
export const CT_STATE_NAMES: readonly string[] = ['new', 'established', 'related', 'invalid', 'untracked', 'truncated'];

const ICMP_TIMEOUT_MS = 30e3;
export const UDP_TIMEOUT_MS = 30e3;
export const UDP_ANSWERED_TIMEOUT_MS = 120e3;
const GRE_TIMEOUT_MS = 30e3;
const GRE_ANSWERED_TIMEOUT_MS = 180e3;
const GENERIC_TIMEOUT_MS = 600e3;

/**
 * State of the packet on `node` (a number below 2^22), as CT_*. Moves the entry if there is one; LAST_ENTRY
 * and LAST_DIRECTION of `ct.last` then name it, else LAST_ENTRY is NO_ENTRY (also when the packet is INVALID, or ended its entry).
 *
 * The packet must be whole (reassembled) and its record DECODE_OK. ICMP errors go to `trackError`; here they are INVALID.
 *
 * @param view  the bytes that the offsets of the record refer to
 */
export function trackPacket(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  const protocol = records[at + PACKET_PROTOCOL]!;
  if (protocol !== 6 && protocol !== 17) return trackOther(ct, node, records, at, view, timeMs);
  const last = ct.last;
  const flags = records[at + PACKET_FLAGS]!;
  const needed = protocol === 6 ? TCP_FLAGS_MASK : UDP_FLAGS_MASK;
  if ((flags & needed) !== FLAG_L4_PORTS) {
    last[LAST_ENTRY] = NO_ENTRY;
    return (flags & FLAG_L4_INVALID) !== 0 ? STATE_INVALID : STATE_TRUNCATED;
  }
  const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  const found = findPorts(ct, node, records, at, protocol, flags, timeMs);
  const entry = found >> 1;
  last[LAST_ENTRY] = entry;
  if (entry === NO_ENTRY) return protocol === 17 || opensTcp(ct, tcpFlags) ? STATE_NEW : STATE_INVALID;

  const words = ct.words;
  const direction = found & 1;
  const base = entry << 5;
  const status = words[base + ENTRY_STATUS]!;
  last[LAST_DIRECTION] = direction;
  if (protocol === 6) {
    // An established, answered connection, and neither SYN, FIN nor RST, but ACK.
    const isPlain = (status & PLAIN_STATUS_MASK) === PLAIN_STATUS && (tcpFlags & 0x17) === 0x10;
    if (isPlain && fastAck(ct, base, direction, records, at, view, timeMs)) return STATE_ESTABLISHED;
    return trackTcp(ct, entry, direction, tcpFlags, records, at, view, timeMs);
  }
  if (direction === DIRECTION_ORIGINAL && (status & STATUS_SEEN_REPLY) === 0) {
    ct.times[base >> 5] = timeMs + UDP_TIMEOUT_MS;
    return STATE_NEW;
  }
  ct.times[base >> 5] = timeMs + UDP_ANSWERED_TIMEOUT_MS;
  words[base + ENTRY_STATUS] = status | STATUS_SEEN_REPLY | STATUS_ASSURED;
  return STATE_ESTABLISHED;
}

function opensTcp(ct: Conntrack, tcpFlags: number): boolean {
  return tcpFlagsAreValid(tcpFlags) && tcpMayOpen(tcpFlags, ct.isStrict);
}

/** A TCP segment of a known connection. */
function trackTcp(
  ct: Conntrack,
  entry: number,
  direction: number,
  tcpFlags: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  const base = entry * ENTRY_WORDS;
  const status = ct.words[base + ENTRY_STATUS]!;
  const state = direction === DIRECTION_REPLY || (status & STATUS_SEEN_REPLY) !== 0 ? CT_ESTABLISHED : CT_NEW;
  const outcome = tcpFlagsAreValid(tcpFlags) ? tcpPacket(ct, base, direction, records, at, view, timeMs) : TCP_INVALID;
  if ((ct.words[base + ENTRY_STATUS]! & PLAIN_STATUS_MASK) !== PLAIN_STATUS) {
    // Lines may say that it is established and answered.
    forgetEntry(ct, base, entryHash(ct.words, base, false));
  }
  if (outcome === TCP_ACCEPT) {
    if (direction === DIRECTION_REPLY) ct.words[base + ENTRY_STATUS]! |= STATUS_SEEN_REPLY;
    return state;
  }
  ct.last[LAST_ENTRY] = NO_ENTRY;
  if (outcome === TCP_INVALID) return CT_INVALID;
  removeEntry(ct, entry);
  return outcome === TCP_REOPEN ? CT_NEW : state;
}

/** The other protocols. */
function trackOther(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  const last = ct.last;
  last[LAST_ENTRY] = NO_ENTRY;
  const protocol = records[at + PACKET_PROTOCOL]!;
  const readable = checkReadable(protocol, records, at, view);
  if (readable !== CT_NEW) return readable;
  if (!packetKey(ct.key, node, records, at, view)) return CT_INVALID;
  const found = findEntry(ct, records, at, timeMs);
  if (found === NO_ENTRY) return stateWithoutEntry(ct, protocol, records, at, view, timeMs);

  const entry = found >> 1;
  const direction = found & 1;
  const base = entry * ENTRY_WORDS;
  const words = ct.words;
  const status = words[base + ENTRY_STATUS]!;
  const state = direction === DIRECTION_REPLY || (status & STATUS_SEEN_REPLY) !== 0 ? CT_ESTABLISHED : CT_NEW;
  if (protocol === 132) {
    if (!sctpPacket(ct, base, direction, false, records, at, view, timeMs)) return CT_INVALID;
  } else {
    // GRE is a stream only from the packet after the first answer on, in the kernel too.
    const isAnswered = protocol === 47 ? (status & STATUS_SEEN_REPLY) !== 0 : state === CT_ESTABLISHED;
    ct.times[base >> 5] = timeMs + timeoutOf(protocol, isAnswered);
    if (isAnswered && (protocol === 136 || protocol === 47)) words[base + ENTRY_STATUS] = status | STATUS_ASSURED;
  }
  if (direction === DIRECTION_REPLY) words[base + ENTRY_STATUS]! |= STATUS_SEEN_REPLY;
  last[LAST_ENTRY] = entry;
  last[LAST_DIRECTION] = direction;
  return state;
}

/** CT_NEW if the packet can be looked up; else what it is. */
function checkReadable(protocol: number, records: Int32Array, at: number, view: DataView): number {
  const flags = records[at + PACKET_FLAGS]!;
  if (protocol === 58 && (flags & FLAG_IPV6) !== 0 && (flags & FLAG_L4_PORTS) !== 0) {
    const type = records[at + PACKET_ICMP_TYPE]!;
    // MLD 130 to 132 and 143, neighbour discovery 133 to 136; a redirect (137) is an error message to the kernel.
    if ((type >= 130 && type <= 136) || type === 143) return CT_UNTRACKED;
  }
  if ((flags & FLAG_L4_INVALID) !== 0) return CT_INVALID;
  if (protocol === 136) {
    if ((flags & FLAG_L4_TRUNCATED) !== 0) return CT_TRUNCATED;
    // UDP-Lite demands a checksum (RFC 3828): 0 is INVALID, whatever the right one is.
    return view.getUint16(records[at + PACKET_TRANSPORT_OFFSET]! + 6) === 0 ? CT_INVALID : CT_NEW;
  }
  if (protocol === 1 || protocol === 58) return (flags & FLAG_L4_TRUNCATED) === 0 ? CT_NEW : CT_TRUNCATED;
  if (protocol === 132) return sctpIsReadable(records, at) ? CT_NEW : CT_TRUNCATED;
  if (protocol === 47 && records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < 8) return greIsShort(records, at);
  return CT_NEW;
}

/** Plain GRE needs no byte; whether it is plain stands in the second one, a call ID of enhanced GRE in bytes 6 and 7. */
function greIsShort(records: Int32Array, at: number): number {
  return records[at + PACKET_TRANSPORT_BYTES]! < 8 ? CT_NEW : CT_TRUNCATED;
}

function stateWithoutEntry(
  ct: Conntrack,
  protocol: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  if (protocol === 1 || protocol === 58) return isQuestion(records, at) ? CT_NEW : CT_INVALID;
  if (protocol === 132) {
    const base = scratchEntry(ct) * ENTRY_WORDS;
    ct.words.fill(0, base, base + ENTRY_WORDS);
    return sctpPacket(ct, base, DIRECTION_ORIGINAL, true, records, at, view, timeMs) ? CT_NEW : CT_INVALID;
  }
  return CT_NEW;
}

/**
 * ICMP echo, timestamp, information and address mask requests; ICMPv6 echo and node information requests. The ICMP of the
 * other IP family asks nothing: Linux calls it INVALID.
 */
function isQuestion(records: Int32Array, at: number): boolean {
  const type = records[at + PACKET_ICMP_TYPE]!;
  const isIcmpv6 = records[at + PACKET_PROTOCOL] === 58;
  if (isIcmpv6 !== ((records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0)) return false;
  if (isIcmpv6) return type === 128 || type === 139;
  return type === 8 || type === 13 || type === 15 || type === 17;
}

function timeoutOf(protocol: number, isAnswered: boolean): number {
  if (protocol === 17 || protocol === 136) return isAnswered ? UDP_ANSWERED_TIMEOUT_MS : UDP_TIMEOUT_MS;
  if (protocol === 1 || protocol === 58) return ICMP_TIMEOUT_MS;
  if (protocol === 47) return isAnswered ? GRE_ANSWERED_TIMEOUT_MS : GRE_TIMEOUT_MS;
  return GENERIC_TIMEOUT_MS;
}

/**
 * The node has accepted a packet that `trackPacket` called NEW: makes its entry, unless there is one already. Returns the
 * entry, or NO_ENTRY for a packet that opens nothing (a RST that has just ended its connection).
 */
export function confirmPacket(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  if (!packetKey(ct.key, node, records, at, view)) return NO_ENTRY;
  const found = findEntry(ct, records, at, timeMs);
  if (found !== NO_ENTRY) return found >> 1;
  const protocol = records[at + PACKET_PROTOCOL]!;
  if (protocol === 6 && !tcpMayOpen(records[at + PACKET_TCP_FLAGS]!, ct.isStrict)) return NO_ENTRY;
  const entry = insertEntry(ct, records, at, timeMs);
  const base = entry * ENTRY_WORDS;
  if (protocol === 6) {
    tcpOpen(ct, base, records, at, view, timeMs);
  } else if (protocol === 132) {
    if (!sctpPacket(ct, base, DIRECTION_ORIGINAL, true, records, at, view, timeMs)) {
      removeEntry(ct, entry);
      return NO_ENTRY;
    }
  } else {
    ct.times[base >> 5] = timeMs + timeoutOf(protocol, false);
  }
  ct.last[LAST_ENTRY] = entry;
  ct.last[LAST_DIRECTION] = DIRECTION_ORIGINAL;
  return entry;
}

/**
 * State of an ICMP error on `node`: CT_RELATED if the packet it quotes belongs to an entry there and the error goes to
 * that packet's sender, else CT_INVALID; CT_TRUNCATED if the capture cut the quotation off. Moves nothing. LAST_ENTRY and
 * LAST_DIRECTION name the entry and the direction in which the error travels.
 *
 * @param quoted  record of the quoted packet (wire/quoted.ts), its offsets in the same `view`
 */
export function trackError(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  quoted: Int32Array,
  quotedAt: number,
  view: DataView,
  timeMs: number,
): number {
  const last = ct.last;
  last[LAST_ENTRY] = NO_ENTRY;
  last[LAST_DIRECTION] = DIRECTION_ORIGINAL;
  if ((records[at + PACKET_FLAGS]! & FLAG_L4_INVALID) !== 0) return CT_INVALID;
  if (!quotationIsReadable(quoted, quotedAt)) {
    const isCut = records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < records[at + PACKET_TRANSPORT_BYTES]!;
    return isCut ? CT_TRUNCATED : CT_INVALID;
  }
  if (quoted[quotedAt + PACKET_FRAGMENT_OFFSET_BYTES] !== 0) return CT_INVALID;
  for (let word = 0; word < 4; word++) {
    if (records[at + PACKET_DST + word] !== quoted[quotedAt + PACKET_SRC + word]) return CT_INVALID;
  }
  if (!packetKey(ct.key, node, quoted, quotedAt, view)) return CT_INVALID;
  const found = findEntry(ct, quoted, quotedAt, timeMs);
  if (found === NO_ENTRY) return CT_INVALID;
  last[LAST_ENTRY] = found >> 1;
  last[LAST_DIRECTION] = 1 - (found & 1);
  return CT_RELATED;
}

/** Ports, or the whole ICMP header, are there; other protocols need nothing behind the IP header. */
function quotationIsReadable(quoted: Int32Array, at: number): boolean {
  if (quoted[at + PACKET_STATUS] !== 0) return false;
  const protocol = quoted[at + PACKET_PROTOCOL]!;
  const flags = quoted[at + PACKET_FLAGS]!;
  if ((flags & FLAG_PROTOCOL_UNKNOWN) !== 0) return false;
  if (protocol === 1 || protocol === 58) return (flags & FLAG_L4_TRUNCATED) === 0;
  const hasPorts = protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136;
  return !hasPorts || (flags & FLAG_L4_PORTS) !== 0;
}

/** The caller's word of an entry; 0 until set. Gone with the entry: see `entryGeneration`. */
export function getTag(ct: Conntrack, entry: number): number {
  return ct.words[entry * ENTRY_WORDS + ENTRY_TAG]!;
}

export function setTag(ct: Conntrack, entry: number, tag: number): void {
  ct.words[entry * ENTRY_WORDS + ENTRY_TAG] = tag;
}

/** A number that differs when the slot `entry` has been freed or given to another connection in between. */
export function entryGeneration(ct: Conntrack, entry: number): number {
  return ct.words[entry * ENTRY_WORDS + ENTRY_GENERATION]!;
}
