/** The single tests of a compiled rule; all must hold, the HTTP request's comes last (semantics 8.3). */
import type { AddressClass } from './addresses.ts';
import { matchesPath, normalisePath } from './http-path.ts';
import { type CompiledRule, type CompiledSide, tupleKey } from './steps.ts';

export function holdsProtocol({ protocol: wanted, notProtocol }: CompiledRule, protocol: number): boolean {
  return (wanted < 0 || wanted === protocol) && (notProtocol < 0 || notProtocol !== protocol);
}

export function holdsAddress(side: CompiledSide, peer: AddressClass): boolean {
  for (const predicate of side.allOf) if (peer.has[predicate] === 0) return false;
  for (const predicate of side.noneOf) if (peer.has[predicate] === 1) return false;
  return true;
}

const PROTOCOL_SCTP = 132;

/** `key` is the address as `addressKey` gives it. Named ports are never met, and never excluded. */
export function holdsPorts(side: CompiledSide, key: string, protocol: number, port: number): boolean {
  if (side.ports !== undefined && !inRanges(side.ports, port)) return false;
  if (side.notPorts.length > 0 && inRanges(side.notPorts, port)) return false;
  if (side.tuples === undefined) return true;
  return protocol !== PROTOCOL_SCTP && side.tuples.has(tupleKey(key, protocol, port));
}

function inRanges(ranges: readonly number[], port: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) if (port >= ranges[i]! && port <= ranges[i + 1]!) return true;
  return false;
}

export const REQUEST_FITS = 1;
export const REQUEST_DIFFERS = 0;
/** The path does not start with `/`: the whole check ends with INVALID_ARGUMENT. */
export const REQUEST_IS_BAD = -1;

/** Without HTTP attributes (Envoy's network filter) every rule's HTTP part holds. Asked after all other tests of the rule. */
export function holdsRequest(
  rule: CompiledRule,
  http: { readonly method: string; readonly path: string } | undefined,
): typeof REQUEST_FITS | typeof REQUEST_DIFFERS | typeof REQUEST_IS_BAD {
  if (http === undefined) return REQUEST_FITS;
  if (rule.methods !== undefined && !rule.methods.has(http.method)) return REQUEST_DIFFERS;
  if (rule.paths === undefined) return REQUEST_FITS;
  if (!http.path.startsWith('/')) return REQUEST_IS_BAD;
  const path = normalisePath(http.path);
  return path !== undefined && matchesPath(rule.paths, path) ? REQUEST_FITS : REQUEST_DIFFERS;
}
