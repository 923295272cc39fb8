/**
 * IP sets: the addresses of everything a selector selects (semantics 3.3, 3.7, 3.8, 7.2).
 *
 * A selector is evaluated per endpoint or network set, and a rule then only asks whether the packet's address is a
 * member: whoever else has the address does not matter, so an address with two owners carries both their identities.
 */
import type { IpPrefix } from '../base/ip.ts';
import { PROTOCOL_TCP } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import type { ServiceMatch } from '../model/rule.ts';
import type { Endpoint, NetworkSetMembers } from './endpoints.ts';
import { type Address, type AddressBook, isInAny, protocolNumber } from './packet.ts';
import { trySelector } from './selector-text.ts';

/** Addresses, asked one at a time; answers are remembered per address. */
export class AddressSet {
  private readonly answers = new Map<Address, boolean>();
  private readonly addresses: ReadonlySet<Address>;
  private readonly prefixes: readonly IpPrefix[];

  constructor(addresses: Iterable<Address>, prefixes: readonly IpPrefix[]) {
    this.addresses = new Set(addresses);
    this.prefixes = prefixes;
  }

  has(address: Address): boolean {
    let answer = this.answers.get(address);
    if (answer === undefined) {
      answer = this.addresses.has(address) || isInAny(this.prefixes, address);
      this.answers.set(address, answer);
    }
    return answer;
  }
}

/** (address, protocol, port) tuples: named ports and destination services. */
export class PortSet {
  private readonly tuples = new Map<Address, { readonly protocol: number; readonly port: number }[]>();

  add(address: Address, protocol: number, port: number): void {
    const list = this.tuples.get(address) ?? [];
    list.push({ protocol, port });
    this.tuples.set(address, list);
  }

  has(address: Address, protocol: number, port: number): boolean {
    const list = this.tuples.get(address);
    return list?.some((tuple) => tuple.protocol === protocol && tuple.port === port) ?? false;
  }
}

/** All sets of one cluster, each made when it is first asked for. */
export class IpSets {
  private readonly selectorSets = new Map<string, AddressSet>();
  private readonly endpoints: readonly Endpoint[];
  private readonly sets: readonly NetworkSetMembers[];
  private readonly resources: Resources;
  private readonly book: AddressBook;

  constructor(
    endpoints: readonly Endpoint[],
    sets: readonly NetworkSetMembers[],
    resources: Resources,
    book: AddressBook,
  ) {
    this.endpoints = endpoints.filter((endpoint) => !endpoint.isRejected);
    this.sets = sets;
    this.resources = resources;
    this.book = book;
  }

  /** Everything that `text`, which parses, selects in the cluster. */
  ofSelector(text: string): AddressSet {
    let set = this.selectorSets.get(text);
    if (set === undefined) {
      const selector = trySelector(text)!;
      const addresses = this.endpoints.filter(({ labels }) => selector.matches(labels)).flatMap((e) => e.addresses);
      const prefixes = this.sets.filter(({ labels }) => selector.matches(labels)).flatMap((s) => s.prefixes);
      set = new AddressSet(addresses, prefixes);
      this.selectorSets.set(text, set);
    }
    return set;
  }

  /** Ports called `name` of the endpoints (never network sets) that `text` selects; `protocol` `undefined` = of any protocol. */
  ofNamedPort(text: string, name: string, protocol: number | undefined): PortSet {
    const selector = trySelector(text)!;
    const set = new PortSet();
    for (const endpoint of this.endpoints.filter(({ labels }) => selector.matches(labels))) {
      for (const port of endpoint.namedPorts) {
        if (port.name !== name || (protocol !== undefined && port.protocol !== protocol)) continue;
        for (const address of endpoint.addresses) set.add(address, port.protocol, port.port);
      }
    }
    return set;
  }

  ofServiceAddresses(service: ServiceMatch): AddressSet {
    const addresses = this.slicesOf(service).flatMap((slice) => this.addressesOf(slice.addresses));
    return new AddressSet(addresses, []);
  }

  ofServicePorts(service: ServiceMatch): PortSet {
    const set = new PortSet();
    for (const slice of this.slicesOf(service)) {
      for (const { protocol, port } of slice.ports) {
        const number = protocol === '' ? PROTOCOL_TCP : protocolNumber(protocol);
        if (port === undefined || number === undefined) continue;
        for (const address of this.addressesOf(slice.addresses)) set.add(address, number, port);
      }
    }
    return set;
  }

  /** A match without namespace finds no slice, since every slice has one (semantics 3.8). */
  private slicesOf(service: ServiceMatch): Resources['endpointSlices'] {
    return this.resources.endpointSlices.filter(
      (slice) => slice.serviceName === service.name && slice.meta.namespace === service.namespace,
    );
  }

  /** Host names are no addresses and are skipped. */
  private addressesOf(texts: readonly string[]): Address[] {
    return texts.flatMap((text) => this.book.find(text) ?? []);
  }
}
