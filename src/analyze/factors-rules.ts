/**
 * Rules that name service accounts, asked twice: of the address, as Calico asks, and of the certificate.
 *
 * Calico's network layer makes an IP set of the accounts that a rule names, so the address alone decides. A mesh knows the account by the
 * name in its certificate. For a flow to a pod each rule of its ingress policies is looked at once, in three parts,
 *
 *     others    ports, protocol, destination, nets: everything but who the source is
 *     network   others, and the source's address is in the rule's IP sets
 *     account   what the rule asks of the account, if it names any: names, labels, namespace (semantics 3.3, 8.3)
 *
 * and then the policies are walked in their order with whichever of these stands for "matches":
 *
 *     by address       network
 *     by certificate   others and account; rules that name no account: network
 *     by both          network and account
 *
 * Labels that a rule asks of its source beside the account are in one IP set with it, and count as fitting by certificate, which has no labels.
 *
 * Without a certificate a rule that allows or passes by account does not match, by certificate or by both; one that denies does, since
 * leaving a certificate out must open nothing. Where the certificate is not known, both answers are tried; if they differ, the answer is
 * `uncertain`. The walk by both is Calico's second layer (semantics 8.2) with identities required.
 */
import { formatAddress, type IpAddress, parseAddress } from '../base/ip.ts';
import type { Plan, PlanIdentityMatch, PlanPolicy, PlanRule } from '../compile/plan.ts';
import { addressKey, type TimedAddresses, timedAddresses } from '../compile/timed-owners.ts';
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import { parseSelector, type Selector } from '../selector/selector.ts';
import { type Probe, ruleParts } from './explain-rule.ts';
import type { SpiffeAccount } from './factors-certificate.ts';
import { Members } from './factors-members.ts';
import type { FlowRecord } from './record.ts';

/** What a certificate says: an account; `absent` = none was shown; `invalid` = one that names nobody; `unknown` = cannot be told. */
export type Crypto = SpiffeAccount | 'absent' | 'invalid' | 'unknown';

/** An ingress rule that names accounts of the source. */
export interface AccountRule {
  readonly policy: string;
  readonly index: number;
  readonly action: PlanRule['action'];
  /** `policies.yaml:10`. */
  readonly place: string;
  /** What it asks, in words: `api-service in prod`. */
  readonly accounts: string;
  readonly match: PlanIdentityMatch;
}

export type Answer = 'allow' | 'deny' | 'uncertain';

/** One rule as a flow meets it. */
interface MetRule {
  readonly action: PlanRule['action'];
  readonly others: boolean;
  readonly network: boolean;
  readonly account: AccountRule | undefined;
  /** What the rule asks of a certificate that is there, whether or not it names accounts. */
  readonly match: PlanIdentityMatch | undefined;
}

interface MetTier {
  readonly rules: readonly MetRule[];
  readonly defaultAction: 'deny' | 'pass';
}

/** The ingress policies of a pod as one flow meets them. */
export interface MetPolicies {
  readonly tiers: readonly MetTier[];
  /** Of the profiles, which no account matters to here. */
  readonly end: 'allow' | 'deny';
  /** Rules that name accounts and of which everything else fits. */
  readonly asking: readonly MetRule[];
}

/** Flows with the same ends, port and protocol meet the same; that many rules are remembered, some 100 bytes each. */
const MET_RULES_MAX = 1_000_000;

/** Places that flows go to of which that is remembered. */
const PLACES_MAX = 200;

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: PROTOCOL_TCP, udp: PROTOCOL_UDP, sctp: PROTOCOL_SCTP };

export class RuleBook {
  /** Every enforced ingress rule that names accounts, in the order that policies run. */
  readonly accountRules: readonly AccountRule[];
  readonly #plan: Plan;
  readonly #ofRule = new Map<PlanRule, AccountRule>();
  readonly #endpoints: ReadonlyMap<string, number>;
  readonly #labels: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly #selectors = new Map<string, Selector>();
  readonly #met = new Map<string, MetPolicies>();
  #metRules = 0;
  readonly #members: Members;
  /** By destination, port and protocol: whether a rule fits but for its sets. */
  readonly #known = new Map<string, Map<PlanRule, boolean>>();
  /** Rules without their IP sets, which `#members` answers for. */
  readonly #rest = new Map<PlanRule, PlanRule>();
  /** Addresses that change their owners; empty for a plan from manifests alone. */
  readonly #timed: TimedAddresses;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#timed = timedAddresses(plan);
    this.#members = new Members(plan);
    for (const policy of plan.policies) {
      if (policy.isStaged) continue;
      for (const [index, rule] of policy.ingress.entries()) {
        const account = accountRule(policy, rule, index);
        if (account !== undefined) this.#ofRule.set(rule, account);
      }
    }
    this.accountRules = [...this.#ofRule.values()];
    this.#endpoints = new Map(plan.endpoints.map(({ key }, index) => [key, index]));
    this.#labels = new Map(
      plan.subjects.map(({ namespace, account, labels }) => [`${namespace}/${account}`, new Map(labels)]),
    );
  }

  /** What a flow to a pod meets that begins at `timeMs`; undefined if its destination is none. */
  meet(record: FlowRecord, timeMs = 0): MetPolicies | undefined {
    if (record.dest_type !== 'wep') return undefined;
    const endpoint = this.#endpoints.get(`wep:${record.dest_namespace}/${record.dest_name}`);
    const protocol = PROTOCOLS[record.proto];
    const [src, dst] = [parseAddress(record.source_ip), parseAddress(record.dest_ip)];
    if (endpoint === undefined || protocol === undefined || src === undefined || dst === undefined) return undefined;
    // Source ports are in no rule but few, and then they are part of the key.
    const ports = `${this.#asksSourcePorts ? record.source_port : ''} ${record.dest_port} ${protocol}`;
    const [ofSrc, ofDst] = [this.#stateOf(src, timeMs), this.#stateOf(dst, timeMs)];
    const key = `${record.source_ip} ${ofSrc} ${record.dest_ip} ${ofDst} ${endpoint} ${ports}`;
    const known = this.#met.get(key);
    if (known !== undefined) return known;
    const ends = { src, dst, protocol, srcPort: record.source_port, dstPort: record.dest_port };
    const ofSource = this.#members.setsOf(src, this.#ownersIn(src, ofSrc));
    const met = this.#look(endpoint, ends, ofSource, this.#members.setsOf(dst, this.#ownersIn(dst, ofDst)));
    this.#metRules += met.tiers.reduce((sum, { rules }) => sum + rules.length, 1);
    if (this.#metRules > MET_RULES_MAX) {
      this.#met.clear();
      this.#metRules = 0;
    }
    this.#met.set(key, met);
    return met;
  }

  get #asksSourcePorts(): boolean {
    this.#hasSourcePorts ??= [...this.#plan.policies, ...this.#plan.profiles].some(({ ingress }) =>
      ingress.some(
        ({ source }) =>
          source.ports.length + source.namedPorts.length + source.notPorts.length + source.notNamedPorts.length > 0,
      ),
    );
    return this.#hasSourcePorts;
  }
  #hasSourcePorts: boolean | undefined;

  /** Which of its states an address is in; -1 for one that has but one. */
  #stateOf(address: IpAddress, timeMs: number): number {
    const states = this.#timed.get(addressKey({ ...address, length: 0 }))?.states;
    return states === undefined ? -1 : states.findLastIndex(({ fromMs }) => fromMs <= timeMs);
  }

  /** Groups of the pods that own an address in one of its states; undefined for an address of one state. */
  #ownersIn(address: IpAddress, state: number): ReadonlySet<number> | undefined {
    if (state < 0) return undefined;
    const { pods } = this.#timed.get(addressKey({ ...address, length: 0 }))!.states[state]!;
    return new Set(pods.flatMap((pod) => this.#plan.endpoints[pod]?.group ?? []));
  }

  /** @param ofSource, ofDest  the sets that the two addresses are members of */
  #look(
    endpoint: number,
    ends: Pick<Probe, 'src' | 'dst' | 'protocol' | 'srcPort' | 'dstPort'>,
    ofSource: ReadonlySet<number>,
    ofDest: ReadonlySet<number>,
  ): MetPolicies {
    const plan = this.#plan;
    const probe: Probe = {
      ...ends,
      icmpType: undefined,
      icmpCode: undefined,
      srcOwners: [],
      dstOwners: [],
      dataplane: 'iptables',
    };
    const toWhere = this.#fitsFor(probe);
    const meet = (rule: PlanRule): MetRule => {
      const { source, destination } = rule;
      const [asked, services] = this.#sourceSets(source);
      const others =
        services.every((set) => ofSource.has(set)) &&
        !source.notIpSets.some((set) => ofSource.has(set)) &&
        destination.ipSets.every((set) => ofDest.has(set)) &&
        !destination.notIpSets.some((set) => ofDest.has(set)) &&
        this.#fits(rule, probe, toWhere);
      const network = others && asked.every((set) => ofSource.has(set));
      return { action: rule.action, others, network, account: this.#ofRule.get(rule), match: rule.conditions?.source };
    };
    const group = plan.groups[plan.endpoints[endpoint]!.group]!;
    const tiers = group.tiers.flatMap(({ tier, ingress }) => {
      const policies = ingress.map((index) => plan.policies[index]!).filter(({ isStaged }) => !isStaged);
      if (policies.length === 0) return [];
      const rules = policies.flatMap((policy) => policy.ingress.map(meet));
      return [{ rules, defaultAction: plan.tiers[tier]!.defaultAction }];
    });
    return {
      tiers,
      end: this.#profiles(group.profiles, meet),
      asking: tiers.flatMap(({ rules }) => rules.filter(({ account, others }) => account !== undefined && others)),
    };
  }

  /** The sets that say who the source is, and those of services, which say where it is. */
  #sourceSets({ ipSets }: PlanRule['source']): readonly [readonly number[], readonly number[]] {
    const isService = (set: number): boolean => this.#plan.ipSets[set]!.id.startsWith('svc');
    return ipSets.some(isService) ? [ipSets.filter((set) => !isService(set)), ipSets.filter(isService)] : [ipSets, []];
  }

  /** What was found before of rules and flows to the same place. */
  #fitsFor({ dst, dstPort, protocol }: Probe): Map<PlanRule, boolean> {
    const key = `${formatAddress(dst)} ${dstPort} ${protocol}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      if (this.#known.size >= PLACES_MAX) this.#known.clear();
      known = new Map();
      this.#known.set(key, known);
    }
    return known;
  }

  /** All of a rule but its sets: of most rules it depends on where a flow goes alone. */
  #fits(rule: PlanRule, probe: Probe, known: Map<PlanRule, boolean>): boolean {
    const { nets, notNets, ports, namedPorts, notPorts, notNamedPorts } = rule.source;
    const asksSource = [nets, notNets, ports, namedPorts, notPorts, notNamedPorts].some((list) => list.length > 0);
    const before = asksSource ? undefined : known.get(rule);
    if (before !== undefined) return before;
    const fits = ruleParts(this.#plan, this.#withoutSets(rule), probe).every(({ holds }) => holds);
    if (!asksSource) known.set(rule, fits);
    return fits;
  }

  #withoutSets(rule: PlanRule): PlanRule {
    const known = this.#rest.get(rule);
    if (known !== undefined) return known;
    const without = (side: PlanRule['source']): PlanRule['source'] => ({ ...side, ipSets: [], notIpSets: [] });
    const rest = { ...rule, source: without(rule.source), destination: without(rule.destination) };
    this.#rest.set(rule, rest);
    return rest;
  }

  /** A profile that is not there denies; a Pass goes on to the next (semantics 4.4). */
  #profiles(names: readonly string[], meet: (rule: PlanRule) => MetRule): 'allow' | 'deny' {
    for (const name of names) {
      const profile = this.#plan.profiles.find((each) => each.name === name);
      if (profile === undefined) return 'deny';
      const hit = profile.ingress.map(meet).find(({ network, action }) => network && action !== 'log');
      if (hit?.action === 'allow' || hit?.action === 'deny') return hit.action;
    }
    return 'deny';
  }

  /** Whether a rule's accounts include this one. */
  names(match: PlanIdentityMatch, { namespace, account }: SpiffeAccount): boolean {
    if (match.names.length > 0 && !match.names.includes(account)) return false;
    if (match.accountSelector !== '' && !this.#selects(match.accountSelector, `${namespace}/${account}`, account))
      return false;
    if (match.namespaceSelector !== '') {
      // Of a namespace both are true (semantics 8.3).
      const isAny = /^\s*(all|global)\(\)\s*$/.test(match.namespaceSelector);
      return isAny || this.#selects(match.namespaceSelector, `${namespace}/`, namespace);
    }
    return match.namespace === '' || match.namespace === namespace;
  }

  #selects(text: string, subject: string, name: string): boolean {
    let selector = this.#selectors.get(text);
    if (selector === undefined) {
      selector = parseSelector(text);
      this.#selectors.set(text, selector);
    }
    return selector.matches(this.#labels.get(subject) ?? new Map([['projectcalico.org/name', name]]));
  }

  /** The answer of the ingress policies if certificates alone name accounts. */
  byCertificate(met: MetPolicies, crypto: Crypto): Answer {
    return this.#walk(met, (rule) => {
      if (rule.account === undefined) return rule.network;
      const named = this.#isNamed(rule, crypto);
      return named === undefined ? (rule.others ? undefined : false) : rule.others && named;
    });
  }

  /** The answer if address and certificate must both fit. */
  byBoth(met: MetPolicies, crypto: Crypto): Answer {
    return this.#walk(met, (rule) => {
      if (!rule.network) return false;
      if (rule.account !== undefined) return this.#isNamed(rule, crypto);
      // A rule that names no account may still ask for the namespace of a certificate that is there.
      const isAsked = rule.match !== undefined && typeof crypto === 'object';
      return !isAsked || this.names(rule.match!, crypto);
    });
  }

  #isNamed({ account, action }: MetRule, crypto: Crypto): boolean | undefined {
    if (crypto === 'unknown') return undefined;
    if (typeof crypto === 'object') return this.names(account!.match, crypto);
    return action === 'deny' || action === 'log';
  }

  /** Walks in order. A rule of which it is not known whether it matches leads both ways, and all ends are compared. */
  #walk(met: MetPolicies, matches: (rule: MetRule) => boolean | undefined): Answer {
    const ends = new Set<'allow' | 'deny'>();
    // Tiers are reached by a Pass, or through the end of the tier before.
    let isReached = true;
    for (const { rules, defaultAction } of met.tiers) {
      let isNextReached = false;
      const take = (action: PlanRule['action']): void => {
        if (action === 'allow' || action === 'deny') ends.add(action);
        else if (action === 'pass') isNextReached = true;
      };
      let isOpen = true;
      for (const rule of rules) {
        if (rule.action === 'log') continue;
        const answer = matches(rule);
        if (answer === false) continue;
        take(rule.action);
        isOpen = answer === undefined;
        if (!isOpen) break;
      }
      if (isOpen) take(defaultAction);
      isReached = isNextReached;
      if (!isReached) break;
    }
    if (isReached) ends.add(met.end);
    return ends.size === 1 ? [...ends][0]! : 'uncertain';
  }
}

function accountRule(policy: PlanPolicy, rule: PlanRule, index: number): AccountRule | undefined {
  const match = rule.conditions?.source;
  if (match === undefined || (match.names.length === 0 && match.accountSelector === '')) return undefined;
  const { file, line } = rule.origin;
  return { policy: policy.id, index, action: rule.action, place: `${file}:${line}`, accounts: inWords(match), match };
}

function inWords({ names, accountSelector, namespaceSelector, namespace }: PlanIdentityMatch): string {
  const who = [...(names.length === 0 ? [] : [names.join(', ')]), ...(accountSelector === '' ? [] : [accountSelector])];
  const where = namespaceSelector !== '' ? namespaceSelector : namespace === '' ? 'any namespace' : namespace;
  return `${who.join(' and ')} in ${where}`;
}
