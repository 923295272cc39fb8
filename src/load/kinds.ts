/** Every kind that is loaded: its group, its scope, its schema, its checks, and how it becomes part of the model. */
import type { Resource } from '../model/resources.ts';
import * as calico from './convert-calico.ts';
import * as core from './convert-core.ts';
import * as kubernetes from './convert-kubernetes.ts';
import type { ObjectContext } from './object.ts';
import type { Schema } from './schemas/build.ts';
import * as calicoSchemas from './schemas/calico.ts';
import { CLUSTER_NETWORK_POLICY } from './schemas/cluster-network-policy.ts';
import * as schemas from './schemas/kubernetes.ts';
import * as checkCalico from './validate-calico.ts';
import { checkClusterPolicy } from './validate-cluster-policy.ts';
import * as checkCore from './validate-core.ts';
import { checkKubernetesPolicy, checkStagedKubernetesPolicy } from './validate-kubernetes.ts';

/** How one kind is loaded. `value` has passed `schema` whenever `check` and `convert` see it. */
export interface KindLoader {
  /** As in the document; the name under which problems are reported. */
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly schema: Schema;
  /** Takes `null` fields out before anything else looks; not for kinds that come by the hundred thousand. */
  readonly dropsNulls: boolean;
  check(value: unknown, context: ObjectContext): void;
  convert(value: unknown, context: ObjectContext): Resource | undefined;
}

interface KindParts<Raw> {
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly schema: Schema;
  readonly dropsNulls?: boolean;
  readonly check: (value: Raw, context: ObjectContext) => void;
  readonly convert: (value: Raw, context: ObjectContext) => Resource | undefined;
}

/** The one place where a document becomes a typed value: its schema has passed. */
function loader<Raw>(parts: KindParts<Raw>): KindLoader {
  return {
    kind: parts.kind,
    isNamespaced: parts.isNamespaced,
    schema: parts.schema,
    dropsNulls: parts.dropsNulls ?? true,
    check: (value, context) => parts.check(value as Raw, context),
    convert: (value, context) => parts.convert(value as Raw, context),
  };
}

const CORE: readonly KindLoader[] = [
  loader({
    kind: 'Pod',
    isNamespaced: true,
    schema: schemas.POD,
    dropsNulls: false,
    check: checkCore.checkPod,
    convert: core.convertPod,
  }),
  loader({
    kind: 'Namespace',
    isNamespaced: false,
    schema: schemas.NAMESPACE,
    check: checkCore.checkNamespace,
    convert: core.convertNamespace,
  }),
  loader({
    kind: 'ServiceAccount',
    isNamespaced: true,
    schema: schemas.SERVICE_ACCOUNT,
    check: checkCore.checkNamespaced,
    convert: core.convertServiceAccount,
  }),
  loader({
    kind: 'Node',
    isNamespaced: false,
    schema: schemas.NODE,
    check: checkCore.checkNode,
    convert: core.convertNode,
  }),
  loader({
    kind: 'Service',
    isNamespaced: true,
    schema: schemas.SERVICE,
    check: checkCore.checkNamespaced,
    convert: core.convertService,
  }),
];

const DISCOVERY: readonly KindLoader[] = [
  loader({
    kind: 'EndpointSlice',
    isNamespaced: true,
    schema: schemas.ENDPOINT_SLICE,
    check: checkCore.checkEndpointSlice,
    convert: core.convertEndpointSlice,
  }),
];

const NETWORKING: readonly KindLoader[] = [
  loader({
    kind: 'NetworkPolicy',
    isNamespaced: true,
    schema: schemas.NETWORK_POLICY,
    check: checkKubernetesPolicy,
    convert: kubernetes.convertKubernetesPolicy,
  }),
];

const CLUSTER_POLICY: readonly KindLoader[] = [
  loader({
    kind: 'ClusterNetworkPolicy',
    isNamespaced: false,
    schema: CLUSTER_NETWORK_POLICY,
    check: checkClusterPolicy,
    convert: kubernetes.convertClusterPolicy,
  }),
];

const CALICO: readonly KindLoader[] = [
  loader({
    kind: 'NetworkPolicy',
    isNamespaced: true,
    schema: calicoSchemas.NETWORK_POLICY,
    check: checkCalico.checkNetworkPolicy,
    convert: calico.convertNetworkPolicy,
  }),
  loader({
    kind: 'GlobalNetworkPolicy',
    isNamespaced: false,
    schema: calicoSchemas.GLOBAL_NETWORK_POLICY,
    check: checkCalico.checkGlobalNetworkPolicy,
    convert: calico.convertGlobalNetworkPolicy,
  }),
  loader({
    kind: 'StagedNetworkPolicy',
    isNamespaced: true,
    schema: calicoSchemas.STAGED_NETWORK_POLICY,
    check: checkCalico.checkNetworkPolicy,
    convert: calico.convertNetworkPolicy,
  }),
  loader({
    kind: 'StagedGlobalNetworkPolicy',
    isNamespaced: false,
    schema: calicoSchemas.STAGED_GLOBAL_NETWORK_POLICY,
    check: checkCalico.checkGlobalNetworkPolicy,
    convert: calico.convertGlobalNetworkPolicy,
  }),
  loader({
    kind: 'StagedKubernetesNetworkPolicy',
    isNamespaced: true,
    schema: calicoSchemas.STAGED_KUBERNETES_NETWORK_POLICY,
    check: checkStagedKubernetesPolicy,
    convert: kubernetes.convertKubernetesPolicy,
  }),
  loader({
    kind: 'Tier',
    isNamespaced: false,
    schema: calicoSchemas.TIER,
    check: checkCalico.checkTier,
    convert: calico.convertTier,
  }),
  loader({
    kind: 'NetworkSet',
    isNamespaced: true,
    schema: calicoSchemas.NETWORK_SET,
    check: checkCalico.checkNetworkSet,
    convert: calico.convertNetworkSet,
  }),
  loader({
    kind: 'GlobalNetworkSet',
    isNamespaced: false,
    schema: calicoSchemas.NETWORK_SET,
    check: checkCalico.checkNetworkSet,
    convert: calico.convertNetworkSet,
  }),
  loader({
    kind: 'HostEndpoint',
    isNamespaced: false,
    schema: calicoSchemas.HOST_ENDPOINT,
    check: checkCalico.checkHostEndpoint,
    convert: calico.convertHostEndpoint,
  }),
  loader({
    kind: 'Profile',
    isNamespaced: false,
    schema: calicoSchemas.PROFILE,
    check: checkCalico.checkProfile,
    convert: calico.convertProfile,
  }),
  loader({
    kind: 'FelixConfiguration',
    isNamespaced: false,
    schema: calicoSchemas.FELIX_CONFIGURATION,
    check: checkCalico.checkFelixConfiguration,
    convert: calico.convertFelixConfiguration,
  }),
  loader({
    kind: 'BGPConfiguration',
    isNamespaced: false,
    schema: calicoSchemas.BGP_CONFIGURATION,
    check: checkCalico.checkBGPConfiguration,
    convert: calico.convertBGPConfiguration,
  }),
];

/** Loaders by API version. */
const VERSIONS: ReadonlyMap<string, ReadonlyMap<string, KindLoader>> = new Map(
  (
    [
      ['v1', CORE],
      ['discovery.k8s.io/v1', DISCOVERY],
      ['networking.k8s.io/v1', NETWORKING],
      ['policy.networking.k8s.io/v1alpha2', CLUSTER_POLICY],
      ['projectcalico.org/v3', CALICO],
      ['crd.projectcalico.org/v1', CALICO],
    ] as const
  ).map(([version, kinds]) => [version, new Map(kinds.map((kind) => [kind.kind, kind]))]),
);

export function findLoader(apiVersion: string, kind: string): KindLoader | undefined {
  return VERSIONS.get(apiVersion)?.get(kind);
}
