/**
 * `who-can reach`: who can get at a port of a pod.
 *
 *     tables ─► accounts with a path (0 steps)
 *     roles  ─► who can act as one of them (1 step), who can become such a one (2 steps), …
 *     both   ─► who can make an account with labels that have a path, and run a pod as it (2 steps)
 *
 * and, as a list of its own, who can change the policies that decide. A way through the API alone (a token, impersonation)
 * opens no connection by itself; it is listed as `api`, since it is the identity that such a policy trusts.
 */
import { PolicyError } from '../base/errors.ts';
import type { StringMap } from '../model/resources.ts';
import { type AccountWorld, type Direct, type Interest, waysToAll } from '../rbac/account-ways.ts';
import { type AccountAdmission, blocksLabels } from '../rbac/admission.ts';
import { accountText, findChains, type Link, mergeChains } from '../rbac/chains.ts';
import { byPrincipal, coversName, type Holding, heldBy, type Principal, principalText } from '../rbac/rights.ts';
import {
  accountWorld,
  chainEntry,
  closingParts,
  commonNotes,
  type Entry,
  entryOf,
  groupsIn,
  sortEntries,
  type WhoCanContext,
  type WhoCanReport,
} from './who-can.ts';
import { blockedRecords } from './who-can-assign.ts';
import { distinct, editEntries } from './who-can-edit.ts';
import { CHANGE_ACCOUNTS, CREATE_ACCOUNTS, labelText } from './who-can-label.ts';
import { type AccountPath, findPaths, type LabelPath, type Paths, type ReachTarget } from './who-can-paths.ts';

/** An account with a path: 0 steps for its own pods. */
export interface AccountRecord {
  readonly account: string;
  /** `pod`: a pod of it has the path. `new-pod`: one that could be made would have it. */
  readonly by: 'pod' | 'new-pod';
  readonly pods: readonly string[];
  readonly pod_labels?: Readonly<Record<string, string>>;
  readonly port: number;
}

export interface ReachReport extends WhoCanReport {
  readonly question: 'reach';
  readonly port: string;
  /** Ascending by name. */
  readonly accounts: readonly AccountRecord[];
  /** Who can change the policies that decide. */
  readonly editors: readonly Entry[];
  /** IDs of the enforced policies that select the target. */
  readonly policies: readonly string[];
  readonly judged: { readonly pods: number; readonly new_pods: number };
}

/**
 * The answer for one port. `isMerged` makes one entry of all rights of a subject that give the same; a comparison needs them
 * apart. Throws a `PolicyError` for a target that is no endpoint.
 */
export function whoCanReach(context: WhoCanContext, target: ReachTarget, isMerged: boolean): ReachReport {
  const found = findPaths(context.resources, target);
  if (found === undefined) throw noEndpoint(target);
  const { depth, users } = context.options;
  const world = pathWorld(context, found.paths);
  const accounts = found.paths.map(({ account }) => account);
  const chains = findChains(context.rights, accounts, world, { depth, isBrief: true });
  const shown = isMerged ? mergeChains(chains.chains) : chains.chains;
  const entries = shown.map((chain) => chainEntry(chain, users));
  if (depth >= 2) entries.push(...labelEntries(context, found, entries));
  const hasUncertain = found.uncertain.length > 0;
  return {
    question: 'reach',
    target: `${target.namespace}/${target.pod}`,
    port: target.port === undefined ? `any/${target.protocol}` : `${target.port}/${target.protocol}`,
    depth,
    accounts: found.paths.map(accountRecord),
    entries: sortEntries(entries),
    editors: sortEntries(editors(context, found, target.namespace)),
    policies: enforced(found).map((policy) => found.plan.policies[policy]!.id),
    blocked: blockedRecords(chains.blocked),
    judged: { pods: found.judged.pods, new_pods: found.judged.newPods },
    notes: [
      ...commonNotes(context),
      ...(hasUncertain
        ? [`uncertain, as an address has two owners: ${found.uncertain.map(accountText).join(', ')}`]
        : []),
    ],
    ...closingParts(context),
    incomplete: context.isIncomplete || hasUncertain,
  };
}

function noEndpoint({ namespace, pod }: ReachTarget): PolicyError {
  return new PolicyError(
    'no-such-endpoint',
    `pod ${namespace}/${pod} is not in the input, or no policy can apply to it`,
    {
      fix: 'name a pod on the pod network that has an address',
    },
  );
}

function accountRecord({ account, by, pods, podLabels, port }: AccountPath): AccountRecord {
  const labels = podLabels.size === 0 ? {} : { pod_labels: Object.fromEntries(podLabels) };
  return { account: `${account.namespace}/${account.name}`, by, pods, ...labels, port };
}

/** Into a pod it is worth going only where a pod has the path; labels of any pod of the account can be changed. */
function pathWorld(context: WhoCanContext, paths: readonly AccountPath[]): AccountWorld {
  const world = accountWorld(context);
  const withPath = new Map(paths.map(({ account, pods }) => [accountText(account), pods]));
  return {
    ...world,
    podsOf: (account, way) => {
      const pods = withPath.get(accountText(account));
      return pods === undefined || way === 'change-pod' ? world.podsOf(account, way) : pods;
    },
  };
}

function enforced({ plan, policies }: Paths): number[] {
  return policies.filter((policy) => !plan.policies[policy]!.isStaged);
}

/** Of several policies, each subject is listed once for each way. */
function editors(context: WhoCanContext, found: Paths, namespace: string): Entry[] {
  const all = enforced(found).flatMap((policy) =>
    editEntries(context, found.plan, found.plan.policies[policy]!, [namespace]),
  );
  const first = new Map<string, Entry>();
  for (const entry of distinct(all)) {
    const key = `${entry.subject}\n${entry.links[0]!.way}`;
    if (!first.has(key)) first.set(key, entry);
  }
  return [...first.values()];
}

/* ---- labels ---- */

/** Two steps for those who may label accounts and run pods: those who need no label are left out. */
function labelEntries(context: WhoCanContext, found: Paths, known: readonly Entry[]): Entry[] {
  const isDone = new Set(known.filter(({ gives, steps }) => gives === 'network' && steps === 1).map((e) => e.subject));
  const best = new Map<string, LabelPath>();
  for (const path of found.labelPaths) {
    const other = best.get(path.namespace);
    if (other === undefined || path.accountLabels.size < other.accountLabels.size) best.set(path.namespace, path);
  }
  const accounts = [...best.keys()].map((namespace) => ({ namespace, name: 'any' }));
  const seen = new Set<string>();
  const interest: Interest = {
    take: (principal, each) => (isDone.has(principalText(principal)) ? [] : each),
    isFirstOnly: true,
  };
  return waysToAll(context.rights, accounts, NO_PODS, interest).flatMap((run) => {
    if (run.gives !== 'network') return [];
    return run.accounts.flatMap(({ namespace }): Entry[] => {
      const path = best.get(namespace)!;
      const key = `${run.principal.key}\n${namespace}`;
      const labels = seen.has(key) ? undefined : labellerOf(context, path, run.principal);
      if (labels === undefined) return [];
      seen.add(key);
      return [labelEntry(context, path, run, labels)];
    });
  });
}

/** Accounts that are not there yet: no pod of theirs runs, and no policy gates them. */
const NO_PODS: AccountWorld = {
  namespaces: [],
  podsOf: () => [],
  groupsOf: () => [],
  hasAdmission: false,
  admissionOf: () => [],
};

/** The right by which the subject can make or relabel an account as the path needs it. */
function labellerOf(
  context: WhoCanContext,
  { namespace, accountLabels }: LabelPath,
  principal: Principal,
): Holding | undefined {
  const { rights, admissions } = context;
  const gates = admissions.filter(({ account }) => account.namespace === namespace);
  const isRefused = (keysOf: (gate: AccountAdmission) => readonly string[]): boolean =>
    gates.some((gate) => blocksLabels(gate, principal, keysOf(gate), groupsIn(context)));
  const creators = rights.holders(CREATE_ACCOUNTS, namespace).filter((holding) => coversName(holding, ''));
  const creator = heldBy(principal, byPrincipal(creators));
  if (creator !== undefined && !isRefused(() => [...accountLabels.keys()])) return creator;
  // An existing account must get rid of its other labels as well.
  if (isRefused((gate) => gate.labels?.keys ?? [])) return undefined;
  return heldBy(principal, byPrincipal(rights.holders(CHANGE_ACCOUNTS, namespace)));
}

function labelEntry(context: WhoCanContext, path: LabelPath, run: Direct, labels: Holding): Entry {
  const { namespace, accountLabels, podLabels } = path;
  const { principal, right, holdings, way: runWay } = run;
  const account = `an account of ${namespace} with ${accountLabelText(accountLabels)}`;
  const pod = podLabels.size === 0 ? '' : ` in a pod with ${labelText(podLabels)}`;
  const way = labels.verb === 'create' ? 'new-account' : 'label-account';
  const links: Link[] = [
    { from: principal, way, right: `${labels.verb} serviceaccounts`, holdings: [labels], to: account },
    { from: principal, way: runWay, right, holdings, to: `${account}${pod}` },
  ];
  return entryOf(principal, () => [`${account}${pod}`], 'network', links, context.options.users);
}

function accountLabelText(labels: StringMap): string {
  return labels.size === 0 ? 'no labels' : labelText(labels);
}
