/** What `get` can list: for each kind its columns, and its rows out of a compiled cluster. */
import { formatPrefix } from '../base/ip.ts';
import { endpointJson, policyJson } from '../compile/compile-json.ts';
import { ipSetMembers } from '../compile/ip-sets.ts';
import { sortedLabels } from '../compile/labels.ts';
import type { Plan, PlanEndpoint, PlanGroup } from '../compile/plan.ts';
import type { Origin, Resources, ServiceAccount } from '../model/resources.ts';
import type { Cluster } from './inputs.ts';
import { listed } from './inputs.ts';
import type { Cell } from './render.ts';

export interface Listing {
  /** The word after `get`. */
  readonly name: string;
  /** What one of them is called in a sentence. */
  readonly one: string;
  readonly head: readonly string[];
  /** Further columns of `-o wide` and `-o csv`. */
  readonly wideHead: readonly string[];
  rows(cluster: Cluster): readonly Row[];
}

export interface Row {
  readonly namespace: string;
  readonly name: string;
  /** The id that margay prints elsewhere (`wep:NS/POD`, `np:NS/NAME`). */
  readonly id: string;
  readonly cells: readonly Cell[];
  readonly wideCells: readonly Cell[];
  /** All there is to say, for JSON and YAML. */
  readonly item: unknown;
}

export const LISTINGS: readonly Listing[] = [
  {
    name: 'endpoints',
    one: 'endpoint',
    head: ['namespace', 'name', 'node', 'account', 'addresses', 'ingress', 'egress'],
    wideHead: ['labels', 'profiles', 'file'],
    rows: ({ plan }) => plan.endpoints.map((endpoint) => endpointRow(plan, endpoint)),
  },
  {
    name: 'ipsets',
    one: 'IP set',
    head: ['id', 'type', 'members', 'selects'],
    wideHead: ['addresses'],
    rows: ({ plan }) => plan.ipSets.map((_, index) => ipSetRow(plan, index)),
  },
  {
    name: 'policies',
    one: 'policy',
    head: ['tier', 'order', 'policy', 'ingress', 'egress', 'endpoints', 'file'],
    wideHead: ['selects', 'names'],
    rows: ({ plan }) => plan.policies.map((_, index) => policyRow(plan, index)),
  },
  {
    name: 'tiers',
    one: 'tier',
    head: ['name', 'order', 'default', 'policies', 'endpoints'],
    wideHead: ['in order'],
    rows: ({ plan }) => plan.tiers.map((_, index) => tierRow(plan, index)),
  },
  {
    name: 'serviceaccounts',
    one: 'service account',
    head: ['namespace', 'name', 'pods', 'labels', 'file'],
    wideHead: ['profile', 'pod names'],
    rows: ({ plan, resources }) => accountRows(plan, resources),
  },
];

function endpointRow(plan: Plan, endpoint: PlanEndpoint): Row {
  const { namespace, name, key, node, serviceAccount, origin } = endpoint;
  const group = plan.groups[endpoint.group]!;
  const addresses = endpoint.addresses.map(formatAddressOf);
  const sorted = sortedLabels(endpoint.labels);
  const labels = Object.fromEntries(sorted);
  return {
    namespace,
    name,
    id: key,
    cells: [
      namespace,
      name,
      node,
      serviceAccount,
      addresses.join(' '),
      ruling(group, 'ingress'),
      ruling(group, 'egress'),
    ],
    wideCells: [pairs(sorted), group.profiles.join(' '), place(origin)],
    item: {
      id: key,
      namespace,
      name,
      service_account: serviceAccount,
      addresses,
      labels,
      ...endpointJson(plan, node, group),
      file: place(origin),
    },
  };
}

/** How many enforced policies govern a direction: none means that the profiles decide. */
function ruling(group: PlanGroup, direction: 'ingress' | 'egress'): string {
  const count = group.tiers.reduce((sum, tier) => sum + tier[direction].length, 0);
  if (count === 0) return 'profiles';
  return count === 1 ? '1 policy' : `${count} policies`;
}

function ipSetRow(plan: Plan, index: number): Row {
  const { id, type, text } = plan.ipSets[index]!;
  const members = ipSetMembers(plan, index);
  const kind = type === 'net' ? 'addresses' : 'ports';
  return {
    namespace: '',
    name: id,
    id,
    cells: [id, kind, members.length, text],
    wideCells: [members.join(' ')],
    item: { id, type: kind, selects: text, members },
  };
}

function policyRow(plan: Plan, index: number): Row {
  const policy = plan.policies[index]!;
  const { id, namespace, name, origin, selectorText } = policy;
  const chosen = endpointsOf(plan, (tier) => tier.ingress.includes(index) || tier.egress.includes(index));
  const tier = plan.tiers[policy.tier]!.name;
  const rules = (has: boolean, list: readonly unknown[]): string => {
    if (!has) return '';
    return list.length === 1 ? '1 rule' : `${list.length} rules`;
  };
  return {
    namespace,
    name,
    id,
    cells: [
      tier,
      Number.isFinite(policy.order) ? policy.order : 'last',
      id,
      rules(policy.hasIngress, policy.ingress),
      rules(policy.hasEgress, policy.egress),
      chosen.length,
      place(origin),
    ],
    wideCells: [selectorText, listed(chosen)],
    item: {
      id,
      namespace,
      name,
      staged: policy.isStaged,
      ...policyJson(plan, policy),
      endpoints: chosen,
      file: place(origin),
    },
  };
}

function tierRow(plan: Plan, index: number): Row {
  const { name, order, defaultAction, exists } = plan.tiers[index]!;
  const policies = plan.policies.filter(({ tier }) => tier === index).map(({ id }) => id);
  const chosen = endpointsOf(plan, (entry) => entry.tier === index);
  return {
    namespace: '',
    name,
    id: name,
    cells: [name, Number.isFinite(order) ? order : 'last', defaultAction, policies.length, chosen.length],
    wideCells: [policies.join(' ')],
    item: {
      name,
      order: Number.isFinite(order) ? order : null,
      default_action: defaultAction,
      exists,
      policies,
      endpoints: chosen,
    },
  };
}

/** Keys of the endpoints in whose tiers something holds, sorted. */
function endpointsOf(plan: Plan, holds: (tier: PlanGroup['tiers'][number]) => boolean): string[] {
  const lists = (group: PlanGroup): readonly PlanGroup['tiers'][number][] => [
    ...group.tiers,
    ...group.forwardTiers,
    ...group.preDnatTiers,
    ...group.untrackedTiers,
  ];
  const groups = plan.groups.filter((group) => lists(group).some(holds));
  const indexes = groups.flatMap((group) => group.endpoints).sort((a, b) => a - b);
  return indexes.map((index) => plan.endpoints[index]!.key);
}

/** Every account that an object describes or a pod runs as. */
function accountRows(plan: Plan, resources: Resources): readonly Row[] {
  const pods = new Map<string, string[]>();
  for (const { namespace, name, serviceAccount } of plan.endpoints) {
    if (serviceAccount === '') continue;
    const key = `${namespace}/${serviceAccount}`;
    pods.set(key, [...(pods.get(key) ?? []), name]);
  }
  const objects = new Map(resources.serviceAccounts.map((account) => [keyOf(account), account]));
  const keys = [...new Set([...objects.keys(), ...pods.keys()])].sort();
  return keys.map((key) => accountRow(key, objects.get(key), pods.get(key) ?? []));
}

function keyOf({ meta }: ServiceAccount): string {
  return `${meta.namespace}/${meta.name}`;
}

function accountRow(key: string, account: ServiceAccount | undefined, pods: readonly string[]): Row {
  const [namespace = '', name = ''] = key.split('/');
  const labels = account === undefined ? [] : [...account.meta.labels];
  const profile = `ksa.${namespace}.${name}`;
  const file = account === undefined ? 'no object' : account.isSynthesised ? 'assumed' : place(account.meta.origin);
  return {
    namespace,
    name,
    id: key,
    cells: [namespace, name, pods.length, pairs(labels), file],
    wideCells: [profile, pods.join(' ')],
    item: { namespace, name, labels: Object.fromEntries(labels), profile, pods, exists: account !== undefined, file },
  };
}

function pairs(labels: readonly (readonly [string, string])[]): string {
  return labels.map(([key, value]) => `${key}=${value}`).join(' ');
}

function place(origin: Origin): string {
  return `${origin.file}:${origin.line}`;
}

/** An endpoint's address, without the length of its prefix. */
function formatAddressOf(prefix: PlanEndpoint['addresses'][number]): string {
  return formatPrefix(prefix).replace(/\/(32|128)$/, '');
}
