/** One rule of the tables in words, for `dump.ts`. */
import { formatAddress, type IpPrefix } from '../base/ip.ts';
import * as layout from './layout.ts';
import { field, intsField, type Tables, textField } from './tables.ts';

/**
 * `deny tcp from set "role == \"lb\"" not from 10.0.0.0/8 to ports 80,443`: the parts that the rule has, in the order they
 * are tested. A rule without parts is its action alone.
 */
export function ruleText(tables: Tables, rule: number): string {
  const word = (at: number): number => field(tables, layout.SECTION_RULES, rule, at);
  const version = word(layout.RULE_IP_VERSION);
  return [
    ACTIONS[word(layout.RULE_ACTION)]!,
    ...(version === 0 ? [] : [`ipv${version}`]),
    ...optional('', protocolText(word(layout.RULE_PROTOCOL))),
    ...optional('not ', protocolText(word(layout.RULE_NOT_PROTOCOL))),
    ...optional('icmp ', icmpText(word(layout.RULE_ICMP_TYPE), word(layout.RULE_ICMP_CODE))),
    ...optional('not icmp ', icmpText(word(layout.RULE_NOT_ICMP_TYPE), word(layout.RULE_NOT_ICMP_CODE))),
    ...sideTexts(tables, word(layout.RULE_SOURCE), 'from'),
    ...sideTexts(tables, word(layout.RULE_DESTINATION), 'to'),
  ].join(' ');
}

const ACTIONS: readonly string[] = ['allow', 'deny', 'pass', 'log'];

function optional(prefix: string, text: string | undefined): string[] {
  return text === undefined ? [] : [`${prefix}${text}`];
}

const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);

/** `tcp`, `protocol 47`, or nothing for NONE. */
function protocolText(protocol: number): string | undefined {
  if (protocol === layout.NONE) return undefined;
  return PROTOCOLS.get(protocol) ?? `protocol ${protocol}`;
}

function icmpText(type: number, code: number): string | undefined {
  if (type === layout.NONE) return undefined;
  return code === layout.NONE ? `type ${type}` : `type ${type} code ${code}`;
}

/** The parts of one side; each begins with `from`, `to` or `not from`, `not to`. */
function sideTexts(tables: Tables, side: number, preposition: string): string[] {
  const section = layout.SECTION_SIDES;
  const parts: string[] = [];
  const add = (isNegated: boolean, texts: readonly string[], separator = ','): void => {
    if (texts.length > 0) parts.push(`${isNegated ? 'not ' : ''}${preposition} ${texts.join(separator)}`);
  };
  const nets = (at: number): string[] => prefixTexts(tables, section, side, at);
  const sets = (at: number): string[] =>
    Array.from(intsField(tables, section, side, at), (set) => setText(tables, set));
  const ports = (rangesAt: number, namedAt: number): string[] => {
    const texts = [...rangeTexts(tables, side, rangesAt), ...sets(namedAt)];
    return texts.length === 0 ? [] : [`ports ${texts.join(',')}`];
  };
  add(false, nets(layout.SIDE_NETS));
  add(true, nets(layout.SIDE_NOT_NETS));
  // Several sets on one side must all hold the address.
  add(false, sets(layout.SIDE_IP_SETS), ' and ');
  for (const text of sets(layout.SIDE_NOT_IP_SETS)) add(true, [text]);
  const service = field(tables, section, side, layout.SIDE_SERVICE_PORTS);
  if (service !== layout.NONE) add(false, [setText(tables, service)]);
  add(false, ports(layout.SIDE_PORTS, layout.SIDE_NAMED_PORTS));
  add(true, ports(layout.SIDE_NOT_PORTS, layout.SIDE_NOT_NAMED_PORTS));
  return parts;
}

function rangeTexts(tables: Tables, side: number, at: number): string[] {
  const start = field(tables, layout.SECTION_SIDES, side, at);
  const count = field(tables, layout.SECTION_SIDES, side, at + 1);
  return Array.from({ length: count }, (_, i) => {
    const [low, high] = [tables.ints[start + 2 * i]!, tables.ints[start + 2 * i + 1]!];
    return low === high ? String(low) : `${low}-${high}`;
  });
}

/** What makes the set: a selector, a named port, a service. */
export function setText(tables: Tables, set: number): string {
  return `{${textField(tables, layout.SECTION_IP_SETS, set, layout.IP_SET_TEXT)}}`;
}

/** Texts of a list of prefixes of a record; addresses stand alone. */
export function prefixTexts(tables: Tables, section: number, record: number, at: number): string[] {
  const start = field(tables, section, record, at);
  const count = field(tables, section, record, at + 1);
  return Array.from({ length: count }, (_, i) =>
    prefixText(tables.prefixes, (start + i) * layout.RECORD_WORDS[layout.SECTION_PREFIXES]!),
  );
}

/** Text of the prefix whose five words start at `words[at]`. */
export function prefixText(words: Int32Array, at: number): string {
  const form = words[at + layout.PREFIX_FORM]!;
  const version = form >> 8 === 4 ? 4 : 6;
  const word = (i: number): number => words[at + layout.PREFIX_WORDS + i]!;
  const prefix: IpPrefix = { version, words: [word(0), word(1), word(2), word(3)], length: form & 255 };
  const text = formatAddress(prefix);
  return prefix.length === (version === 4 ? 32 : 128) ? text : `${text}/${prefix.length}`;
}
