/**
 * Chains: the steps of one check, in the order they are tried, and their bit rows.
 *
 * A check ("egress of this pod", "apply-on-forward ingress of that host endpoint") is flattened into one list of steps:
 * what comes before policy (failsafe ports; VXLAN and IPIP from a pod), each tier's rules and its end, the profiles and
 * the final deny. Log rules are left out, since they decide nothing. A Pass, and the end of a tier that passes, name the step where
 * evaluation goes on. For a pod whose tier `security` holds a Pass and a Deny and whose profile allows all:
 *
 *   step  what                       action  goes on at
 *   0     security, rule 0 Pass      pass    3
 *   1     security, rule 1 Deny      deny
 *   2     end of tier security       deny
 *   3     profile kns.app, rule 0    allow
 *   4     no profile matched         deny
 *
 * The first step whose term matches decides; after a pass the search goes on at its jump. Terms (fields.ts) test four
 * things, so a chain has four families of bit rows, bit s of a row saying "step s does not object":
 *
 *   one row a class of src addresses, one a class of dst addresses, one an interval of keys, one an interval of source keys
 *
 * and the first common bit at or after the current step is the next step. Rows are stored once each; a map from peer
 * class to row number says which is whose. Source: Calico felix/rules/endpoints.go, endpointIptablesChain (semantics 4.4, 6.3, 6.6).
 * The bit-vector method is Lakshman and Stiliadis, SIGCOMM 1998.
 */
import {
  type Dataplane,
  DIRECTION_INGRESS,
  PROTOCOL_IPIP,
  PROTOCOL_UDP,
  REASON_END_OF_TIER,
  REASON_FAILSAFE,
  REASON_IPIP,
  REASON_NO_PROFILE_MATCH,
  REASON_NONE,
  REASON_PROFILE_MISSING,
  REASON_RULE,
  REASON_SPOOFED,
  REASON_VXLAN,
} from '../model/flow.ts';
import { NONE, STEP_ALLOW, STEP_DENY, STEP_NONE, STEP_PASS } from '../tables/layout.ts';
import {
  type AddressTest,
  ANY_ADDRESS,
  isVersionNeutral,
  type PredicateTable,
  ruleTerms,
  type Term,
} from './fields.ts';
import { ALL_KEYS, icmpKeys, intersectKeys, portKey, portKeys, protocolKeys } from './keys.ts';
import type { Plan, PlanFailsafe, PlanPolicy, PlanRule, PlanSettings, PlanTierPolicies } from './plan.ts';

/** `rejected`: of a pod that Felix refuses, whose interface it does not know (semantics 6.4): everything is dropped. */
export type ChainKind = 'wep' | 'normal' | 'forward' | 'preDnat' | 'untracked' | 'rejected';
export const CHAIN_KINDS: readonly ChainKind[] = ['wep', 'normal', 'forward', 'preDnat', 'untracked', 'rejected'];

export interface ChainSpec {
  readonly version: 4 | 6;
  /** DIRECTION_* */
  readonly direction: number;
  readonly kind: ChainKind;
  readonly tiers: readonly PlanTierPolicies[];
  readonly profiles: readonly string[];
  readonly withStaged: boolean;
  readonly settings: PlanSettings;
  readonly dataplane: Dataplane;
}

/** One step; the fields are those of SECTION_STEPS. `owner` and `ruleIndex` name the rule: its number is given when packed. */
export interface Step {
  readonly term: Term;
  readonly action: number;
  readonly reason: number;
  readonly rule: PlanRule | undefined;
  readonly tier: number;
  /** Policy index, `~profile index`, or NONE. */
  readonly owner: number;
  readonly traceIndex: number;
  readonly jump: number;
  readonly traceName: string;
  readonly selectedBy: readonly number[];
}

const ALWAYS: Term = { src: ANY_ADDRESS, dst: ANY_ADDRESS, keys: ALL_KEYS, sourceKeys: ALL_KEYS };

/** Whether the steps of `spec` are the same for both IP versions. */
export function isVersionNeutralChain(plan: Plan, spec: ChainSpec): boolean {
  if (spec.dataplane === 'bpf') return false;
  const { failsafeInbound, failsafeOutbound } = spec.settings;
  if ([...failsafeInbound, ...failsafeOutbound].some(({ net }) => net !== undefined)) return false;
  const isIngress = spec.direction === DIRECTION_INGRESS;
  const areNeutral = ({ ingress, egress }: Pick<PlanPolicy, 'ingress' | 'egress'>): boolean =>
    (isIngress ? ingress : egress).every(isVersionNeutral);
  for (const tier of spec.tiers) {
    const policies = isIngress ? tier.ingress : tier.egress;
    if (!policies.every((policy) => areNeutral(plan.policies[policy]!))) return false;
  }
  return spec.profiles.every((name) => {
    const index = profileNumbers(plan).get(name);
    return index === undefined || areNeutral(plan.profiles[index]!);
  });
}

/** The steps of `spec`; registers the predicates its terms need in `table`. */
export function chainSteps(plan: Plan, spec: ChainSpec, table: PredicateTable): Step[] {
  if (spec.kind === 'rejected') return [{ ...BARE_STEP, reason: REASON_SPOOFED }];
  const steps: Step[] = [];
  if (spec.dataplane === 'bpf' && spec.version === 6 && spec.kind !== 'untracked') steps.push(neighbourStep(spec));
  if (spec.kind === 'wep' && spec.direction !== DIRECTION_INGRESS) steps.push(...encapsulationSteps(spec));
  if (spec.kind === 'normal' || spec.kind === 'preDnat' || spec.kind === 'untracked') {
    steps.push(...failsafeSteps(spec, table));
  }
  for (const tier of spec.tiers) pushTier(plan, spec, tier, table, steps);
  if (spec.kind === 'wep' || spec.kind === 'normal') pushProfiles(plan, spec, table, steps);
  else steps.push({ ...BARE_STEP, action: STEP_NONE });
  return steps;
}

const BARE_STEP: Step = {
  term: ALWAYS,
  action: STEP_DENY,
  reason: REASON_NONE,
  rule: undefined,
  tier: NONE,
  owner: NONE,
  traceIndex: -1,
  jump: NONE,
  traceName: '',
  selectedBy: [],
};

/** BPF lets neighbour discovery and MLD pass on every interface (semantics 6.10, Calico felix/bpf-gpl/tc.c). */
function neighbourStep(spec: ChainSpec): Step {
  const keys = [130, 131, 132, 133, 135, 136].flatMap((type) => icmpKeys(type, -1));
  const action = spec.kind === 'preDnat' ? STEP_NONE : STEP_ALLOW;
  return { ...BARE_STEP, term: { ...ALWAYS, keys }, action };
}

/** A pod's encapsulated packets are dropped before any policy (semantics 6.3 step 5); BPF has its own mind of them (6.10). */
function encapsulationSteps(spec: ChainSpec): Step[] {
  const steps: Step[] = [];
  const isBpf = spec.dataplane === 'bpf';
  if (!spec.settings.allowVxlanFromWorkloads && !isBpf) {
    const keys = portKey(PROTOCOL_UDP, spec.settings.vxlanPort);
    steps.push({ ...BARE_STEP, term: { ...ALWAYS, keys }, reason: REASON_VXLAN });
  }
  if (!spec.settings.allowIpipFromWorkloads || isBpf) {
    const keys = protocolKeys(PROTOCOL_IPIP, spec.version);
    steps.push({ ...BARE_STEP, term: { ...ALWAYS, keys }, reason: REASON_IPIP });
  }
  return steps;
}

/**
 * Failsafe ports (semantics 6.6). In the normal chain a hit allows; in preDNAT and doNotTrack it only ends the chain.
 * doNotTrack chains let replies through as well: the other direction's ports as source ports.
 */
function failsafeSteps(spec: ChainSpec, table: PredicateTable): Step[] {
  const isIngress = spec.direction === DIRECTION_INGRESS;
  const action = spec.kind === 'normal' ? STEP_ALLOW : STEP_NONE;
  const own = isIngress ? spec.settings.failsafeInbound : spec.settings.failsafeOutbound;
  const replies = isIngress ? spec.settings.failsafeOutbound : spec.settings.failsafeInbound;
  const steps: Step[] = [];
  for (const failsafe of own) {
    const remote = failsafeRemote(spec, failsafe, table);
    if (remote === undefined) continue;
    const keys = portKey(failsafe.protocol, failsafe.port);
    const term = isIngress ? { ...ALWAYS, src: remote, keys } : { ...ALWAYS, dst: remote, keys };
    steps.push({ ...BARE_STEP, term, action, reason: REASON_FAILSAFE });
  }
  if (spec.kind !== 'untracked') return steps;
  for (const failsafe of replies) {
    const remote = failsafeRemote(spec, failsafe, table);
    if (remote === undefined) continue;
    const sourceKeys = intersectKeys(
      portKeys([[failsafe.port, failsafe.port]]),
      protocolKeys(failsafe.protocol, spec.version),
    );
    const keys = protocolKeys(failsafe.protocol, spec.version);
    const term = isIngress
      ? { ...ALWAYS, src: remote, keys, sourceKeys }
      : { ...ALWAYS, dst: remote, keys, sourceKeys };
    steps.push({ ...BARE_STEP, term, action, reason: REASON_FAILSAFE });
  }
  return steps;
}

function failsafeRemote(spec: ChainSpec, failsafe: PlanFailsafe, table: PredicateTable): AddressTest | undefined {
  if (failsafe.net === undefined || failsafe.net.length === 0) {
    return failsafe.net === undefined || failsafe.net.version === spec.version ? ANY_ADDRESS : undefined;
  }
  if (failsafe.net.version !== spec.version) return undefined;
  return { allOf: [table.nets([failsafe.net])], noneOf: [] };
}

function pushTier(plan: Plan, spec: ChainSpec, entry: PlanTierPolicies, table: PredicateTable, steps: Step[]): void {
  const isIngress = spec.direction === DIRECTION_INGRESS;
  const policies = (isIngress ? entry.ingress : entry.egress).filter(
    (policy) => spec.withStaged || !plan.policies[policy]!.isStaged,
  );
  if (policies.length === 0) return;
  const pending: Step[] = [];
  for (const index of policies) {
    const policy = plan.policies[index]!;
    const rules = isIngress ? policy.ingress : policy.egress;
    rules.forEach((rule, ruleIndex) => {
      for (const term of ruleTerms(rule, spec.version, table, spec.dataplane)) {
        const action = ruleStepAction(rule);
        if (action === undefined) continue;
        pending.push({
          ...BARE_STEP,
          term,
          action,
          reason: REASON_RULE,
          rule,
          tier: entry.tier,
          owner: index,
          traceIndex: ruleIndex,
          traceName: policy.id,
        });
      }
    });
  }
  if (spec.kind !== 'preDnat' && spec.kind !== 'untracked') {
    const last = policies.at(-1)!;
    const passes = plan.tiers[entry.tier]!.defaultAction === 'pass';
    pending.push({
      ...BARE_STEP,
      action: passes ? STEP_PASS : STEP_DENY,
      reason: REASON_END_OF_TIER,
      tier: entry.tier,
      owner: last,
      traceName: plan.policies[last]!.id,
      selectedBy: policies,
    });
  }
  const next = steps.length + pending.length;
  for (const step of pending) steps.push(step.action === STEP_PASS ? { ...step, jump: next } : step);
}

/** Log decides nothing and makes no step. */
function ruleStepAction(rule: PlanRule): number | undefined {
  if (rule.action === 'log') return undefined;
  if (rule.action === 'pass') return STEP_PASS;
  return rule.action === 'allow' ? STEP_ALLOW : STEP_DENY;
}

const numbersOfProfiles = new WeakMap<Plan, ReadonlyMap<string, number>>();

/** Profiles by name: a cluster has one for each account, and each chain asks for two. */
function profileNumbers(plan: Plan): ReadonlyMap<string, number> {
  let numbers = numbersOfProfiles.get(plan);
  if (numbers === undefined) {
    numbers = new Map(plan.profiles.map(({ name }, index) => [name, index]));
    numbersOfProfiles.set(plan, numbers);
  }
  return numbers;
}

function pushProfiles(plan: Plan, spec: ChainSpec, table: PredicateTable, steps: Step[]): void {
  for (const name of spec.profiles) {
    const index = profileNumbers(plan).get(name);
    if (index === undefined) {
      steps.push({ ...BARE_STEP, reason: REASON_PROFILE_MISSING, traceIndex: 0, traceName: `pro:${name}` });
      return;
    }
    const profile = plan.profiles[index]!;
    const rules = spec.direction === DIRECTION_INGRESS ? profile.ingress : profile.egress;
    const pending: Step[] = [];
    rules.forEach((rule, traceIndex) => {
      const written = ruleStepAction(rule);
      if (written === undefined) return;
      const action = written === STEP_PASS && spec.dataplane === 'bpf' ? STEP_DENY : written;
      for (const term of ruleTerms(rule, spec.version, table, spec.dataplane)) {
        // A Pass in a profile leaves no trace entry: the pseudo-tier's one entry is what the later profiles say.
        const traceName = action === STEP_PASS ? '' : `pro:${name}`;
        pending.push({ ...BARE_STEP, term, action, reason: REASON_RULE, rule, owner: ~index, traceIndex, traceName });
      }
    });
    const next = steps.length + pending.length;
    for (const step of pending) steps.push(step.action === STEP_PASS ? { ...step, jump: next } : step);
  }
  steps.push({ ...BARE_STEP, reason: REASON_NO_PROFILE_MATCH, traceIndex: 0, traceName: 'pro:__NO_MATCH__' });
}
