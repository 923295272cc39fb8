/**
 * The obvious evaluator: straight from the rules of the Kubernetes documentation, with no index and nothing shared with
 * `src/rbac`. For every request it looks at every binding, every subject, every rule.
 */
import type { PolicyRule, Role, RoleBinding } from '../../src/model/rbac.ts';
import type { LabelSelector } from '../../src/model/resources.ts';

export interface SlowRequest {
  readonly user: string;
  readonly groups: readonly string[];
  readonly verb: string;
  readonly apiGroup: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
  readonly namespace: string;
  readonly path?: string | undefined;
}

interface Objects {
  readonly roles: readonly Role[];
  readonly roleBindings: readonly RoleBinding[];
}

export function slowAllows({ roles, roleBindings }: Objects, request: SlowRequest): boolean {
  if (request.groups.includes('system:masters')) return true;
  for (const binding of roleBindings) {
    const isClusterWide = binding.kind === 'ClusterRoleBinding';
    if (!isClusterWide && request.path !== undefined) continue;
    if (!isClusterWide && binding.meta.namespace !== request.namespace) continue;
    if (!isMember(binding, request)) continue;
    for (const role of roles) {
      if (role.kind !== binding.roleKind || role.meta.name !== binding.roleName) continue;
      if (role.kind === 'Role' && role.meta.namespace !== binding.meta.namespace) continue;
      if (rulesAfterAggregation(role, roles).some((rule) => allows(rule, request))) return true;
    }
  }
  return roleBindings.some(
    (binding) =>
      binding.kind === 'ClusterRoleBinding' &&
      binding.roleName === 'cluster-admin' &&
      !roles.some((role) => role.kind === 'ClusterRole' && role.meta.name === 'cluster-admin') &&
      isMember(binding, request),
  );
}

function isMember(binding: RoleBinding, request: SlowRequest): boolean {
  return binding.subjects.some((subject) => {
    if (subject.kind === 'User') return subject.name === request.user;
    if (subject.kind === 'Group') return request.groups.includes(subject.name);
    const namespace = subject.namespace === '' ? binding.meta.namespace : subject.namespace;
    return request.user === `system:serviceaccount:${namespace}:${subject.name}`;
  });
}

/**
 * Runs the aggregation controller until nothing changes. A collecting role begins with nothing: what it lists itself would
 * live on only in a circle of roles that collect each other, and only if the controller happens to begin there.
 */
function rulesAfterAggregation(role: Role, roles: readonly Role[]): readonly PolicyRule[] {
  const clusterRoles = roles.filter((each) => each.kind === 'ClusterRole');
  const sourcesOf = (collecting: Role): readonly Role[] =>
    clusterRoles.filter(
      (other) => other !== collecting && collecting.aggregation?.some((selector) => selects(selector, other)) === true,
    );
  const rules = new Map<Role, readonly PolicyRule[]>(
    roles.map((each) => [each, sourcesOf(each).length === 0 ? each.rules : []]),
  );
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    for (const collecting of clusterRoles) {
      const sources = sourcesOf(collecting);
      if (sources.length === 0) continue;
      const next = new Set(sources.flatMap((source) => rules.get(source)!));
      const before = new Set(rules.get(collecting)!);
      if (next.size === before.size && [...next].every((rule) => before.has(rule))) continue;
      rules.set(collecting, [...next]);
      isChanged = true;
    }
  }
  return rules.get(role)!;
}

function selects(selector: LabelSelector, role: Role): boolean {
  for (const [key, value] of selector.matchLabels) if (role.meta.labels.get(key) !== value) return false;
  for (const { key, operator, values } of selector.matchExpressions) {
    const has = role.meta.labels.has(key);
    const isListed = has && values.includes(role.meta.labels.get(key)!);
    if (operator === 'In' && !isListed) return false;
    if (operator === 'NotIn' && isListed) return false;
    if (operator === 'Exists' && !has) return false;
    if (operator === 'DoesNotExist' && has) return false;
  }
  return true;
}

function allows(rule: PolicyRule, request: SlowRequest): boolean {
  const isVerb = rule.verbs.some((verb) => verb === '*' || verb === request.verb);
  if (!isVerb) return false;
  if (request.path !== undefined) {
    for (const url of rule.nonResourceURLs) {
      if (url === '*' || url === request.path) return true;
      if (url.endsWith('*')) {
        let prefix = url;
        while (prefix.endsWith('*')) prefix = prefix.slice(0, -1);
        if (request.path.startsWith(prefix)) return true;
      }
    }
    return false;
  }
  if (!rule.apiGroups.some((group) => group === '*' || group === request.apiGroup)) return false;
  const whole = request.subresource === '' ? request.resource : `${request.resource}/${request.subresource}`;
  const isResource = rule.resources.some(
    (each) => each === '*' || each === whole || (request.subresource !== '' && each === `*/${request.subresource}`),
  );
  if (!isResource) return false;
  return rule.resourceNames.length === 0 || rule.resourceNames.some((name) => name === request.name);
}
