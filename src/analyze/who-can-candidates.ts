/**
 * Pods that somebody could make, to be judged beside those that exist.
 *
 * Whoever may create pods in a namespace chooses the account and the labels; whoever may write service accounts chooses
 * the account's labels too. There is no end of such pods, but the policies look at few labels. So each pod that could be
 * made is described by what the selectors of the plan can see of it,
 *
 *     signature = for each key that some selector names: the value if some selector names it too, else only that it is there
 *
 * and of pods with one signature a single one is compiled and judged: 5 000 accounts that no policy names are one pod.
 * Tried for each account are: no labels; the label sets that pods of the namespace wear; and labels that match what the
 * rules of the target let in (`who-can-labels.ts`). New or relabelled accounts are tried with no labels and with those
 * that match. A path that is found this way is one that the compiled tables allow; that there is no other is not claimed.
 */
import { podOwnLabels } from '../compile/labels.ts';
import type { Plan, PlanPolicy, PlanRule } from '../compile/plan.ts';
import type { Pod, Resources, ServiceAccount, StringMap } from '../model/resources.ts';
import type { Node } from '../selector/ast.ts';
import { parseSelector } from '../selector/selector.ts';
import { type LabelChoice, labelsThatMatch } from './who-can-labels.ts';

/** A pod that could be made, and all accounts for which it stands. */
export interface Candidate {
  readonly namespace: string;
  /** The account it is compiled with; for a made-up account a name that no account has. */
  readonly account: string;
  readonly podLabels: StringMap;
  /** Labels of the made-up or relabelled account; `undefined` = an account as it is. */
  readonly accountLabels: StringMap | undefined;
  /** Accounts of the input (by `namespace/name`) whose pods no policy can tell from this one. */
  readonly standsFor: string[];
}

const CHOICES_MAX = 8;
const WORN_MAX = 6;
const NO_LABELS: StringMap = new Map();

/** A name for accounts that do not exist. */
export const NEW_ACCOUNT = 'margay-new-account';

/** The candidates for a target whose ingress rules look at these selectors. */
export function findCandidates(resources: Resources, plan: Plan, targetGroup: number): Candidate[] {
  const seen = seenLabels(plan, targetGroup);
  const choices = admittedChoices(plan, targetGroup);
  const namespaces = new Map(resources.namespaces.map(({ meta }) => [meta.name, meta.labels]));
  const worn = wornLabels(resources.pods);
  const found = new Map<string, Candidate>();
  const offer = (candidate: Omit<Candidate, 'standsFor'>, labels: StringMap, standsFor: string): void => {
    const kind = candidate.accountLabels === undefined ? 'as-is' : `new ${candidate.namespace}`;
    const key = `${kind}\n${signature(effective(candidate, namespaces.get(candidate.namespace), labels), seen)}`;
    const known = found.get(key);
    if (known === undefined) found.set(key, { ...candidate, standsFor: [standsFor] });
    else if (!known.standsFor.includes(standsFor)) known.standsFor.push(standsFor);
  };
  for (const { meta } of accountsOf(resources)) {
    for (const podLabels of podLabelSets(choices, worn.get(meta.namespace))) {
      const candidate = { namespace: meta.namespace, account: meta.name, podLabels, accountLabels: undefined };
      offer(candidate, meta.labels, `${meta.namespace}/${meta.name}`);
    }
  }
  for (const namespace of namespaces.keys()) {
    for (const { account, pod } of [{ account: NO_LABELS, pod: NO_LABELS }, ...choices]) {
      const candidate = { namespace, account: NEW_ACCOUNT, podLabels: pod, accountLabels: account };
      offer(candidate, account, `${namespace}/${NEW_ACCOUNT}`);
    }
  }
  return [...found.values()];
}

/** Accounts of the input, and those that only pods name. */
function accountsOf({ serviceAccounts, pods }: Resources): Pick<ServiceAccount, 'meta'>[] {
  const known = new Map<string, Pick<ServiceAccount, 'meta'>>();
  for (const account of serviceAccounts) known.set(`${account.meta.namespace}/${account.meta.name}`, account);
  for (const { meta, serviceAccountName: name } of pods) {
    const key = `${meta.namespace}/${name}`;
    if (name !== '' && !known.has(key)) known.set(key, { meta: { ...meta, name, labels: NO_LABELS } });
  }
  return [...known.values()];
}

/** Distinct label sets of the pods of each namespace, the first few. */
function wornLabels(pods: readonly Pod[]): ReadonlyMap<string, readonly StringMap[]> {
  const worn = new Map<string, Map<string, StringMap>>();
  for (const { meta } of pods) {
    const sets = worn.get(meta.namespace) ?? new Map<string, StringMap>();
    worn.set(meta.namespace, sets);
    if (sets.size < WORN_MAX) sets.set(JSON.stringify([...meta.labels]), meta.labels);
  }
  return new Map([...worn].map(([namespace, sets]) => [namespace, [...sets.values()]]));
}

function podLabelSets(choices: readonly Choice[], worn: readonly StringMap[] = []): readonly StringMap[] {
  return [NO_LABELS, ...choices.map(({ pod }) => pod), ...worn];
}

/* ---- what selectors can see ---- */

/** Values by key; `undefined` = a selector looks into the value, so every value counts. */
type SeenLabels = ReadonlyMap<string, ReadonlySet<string> | undefined>;

function seenLabels(plan: Plan, targetGroup: number): SeenLabels {
  const sets = new Set<number>();
  const seen = new Map<string, Set<string> | undefined>();
  const see = (key: string, values: readonly string[] | undefined): void => {
    if (values === undefined) seen.set(key, undefined);
    else if (!seen.has(key)) seen.set(key, new Set(values));
    else for (const value of values) seen.get(key)?.add(value);
  };
  const visit = (node: Node): void => {
    if (node.kind === 'all' || node.kind === 'global') return;
    if (node.kind === 'not') visit(node.operand);
    else if ('operands' in node) node.operands.forEach(visit);
    else if (node.kind === 'has') see(node.key, []);
    else if (node.kind === '==' || node.kind === '!=') see(node.key, [node.value]);
    else if (node.kind === 'in' || node.kind === 'not in') see(node.key, node.values);
    else see(node.key, undefined);
  };
  for (const policy of policiesOnTheWay(plan, targetGroup)) {
    visit(parseSelector(policy.selectorText).root);
    for (const rule of [...policy.ingress, ...policy.egress]) setsOf(rule).forEach((set) => void sets.add(set));
  }
  for (const { ingress, egress } of plan.profiles) {
    for (const rule of [...ingress, ...egress]) setsOf(rule).forEach((set) => void sets.add(set));
  }
  for (const set of sets) for (const text of selectorTextOf(plan.ipSets[set]!)) visit(parseSelector(text).root);
  return seen;
}

/** Policies that may have a say on the way to the target: what lets others in to others than the target has none. */
export function policiesOnTheWay(plan: Plan, targetGroup: number): PlanPolicy[] {
  const used = new Set<number>();
  for (const [index, { kind, tiers, forwardTiers, preDnatTiers, untrackedTiers }] of plan.groups.entries()) {
    if (kind !== 'hep' && index !== targetGroup) continue;
    for (const lists of [tiers, forwardTiers, preDnatTiers, untrackedTiers]) {
      for (const { ingress, egress } of lists) for (const policy of [...ingress, ...egress]) used.add(policy);
    }
  }
  return plan.policies.filter((policy, index) => policy.hasEgress || used.has(index));
}

/** IP sets that a sender may be in. */
function setsOf({ source }: PlanRule): readonly number[] {
  return [...source.ipSets, ...source.notIpSets, ...source.namedPorts, ...source.notNamedPorts];
}

/** The selector of an IP set; none for sets of services. */
function selectorTextOf({ id, text }: Plan['ipSets'][number]): string[] {
  if (id.startsWith('svc')) return [];
  return [id.startsWith('n:') ? text.replace(/ port \S+ \S+$/, '') : text];
}

function signature(labels: StringMap, seen: SeenLabels): string {
  const parts: string[] = [];
  for (const [key, values] of seen) {
    const value = labels.get(key);
    if (value === undefined) continue;
    parts.push(JSON.stringify(values === undefined || values.has(value) ? [key, value] : [key]));
  }
  return parts.join(',');
}

/** All labels of the candidate's endpoint, inherited ones included (semantics 2.1, 2.2). */
function effective(
  { namespace, account, podLabels }: Pick<Candidate, 'namespace' | 'account' | 'podLabels'>,
  namespaceLabels: StringMap | undefined,
  accountLabels: StringMap,
): StringMap {
  const labels = new Map<string, string>();
  for (const [key, value] of namespaceLabels ?? NO_LABELS) labels.set(`pcns.${key}`, value);
  if (namespaceLabels !== undefined) labels.set('pcns.projectcalico.org/name', namespace);
  for (const [key, value] of accountLabels) labels.set(`pcsa.${key}`, value);
  labels.set('pcsa.projectcalico.org/name', account);
  for (const [key, value] of podOwnLabels(podLabels, namespace, account)) labels.set(key, value);
  return labels;
}

/* ---- what the target's rules let in ---- */

interface Choice {
  readonly pod: StringMap;
  readonly account: StringMap;
}

/** Labels of pods and accounts that the sources of the target's ingress rules ask for. */
function admittedChoices(plan: Plan, targetGroup: number): Choice[] {
  const found = new Map<string, Choice>();
  const policies = plan.groups[targetGroup]!.tiers.flatMap(({ ingress }) => ingress);
  for (const rule of policies.flatMap((policy) => plan.policies[policy]!.ingress)) {
    if (rule.action === 'deny' || rule.action === 'log') continue;
    const texts = rule.source.ipSets.flatMap((set) => selectorTextOf(plan.ipSets[set]!));
    for (const choice of labelsThatMatch(texts.map((text) => parseSelector(text).root))) {
      if (found.size >= CHOICES_MAX) return [...found.values()];
      const parted = part(choice);
      if (parted !== undefined) found.set(JSON.stringify([[...parted.pod], [...parted.account]]), parted);
    }
  }
  return [...found.values()];
}

/** Labels by whose they are. Those that nobody chooses (names, namespaces) are for the tables to judge. */
function part({ labels }: LabelChoice): Choice | undefined {
  const pod = new Map<string, string>();
  const account = new Map<string, string>();
  for (const [key, value] of labels) {
    if (key.startsWith('pcsa.')) account.set(key.slice('pcsa.'.length), value);
    else if (!key.startsWith('pcns.') && !key.startsWith('projectcalico.org/')) pod.set(key, value);
  }
  account.delete('projectcalico.org/name');
  return pod.size + account.size === 0 ? undefined : { pod, account };
}
