/**
 * Service addresses, for captures taken before kube-proxy's DNAT (semantics 6.9): policy sees the backend, so the packet is judged
 * with the backend in place of the service. SECTION_SERVICES is sorted by version, address and port: a binary search, and only
 * for addresses whose class says that they are a service's.
 */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { PACKET_DST, PACKET_DST_PORT, PACKET_PROTOCOL, PACKET_WORDS } from '../wire/record.ts';

const SERVICE_WORDS = layout.SERVICE_SIZE;
const PREFIX_WORDS = layout.PREFIX_SIZE;

/** Word offset in `tables.services` of the service port that the packet asks for and that has backends, or NONE. */
export function findService(tables: Tables, version: number, records: Int32Array, at: number): number {
  const { services } = tables;
  const port = (records[at + PACKET_PROTOCOL]! << 16) | records[at + PACKET_DST_PORT]!;
  let low = 0;
  let high = services.length / SERVICE_WORDS;
  const count = high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareService(tables, middle * SERVICE_WORDS, version, records, at + PACKET_DST, port) < 0) low = middle + 1;
    else high = middle;
  }
  // Two services may list one external address; the first by name that has backends answers.
  for (; low < count; low++) {
    const service = low * SERVICE_WORDS;
    if (compareService(tables, service, version, records, at + PACKET_DST, port) !== 0) break;
    if (services[service + layout.SERVICE_BACKENDS + 1] !== 0) return service;
  }
  return layout.NONE;
}

/** Writes the packet as it looks with backend number `backend` of the service as destination. */
export function writeBackend(
  tables: Tables,
  service: number,
  backend: number,
  records: Int32Array,
  at: number,
  out: Int32Array,
): void {
  const { services, ints, prefixes } = tables;
  for (let word = 0; word < PACKET_WORDS; word++) out[word] = records[at + word]!;
  const entry = services[service + layout.SERVICE_BACKENDS]! + 2 * backend;
  const prefix = ints[entry]! * PREFIX_WORDS + layout.PREFIX_WORDS;
  for (let word = 0; word < 4; word++) out[PACKET_DST + word] = prefixes[prefix + word]!;
  out[PACKET_DST_PORT] = ints[entry + 1]!;
}

export function backendCount(tables: Tables, service: number): number {
  return tables.services[service + layout.SERVICE_BACKENDS + 1]!;
}

/** Negative: the service at word `service` sorts before the packet's version, address and `protocol << 16 | port`. */
function compareService(
  { services, prefixes }: Tables,
  service: number,
  version: number,
  records: Int32Array,
  address: number,
  port: number,
): number {
  const prefix = services[service + layout.SERVICE_ADDRESS]! * PREFIX_WORDS;
  const form = prefixes[prefix + layout.PREFIX_FORM]! >> 8;
  if (form !== version) return form - version;
  for (let word = 0; word < 4; word++) {
    const mine = prefixes[prefix + layout.PREFIX_WORDS + word]! >>> 0;
    const other = records[address + word]! >>> 0;
    if (mine !== other) return mine < other ? -1 : 1;
  }
  return services[service + layout.SERVICE_PORT]! - port;
}
