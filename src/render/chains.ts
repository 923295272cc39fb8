/**
 * The chains of endpoints, policies, profiles and failsafes.
 *
 * A chain of an endpoint runs, in order (semantics 6.3): connection tracking; failsafes (host endpoints); the drops of
 * encapsulated packets (a pod's egress); the tiers; profiles and the final drop. A tier with policies for the direction:
 *
 *   clear PASS
 *   PASS not set -> jump to the chain of policy 1;   ACCEPT set -> return
 *   PASS not set -> jump to the chain of policy 2;   ACCEPT set -> return
 *   PASS not set -> drop                             not where the tier's default is Pass, nor in preDNAT and doNotTrack
 *
 * Policies and profiles have a chain of their own, shared by the endpoints of one table. Source: Calico felix/rules/endpoints.go
 * (endpointIptablesChain), felix/rules/policy.go.
 */
import * as layout from '../tables/layout.ts';
import { field, intsField, type Tables, templateField, textField } from '../tables/tables.ts';
import { chainName, setName } from './names.ts';
import { enforcedTiers, type Failsafe, failsafesOf, prefixText, type TierPolicies } from './reader.ts';
import { kernelRules } from './rules.ts';
import {
  ACCEPT,
  type Chain,
  clearMark,
  DROP,
  hasMark,
  jump,
  type KernelSet,
  lacksMark,
  MARK_ACCEPT,
  MARK_PASS,
  type Match,
  NOTRACK,
  RETURN,
  type Rule,
  rule,
} from './ruleset.ts';
import { kernelSet } from './sets.ts';

export type EndpointChainKind = 'wep' | 'normal' | 'forward' | 'preDnat' | 'untracked';
export type Direction = 'ingress' | 'egress';

const GROUP_TIERS_OF: Readonly<Record<EndpointChainKind, number>> = {
  wep: layout.GROUP_TIERS,
  normal: layout.GROUP_TIERS,
  forward: layout.GROUP_FORWARD_TIERS,
  preDnat: layout.GROUP_PRE_DNAT_TIERS,
  untracked: layout.GROUP_UNTRACKED_TIERS,
};

const FAILSAFE_IN = 'cali-failsafe-in';
const FAILSAFE_OUT = 'cali-failsafe-out';

/** The sets that one IP version's rules refer to. */
export class SetCollector {
  readonly #tables: Tables;
  readonly #version: 4 | 6;
  readonly #used = new Set<number>();
  readonly #extra = new Map<string, KernelSet>();

  constructor(tables: Tables, version: 4 | 6) {
    this.#tables = tables;
    this.#version = version;
  }

  readonly use = (ipSet: number): void => {
    this.#used.add(ipSet);
  };

  /** A set of addresses that no policy names; returns its kernel name. */
  addAddresses(name: string, members: readonly string[]): string {
    const kernelName = setName(this.#version, name);
    this.#extra.set(kernelName, { name: kernelName, id: name, hasPort: false, text: '', members });
    return kernelName;
  }

  /** Policies' sets in the order of the tables, then the others. */
  sets(): KernelSet[] {
    const ids = (ipSet: number): string => textField(this.#tables, layout.SECTION_IP_SETS, ipSet, layout.IP_SET_ID);
    const used = [...this.#used].sort((a, b) => a - b);
    const ofPolicies = used.map((ipSet) =>
      kernelSet(this.#tables, ipSet, this.#version, setName(this.#version, ids(ipSet))),
    );
    return [...ofPolicies, ...this.#extra.values()];
  }
}

/** The chains of one table of one node and IP version, each made when it is first needed. */
export class ChainMaker {
  readonly #tables: Tables;
  readonly #node: number;
  readonly #version: 4 | 6;
  readonly #sets: SetCollector;
  readonly #isRaw: boolean;
  readonly #profiles: ReadonlyMap<string, number>;
  readonly #policyChains = new Map<string, Chain>();
  readonly #endpointChains: Chain[] = [];

  constructor(tables: Tables, node: number, version: 4 | 6, sets: SetCollector, isRaw: boolean) {
    this.#tables = tables;
    this.#node = node;
    this.#version = version;
    this.#sets = sets;
    this.#isRaw = isRaw;
    const count = tables.counts[layout.SECTION_PROFILES]!;
    const names = Array.from({ length: count }, (_, i) =>
      textField(tables, layout.SECTION_PROFILES, i, layout.PROFILE_NAME),
    );
    this.#profiles = new Map(names.map((name, i) => [name, i]));
  }

  /** All chains made so far: policies and failsafes first, then endpoints. */
  chains(): Chain[] {
    return [...this.#policyChains.values(), ...this.#endpointChains];
  }

  /** Whether a chain of this kind would run anything: pods and normal chains always do. */
  isNeeded(endpoint: number, kind: EndpointChainKind, direction: Direction): boolean {
    if (kind === 'wep' || kind === 'normal') return true;
    return this.#tiers(endpoint, kind).some((tier) => tier[direction].length > 0);
  }

  /** Makes the chain `name` of `endpoint`. */
  addEndpoint(name: string, endpoint: number, kind: EndpointChainKind, direction: Direction): void {
    const isIngress = direction === 'ingress';
    const rules: Rule[] = [];
    if (kind !== 'untracked') rules.push(...this.#conntrackRules());
    rules.push(rule([], clearMark(MARK_ACCEPT | MARK_PASS)));
    if (kind !== 'wep' && kind !== 'forward') rules.push(rule([], jump(this.#failsafeChain(isIngress))));
    if (kind === 'wep' && !isIngress) rules.push(...this.#encapsulationRules());
    for (const tier of this.#tiers(endpoint, kind)) rules.push(...this.#tierRules(tier, kind, direction));
    if (kind === 'wep' || kind === 'normal') rules.push(...this.#profileRules(endpoint, direction));
    const key = textField(this.#tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY);
    this.#endpointChains.push({ name, notes: [`${key} ${direction}${CHAIN_NOTES[kind]}`], rules });
  }

  #tiers(endpoint: number, kind: EndpointChainKind): TierPolicies[] {
    const group = templateField(this.#tables, endpoint, layout.TEMPLATE_GROUP);
    return enforcedTiers(this.#tables, group, GROUP_TIERS_OF[kind]);
  }

  #nodeFlag(flag: number): boolean {
    return (field(this.#tables, layout.SECTION_NODES, this.#node, layout.NODE_FLAGS) & flag) !== 0;
  }

  #conntrackRules(): Rule[] {
    const rules = [rule([{ kind: 'state', states: ['RELATED', 'ESTABLISHED'] }], ACCEPT)];
    if (!this.#nodeFlag(layout.NODE_NO_INVALID_CHECK)) rules.push(rule([{ kind: 'state', states: ['INVALID'] }], DROP));
    return rules;
  }

  #encapsulationRules(): Rule[] {
    const protocol = (number: number): Match => ({ kind: 'protocol', protocol: number, isNegated: false });
    const rules: Rule[] = [];
    if (!this.#nodeFlag(layout.NODE_ALLOW_VXLAN)) {
      const port = field(this.#tables, layout.SECTION_NODES, this.#node, layout.NODE_VXLAN_PORT);
      const ports: Match = { kind: 'ports', side: 'dst', ranges: [[port, port]], isNegated: false };
      rules.push(rule([protocol(17), ports], DROP, 'VXLAN from a pod'));
    }
    if (!this.#nodeFlag(layout.NODE_ALLOW_IPIP)) rules.push(rule([protocol(4)], DROP, 'IPIP from a pod'));
    return rules;
  }

  #tierRules({ tier, ingress, egress }: TierPolicies, kind: EndpointChainKind, direction: Direction): Rule[] {
    const policies = direction === 'ingress' ? ingress : egress;
    if (policies.length === 0) return [];
    const tables = this.#tables;
    const name = textField(tables, layout.SECTION_TIERS, tier, layout.TIER_NAME);
    const rules = [rule([], clearMark(MARK_PASS), `start of tier ${name}`)];
    for (const policy of policies) {
      rules.push(rule([lacksMark(MARK_PASS)], jump(this.#policyChain(policy, direction))), ...acceptedRules(kind));
    }
    const passes = field(tables, layout.SECTION_TIERS, tier, layout.TIER_DEFAULT_ACTION) === layout.ACTION_PASS;
    if (!passes && kind !== 'preDnat' && kind !== 'untracked') {
      rules.push(rule([lacksMark(MARK_PASS)], DROP, `end of tier ${name}: drop if no policy passed the packet`));
    }
    return rules;
  }

  #profileRules(endpoint: number, direction: Direction): Rule[] {
    const group = templateField(this.#tables, endpoint, layout.TEMPLATE_GROUP);
    const rules: Rule[] = [];
    for (const name of intsField(this.#tables, layout.SECTION_GROUPS, group, layout.GROUP_PROFILES)) {
      rules.push(rule([], jump(this.#profileChain(this.#tables.string(name), direction))));
      rules.push(rule([hasMark(MARK_ACCEPT)], RETURN));
    }
    rules.push(rule([], DROP, 'no profile matched'));
    return rules;
  }

  #policyChain(policy: number, direction: Direction): string {
    const id = textField(this.#tables, layout.SECTION_POLICIES, policy, layout.POLICY_ID);
    const word = direction === 'ingress' ? layout.POLICY_INGRESS : layout.POLICY_EGRESS;
    const name = chainName(direction === 'ingress' ? 'cali-pi-' : 'cali-po-', id.replace(':', '/'));
    if (!this.#policyChains.has(name)) this.#addRuleChain(name, id, direction, layout.SECTION_POLICIES, policy, word);
    return name;
  }

  /** A profile that no object describes denies everything (semantics 2.3). */
  #profileChain(profile: string, direction: Direction): string {
    const name = chainName(direction === 'ingress' ? 'cali-pri-' : 'cali-pro-', profile);
    if (this.#policyChains.has(name)) return name;
    const index = this.#profiles.get(profile);
    const id = `pro:${profile}`;
    if (index === undefined) {
      const rules = [rule([], DROP, `${id} does not exist`)];
      this.#policyChains.set(name, { name, notes: [`${id} ${direction}`], rules });
    } else {
      const word = direction === 'ingress' ? layout.PROFILE_INGRESS : layout.PROFILE_EGRESS;
      this.#addRuleChain(name, id, direction, layout.SECTION_PROFILES, index, word);
    }
    return name;
  }

  #addRuleChain(name: string, id: string, direction: Direction, section: number, record: number, word: number): void {
    const first = field(this.#tables, section, record, word);
    const count = field(this.#tables, section, record, word + 1);
    const context = { tables: this.#tables, version: this.#version, useSet: this.#sets.use };
    const rules: Rule[] = [];
    const notes = [`${id} ${direction}`];
    for (let i = 0; i < count; i++) {
      const made = kernelRules(context, first + i, `${id} ${direction} rule ${i}`);
      if (made.length === 0) notes.push(`rule ${i}: ${this.#whyNone(first + i)}`);
      rules.push(...made);
    }
    this.#policyChains.set(name, { name, notes, rules });
  }

  #whyNone(index: number): string {
    const action = field(this.#tables, layout.SECTION_RULES, index, layout.RULE_ACTION);
    return action === layout.RULE_LOG ? 'Log, which decides nothing' : `can match no IPv${this.#version} packet`;
  }

  /** Hits leave the hook: in the raw and mangle tables that means no more than the end of this chain (semantics 6.6). */
  #failsafeChain(isIngress: boolean): string {
    const name = isIngress ? FAILSAFE_IN : FAILSAFE_OUT;
    if (this.#policyChains.has(name)) return name;
    const inbound = failsafesOf(this.#tables, this.#node, layout.NODE_FAILSAFES_INBOUND);
    const outbound = failsafesOf(this.#tables, this.#node, layout.NODE_FAILSAFES_OUTBOUND);
    const rules = (isIngress ? inbound : outbound).flatMap((each) => this.#failsafeRule(each, isIngress, 'dst'));
    // What the doNotTrack chain lets pass is untracked, so answers are known by their source port alone.
    const replies = isIngress ? outbound : inbound;
    if (this.#isRaw) rules.push(...replies.flatMap((each) => this.#failsafeRule(each, isIngress, 'src')));
    this.#policyChains.set(name, { name, notes: [], rules });
    return name;
  }

  #failsafeRule({ protocol, port, remote }: Failsafe, isIngress: boolean, portSide: 'src' | 'dst'): Rule[] {
    if (remote !== undefined && remote.version !== this.#version) return [];
    const matches: Match[] = [{ kind: 'protocol', protocol, isNegated: false }];
    if (remote !== undefined && remote.length > 0) {
      matches.push({ kind: 'net', side: isIngress ? 'src' : 'dst', prefix: prefixText(remote), isNegated: false });
    }
    matches.push({ kind: 'ports', side: portSide, ranges: [[port, port]], isNegated: false });
    return [rule(matches, ACCEPT)];
  }
}

const CHAIN_NOTES: Readonly<Record<EndpointChainKind, string>> = {
  wep: '',
  normal: '',
  forward: ', apply on forward',
  preDnat: ', pre-DNAT',
  untracked: ', do not track',
};

function acceptedRules(kind: EndpointChainKind): Rule[] {
  const accepted = rule([hasMark(MARK_ACCEPT)], RETURN);
  return kind === 'untracked' ? [rule([hasMark(MARK_ACCEPT)], NOTRACK), accepted] : [accepted];
}
