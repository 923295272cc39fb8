/**
 * Tables as stable text, for golden files and for people: what was compiled, without offsets and class numbers.
 *
 *     tier default, deny, order 1000000
 *       np:app/p ingress, order none, selects projectcalico.org/namespace == "app"
 *         ingress 0 allow tcp from {role == "lb"} to ports 80
 *     set s:… {role == "lb"}: 10.0.0.2
 *     wep:app/db on n1: 10.0.0.1
 *       ingress ipv4
 *         np:app/p 0 allow
 *         end of default deny np:app/p
 *         pro:kns.app 0 allow
 *         deny no-profile-match
 *
 * Equal tables give equal text. Chains are printed under the endpoints that run them, for IPv6 only where they differ from IPv4.
 */
import { REASON_NAMES } from '../model/flow.ts';
import { prefixText, prefixTexts, ruleText, setText } from './dump-rule.ts';
import * as layout from './layout.ts';
import { setMembers } from './members.ts';
import { field, intsField, type Tables, templateField, textField } from './tables.ts';

export function dumpTables(tables: Tables): string {
  const lines = [
    ...dumpTiers(tables),
    ...dumpProfiles(tables),
    ...dumpIpSets(tables),
    ...dumpNodes(tables),
    ...dumpServices(tables),
    ...dumpEndpoints(tables),
  ];
  return `${lines.join('\n')}\n`;
}

function numbersOf(tables: Tables, section: number): number[] {
  return Array.from({ length: tables.counts[section]! }, (_, index) => index);
}

function dumpTiers(tables: Tables): string[] {
  const policies = numbersOf(tables, layout.SECTION_POLICIES);
  return numbersOf(tables, layout.SECTION_TIERS).flatMap((tier) => {
    const own = policies.filter((p) => field(tables, layout.SECTION_POLICIES, p, layout.POLICY_TIER) === tier);
    // Built-in tiers without policies would head every dump.
    if (own.length === 0) return [];
    const name = textField(tables, layout.SECTION_TIERS, tier, layout.TIER_NAME);
    const action = ['allow', 'deny', 'pass'][field(tables, layout.SECTION_TIERS, tier, layout.TIER_DEFAULT_ACTION)]!;
    const exists = field(tables, layout.SECTION_TIERS, tier, layout.TIER_EXISTS) !== 0;
    const order = orderText(tables, layout.SECTION_TIERS, tier, layout.TIER_ORDER);
    const head = `tier ${name}, ${action}, order ${order}${exists ? '' : ', no Tier object'}`;
    return [head, ...own.flatMap((policy) => dumpPolicy(tables, policy))];
  });
}

/** float64 in two words, low word first. */
function orderText(tables: Tables, section: number, record: number, at: number): string {
  const words = Int32Array.of(field(tables, section, record, at), field(tables, section, record, at + 1));
  const [order] = new Float64Array(words.buffer);
  return order === Number.POSITIVE_INFINITY ? 'none' : String(order);
}

const FLAG_TEXTS: readonly (readonly [number, string])[] = [
  [layout.POLICY_IS_STAGED, 'staged'],
  [layout.POLICY_HAS_INGRESS, 'ingress'],
  [layout.POLICY_HAS_EGRESS, 'egress'],
  [layout.POLICY_DO_NOT_TRACK, 'doNotTrack'],
  [layout.POLICY_PRE_DNAT, 'preDNAT'],
  [layout.POLICY_APPLY_ON_FORWARD, 'applyOnForward'],
];

function dumpPolicy(tables: Tables, policy: number): string[] {
  const section = layout.SECTION_POLICIES;
  const flags = field(tables, section, policy, layout.POLICY_FLAGS);
  const words = FLAG_TEXTS.filter(([flag]) => (flags & flag) !== 0).map(([, text]) => text);
  const order = orderText(tables, section, policy, layout.POLICY_ORDER);
  const selector = textField(tables, section, policy, layout.POLICY_SELECTOR);
  const id = textField(tables, section, policy, layout.POLICY_ID);
  return [
    `  ${id} ${words.join(' ')}, order ${order}, selects ${selector}`,
    ...dumpRules(tables, section, policy, layout.POLICY_INGRESS, 'ingress'),
    ...dumpRules(tables, section, policy, layout.POLICY_EGRESS, 'egress'),
  ];
}

function dumpRules(tables: Tables, section: number, owner: number, at: number, direction: string): string[] {
  const first = field(tables, section, owner, at);
  const count = field(tables, section, owner, at + 1);
  return Array.from({ length: count }, (_, i) => `    ${direction} ${i} ${ruleText(tables, first + i)}`);
}

function dumpProfiles(tables: Tables): string[] {
  const section = layout.SECTION_PROFILES;
  return numbersOf(tables, section).flatMap((profile) => {
    const rules = [
      ...dumpRules(tables, section, profile, layout.PROFILE_INGRESS, 'ingress'),
      ...dumpRules(tables, section, profile, layout.PROFILE_EGRESS, 'egress'),
    ];
    // Profiles of service accounts have labels alone.
    return rules.length === 0 ? [] : [`profile ${textField(tables, section, profile, layout.PROFILE_NAME)}`, ...rules];
  });
}

function dumpIpSets(tables: Tables): string[] {
  const section = layout.SECTION_IP_SETS;
  return numbersOf(tables, section).map((set) => {
    const hasPorts = field(tables, section, set, layout.IP_SET_TYPE) === layout.IP_SET_IP_PORT;
    const words = setMembers(tables, set);
    const members: string[] = [];
    for (let at = 0; at < words.length; at += MEMBER_WORDS) members.push(memberText(words, at, hasPorts));
    const id = textField(tables, section, set, layout.IP_SET_ID);
    return `set ${id} ${setText(tables, set)}: ${members.join(' ') || 'empty'}`;
  });
}

const PORT_PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);

const MEMBER_WORDS = layout.RECORD_WORDS[layout.SECTION_MEMBERS]!;

function memberText(words: Int32Array, at: number, hasPort: boolean): string {
  const address = prefixText(words, at + layout.MEMBER_PREFIX);
  return hasPort ? `${address},${portText(words[at + layout.MEMBER_PORT]!)}` : address;
}

/** `tcp:80` of `protocol << 16 | port`. */
function portText(port: number): string {
  return `${PORT_PROTOCOLS.get(port >> 16) ?? port >> 16}:${port & 0xffff}`;
}

function dumpNodes(tables: Tables): string[] {
  const section = layout.SECTION_NODES;
  return numbersOf(tables, section).map((node) => {
    const endpointName = (at: number): string | undefined => {
      const endpoint = field(tables, section, node, at);
      return endpoint === layout.NONE
        ? undefined
        : textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY);
    };
    const uplink = endpointName(layout.NODE_UPLINK);
    const wildcard = endpointName(layout.NODE_WILDCARD);
    const addresses = prefixTexts(tables, section, node, layout.NODE_ADDRESSES);
    return [
      `node ${textField(tables, section, node, layout.NODE_NAME)}: ${addresses.join(' ') || 'no address'}`,
      ...(uplink === undefined ? [] : [`uplink ${uplink}`]),
      ...(wildcard === undefined ? [] : [`pods' interfaces ${wildcard}`]),
    ].join(', ');
  });
}

function dumpServices(tables: Tables): string[] {
  const section = layout.SECTION_SERVICES;
  const prefixWords = layout.RECORD_WORDS[layout.SECTION_PREFIXES]!;
  return numbersOf(tables, section).map((service) => {
    const address = field(tables, section, service, layout.SERVICE_ADDRESS);
    const port = portText(field(tables, section, service, layout.SERVICE_PORT));
    const start = field(tables, section, service, layout.SERVICE_BACKENDS);
    const count = field(tables, section, service, layout.SERVICE_BACKENDS + 1);
    const backends = Array.from({ length: count }, (_, i) => {
      const backend = prefixText(tables.prefixes, tables.ints[start + 2 * i]! * prefixWords);
      return `${backend},${tables.ints[start + 2 * i + 1]!}`;
    });
    const key = textField(tables, section, service, layout.SERVICE_KEY);
    return `service ${key} ${prefixText(tables.prefixes, address * prefixWords)},${port}: ${backends.join(' ') || 'none'}`;
  });
}

/** Names of the slots of TEMPLATE_CHAINS, by slot. */
const SLOTS: readonly string[] = [
  'egress',
  'ingress',
  'pending egress',
  'pending ingress',
  'forward egress',
  'forward ingress',
  'prednat',
  'untracked egress',
  'untracked ingress',
  'pending forward egress',
  'pending forward ingress',
  'pending prednat',
  'pending untracked egress',
  'pending untracked ingress',
];

function dumpEndpoints(tables: Tables): string[] {
  const section = layout.SECTION_ENDPOINTS;
  return numbersOf(tables, section).flatMap((endpoint) => {
    const node = field(tables, section, endpoint, layout.ENDPOINT_NODE);
    const nodeName = node === layout.NONE ? 'no node' : textField(tables, layout.SECTION_NODES, node, layout.NODE_NAME);
    const addresses = prefixTexts(tables, section, endpoint, layout.ENDPOINT_ADDRESSES);
    const key = textField(tables, section, endpoint, layout.ENDPOINT_KEY);
    const chains = templateField(tables, endpoint, layout.TEMPLATE_CHAINS);
    return [
      `${key} on ${nodeName}: ${addresses.join(' ') || 'no address'}`,
      ...(chains === layout.NONE ? ['  not local'] : dumpChains(tables, chains)),
    ];
  });
}

/** Each check with its steps. Pending checks that are the enforced ones are left out, and IPv6 where it says the same. */
function dumpChains(tables: Tables, at: number): string[] {
  return SLOTS.flatMap((name, slot) => {
    const [steps4, steps6] = [0, layout.CHAIN_SLOT_COUNT].map((offset) =>
      dumpSteps(tables, tables.ints[at + offset + slot]!),
    );
    const enforced = slot - SLOTS.indexOf(name.replace('pending ', ''));
    if (enforced > 0 && tables.ints[at + slot] === tables.ints[at + slot - enforced]) return [];
    if (steps4!.length + steps6!.length === 0) return [];
    // A node that does not police IPv6 has no checks of it.
    if (steps6!.length === 0 || steps4!.join('\n') === steps6!.join('\n')) return [`  ${name}`, ...steps4!];
    return [`  ${name} ipv4`, ...steps4!, `  ${name} ipv6`, ...steps6!];
  });
}

function dumpSteps(tables: Tables, chain: number): string[] {
  if (chain === layout.NONE) return [];
  const first = field(tables, layout.SECTION_CHAINS, chain, layout.CHAIN_FIRST_STEP);
  const count = field(tables, layout.SECTION_CHAINS, chain, layout.CHAIN_STEP_COUNT);
  const steps = Array.from({ length: count }, (_, i) => `    ${stepText(tables, first + i)}`);
  // A rule may need several steps, one a combination of its alternatives.
  return steps.filter((text, i) => text !== steps[i - 1]);
}

const STEP_ACTIONS: readonly string[] = ['allow', 'deny', 'pass', 'go on'];

function stepText(tables: Tables, step: number): string {
  const section = layout.SECTION_STEPS;
  const action = STEP_ACTIONS[field(tables, section, step, layout.STEP_ACTION)]!;
  const name = textField(tables, section, step, layout.STEP_TRACE_NAME);
  const index = field(tables, section, step, layout.STEP_TRACE_INDEX);
  const rule = field(tables, section, step, layout.STEP_RULE);
  const tier = field(tables, section, step, layout.STEP_TIER);
  if (rule !== layout.NONE) return `${name} ${index} ${action}`;
  if (tier === layout.NONE) {
    const reason = REASON_NAMES[field(tables, section, step, layout.STEP_REASON)]!;
    return [action, reason, name === '' || name === 'pro:__NO_MATCH__' ? '' : name]
      .filter((part) => part !== '')
      .join(' ');
  }
  const selectedBy = Array.from(intsField(tables, section, step, layout.STEP_SELECTED_BY), (policy) =>
    textField(tables, layout.SECTION_POLICIES, policy, layout.POLICY_ID),
  );
  const tierName = textField(tables, layout.SECTION_TIERS, tier, layout.TIER_NAME);
  return `end of ${tierName} ${action} ${selectedBy.join(' ')}`;
}
