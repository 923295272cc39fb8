/**
 * Packets for a workload: five-tuples drawn from a seed, in memory or as a capture file. The two are the same packets.
 *
 * A packet is aimed at a rule: its source is a member of the rule's set (90 %), any source pod (5 %) or any address of 10/8 (5 %), its
 * destination a pod of the rule's account; the protocol is the rule's in 95 %, the port one of the rule's in 80 % and anything
 * otherwise. Because of earlier rules and the misses about 69 % of packets match a rule.
 *
 * - `uniform`: each packet is drawn afresh.
 * - `zipf`: from 100 000 flows, the flow of rank r with weight 1/r. All packets go from client to server and TCP ones are SYNs, as each
 *   packet of `uniform` is: connection tracking sees retransmissions, never a reply.
 * - `talk`: the same flows as conversations: SYN, SYN-ACK, then ACKs in turn; what policy denies stays at its SYN.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Xorshift32 } from '../src/packets/synthetic.ts';
import { createNaive } from './naive.ts';
import { TUPLE_WORDS, type Workload } from './workload.ts';

export type Traffic = 'uniform' | 'zipf' | 'talk';
/** Frames are cut at 60 bytes, or kept whole with mixed sizes (7:4:1 of 64, 594 and 1518 bytes). */
export type Sizes = 'snap60' | 'mixed';

const ZIPF_FLOWS = 100_000;
const SNAP_BYTES = 60;
const FRAME_BYTES_MAX = 1518;
const RECORD_HEADER_BYTES = 16;
const TCP = 6;
const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;

type Draw = (out: Int32Array) => void;

/** The first `count` packets, TUPLE_WORDS numbers each. */
export function drawTuples(workload: Workload, traffic: Traffic, count: number, seed = 2): Int32Array {
  const draw = createDraw(new Xorshift32(seed), workload, traffic);
  const tuples = new Int32Array(count * TUPLE_WORDS);
  const tuple = new Int32Array(TUPLE_WORDS);
  for (let i = 0; i < count; i++) {
    draw(tuple);
    tuples.set(tuple, i * TUPLE_WORDS);
  }
  return tuples;
}

export interface CaptureShape {
  readonly packets: number;
  readonly traffic: Traffic;
  readonly sizes: Sizes;
}

/** Writes a classic pcap of Ethernet frames. */
export function writeCapture(path: string, workload: Workload, capture: CaptureShape, seed = 2): void {
  const draw = createDraw(new Xorshift32(seed), workload, capture.traffic);
  // Sizes have their own source of numbers, so that both kinds of files hold the same packets.
  const sizes = new Xorshift32(seed + 1);
  const snapBytes = capture.sizes === 'snap60' ? SNAP_BYTES : FRAME_BYTES_MAX;
  const file = openSync(path, 'w');
  writeSync(file, captureHeader(capture.sizes === 'snap60' ? SNAP_BYTES : 262_144));
  const chunk = Buffer.alloc(4 * 1024 * 1024);
  const tuple = new Int32Array(TUPLE_WORDS);
  let used = 0;
  for (let i = 0; i < capture.packets; i++) {
    if (used + RECORD_HEADER_BYTES + FRAME_BYTES_MAX > chunk.length) {
      writeSync(file, chunk, 0, used);
      used = 0;
    }
    draw(tuple);
    const wireBytes = capture.sizes === 'snap60' ? SNAP_BYTES : mixedBytes(sizes);
    used += writeFrame(chunk, used, tuple, i, wireBytes, Math.min(wireBytes, snapBytes));
  }
  writeSync(file, chunk, 0, used);
  closeSync(file);
}

/** The header of a classic pcap file of link type Ethernet: little endian, microseconds. */
export function captureHeader(snapBytes: number): Uint8Array {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(snapBytes, 16);
  header.writeUInt32LE(1, 20);
  return header;
}

function createDraw(random: Xorshift32, workload: Workload, traffic: Traffic): Draw {
  if (traffic === 'uniform') return (out) => drawTuple(random, workload, out);
  const flows = new Int32Array(ZIPF_FLOWS * TUPLE_WORDS);
  const tuple = new Int32Array(TUPLE_WORDS);
  for (let i = 0; i < ZIPF_FLOWS; i++) {
    drawTuple(random, workload, tuple);
    flows.set(tuple, i * TUPLE_WORDS);
  }
  const pick = createZipf(random, ZIPF_FLOWS);
  if (traffic === 'talk') return conversations(workload, flows, pick);
  return (out) => {
    const at = pick() * TUPLE_WORDS;
    for (let word = 0; word < TUPLE_WORDS; word++) out[word] = flows[at + word]!;
  };
}

function drawTuple(random: Xorshift32, workload: Workload, out: Int32Array): void {
  const { rules, accounts, endpoints } = workload.shape;
  const index = random.below(rules);
  const rule = workload.rules[index]!;
  const account = Math.floor((index * accounts) / rules);
  const who = random.float();
  const members = workload.sets[rule.set]!;
  if (who < 0.9) out[0] = members[random.below(members.length)]!;
  else if (who < 0.95) out[0] = workload.pods[random.below(workload.pods.length)]!;
  else out[0] = 0x0a000000 + random.below(1 << 24);
  out[1] = workload.endpoints[account + accounts * random.below(Math.floor(endpoints / accounts))]!;
  out[2] = random.float() < 0.95 ? rule.protocol : 23 - rule.protocol;
  out[3] = 1024 + random.below(64_512);
  out[4] = random.float() < 0.8 ? rule.low + random.below(rule.high - rule.low + 1) : random.below(65_536);
  out[5] = out[2] === TCP ? SYN : 0;
}

/** Ranks from 0 to `count - 1`, rank r with weight 1/(r + 1). */
function createZipf(random: Xorshift32, count: number): () => number {
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += 1 / (i + 1);
    cumulative[i] = sum;
  }
  return () => {
    const target = random.float() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! < target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function conversations(workload: Workload, flows: Int32Array, pick: () => number): Draw {
  const naive = createNaive(workload);
  const sent = new Uint8Array(ZIPF_FLOWS);
  return (out) => {
    const flow = pick();
    const at = flow * TUPLE_WORDS;
    for (let word = 0; word < TUPLE_WORDS; word++) out[word] = flows[at + word]!;
    const turn = sent[flow]!;
    if (turn === 0 && !naive.judge(out[0]!, out[1]!, out[2]!, out[4]!).allow) return;
    // The handshake, then two turns for ever.
    sent[flow] = turn < 3 ? turn + 1 : 2;
    if (out[2] === TCP) out[5] = turn === 0 ? SYN : turn === 1 ? SYN_ACK : ACK;
    if ((turn & 1) === 1) {
      [out[0], out[1]] = [out[1]!, out[0]!];
      [out[3], out[4]] = [out[4]!, out[3]!];
    }
  };
}

function mixedBytes(random: Xorshift32): number {
  const pick = random.below(12);
  return pick < 7 ? 64 : pick < 11 ? 594 : 1518;
}

/** One record, a microsecond after the last; returns its bytes. Checksums are zero, which no reader here looks at. */
function writeFrame(
  buffer: Buffer,
  at: number,
  tuple: Int32Array,
  index: number,
  wireBytes: number,
  captured: number,
): number {
  buffer.fill(0, at, at + RECORD_HEADER_BYTES + captured);
  buffer.writeUInt32LE(1_700_000_000 + Math.floor(index / 1_000_000), at);
  buffer.writeUInt32LE(index % 1_000_000, at + 4);
  buffer.writeUInt32LE(captured, at + 8);
  buffer.writeUInt32LE(wireBytes, at + 12);
  const frame = at + RECORD_HEADER_BYTES;
  buffer.writeUInt16BE(0x0800, frame + 12);
  const ip = frame + 14;
  buffer[ip] = 0x45;
  buffer.writeUInt16BE(wireBytes - 14, ip + 2);
  buffer.writeUInt16BE(index & 0xffff, ip + 4);
  buffer[ip + 8] = 64;
  buffer[ip + 9] = tuple[2]!;
  buffer.writeInt32BE(tuple[0]!, ip + 12);
  buffer.writeInt32BE(tuple[1]!, ip + 16);
  buffer.writeUInt16BE(tuple[3]!, ip + 20);
  buffer.writeUInt16BE(tuple[4]!, ip + 22);
  if (tuple[2] === TCP) writeTcp(buffer, ip + 20, tuple[5]!);
  else buffer.writeUInt16BE(wireBytes - 34, ip + 24);
  return RECORD_HEADER_BYTES + captured;
}

/** Both sides count from 0; a reply acknowledges the SYN, an ACK stands behind it. */
function writeTcp(buffer: Buffer, at: number, flags: number): void {
  if (flags !== SYN) buffer.writeUInt32BE(1, at + 8);
  if (flags === ACK) buffer.writeUInt32BE(1, at + 4);
  buffer[at + 12] = 0x50;
  buffer[at + 13] = flags;
  buffer.writeUInt16BE(65_535, at + 14);
}
