/**
 * Objects to plan: the front half of the compiler, from top to bottom.
 *
 *     pods, hosts, network sets ─► endpoints ─► groups ──────────────┐
 *     namespaces, accounts, Profiles ─► profiles ─► labels, rules ───┤
 *     policies of all kinds ─► Calico's form ─► drafts ─► in order ──┴─► policies of each group, IP sets ─► numbers
 *     Nodes, FelixConfiguration ─► nodes and settings                    Services, slices ─► services
 *
 * Every step is a function of the objects, none of the order in which they came. Work that depends on one object alone is
 * kept in `PlanCaches`, by the object's identity, so that a compile after a small change repeats only the joins.
 */
import { compareBytewise } from '../base/bytewise.ts';
import type { Pod, Policy, Resources } from '../model/resources.ts';
import type { Selector } from '../selector/selector.ts';
import { type AssembledGroup, assemble } from './assemble.ts';
import { planSubjects } from './conditions.ts';
import { convertPolicy } from './convert-calico.ts';
import {
  type Converted,
  EMPTY_SIDE,
  type IpSetSpec,
  type PolicyDraft,
  type RuleDraft,
  type SideDraft,
} from './draft.ts';
import { GroupIndex } from './group-index.ts';
import { GroupIdentities, type GroupIdentity } from './groups.ts';
import { hostEndpointDraft, networkSetDraft } from './hosts.ts';
import { distinctIpSets, planIpSet, SliceIndex, sortedPrefixes } from './ip-sets.ts';
import { AskedLabels, askedKeys } from './labels.ts';
import { ListMemo, Memo } from './memo.ts';
import { type NodeSettings, nodeSettings, planNodes } from './nodes.ts';
import { orderPolicies, orderTiers } from './order.ts';
import type {
  Plan,
  PlanGroup,
  PlanPolicy,
  PlanProfile,
  PlanRejectedPod,
  PlanRule,
  PlanSide,
  PlanTier,
  PlanWarning,
  Prefix,
} from './plan.ts';
import { type EndpointDraft, type NoEndpoint, podDraft } from './pods.ts';
import {
  accountProfileLabels,
  collectProfiles,
  type ProfileDraft,
  type ProfileMemo,
  type ProfileRules,
} from './profiles.ts';
import { selectPolicies } from './select-policies.ts';
import { SelectorCache } from './selectors.ts';
import { planServices, serviceLoopPrefixes } from './services.ts';
import { sharedAddresses } from './shared-addresses.ts';
import { sortByKey } from './sort-by-key.ts';
import { sortWarnings, warning } from './warnings.ts';

/** What one object alone decides, by the object; valid as long as objects are never changed in place. */
export interface PlanCaches {
  readonly selectors: SelectorCache;
  shapes: Shapes;
  readonly policies: Memo<Policy, Converted<PolicyDraft>>;
  readonly profiles: ProfileMemo;
  /** Of the last plan, and what it was made from. */
  placement: Placement | undefined;
  /** Numbers of the last plan, and policies as they are under these numbers. */
  numbered: Numbered | undefined;
  /** What the last plan was joined from, for whoever goes on from it. */
  joined: Joined | undefined;
}

export interface Joined {
  readonly profiles: ReadonlyMap<string, ProfileDraft>;
  /** By group of the plan. */
  readonly identities: readonly GroupIdentity[];
  /** By IP set and by policy of the plan; a service's set has none. */
  readonly setSelectors: readonly (Selector | undefined)[];
  readonly policySelectors: readonly Selector[];
}

/** What depends on the labels that selectors ask about. */
export interface Shapes {
  readonly asked: ReadonlySet<string>;
  readonly askedLabels: AskedLabels;
  readonly identities: GroupIdentities;
  readonly pods: ListMemo<Pod, EndpointDraft | NoEndpoint>;
}

function newShapes(asked: ReadonlySet<string>): Shapes {
  return { asked, askedLabels: new AskedLabels(asked), identities: new GroupIdentities(), pods: new ListMemo() };
}

export function newPlanCaches(): PlanCaches {
  return {
    selectors: new SelectorCache(),
    shapes: newShapes(new Set()),
    policies: new Memo(),
    profiles: new Memo(),
    placement: undefined,
    numbered: undefined,
    joined: undefined,
  };
}

/** The plan of these objects. Throws `PolicyError` only for what passes a limit of ours. */
export function planCluster(resources: Resources, caches: PlanCaches = newPlanCaches()): Plan {
  const warnings: PlanWarning[] = [];
  const profiles = collectProfiles(resources, caches.selectors, caches.profiles, warnings);
  const drafts = unwrap(
    resources.policies.map((policy) => caches.policies.get(policy, () => convertPolicy(policy, caches.selectors))),
    warnings,
  );
  const asked = askedKeys(selectorsOf(drafts, profiles));
  if (!isSameSet(asked, caches.shapes.asked)) caches.shapes = newShapes(asked);
  const placement = place(resources, caches);
  const { endpoints, groups } = placement;
  warnings.push(...placement.warnings);
  const usedProfiles = profilesInUse(groups, profiles);
  warnings.push(...missingProfiles(resources, profiles));
  const tiers = orderTiers(resources.tiers, drafts);
  const ordered = orderPolicies(drafts, tiers);
  warnings.push(...phantomTiers(resources, tiers));

  const index = new GroupIndex(groups.map(({ identity }) => labelled(identity, profiles)));
  const specs = distinctIpSets(
    [...ordered, ...usedProfiles.map(({ rules }) => rules)].flatMap(({ ingress, egress }) => [ingress, egress]),
  );
  const slices = new SliceIndex(resources.endpointSlices);
  const members = groups.map(({ identity, hasPrefixes }) => ({ hasPrefixes, namedPorts: identity.namedPorts }));
  const ipSets = specs.map((spec) => planIpSet(spec, members, index, slices));

  const { numbers, planned } = number(specs, tiers, caches);
  const policies = ordered.map((draft) => planned.get(draft, () => planPolicy(draft, numbers)));
  for (const memo of [caches.policies, caches.profiles, planned]) memo.turn();
  caches.joined = {
    profiles,
    identities: groups.map(({ identity }) => identity),
    setSelectors: specs.map(({ selector }) => selector),
    policySelectors: ordered.map(({ selector }) => selector),
  };
  return {
    policies,
    tiers,
    profiles: usedProfiles.map((profile) => planProfile(profile, numbers)),
    ipSets,
    groups: planGroups(
      groups,
      policies,
      ordered.map((draft) => index.select(draft.selector)),
    ),
    endpoints,
    nodes: placement.nodes,
    services: planServices(resources.services, slices),
    serviceLoopPrefixes: serviceLoopPrefixes(resources.bgpConfigurations),
    sharedAddresses: placement.sharedAddresses,
    rejectedPods: placement.rejectedPods,
    subjects: planSubjects(resources),
    warnings: sortWarnings(warnings),
  };
}

/** Those that decide which policies an endpoint runs and which sets it is in. */
function selectorsOf(drafts: readonly PolicyDraft[], profiles: Profiles): ReadonlySet<Selector> {
  const selectors = new Set<Selector>();
  const seen = new Set<SideDraft>([EMPTY_SIDE]);
  const addSide = (side: SideDraft): void => {
    if (seen.has(side)) return;
    seen.add(side);
    for (const list of [side.ipSets, side.notIpSets, side.namedPorts, side.notNamedPorts]) {
      for (const { selector } of list) if (selector !== undefined) selectors.add(selector);
    }
  };
  const addRules = ({ ingress, egress }: ProfileRules): void => {
    for (const rules of [ingress, egress]) {
      for (const { source, destination } of rules) {
        addSide(source);
        addSide(destination);
      }
    }
  };
  for (const draft of drafts) {
    selectors.add(draft.selector);
    addRules(draft);
  }
  for (const { rules } of profiles.values()) if (rules !== undefined) addRules(rules);
  return selectors;
}

function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  if (a.size !== b.size) return false;
  for (const each of a) if (!b.has(each)) return false;
  return true;
}

/** Endpoints on their nodes and in their groups: what pods, hosts, network sets and Felix's settings decide among themselves. */
interface Placement extends Pick<Plan, 'endpoints' | 'nodes' | 'sharedAddresses' | 'rejectedPods'> {
  /** The lists it was made from, and their lengths. */
  readonly lists: readonly (readonly unknown[])[];
  readonly lengths: readonly number[];
  readonly shapes: Shapes;
  readonly groups: readonly AssembledGroup[];
  readonly warnings: readonly PlanWarning[];
}

/** The placement of these objects: the last one if none of the lists is another. */
function place(resources: Resources, caches: PlanCaches): Placement {
  const { felixConfigurations, hostEndpoints, networkSets, nodes, pods } = resources;
  const lists = [felixConfigurations, hostEndpoints, networkSets, nodes, pods];
  const last = caches.placement;
  const isSame =
    last !== undefined &&
    last.shapes === caches.shapes &&
    lists.every((list, i) => list === last.lists[i] && list.length === last.lengths[i]);
  if (isSame) return last;
  const warnings: PlanWarning[] = [];
  const settingsOf = nodeSettings(felixConfigurations, warnings);
  const settled = settleEndpoints(resources, settingsOf, caches, warnings);
  const sets = unwrap(
    networkSets.map((set) => networkSetDraft(set, caches.shapes.askedLabels, caches.shapes.identities)),
    warnings,
  );
  const { endpoints, groups } = assemble(settled.endpoints, settled.allowedSources, sets);
  caches.placement = {
    lists,
    lengths: lists.map((list) => list.length),
    shapes: caches.shapes,
    endpoints,
    groups,
    nodes: planNodes(nodes, endpoints, settled.rejected, settingsOf),
    sharedAddresses: sharedAddresses(endpoints, warnings),
    rejectedPods: settled.rejected,
    warnings,
  };
  return caches.placement;
}

/** Indexes of IP sets and tiers, and the policies that were written with them. */
interface Numbered {
  readonly specs: readonly IpSetSpec[];
  readonly tierNames: readonly string[];
  readonly numbers: Numbers;
  readonly planned: Memo<PolicyDraft, PlanPolicy>;
}

function number(specs: readonly IpSetSpec[], tiers: readonly PlanTier[], caches: PlanCaches): Numbered {
  const tierNames = tiers.map((tier) => tier.name);
  const last = caches.numbered;
  const isSame =
    last !== undefined &&
    isSameList(
      specs.map(({ id }) => id),
      last.specs.map(({ id }) => id),
    ) &&
    isSameList(tierNames, last.tierNames);
  if (isSame) return last;
  const numbers: Numbers = {
    setOf: new Map(specs.map((spec, i) => [spec.id, i])),
    tierOf: new Map(tierNames.map((name, i) => [name, i])),
    sides: new Map(),
  };
  caches.numbered = { specs, tierNames, numbers, planned: new Memo() };
  return caches.numbered;
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}

/** The values, with the warnings of all; objects without a value are gone. */
function unwrap<T>(converted: readonly Converted<T>[], warnings: PlanWarning[]): T[] {
  return converted.flatMap(({ value, warnings: own }) => {
    warnings.push(...own);
    return value === undefined ? [] : [value];
  });
}

/** Endpoints, and what the settings of their nodes make of them. */
interface SettledEndpoints {
  readonly endpoints: readonly EndpointDraft[];
  readonly allowedSources: ReadonlyMap<EndpointDraft, readonly Prefix[]>;
  /** Sorted by key. */
  readonly rejected: readonly PlanRejectedPod[];
}

function settleEndpoints(
  resources: Resources,
  settingsOf: (node: string) => NodeSettings,
  caches: PlanCaches,
  warnings: PlanWarning[],
): SettledEndpoints {
  const { askedLabels, identities, pods } = caches.shapes;
  const hosts = resources.hostEndpoints.map((host) => hostEndpointDraft(host, askedLabels, identities));
  const endpoints = unwrap(hosts, warnings);
  const allowedSources = new Map<EndpointDraft, readonly Prefix[]>();
  const rejected: PlanRejectedPod[] = [];
  const makeDraft = (pod: Pod): EndpointDraft | NoEndpoint => podDraft(pod, askedLabels, identities);
  const drafts = pods.map(resources.pods, makeDraft);
  for (const [index, draft] of drafts.entries()) {
    if (draft.kind === 'none') {
      for (const item of draft.warnings) warnings.push(item);
      continue;
    }
    const { key, node, addresses, spans, allowedSourcePrefixes, floatingAddresses, origin } = draft;
    if (allowedSourcePrefixes.length > 0 || floatingAddresses.length > 0) {
      const { isSpoofingAllowed, isFloatingEnabled } = settingsOf(node);
      if (allowedSourcePrefixes.length > 0 && !isSpoofingAllowed) {
        rejected.push({ key, node, addresses, ...(spans === undefined ? {} : { spans }), origin });
        warnings.push(warning(resources.pods[index]!, 'metadata.annotations', REJECTED_POD, REJECTED_POD_FIX));
        continue;
      }
      const sources = isFloatingEnabled ? [...allowedSourcePrefixes, ...floatingAddresses] : allowedSourcePrefixes;
      allowedSources.set(draft, sortedPrefixes(sources));
    }
    endpoints.push(draft);
  }
  return { endpoints, allowedSources, rejected: sortByKey(rejected, ({ key }) => key) };
}

const REJECTED_POD_FIX = 'set workloadSourceSpoofing: Any or remove the annotation';
const REJECTED_POD =
  'cni.projectcalico.org/allowedSourcePrefixes while WorkloadSourceSpoofing is Disabled: Felix rejects the endpoint and drops all its traffic';

type Profiles = ReadonlyMap<string, ProfileDraft>;

function labelled({ own, profiles: names, accountLabels }: AssembledGroup['identity'], profiles: Profiles) {
  const parents = names.flatMap((name, i) => {
    if (i === 1 && accountLabels !== undefined) return accountProfileLabels(own, accountLabels);
    return profiles.get(name)?.labels ?? [];
  });
  return { own, parents };
}

/** A profile whose rules Felix takes. */
interface UsedProfile extends ProfileDraft {
  readonly rules: ProfileRules;
}

/** Profiles with rules that an endpoint names, by name. Network sets inherit labels only. */
function profilesInUse(groups: readonly AssembledGroup[], profiles: Profiles): UsedProfile[] {
  const names = new Set<string>();
  for (const { identity } of groups) {
    if (identity.kind !== 'ns') for (const name of identity.profiles) names.add(name);
  }
  return [...names]
    .sort(compareBytewise)
    .flatMap((name) => profiles.get(name) ?? [])
    .filter((profile): profile is UsedProfile => profile.rules !== undefined);
}

/** Host endpoints that name a profile which no object describes. For pods, `load` warns of the missing object. */
function missingProfiles(resources: Resources, profiles: Profiles): PlanWarning[] {
  return resources.hostEndpoints.flatMap((host) =>
    host.profiles.flatMap((name, i) => {
      if (profiles.has(name)) return [];
      const message = `profile '${name}' does not exist: what no policy decides is denied`;
      return [warning(host, `spec.profiles[${i}]`, message, 'add the profile or remove the name')];
    }),
  );
}

function phantomTiers(resources: Resources, tiers: readonly PlanTier[]): PlanWarning[] {
  const phantoms = new Set(tiers.filter((tier) => !tier.exists).map((tier) => tier.name));
  return resources.policies.flatMap((policy) => {
    if (!('serviceAccountSelector' in policy) || !phantoms.has(policy.tier)) return [];
    const message = `tier '${policy.tier}' does not exist: Calico enforces the policy after all other tiers, with default Deny`;
    return [warning(policy, 'spec.tier', message, 'add the tier or correct the name')];
  });
}

/** Indexes of IP sets by ID and tiers by name. */
interface Numbers {
  readonly setOf: ReadonlyMap<string, number>;
  readonly tierOf: ReadonlyMap<string, number>;
  /** Sides with these numbers: rules that share one share the other. */
  readonly sides: Map<SideDraft, PlanSide>;
}

function planPolicy(draft: PolicyDraft, numbers: Numbers): PlanPolicy {
  const { id, namespace, name, order, isStaged, types, doNotTrack, preDnat, applyOnForward, origin } = draft;
  return {
    id,
    namespace,
    name,
    tier: numbers.tierOf.get(draft.tier)!,
    order,
    isStaged,
    // No types at all reach Felix as both directions (semantics 4.3).
    hasIngress: types.length === 0 || types.includes('Ingress'),
    hasEgress: types.length === 0 || types.includes('Egress'),
    doNotTrack,
    preDnat,
    applyOnForward,
    ingress: draft.ingress.map((rule) => planRule(rule, numbers)),
    egress: draft.egress.map((rule) => planRule(rule, numbers)),
    selectorText: draft.selector.canonical,
    origin,
  };
}

function planProfile(profile: UsedProfile, numbers: Numbers): PlanProfile {
  const { ingress, egress } = profile.rules;
  return {
    name: profile.name,
    ingress: ingress.map((rule) => planRule(rule, numbers)),
    egress: egress.map((rule) => planRule(rule, numbers)),
    origin: profile.origin,
  };
}

function planRule(draft: RuleDraft, numbers: Numbers): PlanRule {
  return { ...draft, source: planSide(draft.source, numbers), destination: planSide(draft.destination, numbers) };
}

const NONE: readonly never[] = [];

/** Most sides constrain nothing and share this. */
const EMPTY_PLAN_SIDE: PlanSide = {
  nets: NONE,
  notNets: NONE,
  ipSets: NONE,
  notIpSets: NONE,
  ports: NONE,
  namedPorts: NONE,
  notPorts: NONE,
  notNamedPorts: NONE,
  servicePorts: -1,
};

function planSide(draft: SideDraft, { setOf, sides }: Numbers): PlanSide {
  if (draft === EMPTY_SIDE) return EMPTY_PLAN_SIDE;
  let side = sides.get(draft);
  if (side === undefined) {
    side = newPlanSide(draft, setOf);
    sides.set(draft, side);
  }
  return side;
}

function newPlanSide(draft: SideDraft, setOf: Numbers['setOf']): PlanSide {
  const indexes = (specs: readonly IpSetSpec[]): readonly number[] =>
    specs.length === 0 ? NONE : specs.map((spec) => setOf.get(spec.id)!);
  return {
    nets: draft.nets,
    notNets: draft.notNets,
    ipSets: indexes(draft.ipSets),
    notIpSets: indexes(draft.notIpSets),
    ports: draft.ports,
    namedPorts: indexes(draft.namedPorts),
    notPorts: draft.notPorts,
    notNamedPorts: indexes(draft.notNamedPorts),
    servicePorts: draft.servicePorts === undefined ? -1 : setOf.get(draft.servicePorts.id)!,
  };
}

function planGroups(
  groups: readonly AssembledGroup[],
  policies: readonly PlanPolicy[],
  selected: readonly (readonly number[])[],
): PlanGroup[] {
  const kinds = groups.map(({ identity }) => identity.kind);
  const lists = selectPolicies(policies, selected, kinds);
  return groups.map((group, i) => {
    const { identity, endpoints, networkSets } = group;
    return {
      kind: identity.kind,
      profiles: identity.profiles,
      namedPorts: identity.namedPorts,
      endpoints,
      get prefixes() {
        return group.prefixes;
      },
      networkSets,
      ...lists[i]!,
    };
  });
}
