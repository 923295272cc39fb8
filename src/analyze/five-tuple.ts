/** What tables of connections agree on: when a five-tuple starts anew, and which of its ends is the lower one. */
import { PROTOCOL_TCP } from '../model/flow.ts';
import {
  PACKET_DST,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_TCP_FLAGS,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
} from '../wire/record.ts';

/** Idle seconds after which Linux has forgotten a connection for certain (semantics 6.7). */
const IDLE_TCP_SECONDS = 432_000;
export const IDLE_SECONDS = 600;

/**
 * True if a packet does not go on with the connection that its five-tuple had `idleSeconds` ago: Linux has forgotten that, or it was
 * over (`isOver`: closed by both sides, or reset) and a SYN opens another.
 */
export function startsAnew(records: Int32Array, at: number, idleSeconds: number, isOver: boolean): boolean {
  if (records[at + PACKET_PROTOCOL] !== PROTOCOL_TCP) return idleSeconds > IDLE_SECONDS;
  if (idleSeconds > IDLE_TCP_SECONDS) return true;
  return isOver && (records[at + PACKET_TCP_FLAGS]! & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
}

/** Whether the source is the lower of both ends (address, then port), so that both directions have one key. */
export function isLowerEnd(records: Int32Array, at: number, srcPort: number, dstPort: number): boolean {
  for (let word = 0; word < 4; word++) {
    const src = records[at + PACKET_SRC + word]! >>> 0;
    const dst = records[at + PACKET_DST + word]! >>> 0;
    if (src !== dst) return src < dst;
  }
  return srcPort <= dstPort;
}
