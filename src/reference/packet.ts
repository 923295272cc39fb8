/** One packet as the reference sees it, and the addresses in it. */
import { formatAddress, type IpAddress, type IpPrefix, parseAddress, prefixContains } from '../base/ip.ts';
import {
  type Flow,
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_IPIP,
  PROTOCOL_IPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
} from '../model/flow.ts';

/** An address with its canonical text; one object per address, so that caches may be keyed by it. */
export interface Address extends IpAddress {
  readonly text: string;
}

/** A decoded whole datagram. Ports are 0 where the protocol has none; ICMP fields likewise. */
export interface Packet {
  readonly src: Address;
  readonly dst: Address;
  /** Of both addresses. */
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly icmpType: number;
  readonly icmpCode: number;
}

const PROTOCOL_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['tcp', PROTOCOL_TCP],
  ['udp', PROTOCOL_UDP],
  ['icmp', PROTOCOL_ICMP],
  ['icmpv6', PROTOCOL_ICMPV6],
  ['sctp', PROTOCOL_SCTP],
  ['udplite', PROTOCOL_UDPLITE],
]);

/** Names that only flows use; rules know the six above. */
const FLOW_PROTOCOL_NUMBERS: ReadonlyMap<string, number> = new Map([
  ...PROTOCOL_NUMBERS,
  ['ipip', PROTOCOL_IPIP],
  ['ipv6', PROTOCOL_IPV6],
  ['gre', PROTOCOL_GRE],
]);

/** IP protocol number of a rule's protocol, or `undefined` for an unknown name. Names match whatever their case. */
export function protocolNumber(protocol: string | number): number | undefined {
  return typeof protocol === 'number' ? protocol : PROTOCOL_NUMBERS.get(protocol.toLowerCase());
}

/** Gives each address one object, whatever way it is written. */
export class AddressBook {
  private readonly byText = new Map<string, Address>();

  /** The address that `text` writes, or `undefined` if it writes none. */
  find(text: string): Address | undefined {
    const known = this.byText.get(text);
    if (known !== undefined) return known;
    const parsed = parseAddress(text);
    if (parsed === undefined) return undefined;
    const canonical = formatAddress(parsed);
    const address = this.byText.get(canonical) ?? { ...parsed, text: canonical };
    this.byText.set(canonical, address);
    this.byText.set(text, address);
    return address;
  }
}

/** The first packet of a new connection that `flow` describes, defaults filled in. Throws `TypeError` on a malformed flow. */
export function packetOfFlow(flow: Flow, addresses: AddressBook): Packet {
  const src = addresses.find(flow.src);
  const dst = addresses.find(flow.dst);
  if (src === undefined || dst === undefined) throw new TypeError(`flow ${flow.src} -> ${flow.dst}: not an address`);
  if (src.version !== dst.version) throw new TypeError(`flow ${flow.src} -> ${flow.dst}: addresses of two families`);
  const protocol = flowProtocol(flow.protocol ?? 'tcp');
  const hasPorts = protocolHasPorts(protocol);
  if (hasPorts && flow.dst_port === undefined) throw new TypeError(`flow ${flow.src} -> ${flow.dst}: no dst_port`);
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  return {
    src,
    dst,
    version: src.version,
    protocol,
    srcPort: hasPorts ? (flow.src_port ?? 49152) : 0,
    dstPort: hasPorts ? flow.dst_port! : 0,
    icmpType: isIcmp ? (flow.icmp_type ?? (protocol === PROTOCOL_ICMP ? 8 : 128)) : 0,
    icmpCode: isIcmp ? (flow.icmp_code ?? 0) : 0,
  };
}

export function protocolHasPorts(protocol: number): boolean {
  return (
    protocol === PROTOCOL_TCP ||
    protocol === PROTOCOL_UDP ||
    protocol === PROTOCOL_SCTP ||
    protocol === PROTOCOL_UDPLITE
  );
}

export function isInAny(prefixes: readonly IpPrefix[], address: IpAddress): boolean {
  return prefixes.some((prefix) => prefixContains(prefix, address));
}

function flowProtocol(protocol: string | number): number {
  if (typeof protocol === 'number') return protocol;
  const number = FLOW_PROTOCOL_NUMBERS.get(protocol.toLowerCase());
  if (number !== undefined) return number;
  if (/^[0-9]{1,3}$/.test(protocol) && Number(protocol) <= 255) return Number(protocol);
  throw new TypeError(`flow: unknown protocol ${JSON.stringify(protocol)}`);
}
