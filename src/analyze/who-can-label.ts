/**
 * `who-can label`: who can make something match a selector over the labels of service accounts.
 *
 * Policies see an account's labels as labels `pcsa.KEY` of its pods, and its name as `projectcalico.org/serviceaccount`
 * (semantics 2.1, 2.2). Pods cannot carry such labels themselves, they are taken off; but network sets and host endpoints
 * can, and then their addresses count as pods of the account (semantics 2.4, 2.5; corner cases 16-18). So the ways are:
 *
 *   label-account   change the labels of the account
 *   new-account     make another account with the labels
 *   network-set     put addresses into a NetworkSet that carries `pcsa.` labels or the name of the account
 *   host-endpoint   the same with a HostEndpoint and its expectedIPs
 *
 * Calico's own API and its storage (crd.projectcalico.org) count alike.
 */
import type { Account } from '../rbac/account-ways.ts';
import { type AccountAdmission, blocksLabels } from '../rbac/admission.ts';
import { accountText } from '../rbac/chains.ts';
import { coversName, type Holding, type Need, type Principal, principalText } from '../rbac/rights.ts';
import type { Selector } from '../selector/selector.ts';
import {
  type BlockedRecord,
  closingParts,
  commonNotes,
  type Entry,
  groupsIn,
  sortEntries,
  stepEntry,
  type WhoCanContext,
  type WhoCanReport,
} from './who-can.ts';
import { labelsThatMatch } from './who-can-labels.ts';

export interface LabelReport extends WhoCanReport {
  /** Canonical text of `--selector`. */
  readonly selector?: string;
  /** Labels that make an account match, the first choice, and keys of labels that it must not have. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly without?: readonly string[];
  /** The account matches as it is. */
  readonly matches?: boolean;
  /** Accounts of the namespace that match as they are: whoever can run pods as one of them needs no label. */
  readonly matching?: readonly string[];
}

export function whoCanLabel(context: WhoCanContext, account: Account, selector: Selector | undefined): LabelReport {
  const target = accountText(account);
  const choices = selector === undefined ? [] : labelsThatMatch([selector.root]);
  const { labels, absent } = choices[0] ?? { labels: new Map<string, string>(), absent: new Set<string>() };
  const gates = context.admissions.filter((each) => each.account.namespace === account.namespace);
  const found: Found = { entries: [], blocked: [] };
  const gated = gates.flatMap((gate) => gate.labels?.keys ?? []);
  // A new account is refused for the labels that it has, not for those that it lacks.
  const set = selector === undefined ? gated : [...labels.keys()];
  const touched = selector === undefined ? gated : [...labels.keys(), ...absent];
  collect(context, account, gates, { set, touched, text: labelText(labels, absent) }, found);
  const matching = selector === undefined ? undefined : matchingAccounts(context, account.namespace, selector);
  const isImpossible = selector !== undefined && choices.length === 0;
  return {
    question: 'label',
    target,
    depth: 1,
    ...(selector === undefined
      ? {}
      : { selector: selector.canonical, labels: Object.fromEntries(labels), without: [...absent] }),
    ...(matching === undefined ? {} : { matching, matches: matching.includes(account.name) }),
    entries: sortEntries(found.entries),
    blocked: found.blocked,
    notes: [
      ...commonNotes(context),
      'labels of pods do not count as labels of their account: Calico takes pcsa. labels off pods',
      ...(isImpossible ? ['no labels were found that make the selector match'] : []),
    ],
    ...closingParts(context),
    incomplete: context.isIncomplete,
  };
}

interface Found {
  readonly entries: Entry[];
  readonly blocked: BlockedRecord[];
}

export const CHANGE_ACCOUNTS: Need = { verbs: ['update', 'patch'], apiGroup: '', resource: 'serviceaccounts' };
export const CREATE_ACCOUNTS: Need = { verbs: ['create'], apiGroup: '', resource: 'serviceaccounts' };

/** Kinds that may carry labels of accounts, and the scope of the rules that take them for such. */
const CARRIERS = [
  { way: 'network-set', resource: 'networksets', isNamespaced: true, what: 'a NetworkSet' },
  { way: 'network-set', resource: 'globalnetworksets', isNamespaced: false, what: 'a GlobalNetworkSet' },
  { way: 'host-endpoint', resource: 'hostendpoints', isNamespaced: false, what: 'a HostEndpoint' },
] as const;

const CALICO_GROUPS = ['projectcalico.org', 'crd.projectcalico.org'];

/** Keys of labels that a new account must have, those that an existing one must have or lose, and both in words. */
interface Wanted {
  readonly set: readonly string[];
  readonly touched: readonly string[];
  readonly text: string;
}

function collect(
  context: WhoCanContext,
  account: Account,
  gates: readonly AccountAdmission[],
  { set, touched, text }: Wanted,
  found: Found,
): void {
  const { rights, options } = context;
  const { namespace } = account;
  const groupsOf = groupsIn(context);
  const gateOf = (principal: Principal, keys: readonly string[]): AccountAdmission | undefined =>
    gates.find((gate) => blocksLabels(gate, principal, keys, groupsOf));
  const add = (holding: Holding, way: string, resource: string, to: string, gate?: AccountAdmission): void => {
    const { principal, verb } = holding;
    const right = `${verb} ${resource}`;
    if (gate === undefined) {
      found.entries.push(stepEntry(principal, { way, right, holdings: [holding], to }, 'labels', options.users));
      return;
    }
    const subject = principalText(principal);
    const { policy, origin, labels } = gate;
    const unless = labels?.groups ?? [];
    found.blocked.push({ subject, target: to, way, right, admission_policy: policy, unless_in: unless, ...origin });
  };
  const target = accountText(account);
  for (const holding of rights.holders(CHANGE_ACCOUNTS, namespace)) {
    if (!coversName(holding, account.name)) continue;
    add(holding, 'label-account', 'serviceaccounts', `${target} with ${text}`, gateOf(holding.principal, touched));
  }
  for (const holding of rights.holders(CREATE_ACCOUNTS, namespace)) {
    if (!coversName(holding, '')) continue;
    add(
      holding,
      'new-account',
      'serviceaccounts',
      `a new account of ${namespace} with ${text}`,
      gateOf(holding.principal, set),
    );
  }
  for (const { way, resource, isNamespaced, what } of CARRIERS) {
    for (const apiGroup of CALICO_GROUPS) {
      const need: Need = { verbs: ['create', 'update', 'patch'], apiGroup, resource };
      for (const holding of rights.holders(need, isNamespaced ? namespace : '')) {
        if (holding.verb === 'create' && !coversName(holding, '')) continue;
        add(holding, way, `${resource}.${apiGroup}`, `${what} with pcsa. labels, whose addresses count as ${target}`);
      }
    }
  }
}

/** `role=intern, without blocked` */
export function labelText(labels: ReadonlyMap<string, string>, absent: Iterable<string> = []): string {
  const parts = [...labels].map(([key, value]) => `${key}=${value}`);
  for (const key of absent) parts.push(`no label ${key}`);
  return parts.length === 0 ? 'other labels' : parts.join(', ');
}

function matchingAccounts({ resources }: WhoCanContext, namespace: string, selector: Selector): string[] {
  return resources.serviceAccounts.flatMap(({ meta }) => {
    if (meta.namespace !== namespace) return [];
    // The name always counts as a label, whatever the user wrote (semantics 2.2).
    const labels = new Map(meta.labels).set('projectcalico.org/name', meta.name);
    return selector.matches(labels) ? [meta.name] : [];
  });
}
