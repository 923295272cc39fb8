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
import { type Account, type AccountWorld, type Direct, directWays } from './account-ways.ts';
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

/** How a subject comes to act as `account`. */
export interface Chain {
  readonly principal: Principal;
  readonly account: Account;
  readonly gives: Direct['gives'];
  /** From the subject to the account; its length is the number of steps. */
  readonly links: readonly Link[];
}

export interface Chains {
  readonly chains: readonly Chain[];
  /** What admission policies refuse, and would be a way without them. */
  readonly blocked: readonly { readonly account: Account; readonly direct: Direct }[];
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
  const blocked: { readonly account: Account; readonly direct: Direct }[] = [];
  /** The chain by which a subject was found first. */
  const found = new Map<string, Chain>();
  const add = (chain: Chain): void => {
    chains.push(chain);
    if (!found.has(chain.principal.key)) found.set(chain.principal.key, chain);
  };
  if (depth < 1) return { chains, blocked };
  for (const account of accounts) {
    const seen = new Set<string>();
    for (const direct of directWays(rights, account, world)) {
      if (isBrief && direct.blockedBy === undefined) {
        if (seen.has(direct.principal.key)) continue;
        seen.add(direct.principal.key);
      }
      if (direct.blockedBy !== undefined) blocked.push({ account, direct });
      else add(directChain(account, direct));
    }
  }
  let frontier: readonly Chain[] = [...found.values(), ...mastersChain(accounts)];
  for (let steps = 2; steps <= depth && frontier.length > 0; steps++) {
    const next: Chain[] = steps === 2 ? selfGrantChains(rights, accounts, found) : [];
    for (const chain of frontier) next.push(...becomers(rights, chain, world, found));
    const fresh = new Map<string, Chain>();
    for (const chain of next) {
      chains.push(chain);
      if (!fresh.has(chain.principal.key)) fresh.set(chain.principal.key, chain);
    }
    for (const [key, chain] of fresh) found.set(key, chain);
    frontier = [...fresh.values()];
  }
  return { chains, blocked };
}

/** Text of an account as the end of a link. */
export function accountText({ namespace, name }: Account): string {
  return `ServiceAccount ${namespace}/${name}`;
}

function directChain(account: Account, { principal, way, gives, right, holdings }: Direct): Chain {
  return { principal, account, gives, links: [{ from: principal, way, right, holdings, to: accountText(account) }] };
}

/** Members of system:masters may do anything, so whoever can become one may. They themselves go without saying. */
function mastersChain(accounts: readonly Account[]): Chain[] {
  const account = accounts[0];
  if (account === undefined) return [];
  const principal = principalOf({ kind: 'Group', namespace: '', name: MASTERS });
  const link = { from: principal, way: 'create-pod', right: 'anything', holdings: [], to: accountText(account) };
  return [{ principal, account, gives: 'network', links: [link] }];
}

/** Roles that subjects can give themselves and that have a way to one of the accounts. */
function selfGrantChains(rights: Rights, accounts: readonly Account[], found: ReadonlyMap<string, Chain>): Chain[] {
  return selfGrants(rights, accounts).flatMap(({ principal, way, right, holdings, role, account, use }) => {
    if (found.has(principal.key)) return [];
    const first = { from: principal, way, right, holdings, to: role };
    const second = { from: principal, way: use.way, right: use.right, holdings: [], to: accountText(account) };
    return [{ principal, account, gives: use.gives, links: [first, second] }];
  });
}

/** Chains of those who can become the subject of `chain`; subjects found before are left out. */
function becomers(rights: Rights, chain: Chain, world: AccountWorld, found: ReadonlyMap<string, Chain>): Chain[] {
  const target = chain.principal;
  const extend = (principal: Principal, way: string, right: string, holdings: readonly Holding[]): Chain[] => {
    if (found.has(principal.key) || principal.key === target.key) return [];
    const link = { from: principal, way, right, holdings, to: principalText(target) };
    return [{ ...chain, principal, links: [link, ...chain.links] }];
  };
  if (target.kind === 'ServiceAccount') {
    return directWays(rights, target, world)
      .filter((direct) => direct.blockedBy === undefined)
      .flatMap(({ principal, way, right, holdings }) => extend(principal, way, right, holdings));
  }
  const resource = target.kind === 'User' ? 'users' : 'groups';
  const way = `impersonate-${target.kind.toLowerCase()}`;
  const holders = rights
    .holders({ verbs: ['impersonate'], apiGroup: '', resource }, '')
    .filter(({ names }) => names.length === 0 || names.includes(target.name));
  if (target.kind === 'User') {
    return holders.flatMap((holding) => extend(holding.principal, way, 'impersonate users', [holding]));
  }
  // Whoever impersonates a group must impersonate a user or an account as well.
  const pairs = holders.length === 0 ? [] : holdersOfBoth(holders, someIdentity(rights));
  return [
    ...pairs.flatMap(({ principal, first, second }) => extend(principal, way, 'impersonate groups', [first, second])),
    ...membersByAccount(rights, target, world, extend),
  ];
}

type Extend = (principal: Principal, way: string, right: string, holdings: readonly Holding[]) => Chain[];

/** A group of service accounts has a new member as soon as somebody runs a pod as any account of the namespace. */
function membersByAccount(rights: Rights, group: Principal, world: AccountWorld, extend: Extend): Chain[] {
  const namespace = /^system:serviceaccounts:(.+)$/.exec(group.name)?.[1];
  const namespaces = namespace !== undefined ? [namespace] : group.name === ALL_ACCOUNTS ? world.namespaces : [];
  return namespaces.flatMap((each) =>
    directWays(rights, { namespace: each, name: 'default' }, world)
      .filter((direct) => direct.blockedBy === undefined)
      .flatMap(({ principal, way, right, holdings }) => extend(principal, way, right, holdings)),
  );
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
