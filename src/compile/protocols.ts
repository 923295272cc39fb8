/** IP protocols of rules, by name and number. Source: Calico api/pkg/lib/numorstring/protocol.go. */
import { PROTOCOL_NUMBERS, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import type { Protocol } from '../model/rule.ts';

/** The protocol number, or `undefined` for a name Felix does not know or a number outside 1-255. Case is ignored. */
export function protocolNumber(protocol: Protocol): number | undefined {
  if (typeof protocol === 'string') return PROTOCOL_NUMBERS.get(protocol.toLowerCase());
  return Number.isInteger(protocol) && protocol >= 1 && protocol <= 255 ? protocol : undefined;
}

/** The IP version that a protocol *name* implies (semantics 3.5); a number implies none. */
export function impliedIpVersion(protocol: Protocol): 0 | 4 | 6 {
  if (typeof protocol !== 'string') return 0;
  const name = protocol.toLowerCase();
  if (name === 'icmp') return 4;
  return name === 'icmpv6' ? 6 : 0;
}

/** Whether rules of this protocol may have ports. UDP-Lite may not (semantics 3.7). */
export function hasRulePorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
}

/** Name of a protocol that endpoints' named ports can have, as IDs and members print it; 0 is `any`. */
export function portProtocolName(protocol: number): string {
  switch (protocol) {
    case 0:
      return 'any';
    case PROTOCOL_TCP:
      return 'tcp';
    case PROTOCOL_UDP:
      return 'udp';
    case PROTOCOL_SCTP:
      return 'sctp';
    default:
      return String(protocol);
  }
}

/** Protocol number of an endpoint's or slice's port: `TCP` (also when empty), `UDP` or `SCTP` in any case, else `undefined`. */
export function portProtocolNumber(name: string): number | undefined {
  switch (name.toLowerCase()) {
    case '':
    case 'tcp':
      return PROTOCOL_TCP;
    case 'udp':
      return PROTOCOL_UDP;
    case 'sctp':
      return PROTOCOL_SCTP;
    default:
      return undefined;
  }
}
