/**
 * Pods to workload endpoints.
 *
 * A pod is an endpoint if it owns an address (model/pod-addresses.ts). One malformed address, or a malformed annotation, fails the
 * conversion of the whole pod, as in Calico.
 *
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go, updateprocessors/workloadendpointprocessor.go; semantics 2.1.
 */
import { fullPrefix, parseFullPrefix, parsePrefix, parsePrefixOrAddress } from '../base/ip.ts';
import { ALLOWED_SOURCE_PREFIXES, FLOATING_IPS, podAddressTexts } from '../model/pod-addresses.ts';
import type { AddressSpan, ContainerPort, Pod, StringMap } from '../model/resources.ts';
import type { GroupIdentities, GroupIdentity } from './groups.ts';
import { type AskedLabels, podOwnLabels } from './labels.ts';
import type { NamedPort, OwnedSpan, PlanEndpoint, PlanWarning, Prefix } from './plan.ts';
import { namespaceProfileName, serviceAccountProfileName } from './profiles.ts';
import { portProtocolNumber } from './protocols.ts';
import { warning } from './warnings.ts';

/**
 * An endpoint of which all is known that depends on its own object: it becomes the endpoint of the plan when it is placed (assemble.ts), since a
 * second object for each pod would cost as much again. What its node's settings decide is left open.
 */
export interface EndpointDraft extends PlanEndpoint {
  readonly identity: GroupIdentity;
  /** Annotation `cni.projectcalico.org/allowedSourcePrefixes`. */
  readonly allowedSourcePrefixes: readonly Prefix[];
  /** Annotation `cni.projectcalico.org/floatingIPs`. */
  readonly floatingAddresses: readonly Prefix[];
}

/** `PlanEndpoint.group` of a draft that has not been placed. */
export const UNPLACED = -1;

/** A pod that is no endpoint, with the reason if it is one that needs saying. */
export interface NoEndpoint {
  readonly kind: 'none';
  readonly warnings: readonly PlanWarning[];
}

const NONE: readonly never[] = [];
const NO_ENDPOINT: NoEndpoint = { kind: 'none', warnings: NONE };

export function podDraft(pod: Pod, askedLabels: AskedLabels, identities: GroupIdentities): EndpointDraft | NoEndpoint {
  const texts = podAddressTexts(pod);
  if (texts.length === 0) return NO_ENDPOINT;
  const addresses = addressesOf(texts);
  if (typeof addresses === 'string') return failed(pod, 'status.podIPs', `'${addresses}' is no address`);
  const allowed = parseAnnotation(pod, ALLOWED_SOURCE_PREFIXES, parsePrefix);
  if (typeof allowed === 'string') return failed(pod, `metadata.annotations[${ALLOWED_SOURCE_PREFIXES}]`, allowed);
  const floating = parseAnnotation(pod, FLOATING_IPS, parsePrefixOrAddress);
  if (typeof floating === 'string') return failed(pod, `metadata.annotations[${FLOATING_IPS}]`, floating);
  const { namespace, name, uid, labels, origin } = pod.meta;
  const serviceAccount = pod.serviceAccountName;
  const asked = askedLabels.of(labels);
  const identity = identities.lastOf(asked, pod) ?? podIdentity(pod, asked, identities);
  return {
    key: `wep:${namespace}/${name}`,
    kind: 'wep',
    namespace,
    name,
    node: pod.nodeName,
    serviceAccount,
    uid,
    labels,
    addresses,
    spans: pod.spans?.flatMap(ownedSpan),
    interfaceName: '',
    allowedSources: NONE,
    group: UNPLACED,
    origin,
    identity,
    allowedSourcePrefixes: allowed,
    floatingAddresses: floating,
  };
}

/** Addresses that a pod owns; undefined if it owns none, or has one that is none. */
export function podAddresses(pod: Pod): readonly Prefix[] | undefined {
  const texts = podAddressTexts(pod);
  const addresses = texts.length === 0 ? undefined : addressesOf(texts);
  return typeof addresses === 'string' ? undefined : addresses;
}

/** Each address once, or the text that is none. */
function addressesOf(texts: readonly string[]): readonly Prefix[] | string {
  const first = addressOf(texts[0]!);
  if (first === undefined) return texts[0]!;
  // An array of exactly the usual length: one that grows keeps room for sixteen more.
  const addresses = [first];
  for (let i = 1; i < texts.length; i++) {
    const address = addressOf(texts[i]!);
    if (address === undefined) return texts[i]!;
    if (!addresses.some((known) => isSamePrefix(known, address))) addresses.push(address);
  }
  return addresses;
}

/** Sets hold the bare address, whatever length an annotation gives (Calico's own annotation has /32). */
function addressOf(text: string): Prefix | undefined {
  const address = parseFullPrefix(text);
  if (address !== undefined) return address;
  const prefix = parsePrefix(text);
  return prefix === undefined ? undefined : fullPrefix(prefix);
}

/** `asked`: those of its labels that some selector asks about. */
function podIdentity(pod: Pod, asked: StringMap, identities: GroupIdentities): GroupIdentity {
  const { serviceAccountName, accountLabels } = pod;
  const { namespace } = pod.meta;
  const ports = namedPorts(pod);
  return identities.ofPod(asked, pod, ports, () => {
    const profiles = [namespaceProfileName(namespace)];
    if (serviceAccountName !== '') profiles.push(serviceAccountProfileName(namespace, serviceAccountName));
    return identities.of('wep', podOwnLabels(asked, namespace, serviceAccountName), profiles, ports, accountLabels);
  });
}

function ownedSpan({ ip, fromMs, toMs }: AddressSpan): OwnedSpan[] {
  const address = parseFullPrefix(ip);
  return address === undefined ? [] : [{ address, fromMs, toMs }];
}

function failed(pod: Pod, field: string, problem: string): NoEndpoint {
  const message = `${problem}; Calico cannot convert the pod, so it is no endpoint`;
  return { kind: 'none', warnings: [warning(pod, field, message, 'correct the value')] };
}

/** A JSON list of texts, each through `parse`; or what is wrong. Absent or empty: nothing. */
function parseAnnotation(
  pod: Pod,
  key: string,
  parse: (text: string) => Prefix | undefined,
): readonly Prefix[] | string {
  const { annotations } = pod.meta;
  const annotation = annotations.size === 0 ? '' : (annotations.get(key) ?? '');
  if (annotation === '') return NONE;
  let list: unknown;
  try {
    list = JSON.parse(annotation);
  } catch {
    return `'${annotation}' is no JSON`;
  }
  if (list === null) return NONE;
  if (!Array.isArray(list)) return `'${annotation}' is no JSON list`;
  const prefixes: Prefix[] = [];
  for (const text of list) {
    const prefix = typeof text === 'string' ? parse(text) : undefined;
    if (prefix === undefined) return `${JSON.stringify(text)} is no address or prefix`;
    prefixes.push(prefix);
  }
  return prefixes;
}

function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return a.version === b.version && a.length === b.length && a.words.every((word, i) => word === b.words[i]);
}

/** Named ports of containers, then of init containers; a name may stand for several ports. */
function namedPorts(pod: Pod): readonly NamedPort[] {
  if (pod.containerPorts.length === 0 && pod.initContainerPorts.length === 0) return NONE;
  const ports: NamedPort[] = [];
  for (const port of pod.containerPorts) addNamedPort(port, ports);
  for (const port of pod.initContainerPorts) addNamedPort(port, ports);
  return ports;
}

function addNamedPort({ name, containerPort, protocol }: ContainerPort, ports: NamedPort[]): void {
  if (name === '' || containerPort === 0) return;
  // Kubernetes' protocols are upper case; Calico skips anything else.
  const number = protocol === protocol.toUpperCase() ? portProtocolNumber(protocol) : undefined;
  if (number !== undefined) ports.push({ name, protocol: number, port: containerPort });
}
