/**
 * Fragments put together, before anything is judged.
 *
 * Problem. Linux reassembles fragments ahead of all Calico's hooks, so rules see whole datagrams. A capture holds the
 * parts, in any order, some of them twice, some never. Every part must get the verdict of its datagram, or the answer
 * that there is none; and memory must stay bounded when someone sends only first halves.
 *
 * Idea. Parts wait under the key of their datagram: addresses and identification, and for IPv4 the protocol too (RFC 791,
 * RFC 8200 section 4.5). A datagram is whole when the part at offset 0 and the last one are there and the lengths of all
 * parts add up to the end of the last one: since overlaps are refused, there can then be no hole (RFC 815 keeps a list of
 * holes to allow for overlaps). Every part brings a ticket, a number of the caller's; the datagram hands all of them back.
 *
 * Overlaps, as in Linux (RFC 5722 for both families): a part that lies wholly inside a run of bytes already there is a
 * duplicate and changes nothing; any other overlap discards the whole datagram. A run is what arrived in order without a
 * gap, or a single part. Two last parts with different ends, bytes beyond the last part, an empty part, or (IPv6) a part
 * in the middle whose length is no multiple of 8 are damage: IPv4 discards the datagram, and cuts a middle part down to
 * the multiple; IPv6 discards that part alone, or for the odd length the datagram. A first part of IPv6 that lacks the
 * transport header is discarded alone too.
 *
 * Worked example. A UDP datagram of 3 000 bytes, parts P0 [0, 1480), P1 [1480, 2960), P2 [2960, 3000) last, arriving as
 * P2, P0, P1 with tickets 7, 8, 9. P2: end known, 3000, have 40. P0: have 1520. P1: [1480, 2960) overlaps neither, have
 * 3000 = end, first and last are there: whole. `complete` gets P0's IP header with length 3020 and no fragment bits, the
 * 3 000 bytes behind it, and the tickets 7, 8, 9. Had P1 been [1400, 2880), it would have cut into P0: `incomplete` with
 * the tickets 7, 8, 9 and REASSEMBLY_OVERLAP.
 *
 * Bounds: REASSEMBLY_DATAGRAMS_MAX datagrams and REASSEMBLY_BYTES_MAX bytes; past either the oldest datagram is given up.
 * REASSEMBLY_TIMEOUT_MS of packet time after its first part, a datagram is given up too. A capture that kept only the
 * start of each part gives a datagram of which `capturedBytes` are known.
 *
 * This is the slow path: one small object a datagram and one copy a part are allocated, within the bounds.
 *
 * Differs: Linux waits 60 s for IPv6 (design.md section 5 says 30), gives up a datagram when 64 other fragments of its
 * source came in between (`ipfrag_max_dist`), refuses odd mixtures of congestion marks, and refuses new datagrams rather
 * than dropping old ones when memory is short.
 *
 * Source: Linux net/ipv4/ip_fragment.c (`ip_frag_queue`), net/ipv4/inet_fragment.c (`inet_frag_queue_insert`),
 * net/ipv6/netfilter/nf_conntrack_reasm.c (`nf_ct_frag6_queue`); RFC 791, 815, 5722, 8200.
 */
import {
  FLAG_IPV6,
  FLAG_MORE_FRAGMENTS,
  PACKET_DST,
  PACKET_FLAGS,
  PACKET_FRAGMENT_DATA_BYTES,
  PACKET_FRAGMENT_DATA_OFFSET,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_FRAGMENT_PROTOCOL,
  PACKET_IP_ID,
  PACKET_IP_OFFSET,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
} from '../wire/record.ts';

/** How long a datagram waits for the rest, in ms of packet time (design.md section 5). */
export const REASSEMBLY_TIMEOUT_MS = 30_000;
/** Datagrams that wait at once: far more than an honest host has under way. */
const REASSEMBLY_DATAGRAMS_MAX = 4096;
/** Bytes that wait at once, overhead included: Linux allows 4 MiB (`ipfrag_high_thresh`); a capture sees many hosts. */
export const REASSEMBLY_BYTES_MAX = 16 * 1024 * 1024;

/** Why a datagram was given up. */
export const REASSEMBLY_TIMEOUT = 0;
/** Parts contradict each other. */
export const REASSEMBLY_OVERLAP = 1;
/** Memory was needed for newer ones. */
export const REASSEMBLY_OVERFLOW = 2;
/** A part that no datagram can have, or a datagram longer than 65 535 bytes. */
export const REASSEMBLY_MALFORMED = 3;

const DATAGRAM_BYTES_MAX = 65_535;
/** What a datagram and a part cost beside the bytes. */
const DATAGRAM_OVERHEAD_BYTES = 512;
const PART_OVERHEAD_BYTES = 128;
const IPV6_HEADER_BYTES = 40;
const FRAGMENT_HEADER_BYTES = 8;
const PROTOCOL_FRAGMENT = 44;
const PROTOCOL_AH = 51;

/** Called from within `addFragment` and `expireFragments`. The arrays of tickets belong to the receiver. */
export interface ReassemblyEvents {
  /**
   * A whole datagram: an IP packet without fragment bits at offset 0 of `view`, `wireBytes` long, of which the first
   * `capturedBytes` are known. Valid during the call only. Tickets in the order in which the parts came.
   */
  complete(view: DataView, capturedBytes: number, wireBytes: number, tickets: number[], timeMs: number): void;
  /** Parts that will never be a datagram, with REASSEMBLY_*. */
  incomplete(tickets: number[], reason: number): void;
}

interface Part {
  readonly start: number;
  readonly end: number;
  /** What the capture kept of [start, end). */
  readonly bytes: Uint8Array;
}

/** A stretch without gaps: [start, end). */
interface Run {
  readonly start: number;
  end: number;
}

interface Datagram {
  readonly hash: number;
  readonly isIpv6: boolean;
  readonly firstMs: number;
  /** Addresses (8 words), identification, and for IPv4 the protocol. */
  readonly key: Int32Array;
  readonly tickets: number[];
  readonly parts: Part[];
  /** In ascending order. */
  readonly runs: Run[];
  /** IP header (IPv6: and the extension headers ahead of the fragment header) of the part at offset 0. */
  header: Uint8Array | undefined;
  hasLast: boolean;
  /** Highest end seen; the datagram's, once the last part is there. */
  end: number;
  heldBytes: number;
  sumBytes: number;
  /** Others with the same hash. */
  collision: Datagram | undefined;
  older: Datagram | undefined;
  newer: Datagram | undefined;
}

export interface ReassemblyOptions {
  readonly timeoutMs?: number;
  readonly datagramsMax?: number;
  readonly bytesMax?: number;
}

export interface Reassembler {
  readonly timeoutMs: number;
  readonly datagramsMax: number;
  readonly bytesMax: number;
  readonly byHash: Map<number, Datagram>;
  readonly keyScratch: Int32Array;
  readonly output: Uint8Array;
  readonly outputView: DataView;
  oldest: Datagram | undefined;
  newest: Datagram | undefined;
  datagramsCount: number;
  heldBytes: number;
}

const KEY_WORDS = 10;

export function createReassembler(options: ReassemblyOptions = {}): Reassembler {
  const output = new Uint8Array(2 * 65_536);
  return {
    timeoutMs: options.timeoutMs ?? REASSEMBLY_TIMEOUT_MS,
    datagramsMax: options.datagramsMax ?? REASSEMBLY_DATAGRAMS_MAX,
    bytesMax: options.bytesMax ?? REASSEMBLY_BYTES_MAX,
    byHash: new Map(),
    keyScratch: new Int32Array(KEY_WORDS),
    output,
    outputView: new DataView(output.buffer),
    oldest: undefined,
    newest: undefined,
    datagramsCount: 0,
    heldBytes: 0,
  };
}

/**
 * Takes one fragment: a record with DECODE_OK and FLAG_FRAGMENT, its bytes in `view` (copied), and the caller's ticket.
 * Sooner or later the ticket comes back through `events`, exactly once; at the latest in `expireFragments`.
 */
export function addFragment(
  reassembler: Reassembler,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
  ticket: number,
  events: ReassemblyEvents,
): void {
  expireFragments(reassembler, timeMs, events);
  const datagram = findDatagram(reassembler, records, at) ?? openDatagram(reassembler, records, at, timeMs);
  const outcome = addPart(reassembler, datagram, records, at, view, ticket);
  if (outcome === PART_REFUSED) {
    events.incomplete([ticket], REASSEMBLY_MALFORMED);
  }
  if (outcome === PART_OVERLAPS || outcome === PART_SPOILS) {
    giveUp(reassembler, datagram, outcome === PART_OVERLAPS ? REASSEMBLY_OVERLAP : REASSEMBLY_MALFORMED, events);
    return;
  }
  // As in the kernel, a duplicate completes nothing, even if it is the first to say that it is the last.
  const isWhole = datagram.header !== undefined && datagram.hasLast && datagram.sumBytes === datagram.end;
  if (isWhole && outcome === PART_TAKEN) {
    finish(reassembler, datagram, timeMs, events);
    return;
  }
  while (reassembler.datagramsCount > reassembler.datagramsMax || reassembler.heldBytes > reassembler.bytesMax) {
    giveUp(reassembler, reassembler.oldest!, REASSEMBLY_OVERFLOW, events);
  }
}

/** Gives up what has waited too long at `timeMs`; Infinity gives up everything, as at the end of a capture. */
export function expireFragments(reassembler: Reassembler, timeMs: number, events: ReassemblyEvents): void {
  while (reassembler.oldest !== undefined && reassembler.oldest.firstMs + reassembler.timeoutMs <= timeMs) {
    giveUp(reassembler, reassembler.oldest, REASSEMBLY_TIMEOUT, events);
  }
}

/** Datagrams that wait for parts. */
export function waitingDatagrams(reassembler: Reassembler): number {
  return reassembler.datagramsCount;
}

/** Bytes that wait, overhead included. */
export function waitingBytes(reassembler: Reassembler): number {
  return reassembler.heldBytes;
}

function findDatagram(reassembler: Reassembler, records: Int32Array, at: number): Datagram | undefined {
  const key = reassembler.keyScratch;
  const isIpv6 = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0;
  for (let word = 0; word < 4; word++) {
    key[word] = records[at + PACKET_SRC + word]!;
    key[4 + word] = records[at + PACKET_DST + word]!;
  }
  key[8] = records[at + PACKET_IP_ID]!;
  key[9] = isIpv6 ? -1 : records[at + PACKET_FRAGMENT_PROTOCOL]!;
  let found = reassembler.byHash.get(hashOf(key));
  while (found !== undefined && !sameKey(found.key, key)) found = found.collision;
  return found;
}

function hashOf(key: Int32Array): number {
  let hash = 0;
  for (let word = 0; word < KEY_WORDS; word++) hash = Math.imul(hash ^ key[word]!, 0x9e3779b1) ^ (hash >>> 15);
  return hash ^ (hash >>> 16);
}

function sameKey(first: Int32Array, second: Int32Array): boolean {
  for (let word = 0; word < KEY_WORDS; word++) if (first[word] !== second[word]) return false;
  return true;
}

/** A datagram under the key in `keyScratch`. */
function openDatagram(reassembler: Reassembler, records: Int32Array, at: number, timeMs: number): Datagram {
  const key = reassembler.keyScratch.slice();
  const hash = hashOf(key);
  const datagram: Datagram = {
    hash,
    isIpv6: (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0,
    firstMs: timeMs,
    key,
    tickets: [],
    parts: [],
    runs: [],
    header: undefined,
    hasLast: false,
    end: 0,
    heldBytes: 0,
    sumBytes: 0,
    collision: reassembler.byHash.get(hash),
    older: reassembler.newest,
    newer: undefined,
  };
  reassembler.byHash.set(hash, datagram);
  if (reassembler.newest === undefined) reassembler.oldest = datagram;
  else reassembler.newest.newer = datagram;
  reassembler.newest = datagram;
  reassembler.datagramsCount++;
  hold(reassembler, datagram, DATAGRAM_OVERHEAD_BYTES);
  return datagram;
}

const PART_TAKEN = 0;
/** The part alone is thrown away. */
const PART_REFUSED = 1;
const PART_OVERLAPS = 2;
const PART_SPOILS = 3;
/** Only the ticket was taken. */
const PART_DUPLICATE = 4;

/** Adds the part and its ticket to the datagram, unless it is refused. */
function addPart(
  reassembler: Reassembler,
  datagram: Datagram,
  records: Int32Array,
  at: number,
  view: DataView,
  ticket: number,
): number {
  const start = records[at + PACKET_FRAGMENT_OFFSET_BYTES]!;
  let end = start + records[at + PACKET_FRAGMENT_DATA_BYTES]!;
  const isLast = (records[at + PACKET_FLAGS]! & FLAG_MORE_FRAGMENTS) === 0;
  const { isIpv6 } = datagram;
  // What damages an IPv4 datagram only costs an IPv6 one the part.
  const damage = isIpv6 ? PART_REFUSED : PART_SPOILS;
  let outcome = PART_TAKEN;
  if (isIpv6 && (end > DATAGRAM_BYTES_MAX || (start === 0 && lacksTransportHeader(records, at)))) return PART_REFUSED;
  if (isLast) {
    if (end < datagram.end || (datagram.hasLast && end !== datagram.end)) outcome = damage;
  } else {
    if ((end & 7) !== 0 && isIpv6) outcome = PART_SPOILS;
    end &= ~7;
    if (outcome === PART_TAKEN && end > datagram.end && datagram.hasLast) outcome = damage;
  }
  if (outcome === PART_TAKEN) {
    // An empty last part still tells where the datagram ends.
    if (isLast) datagram.hasLast = true;
    if (end > datagram.end) datagram.end = end;
    if (end <= start) outcome = damage;
  }
  if (outcome === PART_REFUSED) return outcome;
  datagram.tickets.push(ticket);
  hold(reassembler, datagram, PART_OVERHEAD_BYTES);
  if (outcome !== PART_TAKEN) return outcome;

  const placed = placeInRuns(datagram.runs, start, end);
  if (placed === PLACED_OVERLAP) return PART_OVERLAPS;
  if (placed === PLACED_DUPLICATE) return PART_DUPLICATE;
  const bytes = copyPart(records, at, view, end - start);
  datagram.parts.push({ start, end, bytes });
  datagram.sumBytes += end - start;
  hold(reassembler, datagram, bytes.length);
  if (start === 0) {
    datagram.header = copyHeader(records, at, view, isIpv6);
    hold(reassembler, datagram, datagram.header.length);
  }
  return PART_TAKEN;
}

/** RFC 8200 section 4.5: the first fragment of IPv6 holds all headers, up to the transport's (`ipv6frag_thdr_truncated`). */
function lacksTransportHeader(records: Int32Array, at: number): boolean {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const neededBytes = protocol === 6 ? 20 : protocol === 17 || protocol === 58 ? 8 : 1;
  return records[at + PACKET_TRANSPORT_BYTES]! < neededBytes;
}

function hold(reassembler: Reassembler, datagram: Datagram, bytes: number): void {
  datagram.heldBytes += bytes;
  reassembler.heldBytes += bytes;
}

const PLACED = 0;
const PLACED_DUPLICATE = 1;
const PLACED_OVERLAP = 2;

/** Finds room for [start, end) among the runs, which stay disjoint and in order. */
function placeInRuns(runs: Run[], start: number, end: number): number {
  const last = runs[runs.length - 1];
  if (last === undefined || start > last.end) {
    runs.push({ start, end });
    return PLACED;
  }
  if (start === last.end) {
    last.end = end;
    return PLACED;
  }
  if (end > last.end) return PLACED_OVERLAP;
  // The first run that ends behind `start`; it exists, since the last one does.
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle]!.end > start) high = middle;
    else low = middle + 1;
  }
  const run = runs[low]!;
  if (start >= run.start && end <= run.end) return PLACED_DUPLICATE;
  if (end > run.start) return PLACED_OVERLAP;
  runs.splice(low, 0, { start, end });
  return PLACED;
}

/** The bytes of the part that the capture kept, at most `dataBytes`. */
function copyPart(records: Int32Array, at: number, view: DataView, dataBytes: number): Uint8Array {
  const offset = records[at + PACKET_FRAGMENT_DATA_OFFSET]!;
  const capturedEnd = records[at + PACKET_TRANSPORT_OFFSET]! + records[at + PACKET_TRANSPORT_CAPTURED_BYTES]!;
  const captured = Math.max(0, Math.min(capturedEnd, offset + dataBytes, view.byteLength) - offset);
  // What was not captured may lie behind the end of the buffer.
  if (captured === 0) return new Uint8Array(0);
  return new Uint8Array(view.buffer, view.byteOffset + offset, captured).slice();
}

/** The header of the whole datagram, but for its length: no fragment bits, no fragment header. */
function copyHeader(records: Int32Array, at: number, view: DataView, isIpv6: boolean): Uint8Array {
  const offset = records[at + PACKET_IP_OFFSET]!;
  const dataOffset = records[at + PACKET_FRAGMENT_DATA_OFFSET]!;
  const headerEnd = Math.min(isIpv6 ? dataOffset - FRAGMENT_HEADER_BYTES : dataOffset, view.byteLength);
  const header = new Uint8Array(view.buffer, view.byteOffset + offset, headerEnd - offset).slice();
  if (!isIpv6) {
    header[6] = header[6]! & 0x40;
    header[7] = 0;
    return header;
  }
  // Find the field that announced the fragment header.
  let field = 6;
  let position = IPV6_HEADER_BYTES;
  while (header[field] !== PROTOCOL_FRAGMENT && position + 1 < header.length) {
    const protocol = header[field]!;
    field = position;
    position += protocol === PROTOCOL_AH ? (header[position + 1]! + 2) << 2 : (header[position + 1]! + 1) << 3;
  }
  header[field] = records[at + PACKET_FRAGMENT_PROTOCOL]!;
  return header;
}

/** Hands the whole datagram over. */
function finish(reassembler: Reassembler, datagram: Datagram, timeMs: number, events: ReassemblyEvents): void {
  const header = datagram.header!;
  const wireBytes = header.length + datagram.end;
  const lengthField = datagram.isIpv6 ? wireBytes - IPV6_HEADER_BYTES : wireBytes;
  if (lengthField > DATAGRAM_BYTES_MAX || wireBytes > reassembler.output.length) {
    giveUp(reassembler, datagram, REASSEMBLY_MALFORMED, events);
    return;
  }
  close(reassembler, datagram);
  const output = reassembler.output;
  output.set(header);
  reassembler.outputView.setUint16(datagram.isIpv6 ? 4 : 2, lengthField);
  let capturedBytes = header.length;
  datagram.parts.sort((first, second) => first.start - second.start);
  for (const part of datagram.parts) {
    output.set(part.bytes, header.length + part.start);
    // The known bytes end with the first part that the capture cut.
    if (capturedBytes === header.length + part.start) capturedBytes += part.bytes.length;
  }
  events.complete(reassembler.outputView, capturedBytes, wireBytes, datagram.tickets, timeMs);
}

function giveUp(reassembler: Reassembler, datagram: Datagram, reason: number, events: ReassemblyEvents): void {
  close(reassembler, datagram);
  // Refused parts may be all that there was.
  if (datagram.tickets.length > 0) events.incomplete(datagram.tickets, reason);
}

/** Takes the datagram out of all lists. */
function close(reassembler: Reassembler, datagram: Datagram): void {
  const first = reassembler.byHash.get(datagram.hash)!;
  if (first === datagram) {
    if (datagram.collision === undefined) reassembler.byHash.delete(datagram.hash);
    else reassembler.byHash.set(datagram.hash, datagram.collision);
  } else {
    let before = first;
    while (before.collision !== datagram) before = before.collision!;
    before.collision = datagram.collision;
  }
  if (datagram.older === undefined) reassembler.oldest = datagram.newer;
  else datagram.older.newer = datagram.newer;
  if (datagram.newer === undefined) reassembler.newest = datagram.older;
  else datagram.newer.older = datagram.older;
  reassembler.datagramsCount--;
  reassembler.heldBytes -= datagram.heldBytes;
}
