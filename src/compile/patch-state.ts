/**
 * What a LiveCompiler (live-compiler.ts) knows of the tables that it writes to: which selectors ask for a label, which groups inherit it, and what each
 * group is in. It turns changes of objects into those of groups and endpoints, which RepackableTables (repack.ts) writes.
 */
import { isSameValue } from '../base/same-value.ts';
import { NoRoomError } from '../base/words.ts';
import type { Namespace, Pod, Resource, ServiceAccount } from '../model/resources.ts';
import type { Node } from '../selector/ast.ts';
import { evaluate } from '../selector/evaluate.ts';
import type { Selector } from '../selector/selector.ts';
import type { Tables } from '../tables/tables.ts';
import type { GroupIdentity } from './groups.ts';
import { addKeys, inheritingLookup } from './labels.ts';
import type { PackOptions, PackRoom } from './pack.ts';
import type { Plan, PlanEndpoint, PlanGroup } from './plan.ts';
import type { Joined, Shapes } from './plan-cluster.ts';
import { podAddresses, podDraft } from './pods.ts';
import { accountProfileLabels, namespaceProfile, type ProfileDraft, serviceAccountProfile } from './profiles.ts';
import { RepackableTables } from './repack.ts';
import { selectPolicies } from './select-policies.ts';

export interface Change {
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
}

export interface EndpointChanges {
  readonly came: readonly PlanEndpoint[];
  readonly gone: readonly PlanEndpoint[];
}

export const NO_CHANGES: EndpointChanges = { came: [], gone: [] };

/** What a group is made of and what it is in, as of now. */
interface Group {
  readonly identity: GroupIdentity;
  sets: Set<number>;
  /** Ascending. */
  policies: readonly number[];
  /** It is in a set whose members are listed one by one; undefined until somebody asks. */
  isListed?: boolean;
}

interface Asked {
  readonly selector: Selector;
  /** Index of the IP set, or `~index` of the policy. */
  readonly target: number;
}

/** The tables in use and what it takes to change them. */
export class PatchState {
  readonly #plan: Plan;
  readonly #shapes: Shapes;
  readonly #packed: RepackableTables;
  readonly #groups: Group[];
  readonly #groupOf: Map<GroupIdentity, number>;
  readonly #groupsOfProfile = new Map<string, number[]>();
  readonly #profiles: Map<string, Pick<ProfileDraft, 'labels' | 'origin'>>;
  readonly #selectors: readonly Asked[];
  readonly #byKey = new Map<string, Asked[]>();
  /** By key of the pod. */
  readonly #endpoints: Map<string, { readonly index: number; readonly group: number }>;
  readonly #ruled: ReadonlySet<string>;
  readonly #nodes: ReadonlySet<string>;
  /** Pods that the plan warns of, by key. */
  readonly #warned: ReadonlySet<string>;
  /** Of the last change. */
  endpointChanges: EndpointChanges = NO_CHANGES;

  constructor(plan: Plan, joined: Joined, shapes: Shapes, options: PackOptions, room: PackRoom | undefined) {
    this.#plan = plan;
    this.#shapes = shapes;
    this.#packed = new RepackableTables(plan, options, room);
    const { identities, profiles, setSelectors, policySelectors } = joined;
    this.#groups = identities.map((identity) => ({ identity, sets: new Set(), policies: [] }));
    this.#groupOf = new Map(identities.map((identity, group) => [identity, group]));
    identities.forEach(({ profiles }, group) => {
      for (const name of profiles) this.#addToProfile(name, group);
    });
    this.#profiles = new Map(profiles);
    const sets = setSelectors.flatMap((selector, set) => (selector === undefined ? [] : [{ selector, target: set }]));
    const policies = policySelectors.map((selector, policy) => ({ selector, target: ~policy }));
    this.#selectors = [...sets, ...policies];
    for (const asked of this.#selectors) {
      for (const key of keysOf(asked.selector.root)) {
        const list = this.#byKey.get(key);
        if (list === undefined) this.#byKey.set(key, [asked]);
        else list.push(asked);
      }
    }
    plan.ipSets.forEach(({ groups }, set) => {
      for (const group of groups) this.#groups[group]!.sets.add(set);
    });
    plan.groups.forEach((group, index) => {
      this.#groups[index]!.policies = policiesOf(group);
    });
    this.#endpoints = new Map(plan.endpoints.map(({ key, group }, index) => [key, { index, group }]));
    this.#ruled = new Set(plan.profiles.map(({ name }) => name));
    this.#nodes = new Set(plan.nodes.map(({ name }) => name));
    const ofPods = plan.warnings.filter(({ kind }) => kind === 'Pod');
    this.#warned = new Set(ofPods.map(({ namespace, name }) => `wep:${namespace}/${name}`));
  }

  get tables(): Tables {
    return this.#packed.tables;
  }

  get lastWritten(): readonly number[] {
    return this.#packed.lastWritten;
  }

  /** Begins a publication. Addresses are stored at once, if there is nothing else; gives the changes that are left. */
  store(changes: readonly Change[], isOlderFree: () => boolean, isInTurns: boolean): readonly Change[] {
    this.#packed.start(isOlderFree);
    this.endpointChanges = NO_CHANGES;
    if (isInTurns || !changes.every(isMove)) return changes;
    let done = 0;
    while (done < changes.length && this.#move(changes[done]! as MovedPod)) done++;
    this.#packed.endStores();
    return done === changes.length ? NONE : changes.slice(done);
  }

  #move({ before, after }: MovedPod): boolean {
    const addresses = podAddresses(after);
    const index = addresses === undefined ? -1 : this.#packed.podAt(before);
    if (index < 0 || this.#isListed(this.#packed.groupOf(index))) return false;
    return this.#packed.move(index, addresses!);
  }

  /** The tables with these changes, or undefined if they are not of the kinds that can be written in. */
  apply(changes: readonly Change[], isOlderFree: boolean): Tables | undefined {
    const parents = changes.filter(isParentChange) as readonly ParentChange[];
    const pods = changes.filter(isPodChange) as readonly PodChange[];
    if (parents.length + pods.length < changes.length) return undefined;
    this.#packed.begin(isOlderFree);
    const [came, gone]: [PlanEndpoint[], PlanEndpoint[]] = [[], []];
    this.endpointChanges = { came, gone };
    for (const change of parents) this.#changeParent(change);
    this.#packed.settle();
    // All go before any comes: what comes may have the address of what goes.
    const last = new Map(pods.map(({ before, after }) => [podKey((after ?? before)!), after]));
    for (const key of last.keys()) this.#removePod(key, gone);
    for (const [key, pod] of last) if (pod !== undefined) this.#addPod(key, pod, came);
    return this.#packed.commit();
  }

  #changeParent({ before, after }: ParentChange): void {
    const { value } = after.kind === 'ServiceAccount' ? serviceAccountProfile(after) : namespaceProfile(after);
    const { name, labels, origin } = value!;
    const old = this.#profiles.get(name);
    // A Profile object of the name may decide instead.
    if (old === undefined || old.origin !== before.meta.origin) throw new NoRoomError();
    this.#profiles.set(name, { labels, origin });
    const changed = [...old.labels.keys(), ...labels.keys()].filter((key) => old.labels.get(key) !== labels.get(key));
    const asked = new Set(changed.flatMap((key) => this.#byKey.get(key) ?? []));
    if (asked.size === 0) return;
    for (const group of this.#groupsOfProfile.get(name) ?? []) this.#reconsider(group, asked);
  }

  /** Evaluates `asked` on a group, and passes on what is otherwise than it was. */
  #reconsider(index: number, asked: Iterable<Asked>): void {
    const group = this.#groups[index]!;
    const lookup = this.#lookupOf(group.identity);
    const policies = new Set(group.policies);
    let hasOtherPolicies = false;
    for (const { selector, target } of asked) {
      const holds = evaluate(selector.root, lookup);
      if (target < 0) {
        if (group.identity.kind === 'ns' || policies.has(~target) === holds) continue;
        hasOtherPolicies = true;
        if (holds) policies.add(~target);
        else policies.delete(~target);
      } else if (this.#isMember(group, target, holds) !== group.sets.has(target)) {
        // Members with ports are listed one by one.
        if (this.#plan.ipSets[target]!.type !== 'net') throw new NoRoomError();
        if (holds) group.sets.add(target);
        else group.sets.delete(target);
        this.#packed.setMember(index, target, holds);
      }
    }
    if (!hasOtherPolicies) return;
    group.policies = [...policies].sort((a, b) => a - b);
    this.#packed.setPolicies(index, this.#listsOf(group));
  }

  #isMember({ identity }: Group, set: number, holds: boolean): boolean {
    const { type, portName, portProtocol } = this.#plan.ipSets[set]!;
    if (type === 'net') return holds;
    return (
      holds &&
      identity.namedPorts.some(
        ({ name, protocol }) => name === portName && (portProtocol === 0 || protocol === portProtocol),
      )
    );
  }

  #lookupOf({ own, profiles, accountLabels }: GroupIdentity) {
    const parents = profiles.flatMap((name, i) => {
      if (i === 1 && accountLabels !== undefined) return accountProfileLabels(own, accountLabels);
      return this.#profiles.get(name)?.labels ?? [];
    });
    return inheritingLookup(own, parents);
  }

  #listsOf({ policies, identity }: Group) {
    const isSelected = new Set(policies);
    const selected = this.#plan.policies.map((_, policy) => (isSelected.has(policy) ? [0] : []));
    return selectPolicies(this.#plan.policies, selected, [identity.kind])[0]!;
  }

  #removePod(key: string, gone: PlanEndpoint[]): void {
    // Its warning would have to go as well.
    if (this.#warned.has(key)) throw new NoRoomError();
    const endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) return;
    this.#refuseListed(endpoint.group);
    gone.push(this.#packed.removePod(endpoint.index));
    this.#endpoints.delete(key);
  }

  #addPod(key: string, pod: Pod, came: PlanEndpoint[]): void {
    const endpoint = this.#endpointOf(pod);
    if (endpoint === undefined) return;
    const { group } = endpoint;
    this.#refuseListed(group);
    came.push(endpoint);
    this.#endpoints.set(key, { index: this.#packed.addPod(endpoint), group });
  }

  /** Members with ports are listed one by one in the tables. */
  #refuseListed(group: number): void {
    if (this.#isListed(group)) throw new NoRoomError();
  }

  #isListed(group: number): boolean {
    const of = this.#groups[group]!;
    // A group enters and leaves sets of addresses alone, so it stays so.
    if (of.isListed === undefined) of.isListed = [...of.sets].some((set) => this.#plan.ipSets[set]!.type !== 'net');
    return of.isListed;
  }

  /** The endpoint of a pod, in a group that is there or is made; undefined if the pod is none. */
  #endpointOf(pod: Pod): PlanEndpoint | undefined {
    const { askedLabels, identities } = this.#shapes;
    const draft = podDraft(pod, askedLabels, identities);
    if (draft.kind === 'none') {
      if (draft.warnings.length > 0) throw new NoRoomError();
      return undefined;
    }
    const { allowedSourcePrefixes, floatingAddresses, identity, spans, ...rest } = draft;
    const isPlain = allowedSourcePrefixes.length === 0 && floatingAddresses.length === 0 && spans === undefined;
    if (!isPlain || !this.#nodes.has(draft.node)) throw new NoRoomError();
    return { ...rest, spans, allowedSources: [], group: this.#groupOf.get(identity) ?? this.#addGroup(identity) };
  }

  #addGroup(identity: GroupIdentity): number {
    const { kind, profiles, namedPorts } = identity;
    // Rules of a profile that nobody used are not in the tables.
    if (profiles.some((name) => this.#profiles.has(name) && !this.#ruled.has(name))) throw new NoRoomError();
    const lookup = this.#lookupOf(identity);
    const held = this.#selectors.filter(({ selector }) => evaluate(selector.root, lookup)).map(({ target }) => target);
    const policies = held.filter((target) => target < 0).map((target) => ~target);
    const group: Group = { identity, sets: new Set(), policies: policies.sort((a, b) => a - b) };
    for (const target of held) if (target >= 0 && this.#isMember(group, target, true)) group.sets.add(target);
    const planGroup: PlanGroup = {
      kind,
      profiles,
      namedPorts,
      endpoints: [],
      prefixes: [],
      networkSets: [],
      ...this.#listsOf(group),
    };
    const index = this.#packed.addGroup(
      planGroup,
      [...group.sets].sort((a, b) => a - b),
    );
    this.#groups[index] = group;
    this.#groupOf.set(identity, index);
    for (const name of profiles) this.#addToProfile(name, index);
    return index;
  }

  #addToProfile(name: string, group: number): void {
    const groups = this.#groupsOfProfile.get(name);
    if (groups === undefined) this.#groupsOfProfile.set(name, [group]);
    else groups.push(group);
  }
}

type Parent = Namespace | ServiceAccount;
type ParentChange = { readonly before: Parent; readonly after: Parent };
type MovedPod = { readonly before: Pod; readonly after: Pod };
type PodChange = { readonly before: Pod | undefined; readonly after: Pod | undefined };

/** Of an account or a namespace that stays: its labels, at most. */
function isParentChange({ before, after }: Change): boolean {
  const isParent = (of: Resource | undefined): of is Parent =>
    of?.kind === 'ServiceAccount' || of?.kind === 'Namespace';
  return isParent(before) && isParent(after) && before.isSynthesised === after.isSynthesised;
}

function isPodChange({ before, after }: Change): boolean {
  return (before ?? after)?.kind === 'Pod';
}

/** A pod that is what it was, with other addresses. */
function isMove({ before, after }: Change): boolean {
  if (before?.kind !== 'Pod' || after?.kind !== 'Pod') return false;
  for (const field of FIELDS_BUT_ADDRESSES) {
    if (before[field] !== after[field] && !isSameValue(before[field], after[field])) return false;
  }
  return true;
}

const FIELDS_BUT_ADDRESSES = Object.keys({
  meta: true,
  nodeName: true,
  hostNetwork: true,
  serviceAccountName: true,
  phase: true,
  hasDeletionTimestamp: true,
  containerPorts: true,
  initContainerPorts: true,
  isSynthesised: true,
  spans: true,
  accountLabels: true,
} satisfies Record<PodField, true>) as PodField[];

type PodField = Exclude<keyof Pod, 'kind' | 'podIP' | 'podIPs'>;

const NONE: readonly never[] = [];

function podKey({ meta }: Pod): string {
  return `wep:${meta.namespace}/${meta.name}`;
}

/** Indexes of all policies that a group runs, ascending. */
function policiesOf({ tiers, forwardTiers, preDnatTiers, untrackedTiers }: PlanGroup): number[] {
  const lists = [tiers, forwardTiers, preDnatTiers, untrackedTiers].flat();
  return [...new Set(lists.flatMap(({ ingress, egress }) => [...ingress, ...egress]))].sort((a, b) => a - b);
}

/** Keys that a selector asks about. */
function keysOf(root: Node): Set<string> {
  const keys = new Set<string>();
  addKeys(root, keys);
  return keys;
}
