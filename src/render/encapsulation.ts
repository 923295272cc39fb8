/**
 * Calico's own tunnels, where FelixConfiguration says that they are on (semantics 6.7, 6.8).
 *
 * Tunnelled packets to this node are accepted from addresses of the cluster's nodes and dropped from all others, those from this node to
 * them are accepted; both before any policy. VXLAN is not tracked, since its source ports differ each way. IPv4 alone: IPIP
 * has no other, and VXLAN over IPv6 is on by IP pools, not by this setting. Source: Calico felix/rules/static.go, filterInputChain,
 * filterOutputChain, StaticRawPreroutingChain; felix/calc/encapsulation_resolver.go.
 */
import * as layout from '../tables/layout.ts';
import { field, type Tables } from '../tables/tables.ts';
import type { SetCollector } from './chains.ts';
import { prefixList, prefixText } from './reader.ts';
import { ACCEPT, DROP, type Match, NOTRACK, type Rule, rule } from './ruleset.ts';

export interface EncapsulationRules {
  /** Of the raw table, both ways. */
  readonly untracked: readonly Rule[];
  readonly input: readonly Rule[];
  readonly output: readonly Rule[];
}

export function encapsulationRules(
  tables: Tables,
  node: number,
  version: 4 | 6,
  sets: SetCollector,
): EncapsulationRules {
  const flags = field(tables, layout.SECTION_NODES, node, layout.NODE_FLAGS);
  const untracked: Rule[] = [];
  const input: Rule[] = [];
  const output: Rule[] = [];
  const add = (kind: string, tunnel: readonly Match[], set: string, isDroppedAnywhere: boolean): void => {
    const local = (side: 'src' | 'dst'): Match => ({ kind: 'local', side });
    const host = (side: 'src' | 'dst'): Match => ({ kind: 'set', side, set, hasPort: false, isNegated: false });
    input.push(
      rule([...tunnel, host('src'), local('dst')], ACCEPT, `${kind} from hosts of the cluster`),
      rule([...tunnel, ...(isDroppedAnywhere ? [] : [local('dst')])], DROP, `${kind} from others`),
    );
    output.push(rule([...tunnel, host('dst'), local('src')], ACCEPT, `${kind} to hosts of the cluster`));
  };
  if (version === 4 && (flags & layout.NODE_IPIP_IS_ON) !== 0) {
    const hosts = sets.addAddresses('all-hosts-net', hostAddresses(tables, version));
    add('IPIP', [{ kind: 'protocol', protocol: 4, isNegated: false }], hosts, true);
  }
  if (version === 4 && (flags & layout.NODE_VXLAN_IS_ON) !== 0) {
    const hosts = sets.addAddresses('all-vxlan-net', hostAddresses(tables, version));
    const port = field(tables, layout.SECTION_NODES, node, layout.NODE_VXLAN_PORT);
    const tunnel: Match[] = [
      { kind: 'protocol', protocol: 17, isNegated: false },
      { kind: 'ports', side: 'dst', ranges: [[port, port]], isNegated: false },
    ];
    untracked.push(rule(tunnel, NOTRACK));
    add('VXLAN', tunnel, hosts, false);
  }
  return { untracked, input, output };
}

function hostAddresses(tables: Tables, version: 4 | 6): string[] {
  const addresses = new Set<string>();
  for (let node = 0; node < tables.counts[layout.SECTION_NODES]!; node++) {
    for (const prefix of prefixList(tables, layout.SECTION_NODES, node, layout.NODE_ADDRESSES)) {
      if (prefix.version === version) addresses.add(prefixText(prefix));
    }
  }
  return [...addresses].sort();
}
