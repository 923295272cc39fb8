/**
 * A node's ruleset as input of `nft -f`: one table an IP version, `ip margay` and `ip6 margay`.
 *
 * Loading replaces the tables as a whole, in one transaction, and touches no other. Chains carry the name of the iptables
 * table they stand in for (`filter-cali-FORWARD`), as Calico's do; base chains sit at that table's priority. Set names are Calico's
 * with `-` for `:`. Members that a wider member of the same set covers are left out, as Calico does for nftables.
 * Tables compiled for Calico's nftables dataplane predict what these rules do; they differ from iptables' in one rule, notICMP with a code.
 * Source: Calico felix/nftables/match_builder.go, ipsets.go; nft(8).
 */

import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { textField } from '../tables/tables.ts';
import { buildRulesets, leftOut, type RenderOptions } from './build.ts';
import { commentText, noteText } from './names.ts';
import { withoutCovered } from './prefixes.ts';
import type { Action, Chain, KernelSet, LeftOut, Match, Rule, Ruleset, Side, Table, TableName } from './ruleset.ts';

export interface RenderedNft {
  readonly nft: string;
  readonly leftOut: readonly LeftOut[];
}

/** The rules that Calico would have on node number `node` of `tables`. Same tables, same text. */
export function renderNft(tables: Tables, node: number, options: RenderOptions = {}): RenderedNft {
  const rulesets = buildRulesets(tables, node, options);
  const left = leftOut(tables, node, options);
  const name = textField(tables, layout.SECTION_NODES, node, layout.NODE_NAME);
  const lines = [`# Node ${noteText(name)}. Load with: nft -f FILE`, ...leftOutLines(left)];
  for (const ruleset of rulesets) lines.push('', ...rulesetLines(ruleset));
  return { nft: `${lines.join('\n')}\n`, leftOut: left };
}

/** Comment lines that say what the text does not. */
export function leftOutLines(left: readonly LeftOut[]): string[] {
  return [`# Left out: ${left.length}`, ...left.map(({ what, reason }) => `#   ${noteText(`${what}: ${reason}`)}`)];
}

function rulesetLines(ruleset: Ruleset): string[] {
  const family = ruleset.version === 4 ? 'ip' : 'ip6';
  // `add` before `delete`, so that the first load finds something to delete.
  const lines = [`add table ${family} margay`, `delete table ${family} margay`, `table ${family} margay {`];
  for (const set of ruleset.sets) lines.push(...setLines(set, ruleset.version));
  for (const table of ruleset.tables) {
    for (const chain of callOrder(table.chains)) lines.push(...chainLines(table, chain, ruleset.version));
    for (const { hook, rules } of table.hooks) {
      lines.push(`  chain ${table.name}-${hook} {`);
      lines.push(`    type filter hook ${hook.toLowerCase()} priority ${PRIORITIES[table.name]}; policy accept;`);
      lines.push(...ruleLines(rules, table, ruleset.version), '  }');
    }
  }
  lines.push('}');
  return lines;
}

const PRIORITIES: Readonly<Record<TableName, string>> = { raw: 'raw', mangle: 'mangle', filter: 'filter' };

/** Callees first: nft looks a chain up when it reads the rule that names it. */
function callOrder(chains: readonly Chain[]): Chain[] {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const done = new Set<string>();
  const out: Chain[] = [];
  const visit = (chain: Chain): void => {
    if (done.has(chain.name)) return;
    done.add(chain.name);
    for (const { action } of chain.rules) {
      if (action.kind === 'jump' || action.kind === 'goto') visit(byName.get(action.chain)!);
    }
    out.push(chain);
  };
  for (const chain of chains) visit(chain);
  return out;
}

function setLines(set: KernelSet, version: 4 | 6): string[] {
  const address = version === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const lines = [`  # ${noteText(set.text === '' ? set.id : set.text)}`, `  set ${setText(set.name)} {`];
  if (set.hasPort) lines.push(`    type ${address} . inet_proto . inet_service`);
  else lines.push(`    type ${address}`, '    flags interval');
  const members = set.hasPort ? set.members.map(tupleText) : withoutCovered(set.members, version);
  if (members.length > 0) {
    lines.push('    elements = {', ...members.map((member) => `      ${member},`), '    }');
  }
  lines.push('  }');
  return lines;
}

/** `10.0.0.1,tcp:80` -> `10.0.0.1 . tcp . 80`. */
function tupleText(member: string): string {
  const comma = member.lastIndexOf(',');
  const [protocol, port] = member.slice(comma + 1).split(':');
  return `${member.slice(0, comma)} . ${protocol} . ${port}`;
}

function setText(name: string): string {
  return name.replaceAll(':', '-');
}

function chainLines(table: Table, chain: Chain, version: 4 | 6): string[] {
  return [
    ...chain.notes.map((note) => `  # ${noteText(note)}`),
    `  chain ${table.name}-${chain.name} {`,
    ...ruleLines(chain.rules, table, version),
    '  }',
  ];
}

function ruleLines(rules: readonly Rule[], table: Table, version: 4 | 6): string[] {
  return rules.map(({ matches, action, comment }) => {
    const parts = [...matches.map((match) => matchText(match, version)), actionText(action, table)];
    if (comment !== undefined) parts.push(`comment "${commentText(comment)}"`);
    return `    ${parts.join(' ')}`;
  });
}

function actionText(action: Action, table: Table): string {
  switch (action.kind) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'notrack':
      return action.kind;
    case 'jump':
    case 'goto':
      return `${action.kind} ${table.name}-${action.chain}`;
    case 'set-mark':
      return `meta mark set meta mark or ${hex(action.bits)}`;
    case 'clear-mark':
      return `meta mark set meta mark and ${hex(~action.bits >>> 0)}`;
  }
}

function matchText(match: Match, version: 4 | 6): string {
  const family = version === 4 ? 'ip' : 'ip6';
  switch (match.kind) {
    case 'in':
    case 'out':
      return `${match.kind === 'in' ? 'iifname' : 'oifname'} "${match.name.replace(/\+$/, '*')}"`;
    case 'state':
      return stateText(match.states);
    case 'mark':
      return `meta mark and ${hex(match.bits)} == ${match.isSet ? hex(match.bits) : '0'}`;
    case 'protocol':
      return `meta l4proto ${match.isNegated ? '!= ' : ''}${match.protocol}`;
    case 'net':
      return `${family} ${address(match.side)} ${match.isNegated ? '!= ' : ''}${match.prefix}`;
    case 'set': {
      const key = match.hasPort ? ` . meta l4proto . th ${port(match.side)}` : '';
      return `${family} ${address(match.side)}${key} ${match.isNegated ? '!= ' : ''}@${setText(match.set)}`;
    }
    case 'ports': {
      const ranges = match.ranges.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`));
      return `th ${port(match.side)} ${match.isNegated ? '!= ' : ''}{ ${ranges.join(', ')} }`;
    }
    case 'icmp':
      return icmpText(match, version === 4 ? 'icmp' : 'icmpv6');
    case 'local':
      return `fib ${address(match.side)} type local`;
    case 'spoofed':
      return 'fib saddr . iif oif missing';
  }
}

function stateText(states: readonly string[]): string {
  return states[0] === 'DNAT' ? 'ct status dnat' : `ct state ${states.join(',').toLowerCase()}`;
}

/** A negated type and code are each tested for being another, unlike in iptables (semantics 6.10). */
function icmpText({ type, code, isNegated }: Extract<Match, { kind: 'icmp' }>, protocol: string): string {
  const not = isNegated ? '!= ' : '';
  return `${protocol} type ${not}${type}${code < 0 ? '' : ` ${protocol} code ${not}${code}`}`;
}

const address = (side: Side): string => (side === 'src' ? 'saddr' : 'daddr');
const port = (side: Side): string => (side === 'src' ? 'sport' : 'dport');
const hex = (bits: number): string => `0x${bits.toString(16).padStart(8, '0')}`;
