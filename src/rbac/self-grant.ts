/**
 * Giving oneself a role.
 *
 * The API server lets nobody hand out rights that they do not have, with three exceptions, each a verb:
 *
 *   bind       on a role: its holder may make bindings to it, if they may make bindings at all
 *   escalate   on a role: its holder may write rights into it that they lack, if they may change the role;
 *              that is of use at once when the role is bound to the subject already
 *   both       with the right to make roles and bindings: a new role of any content
 *
 * A role counts here if it has a way to act as one of the accounts. Which rights that takes is known from the needs of
 * `account-ways.ts`; needs limited to names are left out, since they rarely fit.
 * Source: kubernetes pkg/registry/rbac/{role,rolebinding}/policybased/storage.go, pkg/registry/rbac/escalation_check.go.
 */
import { type Account, type Direct, ROLE_WAYS } from './account-ways.ts';
import { type EffectiveRule, roleKey } from './effective-rules.ts';
import { byPrincipal, type Holding, heldBy, holdersOfBoth, type Need, type Principal, type Rights } from './rights.ts';

export interface SelfGrant {
  readonly principal: Principal;
  readonly way: 'bind' | 'escalate';
  readonly right: string;
  readonly holdings: readonly Holding[];
  /** `ClusterRole edit` */
  readonly role: string;
  readonly account: Account;
  /** What the role then allows. */
  readonly use: Pick<Direct, 'way' | 'gives' | 'right'>;
}

const RBAC_GROUP = 'rbac.authorization.k8s.io';

function need(verbs: string, resource: string): Need {
  return { verbs: verbs.split(' '), apiGroup: RBAC_GROUP, resource };
}

/** Subjects that can give themselves a role with a way to an account; one answer a subject, role and namespace. */
export function selfGrants(rights: Rights, accounts: readonly Account[]): SelfGrant[] {
  const first = new Map<string, Account>();
  for (const account of accounts) if (!first.has(account.namespace)) first.set(account.namespace, account);
  const useful = usefulRoles(rights);
  const [any] = accounts;
  return [
    ...(any === undefined ? [] : byBinding(rights, any, '', useful)),
    ...[...first.values()].flatMap((account) => [
      ...byBinding(rights, account, account.namespace, useful),
      ...byEscalating(rights, account),
    ]),
  ];
}

type Named = Pick<SelfGrant, 'role' | 'use'>;

/** Roles with a way. */
interface UsefulRoles {
  readonly byKey: ReadonlyMap<string, SelfGrant['use']>;
  /** The first ClusterRole, and the first Role of each namespace. */
  readonly clusterRole: Named | undefined;
  readonly firstIn: ReadonlyMap<string, Named>;
}

function usefulRoles(rights: Rights): UsefulRoles {
  const uses = usesOfRoles(rights);
  const byKey = new Map<string, SelfGrant['use']>();
  const firstIn = new Map<string, Named>();
  let clusterRole: Named | undefined;
  for (const [key, rules] of rights.index.rulesOf) {
    const use = uses.get(rules);
    if (use === undefined) continue;
    byKey.set(key, use);
    const { kind, meta } = rights.index.roles.get(key)!;
    const named = { role: `${kind} ${meta.name}`, use };
    if (kind === 'ClusterRole') clusterRole ??= named;
    else if (!firstIn.has(meta.namespace)) firstIn.set(meta.namespace, named);
  }
  return { byKey, clusterRole, firstIn };
}

/** What each role allows, by the first way that it has for every name. */
function usesOfRoles(rights: Rights): ReadonlyMap<readonly EffectiveRule[], SelfGrant['use']> {
  const uses = new Map<readonly EffectiveRule[], SelfGrant['use']>();
  for (const { way, gives, need: wanted } of ROLE_WAYS) {
    const { apiGroup, resource } = wanted;
    for (const [rules, matches] of rights.rolesWith(wanted)) {
      const match = matches.find(({ names }) => names.length === 0);
      if (match === undefined || uses.has(rules)) continue;
      uses.set(rules, { way, gives, right: `${match.verb} ${resource}${apiGroup === '' ? '' : `.${apiGroup}`}` });
    }
  }
  return uses;
}

/** In `namespace` by a RoleBinding, in `''` by a ClusterRoleBinding. */
function byBinding(rights: Rights, account: Account, namespace: string, useful: UsefulRoles): SelfGrant[] {
  const bindings = namespace === '' ? 'clusterrolebindings' : 'rolebindings';
  const makers = rights.holders(need('create update patch', bindings), namespace);
  if (makers.length === 0) return [];
  const kinds = namespace === '' ? (['clusterroles'] as const) : (['roles', 'clusterroles'] as const);
  return kinds.flatMap((resource) =>
    holdersOfBoth(makers, rights.holders(need('bind', resource), namespace)).flatMap((both): SelfGrant[] => {
      const { principal, first, second } = both;
      const known = bindable(second, resource, namespace, useful);
      const role = known ?? newRole(rights, principal, resource, namespace);
      if (role === undefined) return [];
      const right = `${first.verb} ${bindings} and bind ${resource}`;
      return [{ principal, way: 'bind', right, holdings: [first, second], ...role, account }];
    }),
  );
}

/** A role with a way that the holding lets its subject bind. */
function bindable(
  holding: Holding,
  resource: 'roles' | 'clusterroles',
  namespace: string,
  useful: UsefulRoles,
): Named | undefined {
  const kind = resource === 'roles' ? 'Role' : 'ClusterRole';
  for (const name of holding.names) {
    const use = useful.byKey.get(roleKey(kind, namespace, name));
    if (use !== undefined) return { role: `${kind} ${name}`, use };
  }
  if (holding.names.length > 0) return undefined;
  return kind === 'Role' ? useful.firstIn.get(namespace) : useful.clusterRole;
}

const ANY_USE: SelfGrant['use'] = { way: 'create-pod', gives: 'network', right: 'create pods' };

/** A role that the subject writes itself, with rights that it lacks. */
function newRole(
  rights: Rights,
  principal: Principal,
  resource: 'roles' | 'clusterroles',
  namespace: string,
): Named | undefined {
  const writers = byPrincipal(rights.holders(need('create update patch', resource), namespace));
  const escalators = byPrincipal(rights.holders(need('escalate', resource), namespace));
  const isAble = heldBy(principal, writers) !== undefined && heldBy(principal, escalators) !== undefined;
  return isAble ? { role: `a new ${resource === 'roles' ? 'Role' : 'ClusterRole'}`, use: ANY_USE } : undefined;
}

/** Roles bound to the subject that it may write anything into. */
function byEscalating(rights: Rights, account: Account): SelfGrant[] {
  const { namespace } = account;
  return (['roles', 'clusterroles'] as const).flatMap((resource) => {
    const scope = resource === 'roles' ? namespace : '';
    const writers = rights.holders(need('update patch', resource), scope);
    return rights.holders(need('escalate', resource), scope).flatMap((holding): SelfGrant[] => {
      const { principal } = holding;
      const own = rights.index.grantsOf.get(principal.key) ?? [];
      for (const { binding, namespace: where } of own) {
        const isRole = binding.roleKind === 'Role';
        if (isRole !== (resource === 'roles') || (where !== '' && where !== namespace)) continue;
        const covers = (each: Holding): boolean => each.names.length === 0 || each.names.includes(binding.roleName);
        const writer = writers.find((each) => each.principal.key === principal.key && covers(each));
        if (writer === undefined || !covers(holding)) continue;
        const right = `${writer.verb} and escalate ${resource}`;
        const role = `${binding.roleKind} ${binding.roleName}`;
        return [{ principal, way: 'escalate', right, holdings: [writer, holding], role, account, use: ANY_USE }];
      }
      return [];
    });
  });
}
