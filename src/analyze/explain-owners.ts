/**
 * Who stands behind an address: the pods, host endpoints and network sets that own it, with all the labels that a
 * selector can see (semantics 2.1-2.5). For sentences; whether an address is in an IP set is asked of the plan.
 */
import { type IpAddress, parsePrefixOrAddress, prefixContains } from '../base/ip.ts';
import { inheritingLookup, networkSetOwnLabels, podOwnLabels, sortedLabels } from '../compile/labels.ts';
import type { Plan } from '../compile/plan.ts';
import { LABEL_NAME, NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX } from '../compile/selectors.ts';
import type { NetworkSet, Origin, Resources, StringMap } from '../model/resources.ts';
import type { LabelLookup } from '../selector/evaluate.ts';

export interface Owner {
  readonly kind: 'pod' | 'host endpoint' | 'network set';
  readonly namespace: string;
  readonly name: string;
  /** `prod/web-0`, or the name alone where there is no namespace. */
  readonly path: string;
  /** `''` for anything but pods. */
  readonly serviceAccount: string;
  readonly node: string;
  /** Index in `Plan.endpoints`, -1 for network sets. */
  readonly endpoint: number;
  /** As the user wrote them. */
  readonly labels: StringMap;
  /** Of the service account and the namespace, as the user wrote them; undefined where no object describes them. */
  readonly accountLabels: StringMap | undefined;
  readonly namespaceLabels: StringMap | undefined;
  readonly origin: Origin;
  /** A label as selectors see it, inherited ones with their prefix. */
  readonly lookup: LabelLookup;
}

/** The owners of `address`: endpoints first, in the order of the plan, then network sets in the order of the input. */
export function ownersOf(plan: Plan, resources: Resources, address: IpAddress): readonly Owner[] {
  const owners: Owner[] = [];
  plan.endpoints.forEach((endpoint, index) => {
    if (endpoint.addresses.some((prefix) => prefixContains(prefix, address))) {
      owners.push(endpointOwner(plan, resources, index));
    }
  });
  for (const set of resources.networkSets) {
    if (coversAddress(set, address)) owners.push(networkSetOwner(resources, set));
  }
  return owners;
}

function endpointOwner(plan: Plan, resources: Resources, index: number): Owner {
  const { kind, namespace, name, node, serviceAccount, labels, origin, group } = plan.endpoints[index]!;
  const given = new Map(sortedLabels(labels));
  const own = kind === 'wep' ? podOwnLabels(given, namespace, serviceAccount) : given;
  const parents = plan.groups[group]!.profiles.map((profile) => profileLabels(resources, profile));
  return {
    kind: kind === 'wep' ? 'pod' : 'host endpoint',
    namespace,
    name,
    path: namespace === '' ? name : `${namespace}/${name}`,
    serviceAccount,
    node,
    endpoint: index,
    labels: given,
    accountLabels: accountLabels(resources, namespace, serviceAccount),
    namespaceLabels: namespaceLabels(resources, namespace),
    origin,
    lookup: inheritingLookup(own, parents),
  };
}

function networkSetOwner(resources: Resources, set: NetworkSet): Owner {
  const { namespace, name, labels, origin } = set.meta;
  const parents = namespace === '' ? [] : [profileLabels(resources, `kns.${namespace}`)];
  return {
    kind: 'network set',
    namespace,
    name,
    path: namespace === '' ? name : `${namespace}/${name}`,
    serviceAccount: '',
    node: '',
    endpoint: -1,
    labels,
    accountLabels: undefined,
    namespaceLabels: namespaceLabels(resources, namespace),
    origin,
    lookup: inheritingLookup(networkSetOwnLabels(labels, namespace), parents),
  };
}

function coversAddress(set: NetworkSet, address: IpAddress): boolean {
  return set.nets.some((text) => {
    const prefix = parsePrefixOrAddress(text);
    return prefix !== undefined && prefixContains(prefix, address);
  });
}

/** What a profile of this name hands on: that of a namespace, of an account, or of a Profile object. */
function profileLabels(resources: Resources, profile: string): StringMap {
  const object = resources.profiles.find(({ meta }) => meta.name === profile);
  if (object !== undefined) return object.labelsToApply;
  const [kind, namespace = '', ...rest] = profile.split('.');
  if (kind === 'kns') {
    const name = profile.slice('kns.'.length);
    return prefixed(namespaceLabels(resources, name), NAMESPACE_PREFIX, name);
  }
  const account = rest.join('.');
  return kind === 'ksa'
    ? prefixed(accountLabels(resources, namespace, account), SERVICE_ACCOUNT_PREFIX, account)
    : new Map();
}

function prefixed(labels: StringMap | undefined, prefix: string, name: string): StringMap {
  if (labels === undefined) return new Map();
  const out = new Map([...labels].map(([key, value]) => [prefix + key, value]));
  return out.set(prefix + LABEL_NAME, name);
}

function namespaceLabels(resources: Resources, name: string): StringMap | undefined {
  return resources.namespaces.find(({ meta }) => meta.name === name)?.meta.labels;
}

function accountLabels(resources: Resources, namespace: string, name: string): StringMap | undefined {
  return resources.serviceAccounts.find(({ meta }) => meta.namespace === namespace && meta.name === name)?.meta.labels;
}
