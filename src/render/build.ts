/**
 * The ruleset of one node: hooks, dispatch by interface, and the chains of its endpoints (semantics 6.2).
 *
 *   raw PREROUTING     from a pod: drop spoofed sources;  else doNotTrack ingress of the explicit host endpoint
 *   raw OUTPUT         doNotTrack egress of the explicit host endpoint
 *   mangle PREROUTING  preDNAT ingress of the host endpoint on the interface, explicit or else wildcard
 *   mangle POSTROUTING normal egress for packets of host processes that were DNATed
 *   filter INPUT       from a pod: pod egress, then DefaultEndpointToHostAction;  else normal ingress
 *   filter FORWARD     apply-on-forward ingress, pod egress, pod ingress, apply-on-forward egress, service loops
 *   filter OUTPUT      to a pod: nothing;  else normal egress
 *
 * Dispatch is by interface name: `cali…` are pods, one chain each way; the uplink is the explicit host endpoint's, every
 * other interface the wildcard's. What is not in the tables is not rendered and listed in `leftOut`: kube-proxy's DNAT, the
 * encapsulation rules of semantics 6.8. Source: Calico felix/rules/static.go, dispatch.go, endpoints.go.
 */
import * as layout from '../tables/layout.ts';
import {
  endpointName,
  field,
  type Tables,
  templateField,
  templateOf,
  templateText,
  textField,
} from '../tables/tables.ts';
import { ChainMaker, type EndpointChainKind, SetCollector } from './chains.ts';
import { type EncapsulationRules, encapsulationRules } from './encapsulation.ts';
import { chainName, interfacePrefixes, isInterfaceName, podInterface } from './names.ts';
import { endpointsOf, prefixAt, prefixList, prefixText } from './reader.ts';
import {
  ACCEPT,
  type Action,
  type Chain,
  clearMark,
  DROP,
  goto,
  hasMark,
  jump,
  type LeftOut,
  lacksMark,
  MARK_ACCEPT,
  MARK_ALL,
  MARK_SCRATCH0,
  type Match,
  RETURN,
  type Rule,
  type Ruleset,
  rule,
  setMark,
  type Table,
} from './ruleset.ts';

export interface RenderOptions {
  /** Name of the node's interface to everything but its pods; default `eth0`, or what its explicit host endpoint names. */
  readonly uplink?: string;
}

const ANY_INTERFACE = 'any-interface-at-all';
/** ICMPv6 from a pod to its own node that no policy is asked about (semantics 6.5): MLD and neighbour discovery. */
const EXEMPT_ICMPV6_TYPES: readonly number[] = [130, 131, 132, 133, 135, 136];

interface NodeFacts {
  readonly tables: Tables;
  readonly node: number;
  readonly uplink: string;
  /** Explicit host endpoint of the uplink, or NONE. */
  readonly explicit: number;
  readonly wildcard: number;
  /** What the names of pods' interfaces start with. */
  readonly prefixes: readonly string[];
  readonly pods: readonly { readonly endpoint: number; readonly name: string }[];
}

/** The rulesets of `node`, IPv4 then IPv6; the second is absent where Felix does not police IPv6. */
export function buildRulesets(tables: Tables, node: number, options: RenderOptions): Ruleset[] {
  const facts = nodeFacts(tables, node, options);
  const flags = field(tables, layout.SECTION_NODES, node, layout.NODE_FLAGS);
  const versions: readonly (4 | 6)[] = (flags & layout.NODE_IPV6) === 0 ? [4] : [4, 6];
  return versions.map((version) => buildRuleset(facts, version));
}

function nodeFacts(tables: Tables, node: number, options: RenderOptions): NodeFacts {
  const word = (at: number): number => field(tables, layout.SECTION_NODES, node, at);
  const explicit = word(layout.NODE_UPLINK_EXPLICIT) === 0 ? layout.NONE : word(layout.NODE_UPLINK);
  const named =
    explicit === layout.NONE ? '' : textField(tables, layout.SECTION_ENDPOINTS, explicit, layout.ENDPOINT_INTERFACE);
  const prefixes = interfacePrefixes(textField(tables, layout.SECTION_NODES, node, layout.NODE_INTERFACE_PREFIXES));
  // Felix does not know the interface of a pod that its validation refused, which has no group: dispatch drops what passes there.
  const pods = endpointsOf(tables, node, layout.KIND_WEP)
    .filter((endpoint) => templateField(tables, endpoint, layout.TEMPLATE_GROUP) !== layout.NONE)
    .map((endpoint) => {
      const namespace = templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE);
      return { endpoint, name: podInterface(prefixes[0]!, namespace, endpointName(tables, endpoint)) };
    });
  return {
    tables,
    node,
    uplink: options.uplink ?? (isInterfaceName(named) ? named : 'eth0'),
    explicit,
    wildcard: word(layout.NODE_WILDCARD),
    prefixes,
    pods,
  };
}

/** One rule for each prefix of pods' interfaces. */
function fromPods({ prefixes }: NodeFacts, action: Action): Rule[] {
  return prefixes.map((prefix) => rule([{ kind: 'in', name: `${prefix}+` }], action));
}

function toPods({ prefixes }: NodeFacts, action: Action): Rule[] {
  return prefixes.map((prefix) => rule([{ kind: 'out', name: `${prefix}+` }], action));
}

function buildRuleset(facts: NodeFacts, version: 4 | 6): Ruleset {
  const sets = new SetCollector(facts.tables, version);
  const encapsulation = encapsulationRules(facts.tables, facts.node, version, sets);
  const tables = [
    rawTable(facts, version, new ChainMaker(facts.tables, facts.node, version, sets, true), encapsulation),
    mangleTable(facts, new ChainMaker(facts.tables, facts.node, version, sets, false)),
    filterTable(facts, version, new ChainMaker(facts.tables, facts.node, version, sets, false), encapsulation),
  ];
  return { version, tables, sets: sets.sets() };
}

function rawTable(facts: NodeFacts, version: 4 | 6, maker: ChainMaker, encapsulation: EncapsulationRules): Table {
  const own: Chain[] = [
    chain('cali-PREROUTING', [
      rule([], clearMark(MARK_ALL)),
      ...encapsulation.untracked,
      ...fromPods(facts, setMark(MARK_SCRATCH0)),
      rule([hasMark(MARK_SCRATCH0)], jump('cali-rpf-skip')),
      rule([hasMark(MARK_SCRATCH0), { kind: 'spoofed' }], DROP, 'a source that is not the pod on this interface'),
      rule([lacksMark(MARK_SCRATCH0)], jump('cali-from-host-endpoint')),
      rule([hasMark(MARK_ACCEPT)], ACCEPT),
    ]),
    chain('cali-rpf-skip', allowedSourceRules(facts, version)),
    chain('cali-OUTPUT', [
      rule([], clearMark(MARK_ALL)),
      rule([], jump('cali-to-host-endpoint')),
      ...encapsulation.untracked,
      rule([hasMark(MARK_ACCEPT)], ACCEPT),
    ]),
    hostDispatch(facts, maker, 'from', 'untracked'),
    hostDispatch(facts, maker, 'to', 'untracked'),
  ];
  return {
    name: 'raw',
    hooks: [
      { hook: 'PREROUTING', rules: [rule([], jump('cali-PREROUTING'))] },
      { hook: 'OUTPUT', rules: [rule([], jump('cali-OUTPUT'))] },
    ],
    chains: [...own, ...maker.chains()],
  };
}

/** Sources that a pod may use beside its own addresses: `cni.projectcalico.org/allowedSourcePrefixes` and floating IPs. */
function allowedSourceRules({ tables, pods }: NodeFacts, version: 4 | 6): Rule[] {
  return pods.flatMap(({ endpoint, name }) =>
    prefixList(tables, layout.SECTION_TEMPLATES, templateOf(tables, endpoint), layout.TEMPLATE_ALLOWED_SOURCES)
      .filter((prefix) => prefix.version === version)
      .map((prefix) =>
        rule(
          [
            { kind: 'in', name },
            { kind: 'net', side: 'src', prefix: prefixText(prefix), isNegated: false },
          ],
          ACCEPT,
        ),
      ),
  );
}

function mangleTable(facts: NodeFacts, maker: ChainMaker): Table {
  const own: Chain[] = [
    chain('cali-PREROUTING', [
      rule([{ kind: 'state', states: ['RELATED', 'ESTABLISHED'] }], ACCEPT),
      rule([hasMark(MARK_ACCEPT)], ACCEPT),
      rule([], jump('cali-from-host-endpoint')),
      rule([hasMark(MARK_ACCEPT)], ACCEPT, 'host endpoint policy accepted the packet'),
    ]),
    chain('cali-POSTROUTING', [
      rule([hasMark(MARK_ACCEPT)], RETURN),
      ...toPods(facts, RETURN),
      rule([], clearMark(MARK_ALL)),
      rule([{ kind: 'state', states: ['DNAT'] }], jump('cali-to-host-endpoint')),
      rule([hasMark(MARK_ACCEPT)], RETURN),
    ]),
    hostDispatch(facts, maker, 'from', 'preDnat'),
    hostDispatch(facts, maker, 'to', 'normal'),
  ];
  return {
    name: 'mangle',
    hooks: [
      { hook: 'PREROUTING', rules: [rule([], jump('cali-PREROUTING'))] },
      { hook: 'POSTROUTING', rules: [rule([], jump('cali-POSTROUTING'))] },
    ],
    chains: [...own, ...maker.chains()],
  };
}

function filterTable(facts: NodeFacts, version: 4 | 6, maker: ChainMaker, encapsulation: EncapsulationRules): Table {
  const own: Chain[] = [
    chain('cali-INPUT', [
      ...encapsulation.input,
      ...fromPods(facts, goto('cali-wl-to-host')),
      rule([hasMark(MARK_ACCEPT)], ACCEPT),
      rule([], clearMark(MARK_ALL)),
      rule([], jump('cali-from-host-endpoint')),
      rule([hasMark(MARK_ACCEPT)], ACCEPT, 'host endpoint policy accepted the packet'),
    ]),
    chain('cali-wl-to-host', workloadToHostRules(facts, version)),
    chain('cali-FORWARD', [
      rule([], clearMark(MARK_ALL & ~MARK_ACCEPT)),
      rule([lacksMark(MARK_ACCEPT)], jump('cali-from-hep-forward')),
      ...fromPods(facts, jump('cali-from-wl-dispatch')),
      ...toPods(facts, jump('cali-to-wl-dispatch')),
      rule([], jump('cali-to-hep-forward')),
      rule([], jump('cali-cidr-block')),
    ]),
    chain('cali-OUTPUT', [
      rule([hasMark(MARK_ACCEPT)], ACCEPT),
      ...toPods(facts, RETURN),
      ...encapsulation.output,
      rule([], clearMark(MARK_ALL)),
      rule([{ kind: 'state', states: ['DNAT'] }], RETURN, 'policed after routing'),
      rule([], jump('cali-to-host-endpoint')),
      rule([hasMark(MARK_ACCEPT)], ACCEPT, 'host endpoint policy accepted the packet'),
    ]),
    chain('cali-cidr-block', loopRules(facts, version)),
    hostDispatch(facts, maker, 'from', 'normal'),
    hostDispatch(facts, maker, 'to', 'normal'),
    hostDispatch(facts, maker, 'from', 'forward'),
    hostDispatch(facts, maker, 'to', 'forward'),
    ...workloadDispatch(facts, maker),
  ];
  return {
    name: 'filter',
    hooks: [
      { hook: 'INPUT', rules: [rule([], jump('cali-INPUT'))] },
      {
        hook: 'FORWARD',
        rules: [
          rule([], jump('cali-FORWARD')),
          // The mark tells mangle POSTROUTING that the packet was forwarded.
          rule([], setMark(MARK_ACCEPT)),
          rule([], ACCEPT),
        ],
      },
      { hook: 'OUTPUT', rules: [rule([], jump('cali-OUTPUT'))] },
    ],
    chains: [...own, ...maker.chains()],
  };
}

function workloadToHostRules({ tables, node }: NodeFacts, version: 4 | 6): Rule[] {
  const icmpv6: Match = { kind: 'protocol', protocol: 58, isNegated: false };
  const exempt = version === 4 ? [] : EXEMPT_ICMPV6_TYPES;
  const action = field(tables, layout.SECTION_NODES, node, layout.NODE_TO_HOST_ACTION);
  return [
    ...exempt.map((type) => rule([icmpv6, { kind: 'icmp', type, code: -1, isNegated: false }], ACCEPT)),
    rule([], jump('cali-from-wl-dispatch')),
    rule([], action === layout.ACTION_DENY ? DROP : ACCEPT, 'DefaultEndpointToHostAction'),
  ];
}

/** Forwarded packets whose destination is still a service address that nothing translated (semantics 6.9). */
function loopRules({ tables, node }: NodeFacts, version: 4 | 6): Rule[] {
  const flags = field(tables, layout.SECTION_NODES, node, layout.NODE_FLAGS);
  if ((flags & layout.NODE_LOOP_PREVENTION) === 0) return [];
  const count = tables.counts[layout.SECTION_LOOP_PREFIXES]!;
  return Array.from({ length: count }, (_, i) => prefixAt(tables, field(tables, layout.SECTION_LOOP_PREFIXES, i, 0)))
    .filter((prefix) => prefix.version === version)
    .map((prefix) => rule([{ kind: 'net', side: 'dst', prefix: prefixText(prefix), isNegated: false }], DROP));
}

function workloadDispatch({ pods }: NodeFacts, maker: ChainMaker): Chain[] {
  const from: Rule[] = [];
  const to: Rule[] = [];
  for (const { endpoint, name } of pods) {
    const [fromChain, toChain] = [chainName('cali-fw-', name), chainName('cali-tw-', name)];
    maker.addEndpoint(fromChain, endpoint, 'wep', 'egress');
    maker.addEndpoint(toChain, endpoint, 'wep', 'ingress');
    from.push(rule([{ kind: 'in', name }], goto(fromChain)));
    to.push(rule([{ kind: 'out', name }], goto(toChain)));
  }
  return [
    chain('cali-from-wl-dispatch', [...from, rule([], DROP, 'unknown interface')]),
    chain('cali-to-wl-dispatch', [...to, rule([], DROP, 'unknown interface')]),
  ];
}

const HOST_CHAINS: Readonly<Record<Exclude<EndpointChainKind, 'wep'>, { dispatch: string; from: string; to: string }>> =
  {
    normal: { dispatch: 'host-endpoint', from: 'cali-fh-', to: 'cali-th-' },
    untracked: { dispatch: 'host-endpoint', from: 'cali-fh-', to: 'cali-th-' },
    preDnat: { dispatch: 'host-endpoint', from: 'cali-fh-', to: 'cali-th-' },
    forward: { dispatch: 'hep-forward', from: 'cali-fhfw-', to: 'cali-thfw-' },
  };

/**
 * Dispatch to the host endpoint on the interface a packet came in by (`from`) or goes out by (`to`). The explicit endpoint's
 * interface never falls to the wildcard's chain, even where the explicit one has nothing to run; doNotTrack knows no wildcard.
 */
function hostDispatch(
  { uplink, explicit, wildcard }: NodeFacts,
  maker: ChainMaker,
  way: 'from' | 'to',
  kind: Exclude<EndpointChainKind, 'wep'>,
): Chain {
  const names = HOST_CHAINS[kind];
  const direction = way === 'from' ? 'ingress' : 'egress';
  const target = (endpoint: number, suffix: string): Rule['action'] | undefined => {
    if (endpoint === layout.NONE || !maker.isNeeded(endpoint, kind, direction)) return undefined;
    const name = chainName(names[way], suffix);
    maker.addEndpoint(name, endpoint, kind, direction);
    return goto(name);
  };
  const rules: Rule[] = [];
  const onUplink = target(explicit, uplink);
  const anywhere = kind === 'untracked' ? undefined : target(wildcard, ANY_INTERFACE);
  const interfaceMatch: Match = { kind: way === 'from' ? 'in' : 'out', name: uplink };
  if (onUplink !== undefined) rules.push(rule([interfaceMatch], onUplink));
  else if (explicit !== layout.NONE && anywhere !== undefined) rules.push(rule([interfaceMatch], RETURN));
  if (anywhere !== undefined) rules.push(rule([], anywhere));
  return chain(`cali-${way}-${names.dispatch}`, rules);
}

function chain(name: string, rules: readonly Rule[]): Chain {
  return { name, notes: [], rules };
}

/** What of the tables no text says, each with its reason. */
export function leftOut(tables: Tables, node: number, options: RenderOptions): LeftOut[] {
  const facts = nodeFacts(tables, node, options);
  const out: LeftOut[] = [];
  for (const endpoint of endpointsOf(tables, node, layout.KIND_HEP)) {
    if (endpoint === facts.explicit || endpoint === facts.wildcard) continue;
    const key = textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY);
    out.push({
      what: key,
      reason: `another host endpoint governs ${facts.uplink}, the only interface rendered beside pods'`,
    });
  }
  const flags = field(tables, layout.SECTION_NODES, node, layout.NODE_FLAGS);
  if ((flags & layout.NODE_IPV6) === 0)
    out.push({ what: 'IPv6', reason: 'ipv6Support is false: Felix does not police it' });
  const services = tables.counts[layout.SECTION_SERVICES]!;
  if (services > 0) {
    const what = `${services} address${services === 1 ? '' : 'es'} and ports of services`;
    out.push({ what, reason: 'translating them to backends is the work of kube-proxy, not of policy' });
  }
  for (let policy = 0; policy < tables.counts[layout.SECTION_POLICIES]!; policy++) {
    if ((field(tables, layout.SECTION_POLICIES, policy, layout.POLICY_FLAGS) & layout.POLICY_IS_STAGED) === 0) continue;
    const id = textField(tables, layout.SECTION_POLICIES, policy, layout.POLICY_ID);
    out.push({ what: id, reason: 'staged policies are not enforced' });
  }
  return out;
}
