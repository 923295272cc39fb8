/** Kubernetes NetworkPolicy, Calico's staged form of it, and ClusterNetworkPolicy to the model. */
import type {
  ClusterNetworkPolicy,
  ClusterPeer,
  ClusterPods,
  ClusterPortMatch,
  ClusterProtocol,
  ClusterRule,
  KubernetesNetworkPolicy,
  KubernetesPeer,
  KubernetesPort,
  KubernetesRule,
  LabelSelector,
  PolicyType,
  StagedAction,
} from '../model/resources.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt, policyMeta, type RawMap, type RawObject, stringMap } from './raw.ts';

export interface RawLabelSelector {
  readonly matchLabels?: Opt<RawMap>;
  readonly matchExpressions?: Opt<
    readonly { readonly key?: Opt<string>; readonly operator?: Opt<string>; readonly values?: Opt<readonly string[]> }[]
  >;
}

export interface RawKubernetesPeer {
  readonly podSelector?: Opt<RawLabelSelector>;
  readonly namespaceSelector?: Opt<RawLabelSelector>;
  readonly ipBlock?: Opt<{ readonly cidr?: Opt<string>; readonly except?: Opt<readonly string[]> }>;
}

export interface RawKubernetesPort {
  readonly protocol?: Opt<string>;
  readonly port?: Opt<number | string>;
  readonly endPort?: Opt<number>;
}

export interface RawKubernetesRule {
  readonly from?: Opt<readonly RawKubernetesPeer[]>;
  readonly to?: Opt<readonly RawKubernetesPeer[]>;
  readonly ports?: Opt<readonly RawKubernetesPort[]>;
}

export interface RawKubernetesPolicy extends RawObject {
  readonly spec?: Opt<{
    readonly podSelector?: Opt<RawLabelSelector>;
    readonly ingress?: Opt<readonly RawKubernetesRule[]>;
    readonly egress?: Opt<readonly RawKubernetesRule[]>;
    readonly policyTypes?: Opt<readonly string[]>;
    readonly stagedAction?: Opt<StagedAction | ''>;
  }>;
}

export function convertKubernetesPolicy(raw: RawKubernetesPolicy, context: ObjectContext): KubernetesNetworkPolicy {
  const spec = raw.spec ?? {};
  const isStaged = context.id.kind === 'StagedKubernetesNetworkPolicy';
  return {
    kind: isStaged ? 'StagedKubernetesNetworkPolicy' : 'KubernetesNetworkPolicy',
    meta: policyMeta(raw.metadata, context),
    podSelector: convertLabelSelector(spec.podSelector) ?? EVERYTHING,
    policyTypes: policyTypes(spec.policyTypes, listOf(spec.egress).length > 0, isStaged),
    ingress: convertKubernetesRules(spec.ingress, ['spec', 'ingress'], context),
    egress: convertKubernetesRules(spec.egress, ['spec', 'egress'], context),
    stagedAction: spec.stagedAction || 'Set',
  };
}

const EVERYTHING: LabelSelector = { matchLabels: new Map(), matchExpressions: [] };

/** The API server's default: Ingress, plus Egress if there are egress rules. Nothing fills in the staged kind (5.1). */
function policyTypes(types: Opt<readonly string[]>, hasEgress: boolean, isStaged: boolean): readonly PolicyType[] {
  const given = listOf(types);
  if (given.length === 0) return hasEgress && !isStaged ? ['Ingress', 'Egress'] : ['Ingress'];
  const known: readonly PolicyType[] = ['Ingress', 'Egress'];
  return known.filter((type) => given.includes(type));
}

export function convertLabelSelector(raw: Opt<RawLabelSelector>): LabelSelector | undefined {
  if (raw === null || raw === undefined) return undefined;
  return {
    matchLabels: stringMap(raw.matchLabels),
    matchExpressions: listOf(raw.matchExpressions).map((expression) => ({
      key: expression.key ?? '',
      operator: expression.operator ?? '',
      values: listOf(expression.values),
    })),
  };
}

function convertKubernetesRules(
  raw: Opt<readonly RawKubernetesRule[]>,
  path: FieldPath,
  context: ObjectContext,
): readonly KubernetesRule[] {
  return listOf(raw).map((rule, index) => ({
    peers: listOf(rule.from ?? rule.to).map(convertPeer),
    ports: listOf(rule.ports).map(convertPort),
    origin: context.origin([...path, index]),
  }));
}

function convertPeer(raw: RawKubernetesPeer): KubernetesPeer {
  return {
    podSelector: convertLabelSelector(raw.podSelector),
    namespaceSelector: convertLabelSelector(raw.namespaceSelector),
    ipBlock: raw.ipBlock ? { cidr: raw.ipBlock.cidr ?? '', except: listOf(raw.ipBlock.except) } : undefined,
  };
}

function convertPort(raw: RawKubernetesPort): KubernetesPort {
  return { protocol: raw.protocol ?? 'TCP', port: raw.port ?? undefined, endPort: raw.endPort ?? undefined };
}

interface RawClusterPods {
  readonly namespaceSelector?: Opt<RawLabelSelector>;
  readonly podSelector?: Opt<RawLabelSelector>;
}

export interface RawClusterPeer {
  readonly namespaces?: Opt<RawLabelSelector>;
  readonly pods?: Opt<RawClusterPods>;
  readonly nodes?: Opt<RawLabelSelector>;
  readonly networks?: Opt<readonly string[]>;
  readonly domainNames?: Opt<readonly string[]>;
}

interface RawTransport {
  readonly destinationPort?: Opt<{
    readonly number?: Opt<number>;
    readonly range?: Opt<{ readonly start: number; readonly end: number }>;
  }>;
}

export interface RawClusterProtocol {
  readonly tcp?: Opt<RawTransport>;
  readonly udp?: Opt<RawTransport>;
  readonly sctp?: Opt<RawTransport>;
  readonly destinationNamedPort?: Opt<string>;
}

export interface RawClusterRule {
  readonly name?: Opt<string>;
  readonly action?: Opt<string>;
  readonly from?: Opt<readonly RawClusterPeer[]>;
  readonly to?: Opt<readonly RawClusterPeer[]>;
  readonly protocols?: Opt<readonly RawClusterProtocol[]>;
}

export interface RawClusterPolicy extends RawObject {
  readonly spec?: Opt<{
    readonly tier?: Opt<string>;
    readonly priority?: Opt<number>;
    readonly subject?: Opt<{ readonly namespaces?: Opt<RawLabelSelector>; readonly pods?: Opt<RawClusterPods> }>;
    readonly ingress?: Opt<readonly RawClusterRule[]>;
    readonly egress?: Opt<readonly RawClusterRule[]>;
  }>;
}

export function convertClusterPolicy(raw: RawClusterPolicy, context: ObjectContext): ClusterNetworkPolicy {
  const spec = raw.spec ?? {};
  return {
    kind: 'KubernetesClusterNetworkPolicy',
    meta: policyMeta(raw.metadata, context),
    tier: spec.tier ?? '',
    priority: spec.priority ?? 0,
    subjectNamespaces: convertLabelSelector(spec.subject?.namespaces),
    subjectPods: convertPods(spec.subject?.pods),
    ingress: convertClusterRules(spec.ingress, ['spec', 'ingress'], context),
    egress: convertClusterRules(spec.egress, ['spec', 'egress'], context),
  };
}

function convertPods(raw: Opt<RawClusterPods>): ClusterPods | undefined {
  if (raw === null || raw === undefined) return undefined;
  return {
    namespaceSelector: convertLabelSelector(raw.namespaceSelector) ?? EVERYTHING,
    podSelector: convertLabelSelector(raw.podSelector) ?? EVERYTHING,
  };
}

function convertClusterRules(
  raw: Opt<readonly RawClusterRule[]>,
  path: FieldPath,
  context: ObjectContext,
): readonly ClusterRule[] {
  return listOf(raw).map((rule, index) => ({
    name: rule.name ?? '',
    action: rule.action ?? '',
    peers: listOf(rule.from ?? rule.to).map(convertClusterPeer),
    protocols: listOf(rule.protocols).map(convertClusterProtocol),
    origin: context.origin([...path, index]),
  }));
}

function convertClusterPeer(raw: RawClusterPeer): ClusterPeer {
  const unsupported: string[] = [];
  if (raw.nodes !== null && raw.nodes !== undefined) unsupported.push('nodes');
  if (raw.domainNames !== null && raw.domainNames !== undefined) unsupported.push('domainNames');
  return {
    namespaces: convertLabelSelector(raw.namespaces),
    pods: convertPods(raw.pods),
    networks: raw.networks ?? undefined,
    unsupported,
  };
}

function convertClusterProtocol(raw: RawClusterProtocol): ClusterProtocol {
  return {
    tcp: convertTransport(raw.tcp),
    udp: convertTransport(raw.udp),
    sctp: convertTransport(raw.sctp),
    destinationNamedPort: raw.destinationNamedPort ?? '',
  };
}

function convertTransport(raw: Opt<RawTransport>): ClusterPortMatch | undefined {
  if (raw === null || raw === undefined) return undefined;
  const { number, range } = raw.destinationPort ?? {};
  return { number: number ?? undefined, range: range ? { start: range.start, end: range.end } : undefined };
}
