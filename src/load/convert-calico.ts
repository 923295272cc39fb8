/** Calico's kinds to the model, with the defaults that its API applies to fields (semantics 4.3 and 11). */
import type {
  BGPConfiguration,
  FailsafePort,
  FelixConfiguration,
  GlobalNetworkPolicy,
  HostEndpoint,
  NetworkPolicy,
  NetworkSet,
  PolicyType,
  Profile,
  StagedAction,
  Tier,
} from '../model/resources.ts';
import { convertProtocol, convertRules, type RawRule } from './convert-rule.ts';
import type { ObjectContext } from './object.ts';
import { listOf, type Opt, objectMeta, policyMeta, type RawMap, type RawObject, stringMap } from './raw.ts';

export interface RawPolicySpec {
  readonly tier?: Opt<string>;
  readonly order?: Opt<number>;
  readonly selector?: Opt<string>;
  readonly serviceAccountSelector?: Opt<string>;
  readonly namespaceSelector?: Opt<string>;
  readonly types?: Opt<readonly PolicyType[]>;
  readonly ingress?: Opt<readonly RawRule[]>;
  readonly egress?: Opt<readonly RawRule[]>;
  readonly doNotTrack?: Opt<boolean>;
  readonly preDNAT?: Opt<boolean>;
  readonly applyOnForward?: Opt<boolean>;
  readonly stagedAction?: Opt<StagedAction | ''>;
  readonly performanceHints?: Opt<readonly string[]>;
}

export interface RawPolicy extends RawObject {
  readonly spec?: Opt<RawPolicySpec>;
}

export function convertNetworkPolicy(raw: RawPolicy, context: ObjectContext): NetworkPolicy {
  const kind = context.id.kind === 'StagedNetworkPolicy' ? 'StagedNetworkPolicy' : 'NetworkPolicy';
  return { kind, ...policyFields(raw, context) };
}

export function convertGlobalNetworkPolicy(raw: RawPolicy, context: ObjectContext): GlobalNetworkPolicy {
  const spec = raw.spec ?? {};
  return {
    kind: context.id.kind === 'StagedGlobalNetworkPolicy' ? 'StagedGlobalNetworkPolicy' : 'GlobalNetworkPolicy',
    ...policyFields(raw, context),
    namespaceSelector: spec.namespaceSelector ?? '',
    doNotTrack: spec.doNotTrack ?? false,
    preDNAT: spec.preDNAT ?? false,
    applyOnForward: spec.applyOnForward ?? false,
  };
}

function policyFields(raw: RawPolicy, context: ObjectContext): Omit<NetworkPolicy, 'kind'> {
  const spec = raw.spec ?? {};
  return {
    meta: policyMeta(raw.metadata, context),
    tier: spec.tier || 'default',
    order: spec.order ?? undefined,
    selector: spec.selector ?? '',
    serviceAccountSelector: spec.serviceAccountSelector ?? '',
    types: defaultTypes(spec.types, listOf(spec.ingress).length > 0, listOf(spec.egress).length > 0),
    ingress: convertRules(spec.ingress, ['spec', 'ingress'], context),
    egress: convertRules(spec.egress, ['spec', 'egress'], context),
    stagedAction: spec.stagedAction || 'Set',
  };
}

/**
 * The directions of a policy, Ingress first. Absent and empty alike: those that have rules, or Ingress if none has.
 * Source: Calico api/pkg/defaults/networkpolicy.go (semantics 4.3).
 */
function defaultTypes(types: Opt<readonly string[]>, hasIngress: boolean, hasEgress: boolean): PolicyType[] {
  const given = listOf(types);
  const ingress = given.length > 0 ? given.includes('Ingress') : hasIngress || !hasEgress;
  const egress = given.length > 0 ? given.includes('Egress') : hasEgress;
  return [...(ingress ? (['Ingress'] as const) : []), ...(egress ? (['Egress'] as const) : [])];
}

export interface RawTier extends RawObject {
  readonly spec?: Opt<{ readonly order?: Opt<number>; readonly defaultAction?: Opt<'Deny' | 'Pass'> }>;
}

/** Order of a tier that has none. Source: Calico libcalico-go/lib/resources/tier.go. */
const DEFAULT_TIER_ORDER = 1_000_000;

export function convertTier(raw: RawTier, context: ObjectContext): Tier {
  return {
    kind: 'Tier',
    meta: objectMeta(raw.metadata, context),
    order: raw.spec?.order ?? DEFAULT_TIER_ORDER,
    defaultAction: raw.spec?.defaultAction ?? 'Deny',
    isSynthesised: false,
  };
}

export interface RawNetworkSet extends RawObject {
  readonly spec?: Opt<{ readonly nets?: Opt<readonly string[]> }>;
}

export function convertNetworkSet(raw: RawNetworkSet, context: ObjectContext): NetworkSet {
  const kind = context.id.kind === 'NetworkSet' ? 'NetworkSet' : 'GlobalNetworkSet';
  return { kind, meta: objectMeta(raw.metadata, context), nets: listOf(raw.spec?.nets) };
}

export interface RawHostEndpoint extends RawObject {
  readonly spec?: Opt<{
    readonly node?: Opt<string>;
    readonly interfaceName?: Opt<string>;
    readonly expectedIPs?: Opt<readonly string[]>;
    readonly profiles?: Opt<readonly string[]>;
    readonly ports?: Opt<
      readonly { readonly name?: Opt<string>; readonly protocol?: Opt<string | number>; readonly port?: Opt<number> }[]
    >;
  }>;
}

export function convertHostEndpoint(raw: RawHostEndpoint, context: ObjectContext): HostEndpoint {
  const spec = raw.spec ?? {};
  return {
    kind: 'HostEndpoint',
    meta: objectMeta(raw.metadata, context),
    node: spec.node ?? '',
    interfaceName: spec.interfaceName ?? '',
    expectedIPs: listOf(spec.expectedIPs),
    profiles: listOf(spec.profiles),
    ports: listOf(spec.ports).map(({ name, port, protocol }) => ({
      name: name ?? '',
      port: port ?? 0,
      protocol: convertProtocol(protocol) ?? '',
    })),
  };
}

export interface RawProfile extends RawObject {
  readonly spec?: Opt<{
    readonly ingress?: Opt<readonly RawRule[]>;
    readonly egress?: Opt<readonly RawRule[]>;
    readonly labelsToApply?: Opt<RawMap>;
  }>;
}

export function convertProfile(raw: RawProfile, context: ObjectContext): Profile {
  return {
    kind: 'Profile',
    meta: objectMeta(raw.metadata, context),
    ingress: convertRules(raw.spec?.ingress, ['spec', 'ingress'], context),
    egress: convertRules(raw.spec?.egress, ['spec', 'egress'], context),
    labelsToApply: stringMap(raw.spec?.labelsToApply),
  };
}

type RawProtoPorts = Opt<
  readonly { readonly protocol?: Opt<string>; readonly port: number; readonly net?: Opt<string> }[]
>;

export interface RawFelixConfiguration extends RawObject {
  readonly spec?: Opt<{
    readonly defaultEndpointToHostAction?: Opt<string>;
    readonly failsafeInboundHostPorts?: RawProtoPorts;
    readonly failsafeOutboundHostPorts?: RawProtoPorts;
    readonly vxlanPort?: Opt<number>;
    readonly allowVXLANPacketsFromWorkloads?: Opt<boolean>;
    readonly allowIPIPPacketsFromWorkloads?: Opt<boolean>;
    readonly workloadSourceSpoofing?: Opt<string>;
    readonly disableConntrackInvalidCheck?: Opt<boolean>;
    readonly serviceLoopPrevention?: Opt<string>;
    readonly floatingIPs?: Opt<'Enabled' | 'Disabled'>;
    readonly ipv6Support?: Opt<boolean>;
    readonly vxlanEnabled?: Opt<boolean>;
    readonly ipipEnabled?: Opt<boolean>;
    readonly interfacePrefix?: Opt<string>;
  }>;
}

export function convertFelixConfiguration(raw: RawFelixConfiguration, context: ObjectContext): FelixConfiguration {
  const spec = raw.spec ?? {};
  return {
    kind: 'FelixConfiguration',
    meta: objectMeta(raw.metadata, context),
    defaultEndpointToHostAction: wordOf(spec.defaultEndpointToHostAction, ENDPOINT_TO_HOST_ACTIONS),
    failsafeInboundHostPorts: failsafePorts(spec.failsafeInboundHostPorts),
    failsafeOutboundHostPorts: failsafePorts(spec.failsafeOutboundHostPorts),
    vxlanPort: spec.vxlanPort ?? undefined,
    allowVXLANPacketsFromWorkloads: spec.allowVXLANPacketsFromWorkloads ?? undefined,
    allowIPIPPacketsFromWorkloads: spec.allowIPIPPacketsFromWorkloads ?? undefined,
    workloadSourceSpoofing: wordOf(spec.workloadSourceSpoofing, SOURCE_SPOOFING),
    disableConntrackInvalidCheck: spec.disableConntrackInvalidCheck ?? undefined,
    serviceLoopPrevention: wordOf(spec.serviceLoopPrevention, LOOP_PREVENTION),
    floatingIPs: spec.floatingIPs ?? undefined,
    ipv6Support: spec.ipv6Support ?? undefined,
    vxlanEnabled: spec.vxlanEnabled ?? undefined,
    ipipEnabled: spec.ipipEnabled ?? undefined,
    interfacePrefix: spec.interfacePrefix ?? undefined,
  };
}

export const ENDPOINT_TO_HOST_ACTIONS = ['Drop', 'Return', 'Accept'] as const;
export const SOURCE_SPOOFING = ['Disabled', 'Any'] as const;
export const LOOP_PREVENTION = ['Drop', 'Reject', 'Disabled'] as const;

/** One of `words`, whatever its case, as Felix reads its settings. */
function wordOf<T extends string>(text: Opt<string>, words: readonly T[]): T | undefined {
  const lower = (text ?? '').toLowerCase();
  return words.find((word) => word.toLowerCase() === lower);
}

/** An empty list is a setting of its own (no failsafe ports); an absent one is the default. */
function failsafePorts(raw: RawProtoPorts): readonly FailsafePort[] | undefined {
  if (raw === null || raw === undefined) return undefined;
  return raw.map(({ protocol, port, net }) => ({ protocol: (protocol || 'TCP').toLowerCase(), port, net: net ?? '' }));
}

type RawBlocks = Opt<readonly { readonly cidr?: Opt<string> }[]>;

export interface RawBGPConfiguration extends RawObject {
  readonly spec?: Opt<{
    readonly serviceClusterIPs?: RawBlocks;
    readonly serviceExternalIPs?: RawBlocks;
    readonly serviceLoadBalancerIPs?: RawBlocks;
  }>;
}

export function convertBGPConfiguration(raw: RawBGPConfiguration, context: ObjectContext): BGPConfiguration {
  const blocks = (list: RawBlocks): readonly string[] => listOf(list).map((block) => block.cidr ?? '');
  return {
    kind: 'BGPConfiguration',
    meta: objectMeta(raw.metadata, context),
    serviceClusterIPs: blocks(raw.spec?.serviceClusterIPs),
    serviceExternalIPs: blocks(raw.spec?.serviceExternalIPs),
    serviceLoadBalancerIPs: blocks(raw.spec?.serviceLoadBalancerIPs),
  };
}
