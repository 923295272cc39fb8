/**
 * Admission policies that close the gap that RBAC leaves: who may run pods as an account, and who may give an account its
 * labels.
 *
 * RBAC gates pods by namespace, not by the account they name. A ValidatingAdmissionPolicy sees the pod, so it can refuse
 * one that names account A unless the user is in a group that may use A. What margay writes has one expression an aim:
 *
 *     object.kind != 'Pod' || request.namespace != 'prod' || <account of the pod> != 'api'
 *       || request.userInfo.groups.exists(g, g in ['deployers', …])
 *
 * and the like for the templates of Deployments, Jobs and CronJobs, and for the labels of accounts. Pods that controllers
 * make are made by accounts of kube-system, whose group is let through: their template was checked when a user wrote it.
 *
 * The same text in the input is recognised (blanks aside) and counts where it is in force: `failurePolicy: Fail`, a
 * binding with the action Deny, no conditions, and resource rules for all that the expressions speak of. Anything else is
 * left aside with a word, since a wrong reading of somebody's CEL would claim a protection that may not be there.
 *
 * Labels are gated where they are set: an account that is made without them is let through, so taking a label off is
 * refused, and making an account without it is not. Where the lack of a label opens a way, gate who makes accounts by RBAC.
 *
 * Not covered, whatever the policy says: commands in pods that run already (exec, attach, debug containers, the kubelet),
 * tokens, impersonation, controllers of other API groups, pods on the host network, and who may change the admission
 * policy itself.
 */
import type { ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding } from '../model/rbac.ts';
import type { Origin } from '../model/resources.ts';
import type { Account } from './account-ways.ts';
import type { RbacProblem } from './problems.ts';
import type { Principal } from './rights.ts';

/** A policy in force for one account. */
export interface AccountAdmission {
  readonly policy: string;
  readonly origin: Origin;
  readonly account: Account;
  /** Who may still use the account. */
  readonly useGroups: readonly string[] | undefined;
  /** Who may still set the labels, and which; `undefined` = labels are not gated. */
  readonly labels: { readonly keys: readonly string[]; readonly groups: readonly string[] } | undefined;
}

/** What the policy leaves open, for `--emit-admission-policy` and wherever one is recognised. */
export const NOT_COVERED: readonly string[] = [
  'commands in pods that run already: exec, attach, debug containers, the kubelet (nodes/proxy), a changed image',
  'accounts made anew without the labels, where the lack of a label opens a way',
  'tokens of the account, impersonation, and secrets that hold a token',
  'controllers of other API groups that make pods (custom resources)',
  'whoever may change or remove the admission policy or its binding',
  'static pods and whatever else a node runs by itself',
];

/** Controllers and kubelets: they make the pods that templates ask for. */
const SYSTEM_GROUPS = ['system:masters', 'system:nodes', 'system:serviceaccounts:kube-system'];

/** Groups of a user, as far as they are known; a subject that is no user has none here. */
export type GroupsOf = (principal: Principal) => readonly string[];

/**
 * Whether the policy refuses pods of the account that this subject makes. Who is in a group that nothing in the input
 * tells of may still be let through; the answer names the groups.
 */
export function isBlocked({ useGroups }: AccountAdmission, principal: Principal, groupsOf: GroupsOf): boolean {
  return useGroups !== undefined && !isInGroups(principal, useGroups, groupsOf);
}

/** Whether the policy refuses labels of the account that this subject sets, if they are among `keys`. */
export function blocksLabels(
  { labels }: AccountAdmission,
  principal: Principal,
  keys: readonly string[],
  groupsOf: GroupsOf,
): boolean {
  if (labels === undefined || !keys.some((key) => labels.keys.includes(key))) return false;
  return !isInGroups(principal, labels.groups, groupsOf);
}

function isInGroups(principal: Principal, groups: readonly string[], groupsOf: GroupsOf): boolean {
  if (groups.includes('system:authenticated')) return true;
  if (principal.kind === 'Group') return groups.includes(principal.name);
  if (groupsOf(principal).some((group) => groups.includes(group))) return true;
  if (principal.kind !== 'ServiceAccount') return false;
  return groups.includes('system:serviceaccounts') || groups.includes(`system:serviceaccounts:${principal.namespace}`);
}

/* ---- writing ---- */

const TEMPLATE_KINDS = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job', 'ReplicationController'];

const RESOURCE_RULES = [
  { apiGroups: [''], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'], resources: ['pods'] },
  { apiGroups: [''], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'], resources: ['replicationcontrollers'] },
  {
    apiGroups: ['apps'],
    apiVersions: ['*'],
    operations: ['CREATE', 'UPDATE'],
    resources: ['deployments', 'replicasets', 'statefulsets', 'daemonsets'],
  },
  { apiGroups: ['batch'], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'], resources: ['jobs', 'cronjobs'] },
  { apiGroups: [''], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'], resources: ['serviceaccounts'] },
];

/** The policy and its binding, as objects to be written as YAML. `keys` are the labels that only `groups` may set. */
export function admissionObjects(account: Account, keys: readonly string[], groups: readonly string[]): object[] {
  const name = `margay-${account.namespace}-${account.name}`;
  const validations = [
    useValidation(account, groups, 'Pod', "object.kind != 'Pod'", 'object.spec'),
    useValidation(
      account,
      groups,
      'template',
      `!(object.kind in ${celList(TEMPLATE_KINDS)})`,
      'object.spec.template.spec',
    ),
    useValidation(account, groups, 'CronJob', "object.kind != 'CronJob'", 'object.spec.jobTemplate.spec.template.spec'),
    ...(keys.length === 0 ? [] : [labelValidation(account, keys, groups)]),
  ];
  return [
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: { failurePolicy: 'Fail', matchConstraints: { resourceRules: RESOURCE_RULES }, validations },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: { name },
      spec: { policyName: name, validationActions: ['Deny'] },
    },
  ];
}

function useValidation(account: Account, groups: readonly string[], what: string, otherKind: string, spec: string) {
  const allowed = [...groups, ...SYSTEM_GROUPS];
  const named = `(has(${spec}.serviceAccountName) ? ${spec}.serviceAccountName : 'default')`;
  return {
    expression: [
      otherKind,
      `request.namespace != '${account.namespace}'`,
      `${named} != '${account.name}'`,
      `request.userInfo.groups.exists(g, g in ${celList(allowed)})`,
    ].join(' || '),
    message: `${what}: only ${groups.join(', ')} may run pods as ${account.namespace}/${account.name}`,
  };
}

function labelValidation(account: Account, keys: readonly string[], groups: readonly string[]) {
  const allowed = [...groups, 'system:masters'];
  const value = (object: string): string =>
    `(has(${object}.metadata.labels) && k in ${object}.metadata.labels ? ${object}.metadata.labels[k] : '')`;
  const before = `(oldObject == null ? '' : ${value('oldObject')})`;
  return {
    expression: [
      "object.kind != 'ServiceAccount'",
      `request.namespace != '${account.namespace}'`,
      `${celList(keys)}.all(k, ${value('object')} == ${before})`,
      `request.userInfo.groups.exists(g, g in ${celList(allowed)})`,
    ].join(' || '),
    message: `only ${groups.join(', ')} may set ${keys.join(', ')} on service accounts of ${account.namespace}`,
  };
}

function celList(words: readonly string[]): string {
  return `[${words.map((word) => `'${word}'`).join(', ')}]`;
}

/* ---- reading ---- */

export interface RecognisedAdmission {
  readonly admissions: readonly AccountAdmission[];
  /** Policies that are there and do not count, with the reason. */
  readonly notes: readonly RbacProblem[];
}

/** The policies of the input that are margay's own and in force. */
export function recogniseAdmission(
  policies: readonly ValidatingAdmissionPolicy[],
  bindings: readonly ValidatingAdmissionPolicyBinding[],
): RecognisedAdmission {
  const admissions: AccountAdmission[] = [];
  const notes: RbacProblem[] = [];
  for (const policy of policies) {
    const fault = whyNotInForce(policy, bindings);
    const read = fault === undefined ? readPolicy(policy) : fault;
    if (typeof read !== 'string') admissions.push(read);
    else {
      notes.push({
        ...policy.meta.origin,
        kind: policy.kind,
        namespace: '',
        name: policy.meta.name,
        field: '',
        message: `${read}, so it is not taken into account`,
        fix: 'who-can --emit-admission-policy writes one that is',
      });
    }
  }
  return { admissions, notes };
}

function whyNotInForce(
  policy: ValidatingAdmissionPolicy,
  bindings: readonly ValidatingAdmissionPolicyBinding[],
): string | undefined {
  const own = bindings.filter((binding) => binding.policyName === policy.meta.name);
  if (own.length === 0) return 'no binding puts it in force';
  if (!own.some((binding) => binding.validationActions.includes('Deny') && !binding.isConditional)) {
    return 'no binding denies what it finds, everywhere';
  }
  if (policy.failurePolicy !== 'Fail') return 'its failurePolicy lets requests pass';
  return policy.isConditional ? 'it looks at some objects only' : undefined;
}

function readPolicy(policy: ValidatingAdmissionPolicy): AccountAdmission | string {
  const texts = policy.validations.map(({ expression }) => expression);
  const account = texts.flatMap((text) => accountIn(text) ?? [])[0];
  if (account === undefined) return 'its expressions are not those that margay writes';
  const groups = groupsIn(texts[0]!) ?? [];
  const use = groups.filter((group) => !SYSTEM_GROUPS.includes(group));
  const labelText = texts.find((text) => text.includes("'ServiceAccount'"));
  const labelKeys = labelText === undefined ? [] : keysIn(labelText);
  const labelGroups = (labelText === undefined ? undefined : groupsIn(labelText)) ?? [];
  const expected = admissionObjects(account, labelKeys, use)[0] as {
    readonly spec: { readonly validations: readonly { readonly expression: string }[] };
  };
  const isSame =
    expected.spec.validations.length === texts.length &&
    expected.spec.validations.every(({ expression }, i) => squeeze(expression) === squeeze(texts[i]!));
  if (!isSame) return 'its expressions are not those that margay writes';
  const gap = RESOURCE_RULES.find((rule) => !rule.resources.every((resource) => isWatched(policy, rule, resource)));
  if (gap !== undefined) return `it does not look at every ${gap.resources.join(', ')}`;
  return {
    policy: policy.meta.name,
    origin: policy.meta.origin,
    account,
    useGroups: groups,
    labels: labelText === undefined ? undefined : { keys: labelKeys, groups: labelGroups },
  };
}

function isWatched(
  policy: ValidatingAdmissionPolicy,
  rule: { readonly apiGroups: readonly string[]; readonly operations: readonly string[] },
  resource: string,
): boolean {
  const has = (list: readonly string[], word: string): boolean => list.includes('*') || list.includes(word);
  return rule.operations.every((operation) =>
    policy.resourceRules.some(
      (each) =>
        has(each.operations, operation) && has(each.apiGroups, rule.apiGroups[0]!) && has(each.resources, resource),
    ),
  );
}

function squeeze(text: string): string {
  return text.replace(/\s+/g, '');
}

function accountIn(text: string): Account | undefined {
  const namespace = /request\.namespace\s*!=\s*'([^']+)'/.exec(text)?.[1];
  const name = /:\s*'default'\s*\)\s*!=\s*'([^']+)'/.exec(text)?.[1];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

function groupsIn(text: string): readonly string[] | undefined {
  const list = /groups\.exists\(\s*g\s*,\s*g\s+in\s*\[([^\]]*)\]/.exec(text)?.[1];
  return list === undefined ? undefined : wordsIn(list);
}

function keysIn(text: string): readonly string[] {
  return wordsIn(/\|\|\s*\[([^\]]*)\]\.all\(/.exec(text)?.[1] ?? '');
}

function wordsIn(list: string): string[] {
  return [...list.matchAll(/'([^']*)'/g)].map((match) => match[1]!);
}
