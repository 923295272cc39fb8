/**
 * The plan: what Calico would send to its dataplane for these objects, before margay packs it into tables.
 *
 * The front half of the compiler (`convert-*.ts`, `ip-sets.ts`, `order.ts`, `endpoints.ts`, `nodes.ts`) makes a plan from the
 * model; the back half (`fields.ts`, `classes.ts`, `fold.ts`, `pack.ts`) makes the buffer of `tables/layout.ts` from a plan. Everything here is in final order
 * and depends on the resources alone, never on the order of input: same objects, same plan.
 *
 * Groups keep it small: endpoints (or network sets) with the same labels, profiles and named ports are one group, so a
 * selector is evaluated once a group, and an IP set is a list of groups. A pod's policies depend on its labels and
 * profiles alone, so they, too, are worked out once a group.
 */
import type { Origin, StringMap } from '../model/resources.ts';
import type { HttpPath } from '../model/rule.ts';

/** A parsed prefix. IPv4 uses `words[0]` alone; host bits are zero. Words are int32, most significant first. */
export interface Prefix {
  readonly version: 4 | 6;
  readonly words: readonly [number, number, number, number];
  readonly length: number;
}

/** One address-and-port of a named port: IP protocol number and port. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
}

export interface PlanGroup {
  readonly kind: 'wep' | 'hep' | 'ns';
  /** Profiles in order: their labels were inherited in this order, and their rules run in this order. */
  readonly profiles: readonly string[];
  readonly namedPorts: readonly NamedPort[];
  /** Indexes into `Plan.endpoints`; empty for network sets. Ascending. */
  readonly endpoints: readonly number[];
  /** Prefixes of the group: addresses of its endpoints (full length), expectedIPs of a host endpoint, CIDRs of a network set. Sorted, unique. */
  readonly prefixes: readonly Prefix[];
  /** Names of the network sets of the group (`ns:NS/NAME`, `gns:NAME`), for records and `get`; empty otherwise. */
  readonly networkSets: readonly string[];
  /** Normal policies, staged ones included where they stand. For a `wep`, also all it has. */
  readonly tiers: readonly PlanTierPolicies[];
  /** Host endpoints only: apply-on-forward, preDNAT and doNotTrack policies (semantics 6.6); empty lists otherwise. */
  readonly forwardTiers: readonly PlanTierPolicies[];
  readonly preDnatTiers: readonly PlanTierPolicies[];
  readonly untrackedTiers: readonly PlanTierPolicies[];
}

/** Policies of one tier that select the group, per direction, in evaluation order: indexes into `Plan.policies`. Never both empty. */
export interface PlanTierPolicies {
  readonly tier: number;
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
}

export interface PlanEndpoint {
  /** `wep:NS/POD` or `hep:NAME`. */
  readonly key: string;
  readonly kind: 'wep' | 'hep';
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  /** `''` for host endpoints. */
  readonly serviceAccount: string;
  readonly uid: string;
  /** The object's own labels as the user wrote them (for records). */
  readonly labels: StringMap;
  readonly addresses: readonly Prefix[];
  /** Pods only: when it owned which of `addresses`; absent = all of them, always (timed-owners.ts). */
  readonly spans?: readonly OwnedSpan[] | undefined;
  /** Host endpoints only. */
  readonly interfaceName: string;
  /** Pods only: `cni.projectcalico.org/allowedSourcePrefixes` while `WorkloadSourceSpoofing` is `Any`; also floating addresses while enabled. */
  readonly allowedSources: readonly Prefix[];
  readonly group: number;
  readonly origin: Origin;
}

/** An address from one moment on and before another: milliseconds since 1970, infinite where there is no bound. */
export interface OwnedSpan {
  readonly address: Prefix;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface PlanTier {
  readonly name: string;
  /** `Infinity` for a tier that no object describes (it sorts after all others). */
  readonly order: number;
  readonly defaultAction: 'deny' | 'pass';
  readonly exists: boolean;
}

export interface PlanPolicy {
  /** `np:NS/NAME`, `gnp:NAME`, `knp:NS/NAME`, `kcnp:NAME`, `snp:…`, `sgnp:…`, `sknp:…`. */
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** Index into `Plan.tiers`. */
  readonly tier: number;
  /** `Infinity` = not given. */
  readonly order: number;
  readonly isStaged: boolean;
  readonly hasIngress: boolean;
  readonly hasEgress: boolean;
  readonly doNotTrack: boolean;
  readonly preDnat: boolean;
  readonly applyOnForward: boolean;
  /** Rules after conversion (semantics 5.1, 5.2): their positions are the rule indexes of traces. */
  readonly ingress: readonly PlanRule[];
  readonly egress: readonly PlanRule[];
  /** What the policy selects, canonical text, for `get` and `explain`. */
  readonly selectorText: string;
  readonly origin: Origin;
}

/** A profile some endpoint names and an object describes. A name that is not listed is a missing profile. */
export interface PlanProfile {
  readonly name: string;
  readonly ingress: readonly PlanRule[];
  readonly egress: readonly PlanRule[];
  readonly origin: Origin;
}

/** One rule as Felix would get it, before the split by IP version (semantics 3.6 is applied by `fields.ts`). */
export interface PlanRule {
  readonly action: 'allow' | 'deny' | 'pass' | 'log';
  /** From `ipVersion`, or implied by the protocol *name* ICMP or ICMPv6; 0 = both. */
  readonly ipVersion: 0 | 4 | 6;
  /** IP protocol number, or -1. */
  readonly protocol: number;
  readonly notProtocol: number;
  /** Written as a name: Calico's BPF dataplane does not know all of them (semantics 6.10). */
  readonly isProtocolNamed: boolean;
  readonly isNotProtocolNamed: boolean;
  /** -1 = not given; a code is given only with a type. `icmp` needs the rule's ICMP protocol by version. */
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly notIcmpType: number;
  readonly notIcmpCode: number;
  readonly source: PlanSide;
  readonly destination: PlanSide;
  /** `undefined` = none. */
  readonly conditions: PlanConditions | undefined;
  readonly origin: Origin;
}

/** What a rule asks of certificates and requests (semantics 8.3). The network layer has no use for it; `authz` has. */
export interface PlanConditions {
  readonly source: PlanIdentityMatch;
  readonly destination: PlanIdentityMatch;
  /** Empty = any. */
  readonly methods: readonly string[];
  readonly paths: readonly HttpPath[];
}

/** What one certificate must say, as the user wrote it; `''` and no names = not asked. */
export interface PlanIdentityMatch {
  readonly names: readonly string[];
  readonly accountSelector: string;
  readonly namespaceSelector: string;
  /** The one namespace it must be of: that of a namespaced policy without namespaceSelector. */
  readonly namespace: string;
}

/** A namespace (`account` is `''`) or a service account, with the labels that selectors over identities see. */
export interface PlanSubject {
  readonly namespace: string;
  readonly account: string;
  /** Sorted by key. */
  readonly labels: readonly (readonly [string, string])[];
}

/** One side of a rule; all parts must hold. IP sets are indexes into `Plan.ipSets`. */
export interface PlanSide {
  /** Parsed rule nets of both versions; `hasNets` tells an empty list from an absent one after bad entries were skipped. */
  readonly nets: readonly Prefix[];
  readonly notNets: readonly Prefix[];
  /** The address must be in every one (selector set, service set). */
  readonly ipSets: readonly number[];
  /** The address must be in none. */
  readonly notIpSets: readonly number[];
  /** Ports: numeric OR named. No constraint when both are empty. Inclusive ranges. */
  readonly ports: readonly (readonly [number, number])[];
  readonly namedPorts: readonly number[];
  readonly notPorts: readonly (readonly [number, number])[];
  readonly notNamedPorts: readonly number[];
  /** The tuple (address, protocol, port) must be in this set: a destination service; -1 = none. */
  readonly servicePorts: number;
}

export interface PlanIpSet {
  /** Calico's ID: `s:…`, `n:…`, `svc:…`, `svcnoport:…`. */
  readonly id: string;
  readonly type: 'net' | 'ipPort';
  /** What it stands for: canonical selector text, or `<selector text> port <proto|any> <name>`, or `service ns/name`. */
  readonly text: string;
  /**
   * `net`: every prefix of these groups is a member.
   * `ipPort`: the address-and-port tuples of these groups' endpoints whose port has `portName` and (`portProtocol` = 0 or equal).
   */
  readonly groups: readonly number[];
  readonly portName: string;
  readonly portProtocol: number;
  /** Members that come from elsewhere (service sets): prefixes for `net`, tuples for `ipPort`. Sorted, unique. */
  readonly prefixes: readonly Prefix[];
  readonly tuples: readonly PlanTuple[];
}

export interface PlanTuple {
  readonly address: Prefix;
  readonly protocol: number;
  readonly port: number;
}

export interface PlanNode {
  readonly name: string;
  /** Node `status.addresses` and the expectedIPs of its host endpoints, sorted, unique, full length. */
  readonly addresses: readonly Prefix[];
  /** The endpoint that governs the uplink, and whether it is explicit (by name or address) rather than the wildcard; -1 = none. */
  readonly uplinkEndpoint: number;
  readonly isUplinkExplicit: boolean;
  /** The wildcard host endpoint, which governs pod interfaces; -1 = none. */
  readonly wildcardEndpoint: number;
  readonly podCidrs: readonly Prefix[];
  readonly settings: PlanSettings;
}

/** Felix's settings for one node, defaults filled in (semantics, section 11). */
export interface PlanSettings {
  readonly defaultEndpointToHostAction: 'drop' | 'return' | 'accept';
  readonly failsafeInbound: readonly PlanFailsafe[];
  readonly failsafeOutbound: readonly PlanFailsafe[];
  readonly vxlanPort: number;
  readonly allowVxlanFromWorkloads: boolean;
  readonly allowIpipFromWorkloads: boolean;
  readonly disableConntrackInvalidCheck: boolean;
  readonly ipv6Support: boolean;
  readonly serviceLoopPrevention: boolean;
  /** Calico's own tunnels, where FelixConfiguration says so itself; what Felix derives from IP pools is not known here. */
  readonly vxlanEnabled: boolean;
  readonly ipipEnabled: boolean;
  /** What the names of pods' interfaces start with; Calico gives them the first. */
  readonly interfacePrefixes: readonly string[];
}

export interface PlanFailsafe {
  readonly protocol: number;
  readonly port: number;
  /** The remote side's prefix; `undefined` = any. */
  readonly net: Prefix | undefined;
}

/** A Service's cluster-side addresses and what they lead to, for captures taken before DNAT (semantics 6.9). */
export interface PlanService {
  readonly key: string;
  readonly addresses: readonly Prefix[];
  readonly ports: readonly {
    readonly protocol: number;
    readonly port: number;
    readonly backends: readonly { readonly address: Prefix; readonly port: number }[];
  }[];
}

export interface PlanWarning {
  readonly origin: Origin;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly field: string;
  readonly message: string;
  readonly fix: string;
}

export interface Plan {
  /** In the order they run: by tier, then order, then `name/namespace/Kind`. */
  readonly policies: readonly PlanPolicy[];
  readonly tiers: readonly PlanTier[];
  /** Sorted by name. */
  readonly profiles: readonly PlanProfile[];
  /** Sorted by ID. All sets that any policy or profile needs, selected or not. */
  readonly ipSets: readonly PlanIpSet[];
  /** Sorted canonically (by first endpoint or set), so that numbering depends on content alone. */
  readonly groups: readonly PlanGroup[];
  /** Sorted by key bytewise. */
  readonly endpoints: readonly PlanEndpoint[];
  /** Sorted by name; a node that only pods or host endpoints name is listed without addresses. */
  readonly nodes: readonly PlanNode[];
  readonly services: readonly PlanService[];
  /** BGPConfiguration's service CIDRs (semantics 6.9). */
  readonly serviceLoopPrefixes: readonly Prefix[];
  /** Addresses that two live endpoints own: design section 4, `shared-address`. Sorted. */
  readonly sharedAddresses: readonly { readonly address: Prefix; readonly endpoints: readonly number[] }[];
  /** Pods that have addresses but that Felix rejects (semantics 6.4): all traffic of their interfaces is dropped. By key. */
  readonly rejectedPods: readonly PlanRejectedPod[];
  /** Sorted by namespace, then account. */
  readonly subjects: readonly PlanSubject[];
  readonly warnings: readonly PlanWarning[];
}

/** A pod without endpoint whose packets are nevertheless known to be dropped: its interface is unknown to Felix. */
export interface PlanRejectedPod {
  /** `wep:NS/POD`. */
  readonly key: string;
  readonly node: string;
  readonly addresses: readonly Prefix[];
  readonly spans?: readonly OwnedSpan[] | undefined;
  readonly origin: Origin;
}
