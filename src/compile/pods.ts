/**
 * Pods to workload endpoints.
 *
 * A pod is an endpoint if it is scheduled, not on the host network, not finished and has an address; readiness does not
 * matter. Its addresses come from the first of `status.podIPs`, `status.podIP` and three annotations that is not empty.
 * One malformed address, or a malformed annotation, fails the conversion of the whole pod, as in Calico.
 *
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go (getPodIPs, IsFinished),
 * workload_endpoint_default.go, updateprocessors/workloadendpointprocessor.go; semantics 2.1.
 */
import { fullPrefix, parseAddress, parsePrefix, parsePrefixOrAddress } from '../base/ip.ts';
import type { ContainerPort, Origin, Pod } from '../model/resources.ts';
import type { GroupIdentities, GroupIdentity } from './groups.ts';
import { type LabelPairs, type LabelSets, podOwnLabels } from './labels.ts';
import type { NamedPort, PlanWarning, Prefix } from './plan.ts';
import { namespaceProfileName, serviceAccountProfileName } from './profiles.ts';
import { portProtocolNumber } from './protocols.ts';
import { warning } from './warnings.ts';

/** An endpoint before grouping: what depends on its own object alone. What its node's settings decide is left open. */
export interface EndpointDraft {
  readonly key: string;
  readonly kind: 'wep' | 'hep';
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly uid: string;
  readonly labels: LabelPairs;
  readonly addresses: readonly Prefix[];
  readonly interfaceName: string;
  /** Annotation `cni.projectcalico.org/allowedSourcePrefixes`. */
  readonly allowedSourcePrefixes: readonly Prefix[];
  /** Annotation `cni.projectcalico.org/floatingIPs`. */
  readonly floatingAddresses: readonly Prefix[];
  readonly identity: GroupIdentity;
  readonly origin: Origin;
}

/** A pod that is no endpoint, with the reason if it is one that needs saying. */
export interface NoEndpoint {
  readonly kind: 'none';
  readonly warnings: readonly PlanWarning[];
}

const POD_IP = 'cni.projectcalico.org/podIP';
const POD_IPS = 'cni.projectcalico.org/podIPs';
const AWS_POD_IPS = 'vpc.amazonaws.com/pod-ips';
const ALLOWED_SOURCE_PREFIXES = 'cni.projectcalico.org/allowedSourcePrefixes';
const FLOATING_IPS = 'cni.projectcalico.org/floatingIPs';

const NONE: readonly never[] = [];
const NO_ENDPOINT: NoEndpoint = { kind: 'none', warnings: NONE };

export function podDraft(pod: Pod, labelSets: LabelSets, identities: GroupIdentities): EndpointDraft | NoEndpoint {
  if (pod.hostNetwork || pod.nodeName === '' || isFinished(pod)) return NO_ENDPOINT;
  const texts = addressTexts(pod);
  if (texts.length === 0) return NO_ENDPOINT;
  const addresses: Prefix[] = [];
  for (const text of texts) {
    const parsed = parseAddress(text) ?? parsePrefix(text);
    if (parsed === undefined) return failed(pod, 'status.podIPs', `'${text}' is no address`);
    // Sets hold the bare address, whatever length an annotation gives (Calico's own annotation has /32).
    const address = fullPrefix(parsed);
    if (!addresses.some((known) => isSamePrefix(known, address))) addresses.push(address);
  }
  const allowed = parseAnnotation(pod, ALLOWED_SOURCE_PREFIXES, parsePrefix);
  if (typeof allowed === 'string') return failed(pod, `metadata.annotations[${ALLOWED_SOURCE_PREFIXES}]`, allowed);
  const floating = parseAnnotation(pod, FLOATING_IPS, parsePrefixOrAddress);
  if (typeof floating === 'string') return failed(pod, `metadata.annotations[${FLOATING_IPS}]`, floating);
  const { namespace, name, uid, labels, origin } = pod.meta;
  const serviceAccount = pod.serviceAccountName;
  const labelSet = labelSets.of(labels);
  const ports = namedPorts(pod);
  const identity = identities.ofPod(labelSet, namespace, serviceAccount, ports, () => {
    const profiles = [namespaceProfileName(namespace)];
    if (serviceAccount !== '') profiles.push(serviceAccountProfileName(namespace, serviceAccount));
    return identities.of('wep', podOwnLabels(labels, namespace, serviceAccount), profiles, ports);
  });
  return {
    key: `wep:${namespace}/${name}`,
    kind: 'wep',
    namespace,
    name,
    node: pod.nodeName,
    serviceAccount,
    uid,
    labels: labelSet.pairs,
    addresses,
    interfaceName: '',
    allowedSourcePrefixes: allowed,
    floatingAddresses: floating,
    identity,
    origin,
  };
}

function failed(pod: Pod, field: string, problem: string): NoEndpoint {
  const message = `${problem}; Calico cannot convert the pod, so it is no endpoint`;
  return { kind: 'none', warnings: [warning(pod, field, message, 'correct the value')] };
}

/** A finished pod gave its addresses back; one that is merely terminating still owns them. */
function isFinished(pod: Pod): boolean {
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded' || pod.phase === 'Completed') return true;
  if (!pod.hasDeletionTimestamp) return false;
  return pod.meta.annotations.get(POD_IP) === '' || pod.meta.annotations.get(AWS_POD_IPS) === '';
}

function addressTexts(pod: Pod): readonly string[] {
  if (pod.podIPs.length > 0) return pod.podIPs;
  if (pod.podIP !== '') return [pod.podIP];
  const { annotations } = pod.meta;
  if (annotations.size === 0) return NONE;
  const list = annotations.get(POD_IPS) ?? '';
  if (list !== '') return list.split(',');
  const single = annotations.get(POD_IP) ?? '';
  if (single !== '') return [single];
  const aws = annotations.get(AWS_POD_IPS) ?? '';
  return aws === '' ? NONE : aws.split(',');
}

/** A JSON list of texts, each through `parse`; or what is wrong. Absent or empty: nothing. */
function parseAnnotation(
  pod: Pod,
  key: string,
  parse: (text: string) => Prefix | undefined,
): readonly Prefix[] | string {
  const annotation = pod.meta.annotations.get(key) ?? '';
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
