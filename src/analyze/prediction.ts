/**
 * Which verdict a connection is held to.
 *
 * That of its first packet, if that packet opens it. A capture that begins in the middle of a connection does not tell who opened it, and
 * its first packet judged as a new connection says little: an answer looks like a question that nobody may ask. Then both ways round are
 * judged, and only a verdict that they share is one. The same for a datagram that looks like an answer while the capture is younger than
 * connection tracking's memory.
 */

import type { Flow } from '../model/flow.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import type { Tables } from '../tables/tables.ts';
import {
  FLAG_L4_PORTS,
  PACKET_FLAGS,
  PACKET_ICMP_TYPE,
  PACKET_PROTOCOL,
  PACKET_TCP_FLAGS,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../wire/record.ts';
import { type EvaluateOptions, evaluateFlow } from './evaluate-flow.ts';
import type { Connection } from './outcome.ts';
import type { FlowRecord } from './record.ts';
import type { Predicted } from './report-data.ts';

/** For this long Linux remembers UDP that was answered (semantics 6.7). */
const UDP_MEMORY_MS = 120_000;
const SERVER_PORT_MAX = 1023;

/** True if the packet is the first of a connection: a SYN, a question, anything of protocols that have no handshake. */
export function opensConnection(records: Int32Array, at: number): boolean {
  const protocol = records[at + PACKET_PROTOCOL]!;
  if (protocol === PROTOCOL_TCP) {
    const flags = records[at + PACKET_TCP_FLAGS]! & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
    // Without its transport header a packet may be anything.
    return flags === TCP_SYN || (records[at + PACKET_FLAGS]! & FLAG_L4_PORTS) === 0;
  }
  if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6) return true;
  const type = records[at + PACKET_ICMP_TYPE]!;
  if (protocol === PROTOCOL_ICMP) return type === 8 || type === 13 || type === 15 || type === 17;
  return type === 128 || type === 139;
}

/** True for a datagram from a port of servers to one of clients, `ageMs` after the capture began. */
export function looksLikeAnswer(
  { source_port: from, dest_port: to }: FlowRecord,
  protocol: number,
  ageMs: number,
): boolean {
  if (protocol !== PROTOCOL_UDP || from === undefined || to === undefined || !(ageMs < UDP_MEMORY_MS)) return false;
  return from <= SERVER_PORT_MAX && to > SERVER_PORT_MAX;
}

/** The actions of a connection opened by the sender and by the receiver of this packet; undefined where its ports are not known. */
export function openedEitherWay(
  tables: Tables,
  record: FlowRecord,
  protocol: number,
  options: EvaluateOptions,
): readonly [string, string] | undefined {
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  const hasPorts = record.source_port !== undefined && record.dest_port !== undefined;
  if (!isIcmp && !hasPorts && [6, 17, 132].includes(protocol)) return undefined;
  const flow = (src: string, dst: string, from: number | undefined, to: number | undefined): Flow => ({
    src,
    dst,
    protocol,
    ...(from === undefined ? {} : { src_port: from }),
    ...(to === undefined ? {} : { dst_port: to }),
    // What answers is asked for by the question of its kind.
    ...(isIcmp ? { icmp_type: questionOf(protocol, record.icmp_type ?? 0) } : {}),
  });
  const { source_ip: src, dest_ip: dst, source_port: from, dest_port: to } = record;
  return [
    evaluateFlow(tables, flow(src, dst, from, to), options).action,
    evaluateFlow(tables, flow(dst, src, to, from), options).action,
  ];
}

function questionOf(protocol: number, type: number): number {
  if (protocol === PROTOCOL_ICMP) {
    if (type === 0) return 8;
    return type === 14 || type === 16 || type === 18 ? type - 1 : type;
  }
  return type === 129 ? 128 : type === 140 ? 139 : type;
}

export function predictionOf({ eitherWay, record }: Pick<Connection, 'eitherWay' | 'record'>): Predicted {
  if (eitherWay === undefined) return record.action as Predicted;
  return eitherWay[0] === eitherWay[1] ? (eitherWay[0] as Predicted) : 'uncertain';
}
