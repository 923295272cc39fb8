/**
 * Packing: a plan becomes the buffer of tables/layout.ts.
 *
 * `packPlan` reads top to bottom as the order of work: objects first (what `explain`, `render` and records read), then
 * the chains and classes of each IP version (what packets run over), then one copy into a SharedArrayBuffer.
 */
import type { Dataplane } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { LiveData, TimelineData } from '../tables/live.ts';
import { ClassMaps } from './class-maps.ts';
import { buildPeerClasses, type PeerClasses } from './classes.ts';
import { buildKinds, type KindsOfAddresses, type KindTable } from './kinds.ts';
import { collectOwners, type Owners } from './owners.ts';
import { type AddressClasses, addressMarks, packAddresses } from './pack-addresses.ts';
import { ChainPacker } from './pack-chains.ts';
import { type EndpointWriter, packEndpoints } from './pack-endpoints.ts';
import { packLive } from './pack-live.ts';
import { packObjects } from './pack-objects.ts';
import { packOwners } from './pack-owners.ts';
import { type PairTable, packPairs } from './pack-pairs.ts';
import { packNoCheck, packNoCheckStep } from './pack-steps.ts';
import { packTimeline } from './pack-timeline.ts';
import type { Plan, PlanSettings, Prefix } from './plan.ts';
import { planAddresses } from './plan-addresses.ts';
import { Sections } from './sections.ts';
import { liveAddresses, type TimedAddress, type TimedAddresses, timedAddresses } from './timed-owners.ts';

export interface PackOptions {
  /** Keep only the endpoints of this node local, as that node's dataplane would; `undefined` = the whole cluster. */
  readonly node?: string | undefined;
  /** The dataplane whose ways apply where they differ (semantics 6.10); default iptables. */
  readonly dataplane?: Dataplane | undefined;
  /** The owners of addresses are those of an identity store: an address of the pod network without owner is unknown, not outside. */
  readonly needsIdentity?: boolean | undefined;
  /** Tables whose addresses change their owners while they are in use (tables/live.ts). */
  readonly live?: LiveOptions | undefined;
}

export interface LiveOptions {
  /** Addresses that pods may get, beside those that they have. */
  readonly pool: readonly Prefix[];
  /** Pods that may come. */
  readonly spareEndpoints: number;
}

export interface PackedPlan {
  readonly buffer: SharedArrayBuffer;
  /** What changes with time, for plans whose addresses change their owners; the buffer has the state before all of it. */
  readonly timeline?: TimelineData;
  /** Where `live` was asked for: how owners are given to addresses. In the buffer nobody owns any. */
  readonly live?: LiveData;
}

/** The buffer for `plan`. Same plan and options, same bytes. */
export function packPlan(plan: Plan, options: PackOptions = {}): SharedArrayBuffer {
  return packTimedPlan(plan, options).buffer;
}

/** The buffer for `plan` and its timeline. */
export function packTimedPlan(plan: Plan, options: PackOptions = {}): PackedPlan {
  const { live } = options;
  const timed = live === undefined ? timedAddresses(plan) : liveAddresses(plan, live.pool);
  const { sections, owners, inTime, localNode, writer } = packParts(plan, options, timed);
  if (live !== undefined) {
    const data = packLive(plan, inTime, live.spareEndpoints, sections, writer);
    return { buffer: sections.finish(localNode), live: data };
  }
  const timeline = timed.size === 0 ? undefined : packTimeline(plan, owners, inTime, sections);
  const buffer = sections.finish(localNode);
  return timeline === undefined ? { buffer } : { buffer, timeline };
}

/** How many things may come into tables that are repacked (repack.ts). */
export interface PackRoom {
  /** Peer classes of each IP version; rows and columns of pairs. */
  readonly classes: number;
  readonly pairs: number;
  /** Addresses of each IP version. */
  readonly addresses: number;
}

/** Everything that packing made, for whoever goes on from there. */
export interface PackParts {
  readonly sections: Sections;
  readonly owners: Owners;
  readonly localNode: number;
  readonly inTime: ReadonlyMap<TimedAddress, readonly number[]>;
  readonly nodes: ReadonlyMap<string, NodeSettings>;
  readonly isLocal: (node: string) => boolean;
  readonly writer: EndpointWriter;
  /** IPv4, then IPv6. */
  readonly versions: readonly VersionParts[];
}

export interface VersionParts {
  readonly packer: ChainPacker;
  /** By endpoint; those that come are added. */
  readonly slotsOf: (readonly number[] | undefined)[];
  readonly numbers: AddressClasses;
  readonly pairs: PairTable;
  readonly kinds: KindTable | undefined;
}

/** Writes all sections. With `room`, nothing may change with time. */
export function packParts(plan: Plan, options: PackOptions, timed: TimedAddresses, room?: PackRoom): PackParts {
  const sections = new Sections();
  const dataplane = options.dataplane ?? 'iptables';
  const objects = packObjects(plan, sections, dataplane);
  const localNode =
    options.node === undefined ? layout.NONE : plan.nodes.findIndex((node) => node.name === options.node);
  const isLocal = (node: string): boolean => options.node === undefined || node === options.node;
  packNoCheckStep(sections);

  const nodes = settingsByNode(plan);
  const packer4 = new ChainPacker(plan, 4, sections, 0, dataplane, room?.classes);
  const slotsOf4 = collectSlots(plan, packer4, nodes, isLocal);
  const packer6 = new ChainPacker(plan, 6, sections, packer4.chainCount, dataplane, room?.classes, packer4);
  const slotsOf6 = collectSlots(plan, packer6, nodes, isLocal);

  const addresses = planAddresses(plan);
  const owners = collectOwners(plan, addresses, timed);
  const marks = addressMarks(plan);
  const [four, six] = [packer4, packer6].map((packer, i) => {
    const { version, table } = packer;
    const kinds = room === undefined ? undefined : buildKinds(plan, version, addresses, table, marks);
    const classes = kinds?.classes ?? buildPeerClasses(plan, version, addresses, table, marks, timed);
    return { packer, slotsOf: i === 0 ? slotsOf4 : slotsOf6, kinds, classes };
  }) as [PackedVersion, PackedVersion];
  const { zero } = new ClassMaps(sections, Math.max(four.classes.count, six.classes.count) + (room?.classes ?? 0), 0);
  packNoCheck(sections, zero);
  for (const { packer, classes } of [four, six]) packer.packChains(classes, objects);
  packOwners(owners, sections, room?.addresses);
  const needsIdentity = options.needsIdentity === true;
  const withDoubt = options.live !== undefined;
  const packed = [four, six].map(({ packer, classes, slotsOf, kinds }) =>
    packAddresses(plan, packer, classes, owners, slotsOf, needsIdentity, withDoubt, sections, kinds, room?.addresses),
  );
  const pairs = packPairs(sections, room?.pairs);
  const writer = packEndpoints(plan, slotsOf4, slotsOf6, sections);
  const versions = [four, six].map(({ packer, slotsOf, kinds }, i) => {
    return { packer, slotsOf, numbers: packed[i]!.numbers, pairs: pairs[i]!, kinds: kinds?.table };
  });
  const inTime = new Map(packed.flatMap((each) => [...each.inTime]));
  return { sections, owners, localNode, inTime, nodes, isLocal, writer, versions };
}

interface PackedVersion {
  readonly packer: ChainPacker;
  readonly slotsOf: (readonly number[] | undefined)[];
  readonly kinds: KindsOfAddresses | undefined;
  readonly classes: PeerClasses;
}

export interface NodeSettings {
  readonly node: number;
  readonly settings: PlanSettings;
  /** Equal settings have equal keys. */
  readonly key: number;
}

function settingsByNode(plan: Plan): ReadonlyMap<string, NodeSettings> {
  const keys = new Map<string, number>();
  return new Map(
    plan.nodes.map((node, index) => {
      const text = JSON.stringify(node.settings);
      if (!keys.has(text)) keys.set(text, keys.size);
      return [node.name, { node: index, settings: node.settings, key: keys.get(text)! }];
    }),
  );
}

function collectSlots(
  plan: Plan,
  packer: ChainPacker,
  settings: ReadonlyMap<string, NodeSettings>,
  isLocal: (node: string) => boolean,
): (readonly number[] | undefined)[] {
  const slotsOf: (readonly number[] | undefined)[] = [];
  // By group: the slots under the settings seen last. Most clusters have one for all nodes.
  const last: { key: number; slots: readonly number[] }[] = [];
  let lastName: string | undefined;
  let node: NodeSettings | undefined;
  for (const { node: name, group } of plan.endpoints) {
    if (name !== lastName) {
      lastName = name;
      node = isLocal(name) ? settings.get(name) : undefined;
    }
    if (node === undefined) slotsOf.push(undefined);
    else {
      if (last[group]?.key !== node.key) {
        last[group] = { key: node.key, slots: packer.endpointSlots(group, node.settings, node.key) };
      }
      slotsOf.push(last[group]!.slots);
    }
  }
  for (const pod of plan.rejectedPods) {
    const node = settings.get(pod.node);
    const isKnown = node !== undefined && isLocal(pod.node);
    slotsOf.push(isKnown ? packer.rejectedSlots(node.settings, node.key) : undefined);
  }
  return slotsOf;
}
