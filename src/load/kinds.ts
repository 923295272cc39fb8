/** Every kind that is loaded: its group, its scope, its schema, its checks, and how it becomes part of the model. */
import type { Resource } from '../model/resources.ts';
import * as calico from './convert-calico.ts';
import * as core from './convert-core.ts';
import * as kubernetes from './convert-kubernetes.ts';
import * as rbac from './convert-rbac.ts';
import * as mesh from './mesh.ts';
import type { ObjectContext } from './object.ts';
import type { Schema } from './schemas/build.ts';
import * as calicoSchemas from './schemas/calico.ts';
import { CLUSTER_NETWORK_POLICY } from './schemas/cluster-network-policy.ts';
import * as schemas from './schemas/kubernetes.ts';
import * as rbacSchemas from './schemas/rbac.ts';
import { nearestWord } from './suggest.ts';
import * as checkCalico from './validate-calico.ts';
import { checkClusterPolicy } from './validate-cluster-policy.ts';
import * as checkCore from './validate-core.ts';
import { checkKubernetesPolicy, checkStagedKubernetesPolicy } from './validate-kubernetes.ts';
import * as checkRbac from './validate-rbac.ts';
import { convertWorkload, type Workload } from './workloads.ts';

/** How one kind is loaded. `value` has passed `schema` whenever `check` and `convert` see it. */
export interface KindLoader {
  /** As in the document; the name under which problems are reported. */
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly schema: Schema;
  /** Takes `null` fields out before anything else looks; not for kinds that come by the hundred thousand. */
  readonly dropsNulls: boolean;
  /** Takes an entry of a list that is `null` as an empty one (see `null-entries.ts`). */
  readonly takesNullEntries: boolean;
  check(value: unknown, context: ObjectContext): void;
  convert(value: unknown, context: ObjectContext): Resource | Workload;
}

interface KindParts<Raw> {
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly schema: Schema;
  readonly dropsNulls?: boolean;
  readonly takesNullEntries?: boolean;
  readonly check: (value: Raw, context: ObjectContext) => void;
  readonly convert: (value: Raw, context: ObjectContext) => Resource | Workload;
}

/** The one place where a document becomes a typed value: its schema has passed. */
function loader<Raw>(parts: KindParts<Raw>): KindLoader {
  return {
    kind: parts.kind,
    isNamespaced: parts.isNamespaced,
    schema: parts.schema,
    dropsNulls: parts.dropsNulls ?? true,
    takesNullEntries: parts.takesNullEntries ?? false,
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
    check: checkCore.checkNamespaced,
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
    takesNullEntries: true,
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

function workload(kind: string, schema: Schema): KindLoader {
  return loader({ kind, isNamespaced: true, schema, check: checkCore.checkNamespaced, convert: convertWorkload });
}

const APPS: readonly KindLoader[] = [
  workload('Deployment', schemas.DEPLOYMENT),
  workload('StatefulSet', schemas.STATEFUL_SET),
  workload('DaemonSet', schemas.DAEMON_SET),
  workload('ReplicaSet', schemas.REPLICA_SET),
];

const BATCH: readonly KindLoader[] = [workload('Job', schemas.JOB), workload('CronJob', schemas.CRON_JOB)];

function role(kind: string, schema: Schema): KindLoader {
  const isNamespaced = kind === 'Role';
  return loader({ kind, isNamespaced, schema, check: checkRbac.checkRole, convert: rbac.convertRole });
}

function binding(kind: string): KindLoader {
  const isNamespaced = kind === 'RoleBinding';
  const schema = rbacSchemas.BINDING;
  return loader({ kind, isNamespaced, schema, check: checkRbac.checkBinding, convert: rbac.convertBinding });
}

const RBAC: readonly KindLoader[] = [
  role('Role', rbacSchemas.ROLE),
  role('ClusterRole', rbacSchemas.CLUSTER_ROLE),
  binding('RoleBinding'),
  binding('ClusterRoleBinding'),
];

const ADMISSION: readonly KindLoader[] = [
  loader({
    kind: 'ValidatingAdmissionPolicy',
    isNamespaced: false,
    schema: rbacSchemas.ADMISSION_POLICY,
    check: checkRbac.checkAdmission,
    convert: rbac.convertAdmissionPolicy,
  }),
  loader({
    kind: 'ValidatingAdmissionPolicyBinding',
    isNamespaced: false,
    schema: rbacSchemas.ADMISSION_POLICY_BINDING,
    check: checkRbac.checkAdmission,
    convert: rbac.convertAdmissionBinding,
  }),
];

const MESH: readonly KindLoader[] = [
  loader({
    kind: 'PeerAuthentication',
    isNamespaced: true,
    schema: mesh.PEER_AUTHENTICATION,
    check: mesh.checkPeerAuthentication,
    convert: mesh.convertPeerAuthentication,
  }),
];

/** Objects as Calico stores them, with metadata of its own inside (see `stored-metadata.ts`). */
export const STORED_VERSION = 'crd.projectcalico.org/v1';

/** Loaders by API version. */
const VERSIONS: ReadonlyMap<string, ReadonlyMap<string, KindLoader>> = new Map(
  (
    [
      ['v1', CORE],
      ['admissionregistration.k8s.io/v1', ADMISSION],
      ['admissionregistration.k8s.io/v1beta1', ADMISSION],
      ['apps/v1', APPS],
      ['batch/v1', BATCH],
      ['discovery.k8s.io/v1', DISCOVERY],
      ['networking.k8s.io/v1', NETWORKING],
      ['policy.networking.k8s.io/v1alpha2', CLUSTER_POLICY],
      ['projectcalico.org/v3', CALICO],
      ['rbac.authorization.k8s.io/v1', RBAC],
      ['security.istio.io/v1', MESH],
      ['security.istio.io/v1beta1', MESH],
      [STORED_VERSION, CALICO],
    ] as const
  ).map(([version, kinds]) => [version, new Map(kinds.map((kind) => [kind.kind, kind]))]),
);

/** Policies of APIs that no loaded Calico reads: leaving them out in silence would change what is meant. */
const UNREAD_POLICIES: ReadonlySet<string> = new Set([
  'policy.networking.k8s.io AdminNetworkPolicy',
  'policy.networking.k8s.io BaselineAdminNetworkPolicy',
]);

/** Kinds whose names are near that of a loaded one, and that exist. */
const NEIGHBOURS: ReadonlySet<string> = new Set(['security.istio.io RequestAuthentication']);

/** What to do with a document: load it, leave it out in silence or with a word, or refuse it. */
export type Classification =
  | { readonly type: 'load'; readonly loader: KindLoader }
  | { readonly type: 'ignore' }
  | { readonly type: 'unread'; readonly message: string; readonly fix: string }
  | { readonly type: 'refuse'; readonly message: string; readonly fix: string };

/**
 * A kind that is not loaded is left out, but where it is likely meant to be one that is: another version of a loaded
 * kind, or its name with a slip.
 */
export function classify(apiVersion: string, kind: string): Classification {
  const loader = VERSIONS.get(apiVersion)?.get(kind);
  if (loader !== undefined) return { type: 'load', loader };
  const group = groupOf(apiVersion);
  if (UNREAD_POLICIES.has(`${group} ${kind}`)) {
    const message = 'Calico does not read this kind, so the policy has no effect';
    return { type: 'unread', message, fix: 'use ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2' };
  }
  if (NEIGHBOURS.has(`${group} ${kind}`)) return { type: 'ignore' };
  for (const [version, kinds] of VERSIONS) {
    if (groupOf(version) !== group && !(group === 'extensions' && kind === 'NetworkPolicy')) continue;
    if (kinds.has(kind)) {
      const known = group === 'extensions' ? 'networking.k8s.io/v1' : version;
      return { type: 'refuse', message: `${kind} of ${apiVersion} is not served`, fix: `use apiVersion: ${known}` };
    }
    const nearest = nearestWord(kind, [...kinds.keys()]);
    if (version === apiVersion && nearest !== undefined) {
      return { type: 'refuse', message: `unknown kind of ${apiVersion}`, fix: `did you mean '${nearest}'?` };
    }
  }
  return { type: 'ignore' };
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}
