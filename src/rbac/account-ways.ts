/**
 * The ways to act as a service account.
 *
 * RBAC has no verb for "may use this account": a pod names its account, and whoever makes the pod chooses. So everyone
 * can run something as account A of namespace N who can, in N,
 *
 *   create-pod    create pods: any account, any labels
 *   controller    create or change what makes pods: Deployments and their like, Jobs, CronJobs
 *   change-pod    change a pod that runs as A: its image can be replaced while it runs
 *   exec, attach  run a command in such a pod, or join the one that runs (1.35 asks for `create`, older versions took `get`)
 *   debug         add a debug container to such a pod
 *   node-proxy    exec into any pod through its kubelet
 *
 * and everyone gets A's rights at the API, though no pod of it, who can
 *
 *   token         ask for a token of A
 *   impersonate   act as A in their own requests
 *   secret        create a token secret for A and read it
 *
 * The first ways give the network identity (the address of a pod that runs as A) and the account's token with it; the
 * last three the token alone. What is not a way: port-forward (it leads into a pod, not out of it), scaling, eviction.
 * Source: kubernetes.io/docs/concepts/security/rbac-good-practices, pkg/registry/core/pod/rest.
 */
import { type AccountAdmission, type GroupsOf, isBlocked } from './admission.ts';
import type { EffectiveRule } from './effective-rules.ts';
import {
  type BothHoldings,
  byPrincipal,
  coversName,
  type GrantMatch,
  type Holding,
  type Need,
  type Principal,
  pairsOf,
  type Rights,
} from './rights.ts';

export type WayName =
  | 'create-pod'
  | 'controller'
  | 'change-pod'
  | 'exec'
  | 'attach'
  | 'debug'
  | 'node-proxy'
  | 'token'
  | 'impersonate'
  | 'secret';

export interface Account {
  readonly namespace: string;
  readonly name: string;
}

/** What must be known of the cluster beside roles. */
export interface AccountWorld {
  readonly namespaces: readonly string[];
  /**
   * Names of the pods that run as the account and are of use for the way; `undefined` = the input has no pods at all, so
   * some may be.
   */
  podsOf(account: Account, way: WayName): readonly string[] | undefined;
  readonly groupsOf: GroupsOf;
  /** False = `admissionOf` is empty for every account. */
  readonly hasAdmission: boolean;
  /** Admission policies in force that gate the account's use. */
  admissionOf(account: Account): readonly AccountAdmission[];
}

/** One subject, one way, one right. */
export interface Direct {
  readonly principal: Principal;
  /** What the right leads to; never empty. */
  readonly accounts: readonly Account[];
  readonly way: WayName;
  /** `network`: a pod that runs as the account. `api`: its rights alone. */
  readonly gives: 'network' | 'api';
  /** `create pods`, in words of the API. */
  readonly right: string;
  readonly holdings: readonly Holding[];
  /** The admission policy that refuses it. */
  readonly blockedBy?: AccountAdmission;
}

/** What a way's names are names of. */
type Names = 'none' | 'object' | 'pod' | 'account' | 'node';

interface Way {
  readonly way: WayName;
  readonly gives: Direct['gives'];
  readonly need: Need;
  readonly names: Names;
  readonly isClusterWide?: boolean;
  /** Passes the admission of pods and of what makes them. */
  readonly isAdmitted?: boolean;
}

const CONTROLLERS: readonly (readonly [apiGroup: string, resource: string])[] = [
  ['apps', 'deployments'],
  ['apps', 'replicasets'],
  ['apps', 'statefulsets'],
  ['apps', 'daemonsets'],
  ['batch', 'jobs'],
  ['batch', 'cronjobs'],
  ['', 'replicationcontrollers'],
];

function need(verbs: string, resource: string, apiGroup = ''): Need {
  return { verbs: verbs.split(' '), apiGroup, resource };
}

const WAYS: readonly Way[] = [
  { way: 'create-pod', gives: 'network', need: need('create', 'pods'), names: 'none', isAdmitted: true },
  ...CONTROLLERS.flatMap(([group, resource]): Way[] => [
    { way: 'controller', gives: 'network', need: need('create', resource, group), names: 'none', isAdmitted: true },
    {
      way: 'controller',
      gives: 'network',
      need: need('update patch', resource, group),
      names: 'object',
      isAdmitted: true,
    },
  ]),
  { way: 'change-pod', gives: 'network', need: need('update patch', 'pods'), names: 'pod' },
  { way: 'exec', gives: 'network', need: need('create get', 'pods/exec'), names: 'pod' },
  { way: 'attach', gives: 'network', need: need('create get', 'pods/attach'), names: 'pod' },
  { way: 'debug', gives: 'network', need: need('update patch', 'pods/ephemeralcontainers'), names: 'pod' },
  {
    way: 'node-proxy',
    gives: 'network',
    need: need('create get', 'nodes/proxy'),
    names: 'node',
    isClusterWide: true,
  },
  { way: 'token', gives: 'api', need: need('create', 'serviceaccounts/token'), names: 'account' },
  { way: 'impersonate', gives: 'api', need: need('impersonate', 'serviceaccounts'), names: 'account' },
];

/** Both together are the way `secret`. */
const CREATE_SECRETS = need('create', 'secrets');
const READ_SECRETS = need('get list watch', 'secrets');

/** What a caller still wants to hear of. */
export interface Interest {
  /** Which of the accounts, for a subject. */
  take(principal: Principal, accounts: readonly Account[]): readonly Account[];
  /** One way to an account is as good as another: further rights of a role that has one to all are not looked at. */
  readonly isFirstOnly: boolean;
}

const EVERYTHING: Interest = { take: (_, accounts) => accounts, isFirstOnly: false };

/**
 * Every subject that can act as one of `accounts`, by every way, in the order of the ways; blocked ones among them. A right
 * that covers a namespace, or the whole cluster, is one answer with all the accounts that it leads to, in their order.
 */
export function waysToAll(
  rights: Rights,
  accounts: readonly Account[],
  world: AccountWorld,
  interest: Interest = EVERYTHING,
): Direct[] {
  const byNamespace = groupByNamespace(accounts);
  const found: Direct[] = [];
  /** Roles whose holders have every account already, wherever the role is bound. */
  const settled = new Set<readonly EffectiveRule[]>();
  for (const way of WAYS) {
    const reachable = needsPod(way) ? accounts.filter((account) => hasPods(account, way, world)) : accounts;
    const local = reachable === accounts ? byNamespace : groupByNamespace(reachable);
    const { everywhere, byNamespace: matchesIn } = rights.scoped(way.need);
    const addAll = (matches: readonly GrantMatch[], inside: readonly Account[]): void => {
      for (const match of matches) {
        if (!settled.has(match.grant.rules)) addMatch(rights, way, match, inside, world, interest, found);
      }
    };
    addAll(everywhere, reachable);
    if (way.isClusterWide !== true) {
      for (const [namespace, inside] of local) addAll(matchesIn.get(namespace) ?? [], inside);
    }
    if (!interest.isFirstOnly || world.hasAdmission || reachable !== accounts || way.isClusterWide === true) continue;
    for (const [rules, [match]] of rights.rolesWith(way.need)) if (match?.names.length === 0) settled.add(rules);
  }
  addSecretWays(rights, accounts, byNamespace, interest, found);
  return found;
}

function groupByNamespace(accounts: readonly Account[]): ReadonlyMap<string, readonly Account[]> {
  const groups = new Map<string, Account[]>();
  for (const account of accounts) {
    const group = groups.get(account.namespace);
    if (group === undefined) groups.set(account.namespace, [account]);
    else group.push(account);
  }
  return groups;
}

function needsPod({ names }: Way): boolean {
  return names === 'pod' || names === 'node';
}

function hasPods(account: Account, { way }: Way, world: AccountWorld): boolean {
  const pods = world.podsOf(account, way);
  return pods === undefined || pods.length > 0;
}

/** Adds what the match gives to each subject of its grant. */
function addMatch(
  rights: Rights,
  way: Way,
  match: GrantMatch,
  inside: readonly Account[],
  world: AccountWorld,
  interest: Interest,
  found: Direct[],
): void {
  const accounts = match.names.length === 0 ? inside : inside.filter((account) => fits(match, way, account, world));
  if (accounts.length === 0) return;
  for (const principal of rights.principalsOf(match.grant)) {
    const isGated = way.isAdmitted === true && world.hasAdmission;
    const free = isGated ? addBlocked(way, principal, match, accounts, world, found) : accounts;
    const wanted = free.length === 0 ? free : interest.take(principal, free);
    if (wanted.length > 0) found.push(directOf(way, principal, match, wanted));
  }
}

function directOf(way: Way, principal: Principal, match: GrantMatch, accounts: readonly Account[]): Direct {
  const { apiGroup, resource } = way.need;
  const right = `${match.verb} ${resource}${apiGroup === '' ? '' : `.${apiGroup}`}`;
  return { principal, accounts, way: way.way, gives: way.gives, right, holdings: [{ principal, ...match }] };
}

/** Adds what admission refuses, and returns the accounts that it lets through. */
function addBlocked(
  way: Way,
  principal: Principal,
  match: GrantMatch,
  accounts: readonly Account[],
  world: AccountWorld,
  found: Direct[],
): readonly Account[] {
  return accounts.filter((account) => {
    const blockedBy = world.admissionOf(account).find((each) => isBlocked(each, principal, world.groupsOf));
    if (blockedBy !== undefined) found.push({ ...directOf(way, principal, match, [account]), blockedBy });
    return blockedBy === undefined;
  });
}

function fits(holding: GrantMatch, { way, names }: Way, account: Account, world: AccountWorld): boolean {
  if (names === 'none') return coversName(holding, '');
  if (names === 'account') return coversName(holding, account.name);
  if (names !== 'pod') return true;
  const pods = world.podsOf(account, way);
  return pods === undefined || pods.some((pod) => coversName(holding, pod));
}

/** Both rights everywhere lead to all accounts; where one of them is of a namespace, to those of the namespace. */
function addSecretWays(
  rights: Rights,
  accounts: readonly Account[],
  byNamespace: ReadonlyMap<string, readonly Account[]>,
  interest: Interest,
  found: Direct[],
): void {
  const isNameless = (holding: Holding): boolean => coversName(holding, '');
  const add = (pairs: readonly BothHoldings[], inside: readonly Account[]): void => {
    for (const { principal, first, second } of pairs) {
      const wanted = interest.take(principal, inside);
      if (wanted.length === 0) continue;
      const right = `create and ${second.verb} secrets`;
      found.push({ principal, accounts: wanted, way: 'secret', gives: 'api', right, holdings: [first, second] });
    }
  };
  const makers = byPrincipal(rights.holders(CREATE_SECRETS, '').filter(isNameless));
  const readers = byPrincipal(rights.holders(READ_SECRETS, ''));
  add(pairsOf([...makers.values(), ...readers.values()], [makers], [readers]), accounts);
  for (const [namespace, inside] of byNamespace) {
    const ownMakers = rights.localHolders(CREATE_SECRETS, namespace).filter(isNameless);
    const ownReaders = rights.localHolders(READ_SECRETS, namespace);
    const firsts = [byPrincipal(ownMakers), makers];
    add(pairsOf([...ownMakers, ...ownReaders], firsts, [byPrincipal(ownReaders), readers]), inside);
  }
}

/** The ways that a role can have, for those who give themselves one (`self-grant.ts`). */
export const ROLE_WAYS: readonly Pick<Way, 'way' | 'gives' | 'need'>[] = WAYS;
