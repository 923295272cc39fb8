/**
 * `who-can reach --diff`: what a change of roles or policies opens and closes.
 *
 * Two answers to the same question are compared by what they say, not by how: a subject that can get at an account with a
 * path by another way than before has gained nothing. What counts is the pair of subject and account (with the number of
 * steps left out), the accounts that have a path, and who can change the policies that decide.
 */
import type { Entry } from './who-can.ts';
import type { AccountRecord, ReachReport } from './who-can-reach.ts';

export interface ReachChange {
  readonly change: 'opened' | 'closed';
  /** `path`: a subject and an account. `account`: an account that has a path. `edit`: who can change the policies. */
  readonly what: 'path' | 'account' | 'edit';
  /** One sentence: `RoleBinding b lets Group interns reach prod/db:5432 as prod/web: create pods`. */
  readonly message: string;
  readonly entry?: Entry;
  readonly account?: AccountRecord;
}

export interface ReachDiff {
  readonly question: 'reach';
  readonly target: string;
  readonly port: string;
  readonly depth: number;
  readonly opened: readonly ReachChange[];
  readonly closed: readonly ReachChange[];
  readonly incomplete: boolean;
}

export function diffReach(before: ReachReport, after: ReachReport): ReachDiff {
  return {
    question: 'reach',
    target: after.target,
    port: after.port,
    depth: after.depth,
    opened: changes('opened', before, after),
    closed: changes('closed', after, before),
    incomplete: before.incomplete || after.incomplete,
  };
}

/** What `there` has and `base` has not. */
function changes(change: ReachChange['change'], base: ReachReport, there: ReachReport): ReachChange[] {
  const goal = `${there.target}:${there.port.replace(/\/tcp$/, '')}`;
  const accounts = new Set(base.accounts.map(({ account }) => account));
  const paths = new Set(base.entries.flatMap((entry) => entry.targets.map((target) => pathKey(entry, target))));
  const edits = new Set(base.editors.map(({ subject }) => subject));
  const verb = change === 'opened' ? 'lets' : 'let';
  return [
    ...there.accounts
      .filter(({ account }) => !accounts.has(account))
      .map((account): ReachChange => {
        const message = `policies ${change === 'opened' ? 'let' : 'had let'} ${accountWords(account)} reach ${goal}`;
        return { change, what: 'account', message, account };
      }),
    ...newPaths(there.entries, paths).map((entry): ReachChange => {
      const message = `${bindingOf(entry)} ${verb} ${entry.subject} reach ${goal} as ${targetWords(entry)}: ${stepsOf(entry)}`;
      return { change, what: 'path', message, entry };
    }),
    ...firstOfSubjects(there.editors)
      .filter(({ subject }) => !edits.has(subject))
      .map((entry): ReachChange => {
        const message = `${bindingOf(entry)} ${verb} ${entry.subject} change what decides for ${goal}: ${stepsOf(entry)}`;
        return { change, what: 'edit', message, entry };
      }),
  ];
}

/** Which account, and whether a pod of it can be had or its rights alone. */
function pathKey({ subject, gives }: Entry, target: string): string {
  return [subject, target, gives].join('\n');
}

/** The entries with those targets alone that are not in `known`, each pair once. */
function newPaths(entries: readonly Entry[], known: ReadonlySet<string>): Entry[] {
  const seen = new Set(known);
  return entries.flatMap((entry) => {
    const targets = entry.targets.filter((target) => {
      const key = pathKey(entry, target);
      return !seen.has(key) && seen.add(key);
    });
    return targets.length === 0 ? [] : [{ ...entry, targets }];
  });
}

function firstOfSubjects(entries: readonly Entry[]): Entry[] {
  const first = new Map<string, Entry>();
  for (const entry of entries) if (!first.has(entry.subject)) first.set(entry.subject, entry);
  return [...first.values()];
}

function accountWords({ account, by, pod_labels: labels = {} }: AccountRecord): string {
  if (by === 'pod') return `pods of ServiceAccount ${account}`;
  const text = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return `new pods of ServiceAccount ${account}${text.length === 0 ? '' : ` with ${text.join(', ')}`}`;
}

function targetWords({ targets, gives }: Entry): string {
  const names = targets.slice(0, 3).map((target) => target.replace(/^ServiceAccount /, ''));
  const rest = targets.length > 3 ? ` and ${targets.length - 3} more` : '';
  return `${names.join(', ')}${rest}${gives === 'api' ? ' (its token alone)' : ''}`;
}

/** The binding of the first step, since without it nothing begins. */
function bindingOf({ links }: Entry): string {
  const rule = links[0]?.rules[0];
  if (rule === undefined) return 'system:masters';
  const { kind, namespace, name } = rule.binding;
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

function stepsOf({ links }: Entry): string {
  return links.map(({ right }) => right).join(', then ');
}
