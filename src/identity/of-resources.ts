/** Identities of manifests: what `identities dump` writes and the publisher publishes. */
import { formatAddress, parseAddress } from '../base/ip.ts';
import { podAddressTexts } from '../model/pod-addresses.ts';
import type { ContainerPort, Pod, Resources } from '../model/resources.ts';
import { type IdentityRecord, keptAnnotations } from './record.ts';
import type { IdentitySet } from './store.ts';

/** All that own an address, with the labels of their accounts and namespaces. Spans of an identities file beside the manifests are kept. */
export function identitiesOf(resources: Pick<Resources, 'pods' | 'serviceAccounts' | 'namespaces'>): IdentitySet {
  const accounts = new Map(
    resources.serviceAccounts.map(({ meta }) => [`${meta.namespace}/${meta.name}`, meta.labels]),
  );
  const namespaces = new Map(resources.namespaces.map(({ meta }) => [meta.name, meta.labels]));
  const records = resources.pods.flatMap((pod): IdentityRecord[] =>
    ownedSpans(pod).map(({ ip, fromMs, toMs }) => ({
      ip,
      fromMs,
      toMs,
      namespace: pod.meta.namespace,
      pod: pod.meta.name,
      uid: pod.meta.uid === '' ? `${pod.meta.namespace}/${pod.meta.name}` : pod.meta.uid,
      serviceAccount: pod.serviceAccountName,
      node: pod.nodeName,
      labels: pod.meta.labels,
      ports: namedPortsOf(pod),
      annotations: keptAnnotations(pod.meta.annotations),
      serviceAccountLabels: pod.accountLabels ?? accounts.get(`${pod.meta.namespace}/${pod.serviceAccountName}`),
      namespaceLabels: namespaces.get(pod.meta.namespace),
      origin: pod.meta.origin,
    })),
  );
  return { records, accounts, namespaces, isWhole: false };
}

function ownedSpans(pod: Pod): readonly { readonly ip: string; readonly fromMs: number; readonly toMs: number }[] {
  if (pod.spans !== undefined) return pod.spans;
  // An annotation of Calico's gives the address with its length. One malformed address, and the pod is no endpoint.
  const ips = podAddressTexts(pod).map((text) => parseAddress(text.replace(/\/(32|128)$/, '')));
  if (ips.includes(undefined)) return [];
  return [...new Set(ips.map((ip) => formatAddress(ip!)))].map((ip) => ({
    ip,
    fromMs: Number.NEGATIVE_INFINITY,
    toMs: Number.POSITIVE_INFINITY,
  }));
}

function namedPortsOf({ containerPorts, initContainerPorts }: Pod): readonly ContainerPort[] {
  return [...containerPorts, ...initContainerPorts].filter(({ name }) => name !== '');
}
