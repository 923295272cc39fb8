/**
 * What is wrong with roles and bindings though each was taken by the API: an answer that passes such a place is
 * incomplete, since what the user meant is not in the input.
 */

import type { Role, RoleBinding } from '../model/rbac.ts';
import type { Origin } from '../model/resources.ts';
import { type EffectiveRule, keyOfRole, roleKey } from './effective-rules.ts';

/** In the form of the load's problems. */
export interface RbacProblem {
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly field: string;
  readonly message: string;
  readonly fix: string;
}

/** Verbs that Kubernetes or Calico asks its authorizer about, of resources and of paths. */
export const KNOWN_VERBS: ReadonlySet<string> = new Set(
  `* get list watch create update patch delete deletecollection proxy connect redirect
   bind escalate impersonate approve sign attest use head post put options
   impersonate:user-info impersonate:serviceaccount impersonate:arbitrary-node impersonate:associated-node
   request-serviceaccounts-token-audience`.split(/\s+/),
);

export function findProblems(
  roles: readonly Role[],
  bindings: readonly RoleBinding[],
  rulesOf: ReadonlyMap<string, readonly EffectiveRule[]>,
): RbacProblem[] {
  return [
    ...bindings.flatMap((binding) => missingRole(binding, rulesOf)),
    ...roles.flatMap((role) => [...unknownVerbs(role), ...replacedRules(role, rulesOf)]),
  ];
}

function missingRole(binding: RoleBinding, rulesOf: ReadonlyMap<string, readonly EffectiveRule[]>): RbacProblem[] {
  const { roleKind, roleName, meta } = binding;
  if (rulesOf.has(roleKey(roleKind, meta.namespace, roleName))) return [];
  const message = `${roleKind} '${roleName}' is not in the input, so nobody knows what the binding grants`;
  return [problem(binding, meta.origin, 'roleRef.name', message, 'add the role, or remove the binding')];
}

function unknownVerbs(role: Role): RbacProblem[] {
  return role.rules.flatMap((rule, index) =>
    rule.verbs.flatMap((verb, at) => {
      if (KNOWN_VERBS.has(verb) || /^impersonate(-on)?:/.test(verb)) return [];
      const message = `nothing asks for the verb '${verb}', so it allows nothing that margay knows of`;
      return [problem(role, rule.origin, `rules[${index}].verbs[${at}]`, message, nearVerb(verb))];
    }),
  );
}

function nearVerb(verb: string): string {
  const lower = verb.toLowerCase();
  return KNOWN_VERBS.has(lower) ? `verbs are lower-case: write '${lower}'` : 'correct the verb';
}

/** Rules of a collecting role that none of the collected roles has: the controller takes them away. */
function replacedRules(role: Role, rulesOf: ReadonlyMap<string, readonly EffectiveRule[]>): RbacProblem[] {
  if (role.aggregation === undefined || role.rules.length === 0) return [];
  const effective = rulesOf.get(keyOfRole(role)) ?? [];
  const isOwn = effective.length > 0 && effective.every((each) => each.role === role);
  const collected = new Set(effective.map(({ rule }) => content(rule)));
  const lost = role.rules.findIndex((rule) => !collected.has(content(rule)));
  if (!isOwn && lost < 0) return [];
  const message = isOwn
    ? 'none of the roles that it collects is in the input; the rules it lists are taken as they are'
    : 'no role that it collects has this rule, so the cluster takes it away';
  return [
    problem(
      role,
      isOwn ? role.meta.origin : role.rules[lost]!.origin,
      isOwn ? 'aggregationRule' : `rules[${lost}]`,
      message,
      isOwn ? 'add the roles' : 'move the rule to a role of its own, or add the role that has it',
    ),
  ];
}

function content({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: EffectiveRule['rule']): string {
  return JSON.stringify([verbs, apiGroups, resources, resourceNames, nonResourceURLs]);
}

function problem(
  object: Role | RoleBinding,
  { file, line }: Origin,
  field: string,
  message: string,
  fix: string,
): RbacProblem {
  const { kind, meta } = object;
  return { file, line, kind, namespace: meta.namespace, name: meta.name, field, message, fix };
}
