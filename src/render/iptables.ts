/**
 * A node's ruleset as input of `ipset restore`, `iptables-restore` and `ip6tables-restore`, in this order.
 *
 * The restore commands replace the tables raw, mangle and filter as a whole. Sets are made if they are missing and emptied,
 * so that loading again works while rules refer to them. Matches and targets are those Calico uses: `multiport`, `set`, `conntrack`,
 * `mark`, `rpfilter`, `icmp`/`icmp6`. Source: Calico felix/iptables/match_builder.go, felix/ipsets; iptables-extensions(8), ipset(8).
 */
import * as layout from '../tables/layout.ts';
import { type Tables, textField } from '../tables/tables.ts';
import { buildRulesets, leftOut, type RenderOptions } from './build.ts';
import { commentText, noteText } from './names.ts';
import { leftOutLines } from './nft.ts';
import type { Action, KernelSet, LeftOut, Match, Rule, Ruleset, Table } from './ruleset.ts';

/** Felix's limit (felix/config/config_params.go, MaxIpsetSize). */
const SET_SIZE_MAX = 1_048_576;

export interface RenderedIptables {
  readonly ipset: string;
  readonly iptables4: string;
  /** Only a comment where Felix does not police IPv6. */
  readonly iptables6: string;
  readonly leftOut: readonly LeftOut[];
}

/** The rules that Calico would have on node number `node` of `tables`. Same tables, same text. */
export function renderIptables(tables: Tables, node: number, options: RenderOptions = {}): RenderedIptables {
  const rulesets = buildRulesets(tables, node, options);
  const left = leftOut(tables, node, options);
  const name = noteText(textField(tables, layout.SECTION_NODES, node, layout.NODE_NAME));
  const text = (head: string, lines: readonly string[]): string =>
    `${[`# Node ${name}. Load with: ${head}`, ...leftOutLines(left), ...lines].join('\n')}\n`;
  const [four, six] = rulesets;
  return {
    ipset: text('ipset restore -f FILE, before the rules', rulesets.flatMap(setsLines)),
    iptables4: text('iptables-restore FILE', rulesetLines(four)),
    iptables6: text('ip6tables-restore FILE', rulesetLines(six)),
    leftOut: left,
  };
}

function setsLines({ sets, version }: Ruleset): string[] {
  const family = version === 4 ? 'inet' : 'inet6';
  return sets.flatMap((set) => [
    `# ${noteText(set.text === '' ? set.id : set.text)}`,
    `create ${set.name} ${setType(set)} family ${family} maxelem ${SET_SIZE_MAX} -exist`,
    `flush ${set.name}`,
    ...set.members.map((member) => `add ${set.name} ${member}`),
  ]);
}

function setType({ hasPort }: KernelSet): string {
  return hasPort ? 'hash:ip,port' : 'hash:net';
}

function rulesetLines(ruleset: Ruleset | undefined): string[] {
  return ruleset === undefined ? [] : ruleset.tables.flatMap((table) => tableLines(table, ruleset.version));
}

function tableLines(table: Table, version: 4 | 6): string[] {
  const lines = [`*${table.name}`];
  for (const { hook } of table.hooks) lines.push(`:${hook} ACCEPT [0:0]`);
  for (const { name } of table.chains) lines.push(`:${name} - [0:0]`);
  for (const chain of table.chains) {
    lines.push(...chain.notes.map((note) => `# ${noteText(note)}`));
    lines.push(...chain.rules.map((rule) => ruleLine(chain.name, rule, version)));
  }
  for (const { hook, rules } of table.hooks) lines.push(...rules.map((rule) => ruleLine(hook, rule, version)));
  lines.push('COMMIT');
  return lines;
}

function ruleLine(chain: string, { matches, action, comment }: Rule, version: 4 | 6): string {
  const parts = [`-A ${chain}`, ...matches.map((match) => matchText(match, version))];
  if (comment !== undefined) parts.push(`-m comment --comment "${commentText(comment)}"`);
  parts.push(actionText(action));
  return parts.join(' ');
}

function actionText(action: Action): string {
  switch (action.kind) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'notrack':
      return `-j ${action.kind.toUpperCase()}`;
    case 'jump':
      return `-j ${action.chain}`;
    case 'goto':
      return `-g ${action.chain}`;
    case 'set-mark':
      return `-j MARK --set-xmark ${hex(action.bits)}/${hex(action.bits)}`;
    case 'clear-mark':
      return `-j MARK --set-xmark 0x0/${hex(action.bits)}`;
  }
}

function matchText(match: Match, version: 4 | 6): string {
  switch (match.kind) {
    case 'in':
      return `-i ${match.name}`;
    case 'out':
      return `-o ${match.name}`;
    case 'state':
      return `-m conntrack --ctstate ${match.states.join(',')}`;
    case 'mark':
      return `-m mark --mark ${match.isSet ? hex(match.bits) : '0x0'}/${hex(match.bits)}`;
    case 'protocol':
      return `${not(match.isNegated)}-p ${match.protocol}`;
    case 'net':
      return `${not(match.isNegated)}${match.side === 'src' ? '-s' : '-d'} ${match.prefix}`;
    case 'set': {
      const dimensions = match.hasPort ? `${match.side},${match.side}` : match.side;
      return `-m set ${not(match.isNegated)}--match-set ${match.set} ${dimensions}`;
    }
    case 'ports': {
      const ranges = match.ranges.map(([low, high]) => (low === high ? `${low}` : `${low}:${high}`)).join(',');
      return `-m multiport ${not(match.isNegated)}--${match.side === 'src' ? 's' : 'd'}ports ${ranges}`;
    }
    case 'icmp': {
      const type = match.code < 0 ? `${match.type}` : `${match.type}/${match.code}`;
      return version === 4
        ? `-m icmp ${not(match.isNegated)}--icmp-type ${type}`
        : `-m icmp6 ${not(match.isNegated)}--icmpv6-type ${type}`;
    }
    case 'local':
      return `-m addrtype --${match.side}-type LOCAL`;
    case 'spoofed':
      return '-m rpfilter --invert';
  }
}

const not = (isNegated: boolean): string => (isNegated ? '! ' : '');
const hex = (bits: number): string => `0x${bits.toString(16)}`;
