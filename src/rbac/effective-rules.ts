/**
 * The rules a role has in the cluster: its own, or those that it collects from others.
 *
 * A ClusterRole with an aggregation rule has no say in its own rules: a controller replaces them by the rules of every other
 * ClusterRole whose labels one of the selectors matches. A collected role may be a collecting one itself; the controller
 * runs until nothing changes, so what counts is everything that can be reached:
 *
 *     admin (collects to-admin=true) ◄── edit (label to-admin, collects to-edit=true) ◄── extra (label to-edit)
 *
 * gives admin the rules of extra. Of two roles that collect each other, neither has what it lists itself: whether such rules
 * live on in the circle depends on where the controller happens to begin.
 * A collecting role of which the input has none of the sources, but that lists rules, is taken as it was written: that is
 * what one role taken out of a running cluster looks like.
 * Source: kubernetes pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go.
 */
import type { PolicyRule, Role } from '../model/rbac.ts';
import { selectorMatches } from './label-selector.ts';

/** A rule as it counts, and where it was written: `role` and `index` are of the role that holds the text. */
export interface EffectiveRule {
  readonly rule: PolicyRule;
  readonly role: Role;
  /** Position in the rules of `role`. */
  readonly index: number;
}

/** Effective rules of every role, in the order in which they are tried. Keys: see `roleKey`. */
export function effectiveRules(roles: readonly Role[]): ReadonlyMap<string, readonly EffectiveRule[]> {
  const clusterRoles = roles.filter(({ kind }) => kind === 'ClusterRole').sort(byName);
  const sources = new Map<Role, readonly Role[]>();
  for (const role of clusterRoles) {
    if (role.aggregation !== undefined) sources.set(role, collectedBy(role, role.aggregation, clusterRoles));
  }
  return new Map(roles.map((role) => [keyOfRole(role), rulesOf(role, sources)]));
}

/** The name of a role in maps. */
export function roleKey(kind: Role['kind'], namespace: string, name: string): string {
  return kind === 'Role' ? `Role/${namespace}/${name}` : `ClusterRole/${name}`;
}

export function keyOfRole(role: Role): string {
  return roleKey(role.kind, role.meta.namespace, role.meta.name);
}

function byName(a: Role, b: Role): number {
  return a.meta.name < b.meta.name ? -1 : a.meta.name > b.meta.name ? 1 : 0;
}

function collectedBy(role: Role, selectors: NonNullable<Role['aggregation']>, all: readonly Role[]): Role[] {
  const found = selectors.flatMap((selector) =>
    all.filter((other) => other !== role && selectorMatches(selector, other.meta.labels)),
  );
  return [...new Set(found)];
}

function rulesOf(role: Role, sources: ReadonlyMap<Role, readonly Role[]>): readonly EffectiveRule[] {
  const direct = sources.get(role);
  if (direct === undefined || (direct.length === 0 && role.rules.length > 0)) return ownRules(role);
  const seen = new Set<Role>([role]);
  const rules: EffectiveRule[] = [];
  const visit = (source: Role): void => {
    if (seen.has(source)) return;
    seen.add(source);
    const next = sources.get(source);
    if (next === undefined || next.length === 0) rules.push(...ownRules(source));
    else for (const each of next) visit(each);
  };
  for (const source of direct) visit(source);
  return rules;
}

function ownRules(role: Role): readonly EffectiveRule[] {
  return role.rules.map((rule, index) => ({ rule, role, index }));
}
