/**
 * Random worlds: whole clusters of every kind, as documents, and flows between their addresses.
 *
 * A world is what a user would hand in: documents as text, and the mode of the load. It goes through `loadResources` like
 * anything else. What the API refuses is left out of a strict load with its document, and follows the semantics in a permissive one.
 */
import fc from 'fast-check';
import { loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import type { Resources } from '../../src/model/resources.ts';
import type { Document } from '../rows/objects.ts';
import { oneIn } from './arbitraries.ts';
import {
  accounts,
  configurations,
  endpointSlices,
  hostEndpoints,
  namespaces,
  networkSets,
  nodes,
  pods,
  profiles,
} from './objects.ts';
import { policies, tiers } from './policies.ts';
import { ICMP_TYPES, NODE_ADDRESSES, OTHER_ADDRESSES, OTHER_PROTOCOLS, POD_ADDRESSES, PORTS } from './pools.ts';

export interface World {
  readonly documents: readonly Document[];
  readonly permissive: boolean;
  readonly asIs: boolean;
  /** Of the flows that are drawn for it. */
  readonly flowSeed: number;
}

export const world: fc.Arbitrary<World> = fc
  .record({
    documents: fc
      .tuple(
        policies,
        tiers,
        pods,
        namespaces,
        accounts,
        nodes,
        networkSets,
        hostEndpoints,
        profiles,
        endpointSlices,
        configurations,
      )
      .map((lists): Document[] => lists.flat()),
    permissive: oneIn(4),
    asIs: oneIn(4),
    flowSeed: fc.nat(),
  })
  .map((drawn) => drawn);

export interface LoadedWorld {
  readonly resources: Resources;
  /** Those that were not refused, in their order. */
  readonly documents: readonly Document[];
}

/**
 * Loads a world, each document as a source of its own (`d0`, `d1`, …), so that the order of loading changes no origin.
 * Documents with errors are left out. `order` gives the order of loading.
 */
export function loadWorld(
  { documents, permissive, asIs }: World,
  order = documents.map((_, index) => index),
): LoadedWorld {
  const sourceOf = (index: number) => ({ name: `d${index}`, text: JSON.stringify(documents[index]) });
  const options = { permissive, asIs };
  const first = loadResources(order.map(sourceOf), options);
  if (first.errors.length === 0) return { resources: first.resources, documents };
  const refused = new Set(first.errors.map(({ file }) => file));
  const kept = order.filter((index) => !refused.has(`d${index}`));
  const second = loadResources(kept.map(sourceOf), options);
  if (second.errors.length > 0)
    throw new Error(`an object is refused for another's sake: ${JSON.stringify(second.errors)}`);
  return { resources: second.resources, documents: documents.filter((_, index) => !refused.has(`d${index}`)) };
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Pods' addresses three times, so that most flows have a pod at one end. */
const ADDRESSES = [
  ...POD_ADDRESSES,
  ...POD_ADDRESSES,
  ...POD_ADDRESSES,
  ...NODE_ADDRESSES,
  ...NODE_ADDRESSES,
  ...OTHER_ADDRESSES,
];

const SRC_PORTS = [40_000, 40_000, 49_152, ...PORTS];

/** `count` flows between the addresses of the pools, half of them IPv6. */
export function drawFlows(seed: number, count: number): Flow[] {
  const random = randomFrom(seed);
  const choose = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  return Array.from({ length: count }, () => {
    const family = random() < 0.5 ? 0 : 1;
    const ends = { src: choose(ADDRESSES)[family], dst: choose(ADDRESSES)[family] };
    const roll = random();
    if (roll < 0.8) {
      const protocol = roll < 0.45 ? 'tcp' : roll < 0.68 ? 'udp' : 'sctp';
      return { ...ends, protocol, src_port: choose(SRC_PORTS), dst_port: choose(PORTS) };
    }
    if (roll < 0.93) {
      // Mostly the ICMP of the flow's IP version.
      const isIcmp = random() < 0.9 === (family === 0);
      return {
        ...ends,
        protocol: isIcmp ? 'icmp' : 'icmpv6',
        icmp_type: choose(ICMP_TYPES),
        icmp_code: choose([0, 0, 1]),
      };
    }
    return { ...ends, protocol: choose(OTHER_PROTOCOLS), src_port: choose(SRC_PORTS), dst_port: choose(PORTS) };
  });
}
