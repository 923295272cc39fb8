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
  /** Accounts, by `namespace/name`, whose pods no policy can tell from this one: of the input, or one to be made in each namespace. */
  readonly standsFor: string[];
}

const CHOICES_MAX = 8;
const WORN_MAX = 6;
const NO_LABELS: StringMap = new Map();

/** A name for accounts that do not exist. */
export const NEW_ACCOUNT = 'margay-new-account';

/** What the policies on the way to a target can see of a pod. */
export class Sight {
  readonly policies: readonly PlanPolicy[];
  readonly #seen: SeenLabels;
  readonly #namespaces: ReadonlyMap<string, StringMap>;
  readonly #accounts: ReadonlyMap<string, StringMap>;
  readonly #looksAtPorts: boolean;
  readonly #looksAtAddresses: boolean;
  readonly #looksAtNodes: boolean;

  constructor(resources: Resources, plan: Plan, targetGroup: number) {
    this.policies = policiesOnTheWay(plan, targetGroup);
    const rules = [...this.policies, ...plan.profiles].flatMap(({ ingress, egress }) => [...ingress, ...egress]);
    this.#seen = seenLabels(plan, this.policies, rules);
    this.#namespaces = new Map(resources.namespaces.map(({ meta }) => [meta.name, meta.labels]));
    this.#accounts = new Map(
      resources.serviceAccounts.map(({ meta }) => [`${meta.namespace}/${meta.name}`, meta.labels]),
    );
    const sources = rules.map(({ source }) => source);
    this.#looksAtPorts = sources.some(({ namedPorts, notNamedPorts }) => namedPorts.length + notNamedPorts.length > 0);
    this.#looksAtAddresses =
      sources.some(({ nets, notNets, ipSets, notIpSets }) => {
        const sets = [...ipSets, ...notIpSets].map((set) => plan.ipSets[set]!);
        return nets.length + notNets.length > 0 || sets.some(({ id }) => id.startsWith('svc'));
      }) || plan.groups.some(({ kind, prefixes }) => kind === 'ns' && prefixes.length > 0);
    this.#looksAtNodes = plan.endpoints.some(({ kind }) => kind === 'hep') || resources.felixConfigurations.length > 0;
  }

  /** Pods with one key get one verdict on the way to the target. */
  ofPod(pod: Pod): string {
    const { namespace, labels } = pod.meta;
    const account = `${namespace}/${pod.serviceAccountName}`;
    const parts = [this.ofLabels(namespace, pod.serviceAccountName, labels, this.#accounts.get(account))];
    if (this.#looksAtPorts) parts.push(JSON.stringify([pod.containerPorts, pod.initContainerPorts]));
    if (this.#looksAtAddresses) parts.push(pod.podIPs.join(), pod.podIP);
    if (this.#looksAtNodes) parts.push(pod.nodeName);
    parts.push(String(pod.podIPs.length));
    return parts.join('\n');
  }

  /** All labels of the endpoint, inherited ones included (semantics 2.1, 2.2), as far as a selector can tell. */
  ofLabels(namespace: string, account: string, podLabels: StringMap, accountLabels: StringMap | undefined): string {
    const labels = new Map<string, string>();
    const namespaceLabels = this.#namespaces.get(namespace);
    for (const [key, value] of namespaceLabels ?? NO_LABELS) labels.set(`pcns.${key}`, value);
    if (namespaceLabels !== undefined) labels.set('pcns.projectcalico.org/name', namespace);
    for (const [key, value] of accountLabels ?? NO_LABELS) labels.set(`pcsa.${key}`, value);
    if (accountLabels !== undefined) labels.set('pcsa.projectcalico.org/name', account);
    for (const [key, value] of podOwnLabels(podLabels, namespace, account)) labels.set(key, value);
    return `${namespaceLabels === undefined ? '-' : '+'}${signature(labels, this.#seen)}`;
  }
}

/** The candidates for a target whose ingress rules look at these selectors. */
export function findCandidates(resources: Resources, plan: Plan, targetGroup: number, sight: Sight): Candidate[] {
  const choices = admittedChoices(plan, targetGroup);
  const worn = wornLabels(resources.pods);
  const found = new Map<string, Candidate>();
  const offer = (candidate: Omit<Candidate, 'standsFor'>, labels: StringMap | undefined, standsFor: string): void => {
    const { namespace, account, podLabels } = candidate;
    const kind = candidate.accountLabels === undefined ? 'as-is' : 'new';
    const key = `${kind}\n${sight.ofLabels(namespace, account, podLabels, labels)}`;
    const known = found.get(key);
    if (known === undefined) found.set(key, { ...candidate, standsFor: [standsFor] });
    else if (known.standsFor.at(-1) !== standsFor) known.standsFor.push(standsFor);
  };
  for (const { meta, isKnown } of accountsOf(resources)) {
    for (const podLabels of podLabelSets(choices, worn.get(meta.namespace))) {
      const candidate = { namespace: meta.namespace, account: meta.name, podLabels, accountLabels: undefined };
      offer(candidate, isKnown ? meta.labels : undefined, `${meta.namespace}/${meta.name}`);
    }
  }
  for (const { meta } of resources.namespaces) {
    for (const { account, pod } of [{ account: NO_LABELS, pod: NO_LABELS }, ...choices]) {
      const candidate = { namespace: meta.name, account: NEW_ACCOUNT, podLabels: pod, accountLabels: account };
      offer(candidate, account, `${meta.name}/${NEW_ACCOUNT}`);
    }
  }
  return [...found.values()];
}

/** Accounts of the input, and those that only pods name. */
function accountsOf({
  serviceAccounts,
  pods,
}: Resources): (Pick<ServiceAccount, 'meta'> & { readonly isKnown: boolean })[] {
  const known = new Map<string, Pick<ServiceAccount, 'meta'> & { readonly isKnown: boolean }>();
  for (const { meta } of serviceAccounts) known.set(`${meta.namespace}/${meta.name}`, { meta, isKnown: true });
  for (const { meta, serviceAccountName: name } of pods) {
    const key = `${meta.namespace}/${name}`;
    if (name !== '' && !known.has(key)) known.set(key, { meta: { ...meta, name, labels: NO_LABELS }, isKnown: false });
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

function seenLabels(plan: Plan, policies: readonly PlanPolicy[], rules: readonly PlanRule[]): SeenLabels {
  const seen = new Map<string, Set<string> | undefined>();
  const see = (key: string, values: readonly string[] | undefined): void => {
    const known = seen.get(key);
    if (values === undefined) seen.set(key, undefined);
    else if (!seen.has(key)) seen.set(key, new Set(values));
    else for (const value of values) known?.add(value);
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
  for (const { selectorText } of policies) visit(parseSelector(selectorText).root);
  for (const set of new Set(rules.flatMap(setsOf))) {
    for (const text of selectorTextOf(plan.ipSets[set]!)) visit(parseSelector(text).root);
  }
  return seen;
}

/** Policies that may have a say on the way to the target: what lets others in to others than the target has none. */
function policiesOnTheWay(plan: Plan, targetGroup: number): PlanPolicy[] {
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
