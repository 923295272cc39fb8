/**
 * What the user wrote, as plain readonly data: one type a kind, after the API server's defaults (semantics, section 11).
 *
 * `load` fills these in; `compile` and `reference` each read them and share nothing else but the selector language.
 * Field names are those of the Kubernetes and Calico APIs. An absent text is `''`, an absent list is empty, an absent
 * number or object is `undefined`: nobody downstream has to tell "absent" from "empty" but where Calico itself does,
 * and there the field's comment says so. Labels and annotations are Maps, so that a key such as `__proto__` is a key.
 */
import type { PeerAuthentication } from './mesh.ts';
import type { Role, RoleBinding, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding } from './rbac.ts';
import type { Rule } from './rule.ts';

/** Where an object or a part of it was written: the name of the input and the 1-based line. */
export interface Origin {
  readonly file: string;
  readonly line: number;
}

export type StringMap = ReadonlyMap<string, string>;

export interface ObjectMeta {
  readonly name: string;
  /** `''` for cluster-scoped kinds. */
  readonly namespace: string;
  readonly uid: string;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  /** Policies alone: `creationTimestamp`, milliseconds since 1970; absent where the input has none. */
  readonly createdMs?: number | undefined;
  readonly origin: Origin;
}

export interface Namespace {
  readonly kind: 'Namespace';
  readonly meta: ObjectMeta;
  /** Not in the input: synthesised, as a real cluster would have it. */
  readonly isSynthesised: boolean;
}

export interface ServiceAccount {
  readonly kind: 'ServiceAccount';
  readonly meta: ObjectMeta;
  readonly isSynthesised: boolean;
}

export interface Node {
  readonly kind: 'Node';
  readonly meta: ObjectMeta;
  /** `status.addresses` that are IP addresses (host names left out). */
  readonly addresses: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface ContainerPort {
  /** `''` = the port has no name. */
  readonly name: string;
  readonly containerPort: number;
  /** As written after the default: `TCP`, `UDP`, `SCTP`, or something else that the converter skips. */
  readonly protocol: string;
}

export interface Pod {
  readonly kind: 'Pod';
  readonly meta: ObjectMeta;
  readonly nodeName: string;
  readonly hostNetwork: boolean;
  /** After the default (`default`), or `''` under `--as-is` when the pod names none. */
  readonly serviceAccountName: string;
  readonly phase: string;
  readonly hasDeletionTimestamp: boolean;
  /** `status.podIPs[].ip`, as written. */
  readonly podIPs: readonly string[];
  /** `status.podIP`, as written. */
  readonly podIP: string;
  readonly containerPorts: readonly ContainerPort[];
  readonly initContainerPorts: readonly ContainerPort[];
  /** Made from a workload template (Deployment and the like), with a synthetic address. */
  readonly isSynthesised: boolean;
  /** When it owned which of `podIPs`; absent = all of them, always. Only identities files know such bounds. */
  readonly spans?: readonly AddressSpan[] | undefined;
  /** Labels of its account at that time, where they are not those of the ServiceAccount. Only identities files know such labels. */
  readonly accountLabels?: StringMap | undefined;
}

/** An address of a pod from one moment on and before another: milliseconds since 1970, infinite where there is no bound. */
export interface AddressSpan {
  readonly ip: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface ServicePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly nodePort: number | undefined;
}

export interface Service {
  readonly kind: 'Service';
  readonly meta: ObjectMeta;
  readonly type: string;
  readonly clusterIPs: readonly string[];
  readonly externalIPs: readonly string[];
  readonly loadBalancerIPs: readonly string[];
  readonly selector: StringMap;
  readonly ports: readonly ServicePort[];
}

export interface EndpointSlicePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number | undefined;
}

export interface EndpointSlice {
  readonly kind: 'EndpointSlice';
  readonly meta: ObjectMeta;
  /** Label `kubernetes.io/service-name`, `''` when absent. */
  readonly serviceName: string;
  readonly addressType: string;
  /** All addresses of all endpoints, whatever their conditions (semantics 3.8). */
  readonly addresses: readonly string[];
  readonly ports: readonly EndpointSlicePort[];
}

export interface Tier {
  readonly kind: 'Tier';
  readonly meta: ObjectMeta;
  readonly order: number;
  readonly defaultAction: 'Deny' | 'Pass';
  readonly isSynthesised: boolean;
}

export type StagedAction = 'Set' | 'Delete' | 'Learn' | 'Ignore';
export type PolicyType = 'Ingress' | 'Egress';

/** The fields that Calico's namespaced and global policies, enforced and staged, have in common. */
interface CalicoPolicyFields {
  readonly meta: ObjectMeta;
  /** After the default: `default` when empty. */
  readonly tier: string;
  /** `undefined` sorts last (semantics 4.2). */
  readonly order: number | undefined;
  readonly selector: string;
  readonly serviceAccountSelector: string;
  /** After the client library's default (semantics 4.3), in the order Ingress, Egress; empty only under `--permissive`. */
  readonly types: readonly PolicyType[];
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  /** Only for the staged kinds; `Set` otherwise. */
  readonly stagedAction: StagedAction;
}

export interface NetworkPolicy extends CalicoPolicyFields {
  readonly kind: 'NetworkPolicy' | 'StagedNetworkPolicy';
}

export interface GlobalNetworkPolicy extends CalicoPolicyFields {
  readonly kind: 'GlobalNetworkPolicy' | 'StagedGlobalNetworkPolicy';
  readonly namespaceSelector: string;
  readonly doNotTrack: boolean;
  readonly preDNAT: boolean;
  readonly applyOnForward: boolean;
}

export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: string;
  readonly values: readonly string[];
}

/** A Kubernetes label selector; `{}` (both empty) selects everything. */
export interface LabelSelector {
  readonly matchLabels: StringMap;
  readonly matchExpressions: readonly LabelSelectorRequirement[];
}

export interface KubernetesPeer {
  readonly podSelector: LabelSelector | undefined;
  readonly namespaceSelector: LabelSelector | undefined;
  readonly ipBlock: { readonly cidr: string; readonly except: readonly string[] } | undefined;
}

export interface KubernetesPort {
  /** After the default: `TCP`. */
  readonly protocol: string;
  /** A number, a name, or `undefined` for all ports of the protocol. */
  readonly port: number | string | undefined;
  readonly endPort: number | undefined;
}

export interface KubernetesRule {
  /** `from` or `to`; empty = any peer. */
  readonly peers: readonly KubernetesPeer[];
  readonly ports: readonly KubernetesPort[];
  readonly origin: Origin;
}

/** networking.k8s.io/v1 NetworkPolicy, and Calico's staged form of it. */
export interface KubernetesNetworkPolicy {
  readonly kind: 'KubernetesNetworkPolicy' | 'StagedKubernetesNetworkPolicy';
  readonly meta: ObjectMeta;
  readonly podSelector: LabelSelector;
  /** After the API server's default: Ingress, plus Egress if there are egress rules. */
  readonly policyTypes: readonly PolicyType[];
  readonly ingress: readonly KubernetesRule[];
  readonly egress: readonly KubernetesRule[];
  readonly stagedAction: StagedAction;
}

/** A pods or namespaces + pods selection of a ClusterNetworkPolicy. */
export interface ClusterPods {
  readonly namespaceSelector: LabelSelector;
  readonly podSelector: LabelSelector;
}

export interface ClusterPeer {
  readonly namespaces: LabelSelector | undefined;
  readonly pods: ClusterPods | undefined;
  /** Egress only: CIDRs. `undefined` = not given. */
  readonly networks: readonly string[] | undefined;
  /** Names of fields Calico does not support (`nodes`, `domainNames`, ...) that the peer has. */
  readonly unsupported: readonly string[];
}

/** One entry of `protocols`; exactly one of the parts is given on a valid object. */
export interface ClusterProtocol {
  readonly tcp: ClusterPortMatch | undefined;
  readonly udp: ClusterPortMatch | undefined;
  readonly sctp: ClusterPortMatch | undefined;
  /** `''` = not given. */
  readonly destinationNamedPort: string;
}

export interface ClusterPortMatch {
  /** `undefined` = every port of the protocol. */
  readonly number: number | undefined;
  readonly range: { readonly start: number; readonly end: number } | undefined;
}

export interface ClusterRule {
  readonly name: string;
  /** `Accept`, `Deny`, `Pass`, or as written. */
  readonly action: string;
  readonly peers: readonly ClusterPeer[];
  readonly protocols: readonly ClusterProtocol[];
  readonly origin: Origin;
}

/** policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy. */
export interface ClusterNetworkPolicy {
  readonly kind: 'KubernetesClusterNetworkPolicy';
  readonly meta: ObjectMeta;
  /** `Admin`, `Baseline`, or as written. */
  readonly tier: string;
  readonly priority: number;
  readonly subjectNamespaces: LabelSelector | undefined;
  readonly subjectPods: ClusterPods | undefined;
  readonly ingress: readonly ClusterRule[];
  readonly egress: readonly ClusterRule[];
}

export interface NetworkSet {
  readonly kind: 'NetworkSet' | 'GlobalNetworkSet';
  readonly meta: ObjectMeta;
  readonly nets: readonly string[];
}

export interface HostEndpointPort {
  readonly name: string;
  readonly port: number;
  /** As written: a name, or a number. */
  readonly protocol: string | number;
}

export interface HostEndpoint {
  readonly kind: 'HostEndpoint';
  readonly meta: ObjectMeta;
  readonly node: string;
  /** `''` = not given; `*` = wildcard. */
  readonly interfaceName: string;
  readonly expectedIPs: readonly string[];
  readonly profiles: readonly string[];
  readonly ports: readonly HostEndpointPort[];
}

export interface Profile {
  readonly kind: 'Profile';
  readonly meta: ObjectMeta;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  readonly labelsToApply: StringMap;
}

/** `proto:port`, optionally limited to the remote side's CIDR. */
export interface FailsafePort {
  readonly protocol: string;
  readonly port: number;
  /** `''` = any. */
  readonly net: string;
}

/** The fields of FelixConfiguration that change a verdict; `undefined` = Felix's (or the simulator's) default. */
export interface FelixConfiguration {
  readonly kind: 'FelixConfiguration';
  /** `default` for the whole cluster, `node.NAME` for one node. */
  readonly meta: ObjectMeta;
  readonly defaultEndpointToHostAction: 'Drop' | 'Return' | 'Accept' | undefined;
  readonly failsafeInboundHostPorts: readonly FailsafePort[] | undefined;
  readonly failsafeOutboundHostPorts: readonly FailsafePort[] | undefined;
  readonly vxlanPort: number | undefined;
  readonly allowVXLANPacketsFromWorkloads: boolean | undefined;
  readonly allowIPIPPacketsFromWorkloads: boolean | undefined;
  readonly workloadSourceSpoofing: 'Disabled' | 'Any' | undefined;
  readonly disableConntrackInvalidCheck: boolean | undefined;
  readonly serviceLoopPrevention: 'Drop' | 'Reject' | 'Disabled' | undefined;
  readonly floatingIPs: 'Enabled' | 'Disabled' | undefined;
  readonly ipv6Support: boolean | undefined;
  /** Whether Calico's own tunnels are on; `undefined` leaves it to the IP pools. */
  readonly vxlanEnabled: boolean | undefined;
  readonly ipipEnabled: boolean | undefined;
  /** What the names of pods' interfaces start with; several, separated by commas. */
  readonly interfacePrefix: string | undefined;
}

export interface BGPConfiguration {
  readonly kind: 'BGPConfiguration';
  readonly meta: ObjectMeta;
  readonly serviceClusterIPs: readonly string[];
  readonly serviceExternalIPs: readonly string[];
  readonly serviceLoadBalancerIPs: readonly string[];
}

export type Policy = NetworkPolicy | GlobalNetworkPolicy | KubernetesNetworkPolicy | ClusterNetworkPolicy;

export type Resource =
  | Namespace
  | ServiceAccount
  | Node
  | Pod
  | Service
  | EndpointSlice
  | Tier
  | Policy
  | NetworkSet
  | HostEndpoint
  | Profile
  | FelixConfiguration
  | BGPConfiguration
  | Role
  | RoleBinding
  | ValidatingAdmissionPolicy
  | ValidatingAdmissionPolicyBinding
  | PeerAuthentication;

/** All objects of one load, in input order, built-in and synthesised ones last. Names are unique within a kind and namespace. */
export interface Resources {
  readonly namespaces: readonly Namespace[];
  readonly serviceAccounts: readonly ServiceAccount[];
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly tiers: readonly Tier[];
  readonly policies: readonly Policy[];
  readonly networkSets: readonly NetworkSet[];
  readonly hostEndpoints: readonly HostEndpoint[];
  readonly profiles: readonly Profile[];
  readonly felixConfigurations: readonly FelixConfiguration[];
  readonly bgpConfigurations: readonly BGPConfiguration[];
  readonly roles: readonly Role[];
  readonly roleBindings: readonly RoleBinding[];
  readonly admissionPolicies: readonly ValidatingAdmissionPolicy[];
  readonly admissionBindings: readonly ValidatingAdmissionPolicyBinding[];
  readonly peerAuthentications: readonly PeerAuthentication[];
}

/** The lists while they are being filled. */
export type MutableResources = {
  -readonly [K in keyof Resources]: Resources[K] extends readonly (infer E)[] ? E[] : never;
};

export function emptyResources(): MutableResources {
  return {
    namespaces: [],
    serviceAccounts: [],
    nodes: [],
    pods: [],
    services: [],
    endpointSlices: [],
    tiers: [],
    policies: [],
    networkSets: [],
    hostEndpoints: [],
    profiles: [],
    felixConfigurations: [],
    bgpConfigurations: [],
    roles: [],
    roleBindings: [],
    admissionPolicies: [],
    admissionBindings: [],
    peerAuthentications: [],
  };
}

/** Puts an object into the list of its kind. */
export function addResource(lists: MutableResources, resource: Resource): void {
  switch (resource.kind) {
    case 'Namespace':
      return void lists.namespaces.push(resource);
    case 'ServiceAccount':
      return void lists.serviceAccounts.push(resource);
    case 'Node':
      return void lists.nodes.push(resource);
    case 'Pod':
      return void lists.pods.push(resource);
    case 'Service':
      return void lists.services.push(resource);
    case 'EndpointSlice':
      return void lists.endpointSlices.push(resource);
    case 'Tier':
      return void lists.tiers.push(resource);
    case 'NetworkSet':
    case 'GlobalNetworkSet':
      return void lists.networkSets.push(resource);
    case 'HostEndpoint':
      return void lists.hostEndpoints.push(resource);
    case 'Profile':
      return void lists.profiles.push(resource);
    case 'FelixConfiguration':
      return void lists.felixConfigurations.push(resource);
    case 'BGPConfiguration':
      return void lists.bgpConfigurations.push(resource);
    case 'Role':
    case 'ClusterRole':
      return void lists.roles.push(resource);
    case 'RoleBinding':
    case 'ClusterRoleBinding':
      return void lists.roleBindings.push(resource);
    case 'ValidatingAdmissionPolicy':
      return void lists.admissionPolicies.push(resource);
    case 'ValidatingAdmissionPolicyBinding':
      return void lists.admissionBindings.push(resource);
    case 'PeerAuthentication':
      return void lists.peerAuthentications.push(resource);
    default:
      return void lists.policies.push(resource);
  }
}

/** `kind/namespace/name`, unique within one load; the namespace is empty for cluster-scoped kinds. */
export function resourceKey(resource: {
  readonly kind: string;
  readonly meta: Pick<ObjectMeta, 'namespace' | 'name'>;
}): string {
  return `${resource.kind}/${resource.meta.namespace}/${resource.meta.name}`;
}
