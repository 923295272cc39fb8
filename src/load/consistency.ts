/**
 * Warnings about objects that are each in order and do not fit together.
 *
 * The API takes such states, and Calico has an answer to each (semantics 2.1, 2.3, 4.1); the model is left as written,
 * and the warning says what the answer is. Addresses with two owners are warned of by `compile`, which knows all owners.
 */
import type { GlobalNetworkPolicy, NetworkPolicy, Pod, Policy, Resources } from '../model/resources.ts';
import { accountsByNamespace, subject } from './defaults.ts';
import type { ProblemList } from './problem.ts';

export function warnOfContradictions(resources: Resources, problems: ProblemList): void {
  warnOfMissingAccounts(resources, problems);
  warnOfMissingTiers(resources, problems);
  warnOfMissingProfiles(resources, problems);
  warnOfMissingNodes(resources, problems);
  warnOfPodsWithoutAddress(resources.pods, problems);
}

/** One warning an account, at the first pod that names it. */
function warnOfMissingAccounts({ pods, serviceAccounts }: Resources, problems: ProblemList): void {
  const known = accountsByNamespace(serviceAccounts);
  const missing = new Map<string, Pod[]>();
  for (const pod of pods) {
    const { serviceAccountName: name } = pod;
    const { namespace } = pod.meta;
    if (name !== '' && known.get(namespace)?.has(name) !== true) push(missing, `${namespace}/${name}`, pod);
  }
  for (const [key, users] of missing) {
    problems.warnings.push({
      ...podSubject(users[0]!, 'spec.serviceAccountName'),
      message: `ServiceAccount ${key} is not in the input${alsoOf(users)}: its name matches, labels it may have do not`,
      fix: 'add the ServiceAccount',
    });
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function podSubject({ meta }: Pod, field: string) {
  return { ...meta.origin, ...subject('Pod', meta.namespace, meta.name, field) };
}

function alsoOf(pods: readonly Pod[]): string {
  if (pods.length === 1) return '';
  return pods.length === 2 ? ' (1 more pod names it)' : ` (${pods.length - 1} more pods name it)`;
}

function warnOfMissingTiers({ tiers, policies }: Resources, problems: ProblemList): void {
  const known = new Set(tiers.map((tier) => tier.meta.name));
  for (const policy of policies) {
    if (!isCalicoPolicy(policy) || known.has(policy.tier)) continue;
    const { meta, kind, tier } = policy;
    const effect = 'Calico enforces the policy after all other tiers, and what no rule there matches is denied';
    problems.warnings.push({
      ...meta.origin,
      ...subject(kind, meta.namespace, meta.name, 'spec.tier'),
      message: `tier '${tier}' is not in the input: ${effect}`,
      fix: 'add the Tier, or correct the name',
    });
  }
}

function isCalicoPolicy(policy: Policy): policy is NetworkPolicy | GlobalNetworkPolicy {
  return policy.kind.endsWith('NetworkPolicy') && !policy.kind.includes('Kubernetes');
}

const DEFAULT_ALLOW_PROFILE = 'projectcalico-default-allow';

/** Profiles of host endpoints: written ones, the built-in one, and those of namespaces and accounts. */
function warnOfMissingProfiles(resources: Resources, problems: ProblemList): void {
  const known = new Set([DEFAULT_ALLOW_PROFILE, ...resources.profiles.map((profile) => profile.meta.name)]);
  for (const { meta } of resources.namespaces) known.add(`kns.${meta.name}`);
  for (const { meta } of resources.serviceAccounts) known.add(`ksa.${meta.namespace}.${meta.name}`);
  for (const { meta, profiles } of resources.hostEndpoints) {
    for (const [index, name] of profiles.entries()) {
      if (known.has(name)) continue;
      problems.warnings.push({
        ...meta.origin,
        ...subject('HostEndpoint', '', meta.name, `spec.profiles[${index}]`),
        message: `profile '${name}' is not in the input: traffic that reaches it is denied`,
        fix: 'add the Profile, or correct the name',
      });
    }
  }
}

function warnOfMissingNodes({ nodes, hostEndpoints }: Resources, problems: ProblemList): void {
  if (nodes.length === 0) return;
  const known = new Set(nodes.map((node) => node.meta.name));
  for (const { meta, node } of hostEndpoints) {
    if (known.has(node)) continue;
    problems.warnings.push({
      ...meta.origin,
      ...subject('HostEndpoint', '', meta.name, 'spec.node'),
      message: `node '${node}' is not in the input`,
      fix: 'add the Node, or correct the name',
    });
  }
}

/** Whether a pod is of those that one warning speaks of. */
export function lacksAddress(pod: Pod): boolean {
  return isLive(pod) && !hasAddress(pod);
}

const FINISHED: ReadonlySet<string> = new Set(['Failed', 'Succeeded', 'Completed']);

/** A pod whose addresses are its own: on the pod network, and not finished. */
function isLive(pod: Pod): boolean {
  return !pod.hostNetwork && !FINISHED.has(pod.phase);
}

function addressesOf(pod: Pod): readonly string[] {
  return pod.podIPs.length > 0 ? pod.podIPs : pod.podIP === '' ? [] : [pod.podIP];
}

const ADDRESS_ANNOTATIONS = [
  'cni.projectcalico.org/podIPs',
  'cni.projectcalico.org/podIP',
  'vpc.amazonaws.com/pod-ips',
];

/** One warning for all: manifests without a status are common, and none of their pods is an endpoint. */
function warnOfPodsWithoutAddress(pods: readonly Pod[], problems: ProblemList): void {
  const without = pods.filter(lacksAddress);
  if (without.length === 0) return;
  const more = without.length - 1;
  const others = more === 0 ? '' : ` (nor ${more === 1 ? 'has 1 more pod' : `have ${more} more pods`})`;
  problems.warnings.push({
    ...podSubject(without[0]!, 'status.podIPs'),
    message: `the pod has no address${others}: without one it is no endpoint, and no policy applies to it`,
    fix: 'take the pods from a running cluster (kubectl get pods -A -o json)',
  });
}

function hasAddress(pod: Pod): boolean {
  if (addressesOf(pod).length > 0) return true;
  return ADDRESS_ANNOTATIONS.some((key) => (pod.meta.annotations.get(key) ?? '') !== '');
}
