/**
 * Packing: a plan becomes the buffer of tables/layout.ts.
 *
 * `packPlan` reads top to bottom as the order of work: objects first (what `explain`, `render` and records read), then
 * the chains and classes of each IP version (what packets run over), then one copy into a SharedArrayBuffer.
 */
import type { Dataplane } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { TimelineData } from '../tables/live.ts';
import { buildPeerClasses } from './classes.ts';
import { addressMarks, collectOwners, packAddresses, packOwners } from './pack-addresses.ts';
import { ChainPacker, packNoCheck, packNoCheckStep } from './pack-chains.ts';
import { packObjects } from './pack-objects.ts';
import { packPairs } from './pack-pairs.ts';
import { packTimeline } from './pack-timeline.ts';
import type { Plan, PlanRejectedPod, PlanSettings } from './plan.ts';
import { Sections } from './sections.ts';
import { timedAddresses } from './timed-owners.ts';

export interface PackOptions {
  /** Keep only the endpoints of this node local, as that node's dataplane would; `undefined` = the whole cluster. */
  readonly node?: string | undefined;
  /** The dataplane whose ways apply where they differ (semantics 6.10); default iptables. */
  readonly dataplane?: Dataplane | undefined;
  /** The owners of addresses are those of an identity store: an address of the pod network without owner is unknown, not outside. */
  readonly needsIdentity?: boolean | undefined;
}

export interface PackedPlan {
  readonly buffer: SharedArrayBuffer;
  /** What changes with time, for plans whose addresses change their owners; the buffer has the state before all of it. */
  readonly timeline?: TimelineData;
}

/** The buffer for `plan`. Same plan and options, same bytes. */
export function packPlan(plan: Plan, options: PackOptions = {}): SharedArrayBuffer {
  return packTimedPlan(plan, options).buffer;
}

/** The buffer for `plan` and its timeline. */
export function packTimedPlan(plan: Plan, options: PackOptions = {}): PackedPlan {
  const sections = new Sections();
  const dataplane = options.dataplane ?? 'iptables';
  const numbers = packObjects(plan, sections, dataplane);
  const localNode =
    options.node === undefined ? layout.NONE : plan.nodes.findIndex((node) => node.name === options.node);
  const isLocal = (node: string): boolean => options.node === undefined || node === options.node;
  packNoCheckStep(sections);

  const slotsOf4 = new Map<number, readonly number[]>();
  const slotsOf6 = new Map<number, readonly number[]>();
  const settings = settingsByNode(plan);
  const packer4 = new ChainPacker(plan, 4, sections, 0, dataplane);
  collectSlots(plan, packer4, settings, isLocal, slotsOf4);
  const packer6 = new ChainPacker(plan, 6, sections, packer4.chainCount, dataplane);
  collectSlots(plan, packer6, settings, isLocal, slotsOf6);

  const timed = timedAddresses(plan);
  const owners = collectOwners(plan, timed);
  const marks = addressMarks(plan);
  const classes4 = buildPeerClasses(plan, 4, packer4.table, marks, timed);
  const classes6 = buildPeerClasses(plan, 6, packer6.table, marks, timed);
  const zeroMap = sections
    .section(layout.SECTION_CLASS_MAPS)
    .append(new Int32Array(Math.max(classes4.count, classes6.count)));
  packNoCheck(sections, zeroMap);
  packer4.packChains(classes4, numbers);
  packer6.packChains(classes6, numbers);
  packOwners(owners, sections);
  const needsIdentity = options.needsIdentity === true;
  const inTime = [
    packAddresses(plan, packer4, classes4, owners, (endpoint) => slotsOf4.get(endpoint), needsIdentity, sections),
    packAddresses(plan, packer6, classes6, owners, (endpoint) => slotsOf6.get(endpoint), needsIdentity, sections),
  ];
  const timeline =
    timed.size === 0 ? undefined : packTimeline(plan, owners, new Map(inTime.flatMap((map) => [...map])), sections);
  packPairs(sections);
  packEndpoints(plan, slotsOf4, slotsOf6, sections);
  const buffer = sections.finish(localNode);
  return timeline === undefined ? { buffer } : { buffer, timeline };
}

interface NodeSettings {
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
  slotsOf: Map<number, readonly number[]>,
): void {
  plan.endpoints.forEach((endpoint, index) => {
    const node = settings.get(endpoint.node);
    if (node === undefined || !isLocal(endpoint.node)) return;
    slotsOf.set(index, packer.endpointSlots(endpoint.group, node.settings, node.key));
  });
  plan.rejectedPods.forEach((pod, index) => {
    const node = settings.get(pod.node);
    if (node === undefined || !isLocal(pod.node)) return;
    slotsOf.set(plan.endpoints.length + index, packer.rejectedSlots(node.settings, node.key));
  });
}

function packEndpoints(
  plan: Plan,
  slotsOf4: ReadonlyMap<number, readonly number[]>,
  slotsOf6: ReadonlyMap<number, readonly number[]>,
  sections: Sections,
): void {
  const nodes = new Map(plan.nodes.map((node, index) => [node.name, index]));
  const offsets = new Map<readonly number[], Map<readonly number[], number>>();
  // Pods of one group share their lists of slots, so a list is looked up by itself before it is looked up by content.
  const chainsOf = (endpoint: number): number => {
    const [slots4, slots6] = [slotsOf4.get(endpoint), slotsOf6.get(endpoint)];
    if (slots4 === undefined || slots6 === undefined) return layout.NONE;
    const bySlots6 = offsets.get(slots4) ?? new Map<readonly number[], number>();
    offsets.set(slots4, bySlots6);
    let offset = bySlots6.get(slots6);
    if (offset === undefined) {
      offset = sections.ints([...slots4, ...slots6]);
      bySlots6.set(slots6, offset);
    }
    return offset;
  };
  plan.endpoints.forEach((endpoint, index) => {
    const labels = endpoint.labels.flatMap(([key, value]) => [sections.string(key), sections.string(value)]);
    const [labelsAt] = sections.intList(labels);
    sections.record(layout.SECTION_ENDPOINTS, [
      sections.string(endpoint.key),
      endpoint.kind === 'wep' ? layout.KIND_WEP : layout.KIND_HEP,
      sections.string(endpoint.namespace),
      sections.string(endpoint.name),
      nodes.get(endpoint.node) ?? layout.NONE,
      sections.string(endpoint.serviceAccount),
      sections.string(endpoint.uid),
      labelsAt,
      endpoint.labels.length,
      ...sections.prefixList(endpoint.addresses),
      sections.string(endpoint.interfaceName),
      endpoint.group,
      sections.string(endpoint.origin.file),
      endpoint.origin.line,
      chainsOf(index),
      ...sections.prefixList(endpoint.allowedSources),
    ]);
  });
  plan.rejectedPods.forEach((pod, index) => {
    const at = plan.endpoints.length + index;
    sections.record(layout.SECTION_ENDPOINTS, rejectedPod(pod, nodes, chainsOf(at), sections));
  });
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
