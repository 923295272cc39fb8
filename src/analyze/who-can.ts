/**
 * `who-can`: RBAC joined with policy. What the four questions have in common.
 *
 *   assign   who can act as a service account
 *   label    who can make something count as an account with certain labels
 *   edit     who can change the policies that decide, or put one in front of them
 *   reach    who can get at a port of a pod: accounts with a path (from the compiled tables), and who can be one of them
 *
 * Every answer is a list of entries of one form: a subject, the steps that it has to take, and for each step the rights that
 * allow it, each with its binding, role, rule and place. Groups stand for their members; a file of users names them.
 */
import type { Resources } from '../model/resources.ts';
import type { Account, AccountWorld, WayName } from '../rbac/account-ways.ts';
import { type AccountAdmission, type GroupsOf, NOT_COVERED, recogniseAdmission } from '../rbac/admission.ts';
import { accountText, type Chain, type Link } from '../rbac/chains.ts';
import { type RuleRecord, ruleRecord } from '../rbac/decision-record.ts';
import type { RbacProblem } from '../rbac/problems.ts';
import type { RbacIndex } from '../rbac/rbac-index.ts';
import { type Holding, type Principal, principalText, Rights } from '../rbac/rights.ts';

/** One step: what `from` does, the right, and what it is then. */
export interface LinkRecord {
  readonly from: string;
  readonly way: string;
  readonly right: string;
  readonly to: string;
  /** The rules that give the right; more than one if it takes several. */
  readonly rules: readonly RuleRecord[];
}

/** One subject and one way. */
export interface Entry {
  /** `Group interns`, `User ann`, `ServiceAccount ns/name`. */
  readonly subject: string;
  /** People of the group, where a file of users names them. */
  readonly members?: readonly string[];
  /** What is gained: `ServiceAccount prod/api`, `policy np:prod/deny`, …; any one of these. */
  readonly targets: readonly string[];
  /** Number of links. */
  readonly steps: number;
  /** `network`: pods that run as the account. `api`: its rights at the API alone. `policy`: the rules themselves. */
  readonly gives: 'network' | 'api' | 'policy' | 'labels';
  readonly links: readonly LinkRecord[];
  /** Further rights of the subject that lead to the targets, left out for brevity. */
  readonly more_rights?: number;
}

/** An answer. Fields that only one question has are in the interfaces that extend it. */
export interface WhoCanReport {
  readonly question: 'assign' | 'label' | 'edit' | 'reach';
  readonly target: string;
  /** The most steps that were looked for. */
  readonly depth: number;
  readonly entries: readonly Entry[];
  /** What admission policies refuse. */
  readonly blocked: readonly BlockedRecord[];
  readonly notes: readonly string[];
  readonly not_covered: readonly string[];
  /** What the admission policies that count leave open; empty without any. */
  readonly admission_gaps: readonly string[];
  readonly incomplete: boolean;
}

export interface BlockedRecord {
  readonly subject: string;
  readonly target: string;
  readonly way: string;
  readonly right: string;
  readonly admission_policy: string;
  /** Who is in one of these is let through all the same. */
  readonly unless_in: readonly string[];
  readonly file: string;
  readonly line: number;
}

/** Users and the groups they are in. */
export type Users = ReadonlyMap<string, readonly string[]>;

export interface WhoCanOptions {
  readonly depth: number;
  readonly users: Users;
}

/** Everything a question is asked of. */
export interface WhoCanContext {
  readonly resources: Resources;
  readonly rights: Rights;
  readonly options: WhoCanOptions;
  readonly admissions: readonly AccountAdmission[];
  /** Policies of the input that gate nothing that margay can read. */
  readonly admissionNotes: readonly RbacProblem[];
  readonly isIncomplete: boolean;
}

export function whoCanContext(resources: Resources, index: RbacIndex, options: WhoCanOptions): WhoCanContext {
  const { admissions, notes } = recogniseAdmission(resources.admissionPolicies, resources.admissionBindings);
  return {
    resources,
    rights: new Rights(index),
    options,
    admissions,
    admissionNotes: notes,
    isIncomplete: index.problems.length > 0,
  };
}

/** What is always true, and would make every list longer if it were not said once. */
const ALWAYS = 'members of system:masters may do everything and are not listed';

/** What no answer takes into account. */
const NOT_LOOKED_AT: readonly string[] = [
  'pods on the host network: their traffic is that of their node',
  'custom resources whose controllers make pods',
  'admission by webhooks and Pod Security, which may refuse more',
  'certificates that somebody may approve, and whatever can be done on a node itself',
];

/** What is left to say at the end of every answer. */
export function closingParts(context: WhoCanContext): Pick<WhoCanReport, 'not_covered' | 'admission_gaps'> {
  return { not_covered: NOT_LOOKED_AT, admission_gaps: context.admissions.length === 0 ? [] : NOT_COVERED };
}

/** Pods and admission policies of the input, as the ways of an account need them. */
export function accountWorld(context: WhoCanContext): AccountWorld {
  const { pods, namespaces } = context.resources;
  const names = new Map<string, string[]>();
  for (const { meta, serviceAccountName } of pods) {
    const key = `${meta.namespace}/${serviceAccountName}`;
    const list = names.get(key);
    if (list === undefined) names.set(key, [meta.name]);
    else list.push(meta.name);
  }
  return {
    namespaces: namespaces.map(({ meta }) => meta.name),
    podsOf: ({ namespace, name }: Account, _way: WayName) =>
      pods.length === 0 ? undefined : (names.get(`${namespace}/${name}`) ?? []),
    groupsOf: groupsIn(context),
    hasAdmission: context.admissions.length > 0,
    admissionOf: (account) => admissionsFor(context, account),
  };
}

/** Groups of a user that the file of users names. */
export function groupsIn({ options }: WhoCanContext): GroupsOf {
  return ({ kind, name }) => (kind === 'User' ? (options.users.get(name) ?? []) : []);
}

function admissionsFor({ admissions }: WhoCanContext, { namespace, name }: Account): readonly AccountAdmission[] {
  return admissions.filter(({ account }) => account.namespace === namespace && account.name === name);
}

export function chainEntry({ principal, accounts, gives, links, moreRights = 0 }: Chain, users: Users): Entry {
  const entry = entryOf(principal, () => accounts.map(accountText), gives, links, users);
  return moreRights === 0 ? entry : Object.assign(entry, { more_rights: moreRights });
}

/**
 * An entry of any question. Targets and links are put into words when somebody looks at them: of the thousands of
 * entries of a big cluster a table shows a hundred, and the place of a rule is costly to find.
 */
export function entryOf(
  principal: Principal,
  targetsOf: () => readonly string[],
  gives: Entry['gives'],
  links: readonly Link[],
  users: Users,
): Entry {
  const members = membersOf(principal, users);
  let targets: readonly string[] | undefined;
  let records: readonly LinkRecord[] | undefined;
  return {
    subject: principalText(principal),
    ...(members.length === 0 ? {} : { members }),
    get targets() {
      targets ??= targetsOf();
      return targets;
    },
    steps: links.length,
    gives,
    get links() {
      records ??= links.map(linkRecord);
      return records;
    },
  };
}

/** One step as an entry of its own. */
export function stepEntry(
  principal: Principal,
  step: Pick<Link, 'way' | 'right' | 'holdings' | 'to'>,
  gives: Entry['gives'],
  users: Users,
): Entry {
  return entryOf(principal, () => [step.to], gives, [{ from: principal, ...step }], users);
}

function membersOf({ kind, name }: Principal, users: Users): string[] {
  if (kind !== 'Group') return [];
  return [...users].flatMap(([user, groups]) => (groups.includes(name) ? [user] : []));
}

function linkRecord({ from, way, right, holdings, to }: Link): LinkRecord {
  return { from: principalText(from), way, right, to, rules: holdings.map(holdingRecord) };
}

function holdingRecord({ grant, rule, principal }: Holding): RuleRecord {
  return ruleRecord(grant, rule, principalText(principal));
}

/** Entries with fewer steps first, then by subject and target, so that the same input always gives the same list. */
export function sortEntries(entries: readonly Entry[]): Entry[] {
  const order: Readonly<Record<Entry['gives'], number>> = { network: 0, labels: 1, policy: 2, api: 3 };
  return entries
    .map((entry, place) => ({ entry, place }))
    .sort((a, b) => {
      const [left, right] = [a.entry, b.entry];
      return (
        left.steps - right.steps ||
        order[left.gives] - order[right.gives] ||
        compare(left.subject, right.subject) ||
        compare(left.targets[0]!, right.targets[0]!) ||
        a.place - b.place
      );
    })
    .map(({ entry }) => entry);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Sentences about admission policies that are there and do not count, and about subjects that are everywhere. */
export function commonNotes(context: WhoCanContext): string[] {
  return [
    ALWAYS,
    ...context.admissionNotes.map(({ name, message, file, line }) => {
      return `ValidatingAdmissionPolicy ${name} (${file}:${line}): ${message}`;
    }),
  ];
}
