/**
 * IP sets: distinct, numbered by ID, with their members as groups; and their members as text.
 *
 * A set of a selector has every prefix of the groups that match it, a set of a named port the (address, port) tuples of
 * the matching endpoints that own such a port, a set of a service what its EndpointSlices list. An address that several
 * owners share is a member as long as one of them matches (semantics 7.2).
 * Source: Calico felix/labelindex/named_port_index.go, felix/serviceindex/serviceindex.go; semantics 7.1.
 */
import { compareBytewise } from '../base/bytewise.ts';
import { comparePrefixes, formatAddress, formatPrefix, fullPrefix, parsePrefixOrAddress } from '../base/ip.ts';
import type { EndpointSlice } from '../model/resources.ts';
import { EMPTY_SIDE, type IpSetSpec, type RuleDraft, type SideDraft } from './draft.ts';
import type { GroupIndex } from './group-index.ts';
import type { NamedPort, Plan, PlanGroup, PlanIpSet, PlanTuple, Prefix } from './plan.ts';
import { portProtocolName } from './protocols.ts';

/** Every set that one of the rules needs, once, sorted by ID. */
export function distinctIpSets(ruleLists: Iterable<readonly RuleDraft[]>): IpSetSpec[] {
  const byId = new Map<string, IpSetSpec>();
  const seen = new Set<SideDraft>([EMPTY_SIDE]);
  for (const rules of ruleLists) {
    for (const { source, destination } of rules) {
      for (const side of [source, destination]) {
        if (seen.has(side)) continue;
        seen.add(side);
        const lists = [side.ipSets, side.notIpSets, side.namedPorts, side.notNamedPorts];
        for (const list of lists) for (const spec of list) byId.set(spec.id, spec);
        if (side.servicePorts !== undefined) byId.set(side.servicePorts.id, side.servicePorts);
      }
    }
  }
  return [...byId.values()].sort((a, b) => compareBytewise(a.id, b.id));
}

/** What a group can bring into a set. */
export interface GroupMembers extends Pick<PlanGroup, 'namedPorts'> {
  readonly hasPrefixes: boolean;
}

/** The set with its members; `groups` are those of the plan, in order, and `index` the same. */
export function planIpSet(
  spec: IpSetSpec,
  groups: readonly GroupMembers[],
  index: GroupIndex,
  slices: SliceIndex,
): PlanIpSet {
  const { id, type, text, portName, portProtocol } = spec;
  if (spec.selector === undefined) {
    const prefixes = type === 'net' ? slices.prefixesOf(spec.service) : [];
    const tuples = type === 'ipPort' ? slices.tuplesOf(spec.service) : [];
    return { id, type, text, groups: [], portName, portProtocol, prefixes, tuples };
  }
  const isMember = ({ hasPrefixes, namedPorts }: GroupMembers): boolean =>
    hasPrefixes && (type === 'net' || namedPorts.some((port) => isPortOf(port, portName, portProtocol)));
  const members = index.select(spec.selector).filter((group) => isMember(groups[group]!));
  return { id, type, text, groups: members, portName, portProtocol, prefixes: [], tuples: [] };
}

function isPortOf(port: NamedPort, name: string, protocol: number): boolean {
  return port.name === name && (protocol === 0 || port.protocol === protocol);
}

/** EndpointSlices by the service they belong to, whatever the conditions of their endpoints. */
export class SliceIndex {
  readonly #byService = new Map<string, EndpointSlice[]>();

  constructor(slices: readonly EndpointSlice[]) {
    for (const slice of slices) {
      const service = `${slice.meta.namespace}/${slice.serviceName}`;
      const list = this.#byService.get(service);
      if (list === undefined) this.#byService.set(service, [slice]);
      else list.push(slice);
    }
  }

  /** Slices of `namespace/name`. */
  slicesOf(service: string): readonly EndpointSlice[] {
    return this.#byService.get(service) ?? [];
  }

  prefixesOf(service: string): readonly Prefix[] {
    return sortedPrefixes(this.slicesOf(service).flatMap((slice) => parsedAddresses(slice)));
  }

  /** A port without a number contributes nothing; a protocol other than UDP and SCTP counts as TCP. */
  tuplesOf(service: string): readonly PlanTuple[] {
    const tuples = this.slicesOf(service).flatMap((slice) =>
      slice.ports.flatMap(({ port, protocol }) => {
        if (port === undefined) return [];
        const number = slicePortProtocol(protocol);
        return parsedAddresses(slice).map((address) => ({ address: fullPrefix(address), protocol: number, port }));
      }),
    );
    tuples.sort(compareTuples);
    return tuples.filter((tuple, i) => i === 0 || compareTuples(tuples[i - 1]!, tuple) !== 0);
  }
}

export function slicePortProtocol(protocol: string): number {
  if (protocol === 'UDP') return 17;
  return protocol === 'SCTP' ? 132 : 6;
}

/** Host names and other unparsable addresses are skipped. */
export function parsedAddresses(slice: EndpointSlice): Prefix[] {
  return slice.addresses.flatMap((text) => parsePrefixOrAddress(text) ?? []);
}

/** Sorted by `comparePrefixes`, each once. */
export function sortedPrefixes(prefixes: readonly Prefix[]): Prefix[] {
  if (prefixes.length < 2) return [...prefixes];
  if (prefixes.length <= ADDRESSES_MAX && prefixes.every(({ version, length }) => version === 4 && length === 32)) {
    return sortedAddresses(prefixes);
  }
  const sorted = [...prefixes].sort(comparePrefixes);
  return sorted.filter((prefix, i) => i === 0 || comparePrefixes(sorted[i - 1]!, prefix) !== 0);
}

const ADDRESSES_MAX = 2 ** 20;

/** The same of bare IPv4 addresses, which are nearly all: address and place fit into one number, and numbers sort natively. */
function sortedAddresses(prefixes: readonly Prefix[]): Prefix[] {
  const keys = new Float64Array(prefixes.length);
  for (let i = 0; i < keys.length; i++) keys[i] = (prefixes[i]!.words[0] >>> 0) * ADDRESSES_MAX + i;
  keys.sort();
  const sorted: Prefix[] = [];
  let last = -1;
  for (const key of keys) {
    const word = Math.floor(key / ADDRESSES_MAX);
    if (word !== last) sorted.push(prefixes[key - word * ADDRESSES_MAX]!);
    last = word;
  }
  return sorted;
}

function compareTuples(a: PlanTuple, b: PlanTuple): number {
  return comparePrefixes(a.address, b.address) || a.protocol - b.protocol || a.port - b.port;
}

/** Members of a set in Calico's text (`10.0.0.1/32`, `10.0.0.1,tcp:80`), each once, sorted bytewise. */
export function ipSetMembers(plan: Plan, setIndex: number): string[] {
  const set = plan.ipSets[setIndex]!;
  const members = new Set<string>();
  for (const prefix of set.prefixes) members.add(formatPrefix(prefix));
  for (const { address, protocol, port } of set.tuples) members.add(formatTuple(address, protocol, port));
  for (const index of set.groups) {
    const group = plan.groups[index]!;
    if (set.type === 'net') {
      for (const prefix of group.prefixes) members.add(formatPrefix(prefix));
      continue;
    }
    for (const { name, protocol, port } of group.namedPorts) {
      if (!isPortOf({ name, protocol, port }, set.portName, set.portProtocol)) continue;
      for (const prefix of group.prefixes) members.add(formatTuple(prefix, protocol, port));
    }
  }
  return [...members].sort(compareBytewise);
}

function formatTuple(address: Prefix, protocol: number, port: number): string {
  return `${formatAddress(address)},${portProtocolName(protocol)}:${port}`;
}
