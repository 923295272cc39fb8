/**
 * Chains: subjects that cannot act as an account themselves, and can become somebody who can.
 *
 *     step 1   Group deployers ── create pods ──► prod/api
 *     step 2   User ann ── impersonate groups ──► Group deployers ── create pods ──► prod/api
 *     step 2   ServiceAccount ci/runner ── bind ──► ClusterRole edit ── create deployments ──► prod/api
 *
 * The search goes backwards from the accounts, one step at a time, so a subject is found by its shortest chain. From the
 * second step on, the ways are: to act as an account that is a subject already found (`account-ways.ts`), to impersonate a
 * user or a group that is, or to give oneself a role that has a way (`self-grant.ts`). Membership of a group needs no step:
 * a group stands for all its members. Chains end at `depth` steps, and that limit is part of every answer.
 */
import { type Account, type AccountWorld, type Direct, type Interest, waysToAll } from './account-ways.ts';
import { MASTERS } from './authorize.ts';
import { type Holding, holdersOfBoth, type Principal, principalOf, principalText, type Rights } from './rights.ts';
import { selfGrants } from './self-grant.ts';

/** One step: `from` does `right` and so becomes, or may do as, `to`. */
export interface Link {
  readonly from: Principal;
  /** A way to act as an account, or `impersonate-user`, `impersonate-group`, `bind`, `escalate`. */
  readonly way: string;
  readonly right: string;
  readonly holdings: readonly Holding[];
  /** `ServiceAccount prod/api`, `Group deployers`, `ClusterRole edit`. */
  readonly to: string;
}

/** How a subject comes to act as one of `accounts`. */
export interface Chain {
  readonly principal: Principal;
  readonly accounts: readonly Account[];
  readonly gives: Direct['gives'];
  /** From the subject to the account; its length is the number of steps. */
  readonly links: readonly Link[];
  /** Set by `mergeChains`: how many more rights lead to the accounts. */
  readonly moreRights?: number;
}

export interface Chains {
  readonly chains: readonly Chain[];
  /** What admission policies refuse, and would be a way without them. */
  readonly blocked: readonly Direct[];
}

export interface ChainOptions {
  /** The most steps of a chain. */
  readonly depth: number;
  /** One way for each subject and account, the first, instead of all. */
  readonly isBrief: boolean;
}

/** All chains to `accounts` of at most `depth` steps: every direct way, then for each further subject its shortest ones. */
export function findChains(
  rights: Rights,
  accounts: readonly Account[],
  world: AccountWorld,
  { depth, isBrief }: ChainOptions,
): Chains {
  const chains: Chain[] = [];
  const blocked: Direct[] = [];
  /** The chain by which a subject was found first. */
  const found = new Map<string, Chain>();
  const add = (chain: Chain): void => {
    chains.push(chain);
    if (!found.has(chain.principal.key)) found.set(chain.principal.key, chain);
  };
  if (depth < 1) return { chains, blocked };
  const covered = new Covered(accounts);
  const interest: Interest = {
    take: (principal, each) => (isBrief ? covered.take(principal, each) : each),
    isFirstOnly: isBrief,
  };
  for (const direct of waysToAll(rights, accounts, world, interest)) {
    if (direct.blockedBy !== undefined) blocked.push(direct);
    else add(directChain(direct));
  }
  let frontier: readonly Chain[] = [...found.values(), ...mastersChain(accounts)];
  for (let steps = 2; steps <= depth && frontier.length > 0; steps++) {
    const next = new NextStep(found, isBrief);
    if (steps === 2) addSelfGrants(rights, accounts, next);
    addActingAs(rights, frontier, world, next);
    for (const chain of frontier)
      if (chain.principal.kind !== 'ServiceAccount') addBecoming(rights, chain, world, next);
    chains.push(...next.chains);
    for (const [key, chain] of next.fresh) found.set(key, chain);
    frontier = [...next.fresh.values()];
  }
  return { chains, blocked };
}

/** The chains of one more step; subjects found before are left out. */
class NextStep {
  readonly chains: Chain[] = [];
  /** The first chain of each subject. */
  readonly fresh = new Map<string, Chain>();
  readonly #found: ReadonlyMap<string, Chain>;
  readonly isBrief: boolean;

  constructor(found: ReadonlyMap<string, Chain>, isBrief: boolean) {
    this.#found = found;
    this.isBrief = isBrief;
  }

  /** Whether a further chain of the subject is of any use. */
  wants({ key }: Principal): boolean {
    return !this.#found.has(key) && !(this.isBrief && this.fresh.has(key));
  }

  add(chain: Chain): void {
    this.chains.push(chain);
    if (!this.fresh.has(chain.principal.key)) this.fresh.set(chain.principal.key, chain);
  }

  /** Puts a link in front of `chain`, unless its subject is known. */
  extend(
    chain: Chain,
    { principal, way, right, holdings }: Pick<Direct, 'principal' | 'right' | 'holdings'> & { readonly way: string },
  ): void {
    if (!this.wants(principal) || principal.key === chain.principal.key) return;
    const link = { from: principal, way, right, holdings, to: principalText(chain.principal) };
    this.add({ ...chain, principal, links: [link, ...chain.links] });
  }
}

const NOBODY: readonly Account[] = [];

/**
 * One chain for each subject and what it gives, with all accounts: the form for people. The rights of the first ones stand
 * for the others, whose number is kept. The chains are those of a brief search, in which no account of a subject comes twice.
 */
export function mergeChains(chains: readonly Chain[]): Chain[] {
  const groups = new Map<string, Chain[]>();
  for (const chain of chains) {
    const key = `${chain.links.length} ${chain.gives} ${chain.principal.key}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [chain]);
    else group.push(chain);
  }
  return [...groups.values()].map(mergeGroup);
}

/** Rights that a merged chain shows. */
const RIGHTS_SHOWN_MAX = 3;

function mergeGroup(group: readonly Chain[]): Chain {
  const first = group[0]!;
  if (group.length === 1) return first;
  const accounts = group.flatMap((chain) => chain.accounts);
  const [link, ...rest] = first.links;
  if (link === undefined || rest.length > 0) return { ...first, accounts, moreRights: group.length - 1 };
  const shown = group.slice(0, RIGHTS_SHOWN_MAX).flatMap(({ links }) => links);
  const right = [...new Set(shown.map((each) => each.right))].join(', ');
  const holdings = shown.flatMap((each) => each.holdings);
  const merged = { ...link, right, holdings, to: accountsText(accounts) };
  return { ...first, accounts, links: [merged], moreRights: Math.max(0, group.length - RIGHTS_SHOWN_MAX) };
}

/** Text of an account as the end of a link. */
export function accountText({ namespace, name }: Account): string {
  return `ServiceAccount ${namespace}/${name}`;
}

/** Which accounts each subject has a way to already. */
class Covered {
  readonly #all: readonly Account[];
  readonly #done = new Set<string>();
  readonly #some = new Map<string, Set<Account>>();

  constructor(all: readonly Account[]) {
    this.#all = all;
  }

  /** Those of `accounts` that are new for the subject; from then on they are not. */
  take({ key }: Principal, accounts: readonly Account[]): readonly Account[] {
    if (this.#done.has(key)) return [];
    if (accounts === this.#all && !this.#some.has(key)) {
      this.#done.add(key);
      return accounts;
    }
    let some = this.#some.get(key);
    if (some === undefined) {
      some = new Set(accounts);
      this.#some.set(key, some);
      return accounts;
    }
    const fresh = accounts.filter((account) => !some!.has(account));
    for (const account of fresh) some.add(account);
    if (some.size === this.#all.length) this.#done.add(key);
    return fresh;
  }
}

function directChain({ principal, accounts, way, gives, right, holdings }: Direct): Chain {
  return { principal, accounts, gives, links: [{ from: principal, way, right, holdings, to: accountsText(accounts) }] };
}

/** Accounts as the end of a link. */
function accountsText(accounts: readonly Account[]): string {
  const first = accountText(accounts[0]!);
  return accounts.length === 1 ? first : `${first} and ${accounts.length - 1} more`;
}

/** Members of system:masters may do anything, so whoever can become one may. They themselves go without saying. */
function mastersChain(accounts: readonly Account[]): Chain[] {
  const account = accounts[0];
  if (account === undefined) return [];
  const principal = principalOf({ kind: 'Group', namespace: '', name: MASTERS });
  const link = { from: principal, way: 'create-pod', right: 'anything', holdings: [], to: accountText(account) };
  return [{ principal, accounts, gives: 'network', links: [link] }];
}

/** Roles that subjects can give themselves and that have a way to one of the accounts. */
function addSelfGrants(rights: Rights, accounts: readonly Account[], next: NextStep): void {
  for (const { principal, way, right, holdings, role, account, use } of selfGrants(rights, accounts)) {
    if (!next.wants(principal)) continue;
    const first = { from: principal, way, right, holdings, to: role };
    const second = { from: principal, way: use.way, right: use.right, holdings: [], to: accountText(account) };
    next.add({ principal, accounts: [account], gives: use.gives, links: [first, second] });
  }
}

/** Those who can act as an account that a chain begins with: all such accounts are asked about at once. */
function addActingAs(rights: Rights, frontier: readonly Chain[], world: AccountWorld, next: NextStep): void {
  const chainOf = new Map<Account, Chain>();
  for (const chain of frontier) if (chain.principal.kind === 'ServiceAccount') chainOf.set(chain.principal, chain);
  const interest: Interest = {
    take: (principal, each) => (next.wants(principal) ? each : NOBODY),
    isFirstOnly: next.isBrief,
  };
  for (const direct of waysToAll(rights, [...chainOf.keys()], world, interest)) {
    if (direct.blockedBy !== undefined) continue;
    for (const account of direct.accounts) {
      if (!next.wants(direct.principal)) break;
      next.extend(chainOf.get(account)!, direct);
    }
  }
}

/** Those who can become the user or the group that `chain` begins with. */
function addBecoming(rights: Rights, chain: Chain, world: AccountWorld, next: NextStep): void {
  const { kind, name } = chain.principal;
  const resource = kind === 'User' ? 'users' : 'groups';
  const way = `impersonate-${kind.toLowerCase()}`;
  const right = `impersonate ${resource}`;
  const holders = rights
    .holders({ verbs: ['impersonate'], apiGroup: '', resource }, '')
    .filter(({ names }) => names.length === 0 || names.includes(name));
  if (kind === 'User') {
    for (const holding of holders)
      next.extend(chain, { principal: holding.principal, way, right, holdings: [holding] });
    return;
  }
  // Whoever impersonates a group must impersonate a user or an account as well.
  const pairs = holders.length === 0 ? [] : holdersOfBoth(holders, someIdentity(rights));
  for (const { principal, first, second } of pairs) {
    next.extend(chain, { principal, way, right, holdings: [first, second] });
  }
  addMembers(rights, chain, world, next);
}

/** A group of service accounts has a new member as soon as somebody runs a pod as any account of the namespace. */
function addMembers(rights: Rights, chain: Chain, world: AccountWorld, next: NextStep): void {
  const { name } = chain.principal;
  const namespace = /^system:serviceaccounts:(.+)$/.exec(name)?.[1];
  const namespaces = namespace !== undefined ? [namespace] : name === ALL_ACCOUNTS ? world.namespaces : [];
  const members = namespaces.map((each) => ({ namespace: each, name: 'default' }));
  for (const direct of waysToAll(rights, members, world)) {
    if (direct.blockedBy === undefined) next.extend(chain, direct);
  }
}

const ALL_ACCOUNTS = 'system:serviceaccounts';

/** Holdings that let their subject impersonate some user or account, whichever. */
function someIdentity(rights: Rights): readonly Holding[] {
  const users = { verbs: ['impersonate'], apiGroup: '', resource: 'users' };
  const accounts = { ...users, resource: 'serviceaccounts' };
  return [
    ...rights.holders(users, ''),
    ...['', ...rights.namespacesWith(accounts)].flatMap((namespace) => rights.holders(accounts, namespace)),
  ];
}
