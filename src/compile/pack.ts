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
import { type AddressClasses, addressMarks, packAddresses, type SlotsOf } from './pack-addresses.ts';
import { ChainPacker } from './pack-chains.ts';
import { packLive } from './pack-live.ts';
import { packObjects } from './pack-objects.ts';
import { packOwners } from './pack-owners.ts';
import { type PairTable, packPairs } from './pack-pairs.ts';
import { packNoCheck, packNoCheckStep } from './pack-steps.ts';
import { packTimeline } from './pack-timeline.ts';
import type { Plan, PlanEndpoint, PlanRejectedPod, PlanSettings, Prefix } from './plan.ts';
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
  const { sections, owners, inTime, localNode } = packParts(plan, options, timed);
  if (live !== undefined) {
    const data = packLive(plan, inTime, live.spareEndpoints, sections);
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

function packEndpoints(plan: Plan, slotsOf4: SlotsOf, slotsOf6: SlotsOf, sections: Sections): EndpointWriter {
  const nodes = new Map(plan.nodes.map((node, index) => [node.name, index]));
  const writer = new EndpointWriter(nodes, slotsOf4, slotsOf6, sections);
  const records = sections.section(layout.SECTION_ENDPOINTS);
  const first = records.extend(plan.endpoints.length * layout.ENDPOINT_SIZE);
  const { room } = records;
  plan.endpoints.forEach((endpoint, index) => {
    writer.write(endpoint, index, room, first + index * layout.ENDPOINT_SIZE);
  });
  plan.rejectedPods.forEach((pod, index) => {
    const at = plan.endpoints.length + index;
    sections.record(layout.SECTION_ENDPOINTS, rejectedPod(pod, nodes, writer.chainsOf(at), sections));
  });
  return writer;
}

/** Lists of labels, and texts in them, that are known without a look into the pools. */
const KNOWN_LABELS_MAX = 2 ** 17;
const KNOWN_TEXTS_MAX = 8192;

/** Whether a key ends in the name behind its slash, and that is one byte a character. */
function isTail(key: string, name: string): boolean {
  const from = key.length - name.length;
  if (from < 1 || key.charCodeAt(from - 1) !== SLASH || !key.endsWith(name)) return false;
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0x7f) return false;
  return true;
}

const SLASH = 0x2f;

/** Strings and prefixes of an endpoint that is gone, for the next one. */
export interface SpareEndpoint {
  readonly key: string;
  readonly uid: string;
  readonly keyString: number;
  readonly nameString: number;
  readonly uidString: number;
  readonly firstAddress: number;
  readonly addressCount: number;
}

/** Writes records of SECTION_ENDPOINTS. What a pod has in common with the one before is not looked up again. */
export class EndpointWriter {
  readonly #nodes: ReadonlyMap<string, number>;
  readonly #slotsOf4: SlotsOf;
  readonly #slotsOf6: SlotsOf;
  readonly #sections: Sections;
  readonly #offsets = new Map<readonly number[], Map<readonly number[], number>>();
  readonly #labels = new Map<PlanEndpoint['labels'], number>();
  readonly #last = new Map<number, { text: string; string: number }>();
  readonly #empty: number;
  /** Strings of labels that many pods have. */
  readonly #common = new Map<string, number>();

  constructor(nodes: ReadonlyMap<string, number>, slotsOf4: SlotsOf, slotsOf6: SlotsOf, sections: Sections) {
    this.#nodes = nodes;
    this.#slotsOf4 = slotsOf4;
    this.#slotsOf6 = slotsOf6;
    this.#sections = sections;
    this.#empty = sections.string('');
  }

  /** `spare`: what was left by an endpoint that is gone. */
  write(endpoint: PlanEndpoint, index: number, room: Int32Array, at: number, spare?: SpareEndpoint): void {
    const sections = this.#sections;
    const { addresses, allowedSources, labels } = endpoint;
    const empty = this.#empty;
    room[at + layout.ENDPOINT_LABELS] = this.#labelsAt(labels);
    room[at + layout.ENDPOINT_LABELS + 1] = labels.length;
    const { key, name, uid } = endpoint;
    const known = spare?.key === key ? spare : undefined;
    const keyString = known?.keyString ?? sections.uniqueString(key);
    room[at + layout.ENDPOINT_KEY] = keyString;
    room[at + layout.ENDPOINT_KIND] = endpoint.kind === 'wep' ? layout.KIND_WEP : layout.KIND_HEP;
    room[at + layout.ENDPOINT_NAMESPACE] = this.#string(layout.ENDPOINT_NAMESPACE, endpoint.namespace);
    room[at + layout.ENDPOINT_NAME] =
      known?.nameString ?? (isTail(key, name) ? sections.tailString(keyString, name) : sections.uniqueString(name));
    room[at + layout.ENDPOINT_NODE] = this.#nodes.get(endpoint.node) ?? layout.NONE;
    room[at + layout.ENDPOINT_SERVICE_ACCOUNT] = this.#string(layout.ENDPOINT_SERVICE_ACCOUNT, endpoint.serviceAccount);
    const knownUid = spare?.uid === uid ? spare.uidString : undefined;
    room[at + layout.ENDPOINT_UID] = uid === '' ? empty : (knownUid ?? sections.uniqueString(uid));
    const place = spare?.addressCount === addresses.length ? spare.firstAddress : undefined;
    this.#prefixes(addresses, room, at + layout.ENDPOINT_ADDRESSES, place);
    room[at + layout.ENDPOINT_INTERFACE] = this.#string(layout.ENDPOINT_INTERFACE, endpoint.interfaceName);
    room[at + layout.ENDPOINT_GROUP] = endpoint.group;
    room[at + layout.ENDPOINT_FILE] = this.#string(layout.ENDPOINT_FILE, endpoint.origin.file);
    room[at + layout.ENDPOINT_LINE] = endpoint.origin.line;
    room[at + layout.ENDPOINT_CHAINS] = this.chainsOf(index);
    this.#prefixes(allowedSources, room, at + layout.ENDPOINT_ALLOWED_SOURCES);
  }

  /** Pods of one group share their lists of slots, so a list is looked up by itself before it is looked up by content. */
  chainsOf(endpoint: number): number {
    const slots4 = this.#slotsOf4[endpoint];
    const slots6 = this.#slotsOf6[endpoint];
    if (slots4 === undefined || slots6 === undefined) return layout.NONE;
    let bySlots6 = this.#offsets.get(slots4);
    if (bySlots6 === undefined) {
      bySlots6 = new Map();
      this.#offsets.set(slots4, bySlots6);
    }
    let offset = bySlots6.get(slots6);
    if (offset === undefined) {
      offset = this.#sections.ints([...slots4, ...slots6]);
      bySlots6.set(slots6, offset);
    }
    return offset;
  }

  #labelsAt(labels: PlanEndpoint['labels']): number {
    if (labels.length === 0) return 0;
    let offset = this.#labels.get(labels);
    if (offset === undefined) {
      const strings = new Array<number>(2 * labels.length);
      for (let i = 0; i < labels.length; i++) {
        strings[2 * i] = this.#commonString(labels[i]![0]);
        strings[2 * i + 1] = this.#commonString(labels[i]![1]);
      }
      offset = this.#sections.ints(strings);
      if (this.#labels.size >= KNOWN_LABELS_MAX) this.#labels.clear();
      this.#labels.set(labels, offset);
    }
    return offset;
  }

  #commonString(text: string): number {
    const known = this.#common.get(text);
    if (known !== undefined) return known;
    const string = this.#sections.string(text);
    if (this.#common.size < KNOWN_TEXTS_MAX) this.#common.set(text, string);
    return string;
  }

  #prefixes(prefixes: readonly Prefix[], room: Int32Array, at: number, place?: number): void {
    const sections = this.#sections;
    room[at] = prefixes.length === 0 ? 0 : (place ?? sections.count(layout.SECTION_PREFIXES));
    room[at + 1] = prefixes.length;
    for (let i = 0; i < prefixes.length; i++) {
      if (place === undefined) sections.prefix(prefixes[i]!);
      else sections.setPrefix(place + i, prefixes[i]!);
    }
  }

  /** The string of a field of which neighbours often have the same. */
  #string(field: number, text: string): number {
    const last = this.#last.get(field);
    if (last === undefined) {
      const string = this.#sections.string(text);
      this.#last.set(field, { text, string });
      return string;
    }
    if (last.text !== text) {
      last.text = text;
      last.string = this.#sections.string(text);
    }
    return last.string;
  }
}

/** A refused pod has an owner's place and chains that deny, but no labels and no group: it is nobody's peer. */
function rejectedPod(
  { key, node, addresses, origin }: PlanRejectedPod,
  nodes: ReadonlyMap<string, number>,
  chains: number,
  sections: Sections,
): number[] {
  const path = key.slice(key.indexOf(':') + 1);
  const slash = path.indexOf('/');
  return [
    sections.string(key),
    layout.KIND_WEP,
    sections.string(path.slice(0, slash)),
    sections.string(path.slice(slash + 1)),
    nodes.get(node)!,
    sections.string(''),
    sections.string(''),
    0,
    0,
    ...sections.prefixList(addresses),
    sections.string(''),
    layout.NONE,
    sections.string(origin.file),
    origin.line,
    chains,
    ...sections.prefixList([]),
  ];
}
