/**
 * Drafts of endpoints and network sets to the numbered groups and endpoints of the plan.
 *
 * Endpoints are sorted by key, and groups numbered as they first appear in that order, network-set groups after them by
 * the name of their first set: numbers depend on content alone.
 */
import type { GroupIdentity } from './groups.ts';
import type { NetworkSetDraft } from './hosts.ts';
import { sortedPrefixes } from './ip-sets.ts';
import type { PlanEndpoint, Prefix } from './plan.ts';
import type { EndpointDraft } from './pods.ts';
import { sortByKey } from './sort-by-key.ts';

/** A group of the plan, but for its policies. */
export interface AssembledGroup {
  readonly identity: GroupIdentity;
  readonly endpoints: readonly number[];
  readonly prefixes: readonly Prefix[];
  readonly networkSets: readonly string[];
}

export interface Assembly {
  readonly endpoints: readonly PlanEndpoint[];
  readonly groups: readonly AssembledGroup[];
}

/** `allowedSources` has the endpoints that may send from other addresses than their own. */
export function assemble(
  drafts: readonly EndpointDraft[],
  allowedSources: ReadonlyMap<EndpointDraft, readonly Prefix[]>,
  sets: readonly NetworkSetDraft[],
): Assembly {
  const sortedEndpoints = sortByKey(drafts, ({ key }) => key);
  const sortedSets = sortByKey(sets, ({ key }) => key);
  const numbers = new Map<GroupIdentity, number>();
  const members: { endpoints: number[]; prefixes: Prefix[]; networkSets: string[] }[] = [];
  let lastIdentity: GroupIdentity | undefined;
  let lastNumber = -1;
  const numberOf = (identity: GroupIdentity): number => {
    if (identity !== lastIdentity) {
      lastIdentity = identity;
      lastNumber = newOrKnown(identity);
    }
    return lastNumber;
  };
  const newOrKnown = (identity: GroupIdentity): number => {
    const known = numbers.get(identity);
    if (known !== undefined) return known;
    numbers.set(identity, members.length);
    return members.push({ endpoints: [], prefixes: [], networkSets: [] }) - 1;
  };
  const endpoints = sortedEndpoints.map((draft, index) => {
    const group = numberOf(draft.identity);
    const { endpoints: own, prefixes } = members[group]!;
    own.push(index);
    for (const address of draft.addresses) prefixes.push(address);
    return planEndpoint(draft, allowedSources.size === 0 ? NONE : (allowedSources.get(draft) ?? NONE), group);
  });
  for (const { key, prefixes, identity } of sortedSets) {
    const group = members[numberOf(identity)]!;
    group.networkSets.push(key);
    group.prefixes.push(...prefixes);
  }
  const groups = [...numbers.keys()].map((identity, i) => {
    const group = members[i]!;
    return { identity, ...group, prefixes: sortedPrefixes(group.prefixes) };
  });
  return { endpoints, groups };
}

const NONE: readonly never[] = [];

function planEndpoint(draft: EndpointDraft, allowedSources: readonly Prefix[], group: number): PlanEndpoint {
  return {
    key: draft.key,
    kind: draft.kind,
    namespace: draft.namespace,
    name: draft.name,
    node: draft.node,
    serviceAccount: draft.serviceAccount,
    uid: draft.uid,
    labels: draft.labels,
    addresses: draft.addresses,
    spans: draft.spans,
    interfaceName: draft.interfaceName,
    allowedSources,
    group,
    origin: draft.origin,
  };
}
