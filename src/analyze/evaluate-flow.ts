/** `eval` and the library: the verdict on a flow given as text, as the first packet of a new connection. */
import { PolicyError } from '../base/errors.ts';
import { type IpAddress, parseAddress } from '../base/ip.ts';
import { judgeNewPacket } from '../match/judge.ts';
import { CAPTURE_POINT_NAMES, createJudge, type Judge } from '../match/state.ts';
import type { Flow } from '../model/flow.ts';
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_NUMBERS,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
} from '../model/flow.ts';
import type { Tables } from '../tables/tables.ts';
import {
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_WORDS,
} from '../wire/record.ts';
import { addPending, type FlowRecord, flowRecord } from './record.ts';

const DEFAULT_SRC_PORT = 49152;

export interface EvaluateOptions {
  /** Where the flow was seen (match/capture-point.ts); default `unknown`. */
  readonly capturePoint?: (typeof CAPTURE_POINT_NAMES)[number];
}

/**
 * The record of `flow`: verdict, reason, and the trace of every check that ran. Throws a `PolicyError` that names the bad
 * field. Ports and types are whole numbers; a missing `dst_port` is an error where the protocol has ports.
 */
export function evaluateFlow(tables: Tables, flow: Flow, options: EvaluateOptions = {}): FlowRecord {
  const { judge, packet } = judgeOf(tables);
  judge.capturePoint = CAPTURE_POINT_NAMES.indexOf(options.capturePoint ?? 'unknown');
  writeFlow(flow, packet);
  judgeNewPacket(judge, packet, 0);
  const record = flowRecord(judge, packet, 0);
  addPending(record, judge, judge, packet, 0);
  return record;
}

/** Writes the packet record of `flow` (its tuple and flags). */
export function writeFlow(flow: Flow, packet: Int32Array): void {
  const src = address('src', flow.src);
  const dst = address('dst', flow.dst);
  if (src.version !== dst.version) {
    throw flowError(`src ${flow.src} and dst ${flow.dst} are of different IP versions`, 'give two of one version');
  }
  const protocol = protocolNumber(flow.protocol ?? PROTOCOL_TCP);
  packet.fill(0);
  packet.set(src.words, PACKET_SRC);
  packet.set(dst.words, PACKET_DST);
  packet[PACKET_PROTOCOL] = protocol;
  packet[PACKET_FLAGS] = FLAG_L4_PORTS | (src.version === 6 ? FLAG_IPV6 : 0);
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    packet[PACKET_SRC_PORT] = whole('icmp_type', flow.icmp_type, protocol === PROTOCOL_ICMP ? 8 : 128, 255);
    packet[PACKET_DST_PORT] = whole('icmp_code', flow.icmp_code, 0, 255);
  } else if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP) {
    packet[PACKET_SRC_PORT] = whole('src_port', flow.src_port, DEFAULT_SRC_PORT, 65535);
    if (flow.dst_port === undefined) throw flowError('dst_port is missing', 'give the destination port');
    packet[PACKET_DST_PORT] = whole('dst_port', flow.dst_port, 0, 65535);
  } else {
    packet[PACKET_FLAGS] = packet[PACKET_FLAGS]! & ~FLAG_L4_PORTS;
    if (protocol === PROTOCOL_UDPLITE && flow.dst_port !== undefined) {
      packet[PACKET_FLAGS] = packet[PACKET_FLAGS]! | FLAG_L4_PORTS;
      packet[PACKET_SRC_PORT] = whole('src_port', flow.src_port, DEFAULT_SRC_PORT, 65535);
      packet[PACKET_DST_PORT] = whole('dst_port', flow.dst_port, 0, 65535);
    }
  }
}

/** IP protocol number of a name (any case) or number. */
export function protocolNumber(protocol: string | number): number {
  const known = typeof protocol === 'string' ? PROTOCOL_NUMBERS.get(protocol) : undefined;
  if (known !== undefined) return known;
  const text = String(protocol);
  const number = /^[0-9]+$/.test(text) ? Number(text) : PROTOCOL_NUMBERS.get(text.toLowerCase());
  if (number === undefined || number > 255) {
    throw flowError(
      `unknown protocol ${JSON.stringify(protocol)}`,
      `use ${[...PROTOCOL_NUMBERS.keys()].join(', ')} or a number from 0 to 255`,
    );
  }
  return number;
}

function address(field: string, text: unknown): IpAddress {
  const parsed = typeof text === 'string' ? parseAddress(text) : undefined;
  if (parsed === undefined) {
    throw flowError(`${field} ${JSON.stringify(text)} is not an IP address`, 'give an IPv4 or IPv6 address');
  }
  return parsed;
}

function whole(field: string, value: unknown, fallback: number, max: number): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw flowError(`${field} ${JSON.stringify(value)} is out of range`, `give a whole number from 0 to ${max}`);
  }
  return value;
}

function flowError(problem: string, fix: string): PolicyError {
  return new PolicyError('flow', problem, { fix });
}

interface FlowJudge {
  readonly judge: Judge;
  /** The packet record of the flow in hand. */
  readonly packet: Int32Array;
}

const judges = new WeakMap<Tables, FlowJudge>();

function judgeOf(tables: Tables): FlowJudge {
  let judge = judges.get(tables);
  if (judge === undefined) {
    judge = { judge: createJudge(tables), packet: new Int32Array(PACKET_WORDS) };
    judges.set(tables, judge);
  }
  return judge;
}
