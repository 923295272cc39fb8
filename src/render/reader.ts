/** Reading what rendering needs out of the tables: lists of prefixes, ranges, policies. */
import { formatIpv4, formatIpv6 } from '../base/ip.ts';
import * as layout from '../tables/layout.ts';
import { field, intsField, type Tables, templateField } from '../tables/tables.ts';

const PREFIX_WORDS = layout.PREFIX_SIZE;

export interface TablePrefix {
  readonly version: 4 | 6;
  readonly length: number;
  readonly address: string;
}

export function prefixAt(tables: Tables, index: number): TablePrefix {
  return readPrefix(tables.prefixes, index * PREFIX_WORDS);
}

/** The prefix whose record starts at word `at`. */
export function readPrefix(words: Int32Array, at: number): TablePrefix {
  const form = words[at + layout.PREFIX_FORM]!;
  const word = (i: number): number => words[at + layout.PREFIX_WORDS + i]!;
  const version = form >> 8 === 6 ? 6 : 4;
  const address = version === 4 ? formatIpv4(word(0)) : formatIpv6(word(0), word(1), word(2), word(3));
  return { version, length: form & 255, address };
}

export function prefixText(prefix: TablePrefix): string {
  return `${prefix.address}/${prefix.length}`;
}

/** The prefixes of a list field of a record. */
export function prefixList(tables: Tables, section: number, index: number, word: number): TablePrefix[] {
  const start = field(tables, section, index, word);
  const count = field(tables, section, index, word + 1);
  return Array.from({ length: count }, (_, i) => prefixAt(tables, start + i));
}

/** The port ranges of a side. */
export function rangeList(tables: Tables, side: number, word: number): [number, number][] {
  const start = field(tables, layout.SECTION_SIDES, side, word);
  const count = field(tables, layout.SECTION_SIDES, side, word + 1);
  return Array.from({ length: count }, (_, i) => [tables.ints[start + 2 * i]!, tables.ints[start + 2 * i + 1]!]);
}

export interface TierPolicies {
  readonly tier: number;
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
}

/** A group's list of policies (GROUP_TIERS and its like), without staged ones: those are not enforced. */
export function enforcedTiers(tables: Tables, group: number, word: number): TierPolicies[] {
  const ints = tables.ints;
  let at = field(tables, layout.SECTION_GROUPS, group, word);
  const next = (): number => ints[at++]!;
  const list = (): number[] =>
    Array.from({ length: next() }, next).filter(
      (policy) => (field(tables, layout.SECTION_POLICIES, policy, layout.POLICY_FLAGS) & layout.POLICY_IS_STAGED) === 0,
    );
  return Array.from({ length: next() }, () => ({ tier: next(), ingress: list(), egress: list() }));
}

/** Endpoints of `node`, in the order of the tables. */
export function endpointsOf(tables: Tables, node: number, kind: number): number[] {
  const out: number[] = [];
  for (let endpoint = 0; endpoint < tables.counts[layout.SECTION_ENDPOINTS]!; endpoint++) {
    if (field(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_NODE) !== node) continue;
    if (templateField(tables, endpoint, layout.TEMPLATE_KIND) === kind) out.push(endpoint);
  }
  return out;
}

export interface Failsafe {
  readonly protocol: number;
  readonly port: number;
  readonly remote: TablePrefix | undefined;
}

/** `word`: NODE_FAILSAFES_INBOUND or NODE_FAILSAFES_OUTBOUND. */
export function failsafesOf(tables: Tables, node: number, word: number): Failsafe[] {
  const ints = intsField(tables, layout.SECTION_NODES, node, word);
  const out: Failsafe[] = [];
  for (let i = 0; i < ints.length; i += 3) {
    const remote = ints[i + 2]!;
    out.push({
      protocol: ints[i]!,
      port: ints[i + 1]!,
      remote: remote === layout.NONE ? undefined : prefixAt(tables, remote),
    });
  }
  return out;
}
