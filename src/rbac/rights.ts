/**
 * Who holds a right: the question of `authorize` the other way round.
 *
 * A need is one of some verbs on one resource. A holding says that a subject has it in a namespace (or everywhere), by
 * which rule, and for which names. Every role is looked through once a need, every grant once a need, and what was found
 * is kept by namespace; after that a question costs no more than its answer:
 *
 *     need ─► roles that have it ─► grants of those roles ─► everywhere: [holdings], namespace a: [holdings], …
 *
 * With 5 000 roles, 20 000 bindings and two dozen needs that is half a million cheap steps, done once.
 */
import type { EffectiveRule } from './effective-rules.ts';
import { accountOfUser, type Grant, type RbacIndex, subjectKey } from './rbac-index.ts';
import { allowedVerb, patternsFor, splitResource } from './rule-match.ts';

/** One of `verbs` on `resource` (`pods`, `pods/exec`). */
export interface Need {
  readonly verbs: readonly string[];
  readonly apiGroup: string;
  readonly resource: string;
}

/** A subject of bindings, or one that is reached in some other way. A service account is one however it was named. */
export interface Principal {
  readonly kind: 'User' | 'Group' | 'ServiceAccount';
  /** Service accounts only. */
  readonly namespace: string;
  readonly name: string;
  /** As `subjectKey`. */
  readonly key: string;
}

/** A grant with a rule that has a need. */
export interface GrantMatch {
  readonly grant: Grant;
  readonly rule: EffectiveRule;
  readonly verb: string;
  /** The names it is limited to; empty = every name, and requests without one. */
  readonly names: readonly string[];
}

export interface Holding extends GrantMatch {
  readonly principal: Principal;
}

/** Matches by where they hold. */
export interface Scoped {
  readonly everywhere: readonly GrantMatch[];
  readonly byNamespace: ReadonlyMap<string, readonly GrantMatch[]>;
}

const NONE: readonly never[] = [];

export class Rights {
  readonly index: RbacIndex;
  readonly #byNeed = new Map<string, Scoped>();
  readonly #holders = new Map<readonly GrantMatch[], readonly Holding[]>();
  readonly #principals = new Map<Grant, readonly Principal[]>();
  readonly #roles = new Map<string, ReadonlyMap<readonly EffectiveRule[], readonly Match[]>>();
  #byPattern: ReadonlyMap<string, readonly (readonly EffectiveRule[])[]> | undefined;
  readonly #grantsOf: ReadonlyMap<readonly EffectiveRule[], readonly Grant[]>;

  constructor(index: RbacIndex) {
    this.index = index;
    this.#grantsOf = grantsByRole(index);
  }

  /** Everyone who has the need in `namespace`, cluster-wide grants first; `''` = what has no namespace. */
  holders(need: Need, namespace: string): readonly Holding[] {
    const { everywhere, byNamespace } = this.scoped(need);
    const wide = this.#expand(everywhere);
    const local = this.#expand(namespace === '' ? NONE : (byNamespace.get(namespace) ?? NONE));
    if (local.length === 0) return wide;
    return wide.length === 0 ? local : [...wide, ...local];
  }

  /** Those who have it by a RoleBinding of the namespace. */
  localHolders(need: Need, namespace: string): readonly Holding[] {
    return this.#expand(this.scoped(need).byNamespace.get(namespace) ?? NONE);
  }

  /** The namespaces in which somebody has the need by a RoleBinding. */
  namespacesWith(need: Need): readonly string[] {
    return [...this.scoped(need).byNamespace.keys()];
  }

  /** Grants that have the need, cluster-wide ones and those of each namespace apart. */
  scoped(need: Need): Scoped {
    const key = keyOf(need);
    let found = this.#byNeed.get(key);
    if (found === undefined) {
      found = this.#find(need);
      this.#byNeed.set(key, found);
    }
    return found;
  }

  principalsOf(grant: Grant): readonly Principal[] {
    let list = this.#principals.get(grant);
    if (list === undefined) {
      list = distinct(grant.binding.subjects.map(principalOf));
      this.#principals.set(grant, list);
    }
    return list;
  }

  #expand(matches: readonly GrantMatch[]): readonly Holding[] {
    if (matches.length === 0) return NONE;
    let list = this.#holders.get(matches);
    if (list === undefined) {
      list = matches.flatMap((match) => this.principalsOf(match.grant).map((principal) => ({ principal, ...match })));
      this.#holders.set(matches, list);
    }
    return list;
  }

  /** The rules of each role that have the need; roles without are left out. Keys are lists of `RbacIndex.rulesOf`. */
  rolesWith(need: Need): ReadonlyMap<readonly EffectiveRule[], readonly Match[]> {
    const key = keyOf(need);
    let found = this.#roles.get(key);
    if (found === undefined) {
      const [resource, subresource] = splitResource(need.resource);
      const matches = new Map<readonly EffectiveRule[], readonly Match[]>();
      for (const rules of this.#rolesAbout(resource, subresource)) {
        const own = matchesOf(rules, need, resource, subresource);
        if (own.length > 0) matches.set(rules, own);
      }
      found = matches;
      this.#roles.set(key, found);
    }
    return found;
  }

  /** Roles that speak of a resource, in the order of all roles of one pattern. */
  #rolesAbout(resource: string, subresource: string): Iterable<readonly EffectiveRule[]> {
    this.#byPattern ??= rolesByPattern(this.index);
    const patterns = patternsFor(resource, subresource);
    return new Set(patterns.flatMap((pattern) => this.#byPattern?.get(pattern) ?? []));
  }

  #find(need: Need): Scoped {
    const everywhere: GrantMatch[] = [];
    const byNamespace = new Map<string, GrantMatch[]>();
    for (const [rules, matches] of this.rolesWith(need)) {
      for (const grant of this.#grantsOf.get(rules) ?? []) {
        let into = everywhere;
        if (grant.namespace !== '') {
          into = byNamespace.get(grant.namespace) ?? [];
          byNamespace.set(grant.namespace, into);
        }
        for (const { rule, verb, names } of matches) into.push({ grant, rule, verb, names });
      }
    }
    for (const list of [everywhere, ...byNamespace.values()]) list.sort((a, b) => a.grant.position - b.grant.position);
    return { everywhere, byNamespace };
  }
}

function keyOf({ verbs, apiGroup, resource }: Need): string {
  return `${verbs.join(',')} ${apiGroup}/${resource}`;
}

/** Roles by what their rules write under `resources`. */
function rolesByPattern(index: RbacIndex): Map<string, (readonly EffectiveRule[])[]> {
  const found = new Map<string, (readonly EffectiveRule[])[]>();
  for (const rules of index.rulesOf.values()) {
    for (const pattern of new Set(rules.flatMap(({ rule }) => rule.resources))) {
      const list = found.get(pattern);
      if (list === undefined) found.set(pattern, [rules]);
      else list.push(rules);
    }
  }
  return found;
}

function grantsByRole(index: RbacIndex): ReadonlyMap<readonly EffectiveRule[], readonly Grant[]> {
  const groups = new Map<readonly EffectiveRule[], Grant[]>();
  for (const grant of index.grants) {
    const group = groups.get(grant.rules);
    if (group === undefined) groups.set(grant.rules, [grant]);
    else group.push(grant);
  }
  return groups;
}

/** A rule of a role that has a need. */
export type Match = Omit<GrantMatch, 'grant'>;

const NO_MATCH: readonly Match[] = [];

/** The rules that fit: one without names makes the others needless. */
function matchesOf(
  rules: readonly EffectiveRule[],
  { verbs, apiGroup }: Need,
  resource: string,
  subresource: string,
): readonly Match[] {
  let found: Match[] | undefined;
  for (const rule of rules) {
    const verb = allowedVerb(rule.rule, verbs, apiGroup, resource, subresource);
    if (verb === undefined) continue;
    const match = { rule, verb, names: rule.rule.resourceNames };
    if (match.names.length === 0) return [match];
    found ??= [];
    found.push(match);
  }
  return found ?? NO_MATCH;
}

/** Whether a holding covers an object of this name; `''` = a request without name, as a create is. */
export function coversName(holding: GrantMatch, name: string): boolean {
  return holding.names.length === 0 || holding.names.includes(name);
}

/** A subject that has two rights, perhaps one of them by a group that it is in whatever anybody does. */
export interface BothHoldings {
  readonly principal: Principal;
  readonly first: Holding;
  readonly second: Holding;
}

/** Subjects that have a holding of each list, the first one that is found. */
export function holdersOfBoth(firsts: readonly Holding[], seconds: readonly Holding[]): BothHoldings[] {
  return pairsOf([...firsts, ...seconds], [byPrincipal(firsts)], [byPrincipal(seconds)]);
}

/** A pair of rights for each of the subjects of `candidates` that has one of both sides; earlier maps come first. */
export function pairsOf(
  candidates: readonly Holding[],
  firsts: readonly ReadonlyMap<string, Holding>[],
  seconds: readonly ReadonlyMap<string, Holding>[],
): BothHoldings[] {
  const found: BothHoldings[] = [];
  for (const { principal } of byPrincipal(candidates).values()) {
    const first = heldIn(principal, firsts);
    const second = first === undefined ? undefined : heldIn(principal, seconds);
    if (first !== undefined && second !== undefined) found.push({ principal, first, second });
  }
  return found;
}

function heldIn(principal: Principal, maps: readonly ReadonlyMap<string, Holding>[]): Holding | undefined {
  for (const map of maps) {
    const holding = heldBy(principal, map);
    if (holding !== undefined) return holding;
  }
  return undefined;
}

/** The holding of a subject, or of a group that all of its kind are in. */
export function heldBy(principal: Principal, holdings: ReadonlyMap<string, Holding>): Holding | undefined {
  const own = holdings.get(principal.key);
  if (own !== undefined) return own;
  for (const group of certainGroups(principal)) {
    const shared = holdings.get(`Group/${group}`);
    if (shared !== undefined) return shared;
  }
  return undefined;
}

/** The first holding of each subject. */
export function byPrincipal(holdings: readonly Holding[]): ReadonlyMap<string, Holding> {
  const map = new Map<string, Holding>();
  for (const holding of holdings) if (!map.has(holding.principal.key)) map.set(holding.principal.key, holding);
  return map;
}

/** Groups that a subject, or every member of it, is in for certain. */
function certainGroups({ kind, namespace, name }: Principal): readonly string[] {
  const everyone = ['system:authenticated'];
  if (kind === 'ServiceAccount') return [`system:serviceaccounts:${namespace}`, 'system:serviceaccounts', ...everyone];
  if (kind === 'User') return name === 'system:anonymous' ? ['system:unauthenticated'] : everyone;
  if (name === 'system:unauthenticated') return [];
  return name.startsWith('system:serviceaccounts:') ? ['system:serviceaccounts', ...everyone] : everyone;
}

export function principalOf(subject: Pick<Principal, 'kind' | 'name' | 'namespace'>): Principal {
  const { kind, namespace, name } = subject;
  const account = kind === 'User' ? accountOfUser(name) : undefined;
  if (account === undefined) return { kind, namespace, name, key: subjectKey(subject) };
  return { kind: 'ServiceAccount', ...account, key: subjectKey(subject) };
}

function distinct(principals: readonly Principal[]): Principal[] {
  return [...new Map(principals.map((each) => [each.key, each])).values()];
}

/** `User ann`, `Group interns`, `ServiceAccount ns/name`. */
export function principalText({ kind, namespace, name }: Principal): string {
  return kind === 'ServiceAccount' ? `${kind} ${namespace}/${name}` : `${kind} ${name}`;
}
