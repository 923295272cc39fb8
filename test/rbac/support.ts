/** Roles and bindings from one YAML text. */
import { formatProblem, loadResources } from '../../src/load/load.ts';
import type { Resources } from '../../src/model/resources.ts';
import { indexRbac, type RbacIndex } from '../../src/rbac/rbac-index.ts';

export interface Loaded {
  readonly resources: Resources;
  readonly index: RbacIndex;
}

/** Loads documents that go by the name `rbac.yaml`. Throws if one is refused. */
export function loadRbac(text: string): Loaded {
  const { resources, errors } = loadResources([{ name: 'rbac.yaml', text }]);
  if (errors.length > 0) throw new Error(errors.map(formatProblem).join('\n'));
  return { resources, index: indexRbac(resources) };
}

export interface RuleText {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

const API = 'rbac.authorization.k8s.io';

/** A Role of `namespace`, or a ClusterRole without one. */
export function role(name: string, rules: readonly RuleText[], namespace = '', more: object = {}): string {
  const kind = namespace === '' ? 'ClusterRole' : 'Role';
  const { labels, ...rest } = more as { readonly labels?: object };
  const metadata = { name, ...(namespace === '' ? {} : { namespace }), ...(labels === undefined ? {} : { labels }) };
  return document({ apiVersion: `${API}/v1`, kind, metadata, rules, ...rest });
}

/**
 * A binding of `namespace`, or of the whole cluster without one. The role is `Role/NAME` or `ClusterRole/NAME`; subjects
 * are `User/NAME`, `Group/NAME` and `ServiceAccount/NS/NAME`.
 */
export function binding(name: string, roleText: string, subjects: readonly string[], namespace = ''): string {
  const kind = namespace === '' ? 'ClusterRoleBinding' : 'RoleBinding';
  const [roleKind, roleName] = roleText.split('/');
  return document({
    apiVersion: `${API}/v1`,
    kind,
    metadata: { name, ...(namespace === '' ? {} : { namespace }) },
    roleRef: { apiGroup: API, kind: roleKind, name: roleName },
    subjects: subjects.map((text) => {
      const [subjectKind, first, second] = text.split('/');
      return subjectKind === 'ServiceAccount'
        ? { kind: subjectKind, namespace: first, name: second }
        : { apiGroup: API, kind: subjectKind, name: first };
    }),
  });
}

export function document(object: object): string {
  return `---\n${JSON.stringify(object)}\n`;
}

/** A rule in short: `get,list pods.apps/exec a b` is verbs, resource and its group, names. */
export function rule(text: string): RuleText {
  const [verbs, what, ...names] = text.split(' ') as [string, string, ...string[]];
  if (what.startsWith('/')) return { verbs: verbs.split(','), nonResourceURLs: [what] };
  const [path, subresource] = what.split('/') as [string, string | undefined];
  const dot = path.startsWith('tier.') ? path.indexOf('.', 5) : path.indexOf('.');
  const resource = dot < 0 ? path : path.slice(0, dot);
  return {
    verbs: verbs.split(','),
    apiGroups: [dot < 0 ? '' : path.slice(dot + 1)],
    resources: [subresource === undefined ? resource : `${resource}/${subresource}`],
    ...(names.length === 0 ? {} : { resourceNames: names }),
  };
}
