/**
 * Who has labels and addresses: pods, host endpoints and network sets (semantics, section 2).
 *
 * Labels are resolved here once: an endpoint's own labels, then those of its profiles in their order, the first hit
 * wins (2.3). What remains is a plain map per endpoint or network set, and selectors need to know nothing else.
 */
import { type IpPrefix, parsePrefixOrAddress } from '../base/ip.ts';
import type { HostEndpoint, NetworkSet, Pod, Resources } from '../model/resources.ts';
import { type Address, type AddressBook, protocolNumber } from './packet.ts';
import type { ReferenceProfile } from './profiles.ts';
import {
  NAMESPACE_LABEL,
  NAMESPACE_PREFIX,
  ORCHESTRATOR_LABEL,
  SERVICE_ACCOUNT_LABEL,
  SERVICE_ACCOUNT_PREFIX,
} from './selector-text.ts';

export type Labels = ReadonlyMap<string, string>;

export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
}

export interface Endpoint {
  /** `wep:NS/POD` or `hep:NAME`. */
  readonly key: string;
  readonly kind: 'wep' | 'hep';
  readonly name: string;
  readonly node: string;
  /** Inherited ones included. */
  readonly labels: Labels;
  readonly addresses: readonly Address[];
  readonly profiles: readonly string[];
  readonly namedPorts: readonly NamedPort[];
  /** `''` for pods. */
  readonly interfaceName: string;
  /** A pod that Felix refuses: no peer of anyone, and its interface is unknown, so all its traffic is dropped (6.4, 6.2). */
  readonly isRejected: boolean;
}

export interface NetworkSetMembers {
  readonly labels: Labels;
  readonly prefixes: readonly IpPrefix[];
}

/** Semantics 2.1. `canSpoof(node)` tells whether `WorkloadSourceSpoofing` is `Any` there. */
export function podEndpoints(
  resources: Resources,
  profiles: ReadonlyMap<string, ReferenceProfile>,
  book: AddressBook,
  canSpoof: (node: string) => boolean,
): Endpoint[] {
  return resources.pods.flatMap((pod) => {
    const addresses = podAddresses(pod, book);
    if (pod.hostNetwork || pod.nodeName === '' || addresses.length === 0) return [];
    const profileNames = podProfiles(pod);
    const endpoint: Endpoint = {
      key: `wep:${pod.meta.namespace}/${pod.meta.name}`,
      kind: 'wep',
      name: pod.meta.name,
      node: pod.nodeName,
      labels: inherit(podLabels(pod), profileNames, profiles),
      addresses,
      profiles: profileNames,
      namedPorts: podPorts(pod),
      interfaceName: '',
      isRejected: pod.meta.annotations.has('cni.projectcalico.org/allowedSourcePrefixes') && !canSpoof(pod.nodeName),
    };
    return [endpoint];
  });
}

/** Semantics 2.4. A host endpoint that declares a port's protocol by number is ignored whole (3.7). */
export function hostEndpoints(
  resources: Resources,
  profiles: ReadonlyMap<string, ReferenceProfile>,
  book: AddressBook,
): Endpoint[] {
  const valid = resources.hostEndpoints.filter((hep) => hep.ports.every((port) => typeof port.protocol === 'string'));
  return valid.map((hep) => ({
    key: `hep:${hep.meta.name}`,
    kind: 'hep',
    name: hep.meta.name,
    node: hep.node,
    labels: inherit(hep.meta.labels, hep.profiles, profiles),
    addresses: hep.expectedIPs.flatMap((text) => bareAddress(text, book)),
    profiles: hep.profiles,
    namedPorts: hostPorts(hep),
    interfaceName: hep.interfaceName,
    isRejected: false,
  }));
}

/** Semantics 2.5: a NetworkSet belongs to its namespace and inherits that namespace's labels; a global one has its own alone. */
export function networkSets(
  resources: Resources,
  profiles: ReadonlyMap<string, ReferenceProfile>,
): NetworkSetMembers[] {
  return resources.networkSets.map((set) => ({
    labels: networkSetLabels(set, profiles),
    prefixes: set.nets.flatMap((text) => parsePrefixOrAddress(text) ?? []),
  }));
}

/** Semantics 2.1, steps 2 and 3. A malformed address spoils the whole pod. */
function podAddresses(pod: Pod, book: AddressBook): Address[] {
  if (isFinished(pod)) return [];
  const annotation = (name: string): string => pod.meta.annotations.get(name) ?? '';
  const list = (text: string): string[] => (text === '' ? [] : text.split(',').map((part) => part.trim()));
  const sources: readonly (readonly string[])[] = [
    pod.podIPs,
    list(pod.podIP),
    list(annotation('cni.projectcalico.org/podIPs')),
    list(annotation('cni.projectcalico.org/podIP')),
    list(annotation('vpc.amazonaws.com/pod-ips')),
  ];
  const texts = sources.find((candidate) => candidate.length > 0) ?? [];
  const addresses = texts.map((text) => bareAddress(text, book));
  return addresses.some((found) => found.length === 0) ? [] : [...new Set(addresses.flat())];
}

function isFinished(pod: Pod): boolean {
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded' || pod.phase === 'Completed') return true;
  const released = ['cni.projectcalico.org/podIP', 'vpc.amazonaws.com/pod-ips'];
  return pod.hasDeletionTimestamp && released.some((name) => pod.meta.annotations.get(name) === '');
}

/** An address, or an address with a prefix length, which does not count. */
function bareAddress(text: string, book: AddressBook): Address[] {
  if (parsePrefixOrAddress(text) === undefined) return [];
  return [book.find(text.split('/')[0]!)!];
}

function podProfiles(pod: Pod): string[] {
  const namespace = `kns.${pod.meta.namespace}`;
  if (pod.serviceAccountName === '') return [namespace];
  return [namespace, `ksa.${pod.meta.namespace}.${pod.serviceAccountName}`];
}

function podLabels(pod: Pod): Labels {
  const labels = new Map<string, string>();
  for (const [key, value] of pod.meta.labels) {
    if (!key.startsWith(NAMESPACE_PREFIX) && !key.startsWith(SERVICE_ACCOUNT_PREFIX)) labels.set(key, value);
  }
  labels.set(NAMESPACE_LABEL, pod.meta.namespace);
  labels.set(ORCHESTRATOR_LABEL, 'k8s');
  if (pod.serviceAccountName !== '') labels.set(SERVICE_ACCOUNT_LABEL, pod.serviceAccountName);
  return labels;
}

function podPorts(pod: Pod): NamedPort[] {
  return [...pod.containerPorts, ...pod.initContainerPorts].flatMap(({ name, containerPort, protocol }) => {
    if (name === '' || containerPort === 0) return [];
    const known = ['TCP', 'UDP', 'SCTP'].includes(protocol);
    return known ? [{ name, protocol: protocolNumber(protocol)!, port: containerPort }] : [];
  });
}

function hostPorts(hep: HostEndpoint): NamedPort[] {
  return hep.ports.flatMap(({ name, port, protocol }) => {
    const number = protocolNumber(protocol);
    return number === undefined ? [] : [{ name, protocol: number, port }];
  });
}

function networkSetLabels(set: NetworkSet, profiles: ReadonlyMap<string, ReferenceProfile>): Labels {
  if (set.kind === 'GlobalNetworkSet') return set.meta.labels;
  const own = new Map([...set.meta.labels, [NAMESPACE_LABEL, set.meta.namespace]]);
  return inherit(own, [`kns.${set.meta.namespace}`], profiles);
}

/** Own labels first, then each profile's in order; the first hit wins (semantics 2.3). */
function inherit(own: Labels, names: readonly string[], profiles: ReadonlyMap<string, ReferenceProfile>): Labels {
  const labels = new Map(own);
  for (const name of names) {
    for (const [key, value] of profiles.get(name)?.labels ?? []) {
      if (!labels.has(key)) labels.set(key, value);
    }
  }
  return labels;
}
