/**
 * The answer of Kubernetes' RBAC authorizer to one request, with the rule that gives it.
 *
 *     request of user u, groups g1 g2, in namespace n
 *       members of system:masters may do anything
 *       otherwise: grants of u, g1, g2 ── cluster-wide ones, and those of namespace n ── first rule that fits
 *
 * A cluster-wide request (no namespace), and a request for a path, is looked up in ClusterRoleBindings alone. No grant
 * that fits means no: rights only add up. Bindings to missing roles grant nothing; they are among `RbacIndex.problems`.
 * Source: kubernetes plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/validation/rule.go (VisitRulesFor).
 */
import type { EffectiveRule } from './effective-rules.ts';
import type { Grant, RbacIndex } from './rbac-index.ts';
import { type AccessRequest, ruleAllows } from './rule-match.ts';

/** Members may do anything, whatever roles say. */
export const MASTERS = 'system:masters';

export type Decision =
  | { readonly allowed: true; readonly by: 'rule'; readonly grant: Grant; readonly rule: EffectiveRule }
  | { readonly allowed: true; readonly by: 'masters' }
  | { readonly allowed: false };

export function authorize(index: RbacIndex, request: AccessRequest): Decision {
  if (request.groups.includes(MASTERS)) return { allowed: true, by: 'masters' };
  for (const grant of grantsFor(index, request.user, request.groups)) {
    if (grant.namespace !== '' && (request.path !== undefined || grant.namespace !== request.namespace)) continue;
    const rule = grant.rules.find((each) => ruleAllows(each.rule, request));
    if (rule !== undefined) return { allowed: true, by: 'rule', grant, rule };
  }
  return { allowed: false };
}

/** Grants of a user and its groups, each once, in order. */
function grantsFor(index: RbacIndex, user: string, groups: readonly string[]): readonly Grant[] {
  const lists = [`User/${user}`, ...groups.map((group) => `Group/${group}`)].flatMap((key) => {
    const list = index.grantsOf.get(key);
    return list === undefined ? [] : [list];
  });
  if (lists.length <= 1) return lists[0] ?? [];
  return [...new Set(lists.flat())].sort((a, b) => a.position - b.position);
}
