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
import { coversName, type Holding, holdersOfBoth, type Need, type Principal, type Rights } from './rights.ts';

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
  /** Admission policies in force that gate the account's use. */
  admissionOf(account: Account): readonly AccountAdmission[];
}

/** One subject, one way. */
export interface Direct {
  readonly principal: Principal;
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

/** Every subject that can act as `account`, by every way, in the order of the ways. */
export function directWays(rights: Rights, account: Account, world: AccountWorld): Direct[] {
  const admission = world.admissionOf(account);
  const found: Direct[] = [];
  for (const way of WAYS) {
    const pods = needsPod(way) ? world.podsOf(account, way.way) : undefined;
    if (needsPod(way) && pods !== undefined && pods.length === 0) continue;
    for (const holding of rights.holders(way.need, way.isClusterWide === true ? '' : account.namespace)) {
      if (!fits(holding, way, account, pods)) continue;
      const blocking =
        way.isAdmitted === true
          ? admission.find((each) => isBlocked(each, holding.principal, world.groupsOf))
          : undefined;
      found.push(direct(way, holding, blocking));
    }
  }
  found.push(...secretWays(rights, account));
  return found;
}

function needsPod({ names }: Way): boolean {
  return names === 'pod' || names === 'node';
}

function fits(holding: Holding, { names }: Way, account: Account, pods: readonly string[] | undefined): boolean {
  if (holding.names.length === 0) return true;
  if (names === 'none') return coversName(holding, '');
  if (names === 'account') return coversName(holding, account.name);
  if (names === 'pod') return pods === undefined || pods.some((pod) => coversName(holding, pod));
  return true;
}

function direct(
  { way, gives, need: { apiGroup, resource } }: Way,
  holding: Holding,
  blockedBy: AccountAdmission | undefined,
): Direct {
  const right = `${holding.verb} ${resource}${apiGroup === '' ? '' : `.${apiGroup}`}`;
  const base = { principal: holding.principal, way, gives, right, holdings: [holding] };
  return blockedBy === undefined ? base : { ...base, blockedBy };
}

function secretWays(rights: Rights, { namespace }: Account): Direct[] {
  const creators = rights.holders(CREATE_SECRETS, namespace).filter((holding) => coversName(holding, ''));
  if (creators.length === 0) return [];
  return holdersOfBoth(creators, rights.holders(READ_SECRETS, namespace)).map(({ principal, first, second }) => ({
    principal,
    way: 'secret',
    gives: 'api',
    right: `create and ${second.verb} secrets`,
    holdings: [first, second],
  }));
}

/** Whether a role with these rights lets its holder act as an account of the namespace, pods or none. */
export const ROLE_NEEDS: readonly Need[] = WAYS.map((way) => way.need);
