/**
 * One packet over the folded tables: the same answer as match/judge.ts where no host endpoint, shared address or source port
 * has a say, without walking rows. For IPv6, ICMP and everything else that the plain loops (plain.ts) leave out.
 */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import {
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
} from '../wire/record.ts';
import { lookUpFunction } from './chain.ts';
import { classAt } from './lookup.ts';

/**
 * `step << 2 | STEP_*` of the step that decides a packet record as the first of a new connection (STEP_NONE: nothing polices it), or
 * NONE if the packet needs the full path.
 */
export function judgeFolded(tables: Tables, records: Int32Array, at: number): number {
  const flags = records[at + PACKET_FLAGS]!;
  const version = (flags & FLAG_IPV6) !== 0 ? 6 : 4;
  const key = packetKey(records, at, flags, version);
  if (key < 0 || (flags & FLAG_FRAGMENT) !== 0) return layout.NONE;
  const classes = version === 6 ? tables.classes6 : tables.classes4;
  const src = classAt(tables, version, records, at + PACKET_SRC);
  const dst = classAt(tables, version, records, at + PACKET_DST);
  const both = classes[src + layout.CLASS_FLAGS]! | classes[dst + layout.CLASS_FLAGS]!;
  if ((both & layout.CLASS_NEEDS_PATH) !== 0) return layout.NONE;
  const out = lookUpFunction(tables, classes[src + layout.CLASS_EGRESS]!, classes[dst + layout.CLASS_PEER]!, key);
  const into = lookUpFunction(tables, classes[dst + layout.CLASS_INGRESS]!, classes[src + layout.CLASS_PEER]!, key);
  if (out < 0 || into < 0) return layout.NONE;
  return (out & 3) === layout.STEP_DENY || (into & 3) === layout.STEP_NONE ? out : into;
}

/** The key of a packet (tables/layout.ts), or -1 if its ports are unknown. */
function packetKey(records: Int32Array, at: number, flags: number, version: number): number {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const slot = layout.keySlot(protocol, version);
  if (slot !== layout.KEY_SLOT_OTHER && (flags & FLAG_L4_PORTS) === 0) return -1;
  return layout.keyOf(slot, protocol, records[at + PACKET_SRC_PORT]!, records[at + PACKET_DST_PORT]!);
}
