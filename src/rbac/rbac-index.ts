/**
 * Roles and bindings arranged for questions: which grants does a subject have, and which grants are there at all.
 *
 * A grant is a binding together with the role it names. Nothing in RBAC takes a right away, so the answer to any question
 * is found by looking for one grant that says yes; the order is that of the input, cluster-wide bindings first, so that
 * the same input always names the same rule.
 */
import type { RbacSubject, Role, RoleBinding } from '../model/rbac.ts';
import { builtInRole } from './built-in.ts';
import { type EffectiveRule, effectiveRules, roleKey } from './effective-rules.ts';
import { findProblems, type RbacProblem } from './problems.ts';

/** The name of a user that is a service account. */
const ACCOUNT_PREFIX = 'system:serviceaccount:';

/** A binding with the rules it gives. */
export interface Grant {
  readonly binding: RoleBinding;
  /** `''` = everywhere. */
  readonly namespace: string;
  readonly rules: readonly EffectiveRule[];
  /** Place in the order of the input, cluster-wide grants first. */
  readonly position: number;
}

export interface RbacIndex {
  readonly roles: ReadonlyMap<string, Role>;
  readonly rulesOf: ReadonlyMap<string, readonly EffectiveRule[]>;
  /** All grants in order; bindings to roles that are not there grant nothing and are among the problems. */
  readonly grants: readonly Grant[];
  /** Grants by subject (see `subjectKey`), each list in order. */
  readonly grantsOf: ReadonlyMap<string, readonly Grant[]>;
  readonly problems: readonly RbacProblem[];
}

export interface RbacObjects {
  readonly roles: readonly Role[];
  readonly roleBindings: readonly RoleBinding[];
}

export function indexRbac({ roles: written, roleBindings }: RbacObjects): RbacIndex {
  const known = new Map(written.map((role) => [roleKey(role.kind, role.meta.namespace, role.meta.name), role]));
  const roles = [...written, ...missingBuiltIns(known, roleBindings)];
  const byKey = new Map(roles.map((role) => [roleKey(role.kind, role.meta.namespace, role.meta.name), role]));
  const rulesOf = effectiveRules(roles);
  const grants: Grant[] = [];
  const isWide = (binding: RoleBinding): boolean => binding.kind === 'ClusterRoleBinding';
  for (const binding of [...roleBindings.filter(isWide), ...roleBindings.filter((each) => !isWide(each))]) {
    const { namespace } = binding.meta;
    const rules = rulesOf.get(roleKey(binding.roleKind, namespace, binding.roleName));
    if (rules !== undefined) grants.push({ binding, namespace, rules, position: grants.length });
  }
  return {
    roles: byKey,
    rulesOf,
    grants,
    grantsOf: bySubject(grants),
    problems: findProblems(roles, roleBindings, rulesOf),
  };
}

function missingBuiltIns(known: ReadonlyMap<string, Role>, bindings: readonly RoleBinding[]): Role[] {
  const names = new Set(bindings.filter(({ roleKind }) => roleKind === 'ClusterRole').map(({ roleName }) => roleName));
  return [...names].flatMap((name) => (known.has(`ClusterRole/${name}`) ? [] : (builtInRole(name) ?? [])));
}

function bySubject(grants: readonly Grant[]): Map<string, Grant[]> {
  const map = new Map<string, Grant[]>();
  for (const grant of grants) {
    for (const key of new Set(grant.binding.subjects.map(subjectKey))) {
      const list = map.get(key);
      if (list === undefined) map.set(key, [grant]);
      else list.push(grant);
    }
  }
  return map;
}

/**
 * The key of a subject: `User/NAME` or `Group/NAME`. A service account is a user with a name of its own form, and a
 * binding may name it either way.
 */
export function subjectKey(subject: Pick<RbacSubject, 'kind' | 'name' | 'namespace'>): string {
  if (subject.kind === 'ServiceAccount') return `User/${accountUser(subject.namespace, subject.name)}`;
  return `${subject.kind}/${subject.name}`;
}

/** The user name of a service account. */
function accountUser(namespace: string, name: string): string {
  return `${ACCOUNT_PREFIX}${namespace}:${name}`;
}

/** Namespace and name of the account that a user name stands for; `undefined` for a person. */
export function accountOfUser(user: string): { readonly namespace: string; readonly name: string } | undefined {
  if (!user.startsWith(ACCOUNT_PREFIX)) return undefined;
  const parts = user.slice(ACCOUNT_PREFIX.length).split(':');
  const [namespace, name] = parts;
  if (parts.length !== 2 || namespace === undefined || name === undefined || namespace === '' || name === '') {
    return undefined;
  }
  return { namespace, name };
}

/** Groups that the API server puts a user in by itself. */
export function impliedGroups(user: string): readonly string[] {
  if (user === 'system:anonymous') return ['system:unauthenticated'];
  const account = accountOfUser(user);
  if (account === undefined) return ['system:authenticated'];
  return ['system:serviceaccounts', `system:serviceaccounts:${account.namespace}`, 'system:authenticated'];
}
