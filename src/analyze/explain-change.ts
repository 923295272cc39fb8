/**
 * The smallest change of the manifests that would turn a verdict round.
 *
 * A denied flow: a rule that would allow it but for one part that is easily widened (a name, a port, a network, a label);
 * else a new rule, as text to paste. An allowed flow: the rule to take out, if what comes after it denies, else a rule to
 * put before it. Each proposal about a rule is tried by walking the check as if it were made; and since a flow must pass every check,
 * a proposal also says whether the next one would deny.
 */
import { formatPrefix, fullPrefix } from '../base/ip.ts';
import type { Plan, PlanRule } from '../compile/plan.ts';
import { LABEL_SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX } from '../compile/selectors.ts';
import type { Policy, Resources } from '../model/resources.ts';
import type { Rule } from '../model/rule.ts';
import type { CheckExplanation } from './explain.ts';
import type { Owner } from './explain-owners.ts';
import type { Probe, RulePart, Side } from './explain-rule.ts';
import { insertion, newPolicy } from './explain-snippet.ts';
import { type PolicyWalk, type RuleWalk, type TierWalk, walkCheck } from './explain-walk.ts';
import type { FlowRecord } from './record.ts';

export interface Change {
  /** What the flow would then be. */
  readonly to: 'allow' | 'deny';
  /** Of the check that it is about. */
  readonly direction: 'ingress' | 'egress';
  /** An instruction: `add web to source.serviceAccounts.names of rule 0 of np:prod/db`. */
  readonly text: string;
  /** `file:line` to edit; absent for new objects. */
  readonly at?: string;
  /** YAML to paste. */
  readonly yaml?: string;
  /** What would still deny the flow; absent where the change is enough. */
  readonly but?: string;
}

/** Near misses of long policies: the first few say enough. */
const NEAR_MISSES_MAX = 3;

export function smallestChanges(
  resources: Resources,
  plan: Plan,
  record: FlowRecord,
  checks: readonly CheckExplanation[],
  probe: Probe,
): readonly Change[] {
  const deciding = checks.at(-1);
  if (deciding === undefined) return [];
  const isDenied = record.action === 'deny';
  if (!isDenied && record.action !== 'allow') return [];
  const proposals = isDenied ? toAllow(resources, plan, deciding, probe) : toDeny(plan, deciding, probe);
  return proposals.map((proposal) => ({ ...proposal, direction: deciding.direction }));
}

type Proposal = Omit<Change, 'direction'>;

/* ---- deny to allow ---- */

function toAllow(resources: Resources, plan: Plan, check: CheckExplanation, probe: Probe): readonly Proposal[] {
  const but = nextDeny(plan, check, probe);
  const rest = but === undefined ? {} : { but };
  if (check.before_policy !== undefined) return encapsulationChange(check.before_policy, rest);
  const missing = check.profiles.find(({ exists }) => !exists);
  if (missing !== undefined) {
    const name = missing.profile.replace(/^kns\./, '');
    return [
      { to: 'allow', text: `add the Namespace ${name} to the input: without it no profile allows anything`, ...rest },
    ];
  }
  const tier = check.tiers.at(-1);
  if (tier === undefined || tier.outcome !== 'deny') return [];
  const near = nearMisses(resources, check, tier, probe).map((change) => ({ ...change, ...rest }));
  const added = addedAllow(check, tier, probe);
  return added === undefined ? near : [...near, { ...added, ...rest }];
}

function encapsulationChange(reason: string, rest: { readonly but?: string }): readonly Proposal[] {
  const setting = { vxlan: 'allowVXLANPacketsFromWorkloads', ipip: 'allowIPIPPacketsFromWorkloads' }[reason];
  if (setting === undefined) return [];
  return [
    { to: 'allow', text: `set ${setting}: true in the FelixConfiguration default; policies then decide`, ...rest },
  ];
}

/** The check after this one, if this one allowed: only a pod's ingress follows another check of the same flow. */
function nextDeny(plan: Plan, check: CheckExplanation, probe: Probe): string | undefined {
  const owner = probe.dstOwners.find(({ kind }) => kind === 'pod');
  if (check.check !== 'egress' || owner === undefined) return undefined;
  const group = plan.groups[plan.endpoints[owner.endpoint]!.group]!;
  const walk = walkCheck(plan, group, 'wep', 'ingress', probe);
  return walk.action === 'allow'
    ? undefined
    : `ingress of ${owner.path} would deny it next (${walk.trace.at(-1) ?? ''})`;
}

/** Allow rules that were tried and lacked one thing that a word can add. */
function nearMisses(resources: Resources, check: CheckExplanation, tier: TierWalk, probe: Probe): Proposal[] {
  const changes: Proposal[] = [];
  for (const policy of tier.policies) {
    for (const rule of policy.rules) {
      if (rule.action !== 'allow' || rule.outcome !== 'does-not-match') continue;
      const misses = rule.parts.filter(({ holds }) => !holds);
      const [miss] = misses;
      if (miss === undefined || misses.length > 1) continue;
      const change = widening(resources, check, policy, rule, miss, probe);
      if (change !== undefined && changes.push(change) >= NEAR_MISSES_MAX) return changes;
    }
  }
  return changes;
}

function widening(
  resources: Resources,
  check: CheckExplanation,
  policy: PolicyWalk,
  rule: RuleWalk,
  miss: RulePart,
  probe: Probe,
): Proposal | undefined {
  const [side, name] = miss.field.split('.') as [Side, string];
  const at = `${rule.file}:${rule.line}`;
  const of = `rule ${rule.index} of ${policy.policy}`;
  const isCalico = /^(np|gnp):/.test(policy.policy);
  if (!isCalico) return undefined;
  const written = findRule(resources, policy.policy, check.direction, rule.index);
  if (name === 'ports') {
    const port = side === 'source' ? probe.srcPort : probe.dstPort;
    return port === undefined ? undefined : { to: 'allow', text: `add ${port} to ${side}.ports of ${of}`, at };
  }
  if (name === 'nets') {
    if (written === undefined || !isOfVersion(written, probe.src.version)) return undefined;
    const net = formatPrefix(fullPrefix(side === 'source' ? probe.src : probe.dst));
    return { to: 'allow', text: `add ${net} to ${side}.nets of ${of}`, at };
  }
  const owner = (side === 'source' ? probe.srcOwners : probe.dstOwners)[0];
  if (name !== 'selector' || miss.onlyMiss === undefined || owner === undefined) return undefined;
  return selectorWidening(miss, side, owner, of, at, written);
}

/** Whether all networks of the rule are of one IP version: the API takes no others beside them. */
function isOfVersion({ source, destination }: Rule, version: 4 | 6): boolean {
  const nets = [source, destination].flatMap((side) => [...side.nets, ...side.notNets]);
  return nets.every((net) => net.includes(':') === (version === 6));
}

/** One part of a selector is missing: the name of an account, or a label. */
function selectorWidening(
  miss: RulePart,
  side: Side,
  owner: Owner,
  of: string,
  at: string,
  written: Rule | undefined,
): Proposal | undefined {
  const node = miss.onlyMiss!;
  if ((node.kind !== 'in' && node.kind !== '==') || !('key' in node)) return undefined;
  const values = 'values' in node ? node.values : [node.value];
  if (node.key === LABEL_SERVICE_ACCOUNT) {
    const names = written?.[side].serviceAccounts?.names ?? [];
    if (owner.serviceAccount === '' || !values.every((value) => names.includes(value))) return undefined;
    return { to: 'allow', text: `add ${owner.serviceAccount} to ${side}.serviceAccounts.names of ${of}`, at };
  }
  const [value] = values;
  if (value === undefined || owner.kind === 'host endpoint') return undefined;
  if (node.key.startsWith(SERVICE_ACCOUNT_PREFIX)) {
    const label = node.key.slice(SERVICE_ACCOUNT_PREFIX.length);
    if (owner.serviceAccount === '') return undefined;
    const who = `ServiceAccount ${owner.namespace}/${owner.serviceAccount}`;
    return { to: 'allow', text: `give ${who} the label ${label}: ${value}, which ${of} asks for` };
  }
  if (node.key.startsWith('pcns.') || node.key.startsWith('projectcalico.org/')) return undefined;
  const text = `give ${owner.kind} ${owner.path} the label ${node.key}: ${value}, which ${of} asks for`;
  return { to: 'allow', text, at: `${owner.origin.file}:${owner.origin.line}` };
}

/** The rule as the user wrote it; the positions of Calico's own policies are those of the API. */
function findRule(resources: Resources, id: string, direction: 'ingress' | 'egress', index: number): Rule | undefined {
  const policy = resources.policies.find((candidate) => policyId(candidate) === id);
  if (policy === undefined || !('selector' in policy)) return undefined;
  return policy[direction][index];
}

/** Ids of Calico's own enforced policies; `''` for all others. */
function policyId(policy: Policy): string {
  const { namespace, name } = policy.meta;
  if (policy.kind === 'NetworkPolicy') return `np:${namespace}/${name}`;
  return policy.kind === 'GlobalNetworkPolicy' ? `gnp:${name}` : '';
}

/** A rule of its own in the policy that decided: before the rule that denied, or at the end. */
function addedAllow(check: CheckExplanation, tier: TierWalk, probe: Probe): Proposal | undefined {
  const decided = tier.decided_by!;
  const policies = tier.policies.filter(({ policy }) => /^(np|gnp):/.test(policy));
  const policy = policies.find(({ policy: id }) => id === decided.policy) ?? policies.at(-1);
  if (policy === undefined) return undefined;
  const isHit = policy.policy === decided.policy && decided.rule >= 0;
  return { to: 'allow', ...insertion(check.direction, policy, isHit ? decided.rule : undefined, 'Allow', probe) };
}

/* ---- allow to deny ---- */

function toDeny(plan: Plan, check: CheckExplanation, probe: Probe): readonly Proposal[] {
  const decided = check.tiers.find(({ outcome }) => outcome === 'allow')?.decided_by;
  const endpoint = plan.endpoints.find(({ key }) => key === check.endpoint)!;
  if (check.before_policy !== undefined) return [];
  if (decided === undefined) {
    if (check.profiles.length === 0 || endpoint.kind !== 'wep') return [];
    const passed = check.tiers.find(({ tier }) => tier === 'default');
    return passed === undefined
      ? [{ to: 'deny', ...newPolicy(check.direction, endpoint, probe) }]
      : addedDeny(check, passed, probe);
  }
  const policy = check.tiers.flatMap(({ policies }) => policies).find((walk) => walk.policy === decided.policy)!;
  const rule = plan.policies.find(({ id }) => id === decided.policy)![check.direction][decided.rule]!;
  const removal = removalOf(plan, check, rule, decided, probe);
  const isCalico = /^(np|gnp):/.test(decided.policy);
  const added: Proposal[] = isCalico
    ? [{ to: 'deny', ...insertion(check.direction, policy, decided.rule, 'Deny', probe) }]
    : [];
  return removal === undefined ? added : [removal, ...added];
}

/** Where the default tier passed the flow on, a new policy there would come too late. */
function addedDeny(check: CheckExplanation, tier: TierWalk, probe: Probe): readonly Proposal[] {
  const { policy: id, rule } = tier.decided_by!;
  const policy = tier.policies.find((walk) => walk.policy === id)!;
  if (!/^(np|gnp):/.test(id)) return [];
  return [{ to: 'deny', ...insertion(check.direction, policy, rule < 0 ? undefined : rule, 'Deny', probe) }];
}

/** Without the rule that allows, would the flow be denied? Then taking it out is the smallest change. */
function removalOf(
  plan: Plan,
  check: CheckExplanation,
  rule: PlanRule,
  decided: { readonly policy: string; readonly rule: number },
  probe: Probe,
): Proposal | undefined {
  const endpoint = plan.endpoints.find(({ key }) => key === check.endpoint)!;
  const kind = endpoint.kind === 'wep' ? 'wep' : check.check === 'forward' ? 'forward' : 'normal';
  if (check.check === 'prednat' || check.check === 'untracked') return undefined;
  const at = `${rule.origin.file}:${rule.origin.line}`;
  if (losesDirection(plan, decided.policy, check.direction)) {
    if (!/^(np|gnp):/.test(decided.policy)) return undefined;
    return { to: 'deny', text: `change the action of rule ${decided.rule} of ${decided.policy} to Deny`, at };
  }
  const group = plan.groups[endpoint.group]!;
  const without = walkCheck(plan, group, kind, check.direction, probe, { rule, as: 'absent' });
  if (without.action !== 'deny') return undefined;
  return {
    to: 'deny',
    text: `take out rule ${decided.rule} of ${decided.policy}: nothing after it allows the flow (nor any other that only it allowed)`,
    at,
  };
}

/**
 * Whether the policy without its only rule in a direction may stop governing that direction: a policy that does not state
 * its types has those that it has rules for, Ingress if none (semantics 4.3).
 */
function losesDirection(plan: Plan, id: string, direction: 'ingress' | 'egress'): boolean {
  const policy = plan.policies.find((candidate) => candidate.id === id)!;
  if (policy[direction].length > 1) return false;
  return direction === 'egress' || policy.egress.length > 0;
}
