/**
 * The one role that every cluster has and that nobody changes: `cluster-admin`. A binding may name it without the input
 * holding it. `admin`, `edit` and `view` differ by version and by what is installed, so they have to be in the input.
 * Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go.
 */
import type { PolicyRule, Role } from '../model/rbac.ts';
import type { Origin } from '../model/resources.ts';

const BUILT_IN: Origin = { file: 'built-in', line: 0 };

export function builtInRole(name: string): Role | undefined {
  if (name !== 'cluster-admin') return undefined;
  const meta = { name, namespace: '', uid: '', labels: new Map(), annotations: new Map(), origin: BUILT_IN };
  return { kind: 'ClusterRole', meta, rules: CLUSTER_ADMIN, aggregation: undefined };
}

const CLUSTER_ADMIN: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'], resourceNames: [], nonResourceURLs: [], origin: BUILT_IN },
  { verbs: ['*'], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ['*'], origin: BUILT_IN },
];
