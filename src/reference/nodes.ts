/**
 * Nodes: who governs which interface, and where an address is (semantics 2.4, 6.1).
 */
import type { Resources } from '../model/resources.ts';
import type { Endpoint } from './endpoints.ts';
import type { Address, AddressBook } from './packet.ts';
import { type Settings, settingsOfNode } from './settings.ts';

export interface ReferenceNode {
  readonly name: string;
  readonly settings: Settings;
  /** The host endpoint that governs the uplink by name or address. */
  readonly explicit: Endpoint | undefined;
  /** The `*` host endpoint: it governs pod interfaces, and the uplink where there is no explicit one. */
  readonly wildcard: Endpoint | undefined;
}

/** What an address stands for. */
export type Place =
  | { readonly kind: 'pod'; readonly node: ReferenceNode; readonly pod: Endpoint }
  | { readonly kind: 'host'; readonly node: ReferenceNode }
  | { readonly kind: 'outside' };

const OUTSIDE: Place = { kind: 'outside' };

export class Nodes {
  private readonly byName = new Map<string, ReferenceNode>();
  private readonly placesByAddress = new Map<Address, readonly Place[]>();

  constructor(resources: Resources, pods: readonly Endpoint[], heps: readonly Endpoint[], book: AddressBook) {
    const names = [
      ...resources.nodes.map((node) => node.meta.name),
      ...pods.map((e) => e.node),
      ...heps.map((e) => e.node),
    ];
    for (const name of [...new Set(names)].sort()) {
      const own = heps.filter((hep) => hep.node === name);
      this.byName.set(name, {
        name,
        settings: settingsOfNode(resources, name),
        explicit: smallestName(own.filter(isExplicit)),
        wildcard: smallestName(own.filter((hep) => hep.interfaceName === '*')),
      });
    }
    for (const pod of [...pods].sort((a, b) => (a.key < b.key ? -1 : 1))) {
      for (const address of pod.addresses)
        this.addPlace(address, { kind: 'pod', node: this.byName.get(pod.node)!, pod });
    }
    for (const [name, node] of this.byName) {
      const written = resources.nodes.filter(({ meta }) => meta.name === name).flatMap((object) => object.addresses);
      const own = heps.filter((hep) => hep.node === name).flatMap((hep) => hep.addresses);
      const addresses = new Set([...written.flatMap((text) => book.find(text) ?? []), ...own]);
      for (const address of addresses) this.addPlace(address, { kind: 'host', node });
    }
  }

  /**
   * Everything that claims `address`, pods first by key, then hosts by node; outside if nothing does. With `onlyNode`,
   * the other nodes and their pods are outside, too.
   */
  placesOf(address: Address, onlyNode: string | undefined): readonly Place[] {
    const places = this.placesByAddress.get(address) ?? NOWHERE;
    if (onlyNode === undefined) return places;
    const local = places.filter((place) => place.kind !== 'outside' && place.node.name === onlyNode);
    return local.length === 0 ? NOWHERE : local;
  }

  private addPlace(address: Address, place: Place): void {
    this.placesByAddress.set(address, [...(this.placesByAddress.get(address) ?? []), place]);
  }
}

const NOWHERE: readonly Place[] = [OUTSIDE];

/** By interface name, or without one by an address of the node, which its expected addresses are (6.1). */
function isExplicit(hep: Endpoint): boolean {
  return hep.interfaceName === '' ? hep.addresses.length > 0 : hep.interfaceName !== '*';
}

function smallestName(heps: readonly Endpoint[]): Endpoint | undefined {
  return [...heps].sort((a, b) => (a.name < b.name ? -1 : 1))[0];
}
