/**
 * Members of IP sets, put together when somebody asks.
 *
 * Packets never look at a set: what they need of it is in the peer classes. So the tables say which groups are in a set and not which
 * 200 000 addresses, and a group that goes over to another set is one number in a list. `render`, `dump` and the like ask here.
 */
import * as layout from './layout.ts';
import { field, intsField, type Tables, templateField } from './tables.ts';

const MEMBER_WORDS = layout.RECORD_WORDS[layout.SECTION_MEMBERS]!;
const PREFIX_WORDS = layout.PREFIX_SIZE;

/** Members of `set` in the form of SECTION_MEMBERS, one after the other: by address, then length; each once. */
export function setMembers(tables: Tables, set: number): Int32Array {
  const own = ownMembers(tables, set);
  const { groupsOf, lists } = indexOf(tables);
  const groups = groupsOf.get(set);
  if (groups === undefined) return own;
  const places: number[] = [];
  for (const group of groups) {
    const list = lists[group]!;
    for (let i = 0; i < list.length; i += 2)
      for (let n = 0; n < list[i + 1]!; n++) places.push((list[i]! + n) * PREFIX_WORDS);
  }
  const { prefixes } = tables;
  const records = places.map((at) => [...prefixes.subarray(at, at + PREFIX_WORDS), 0]);
  for (let at = 0; at < own.length; at += MEMBER_WORDS) records.push([...own.subarray(at, at + MEMBER_WORDS)]);
  records.sort(compareMembers);
  return Int32Array.from(records.filter((each, i) => i === 0 || compareMembers(each, records[i - 1]!) !== 0).flat());
}

/** Those of no group: backends of a service, and all members with ports. */
function ownMembers({ words, starts }: Tables, set: number): Int32Array {
  const record = starts[layout.SECTION_IP_SETS]! + set * layout.RECORD_WORDS[layout.SECTION_IP_SETS]!;
  const first = starts[layout.SECTION_MEMBERS]! + words[record + layout.IP_SET_MEMBERS]! * MEMBER_WORDS;
  return words.subarray(first, first + words[record + layout.IP_SET_MEMBERS + 1]! * MEMBER_WORDS);
}

/** As `comparePrefixes` of base/ip.ts. */
function compareMembers(a: readonly number[], b: readonly number[]): number {
  const version = (a[0]! >> 8) - (b[0]! >> 8);
  if (version !== 0) return version;
  for (let word = 1; word < PREFIX_WORDS; word++) {
    const difference = (a[word]! >>> 0) - (b[word]! >>> 0);
    if (difference !== 0) return difference;
  }
  return a[0]! - b[0]!;
}

interface MemberIndex {
  /** By set. */
  readonly groupsOf: ReadonlyMap<number, readonly number[]>;
  /** By group: start and count in SECTION_PREFIXES of the lists of its endpoints or network sets, in turn. */
  readonly lists: readonly (readonly number[])[];
}

const known = new WeakMap<Tables, MemberIndex>();

function indexOf(tables: Tables): MemberIndex {
  const made = known.get(tables);
  if (made !== undefined) return made;
  const groupsOf = new Map<number, number[]>();
  for (let group = 0; group < tables.counts[layout.SECTION_GROUPS]!; group++) {
    for (const set of intsField(tables, layout.SECTION_GROUPS, group, layout.GROUP_SETS)) {
      const groups = groupsOf.get(set);
      if (groups === undefined) groupsOf.set(set, [group]);
      else groups.push(group);
    }
  }
  const lists = Array.from({ length: tables.counts[layout.SECTION_GROUPS]! }, (_, group) => {
    // All sets of a group name the prefixes of the group.
    const firstSet = field(tables, layout.SECTION_GROUPS, group, layout.GROUP_NETWORK_SETS);
    if (field(tables, layout.SECTION_GROUPS, group, layout.GROUP_NETWORK_SETS + 1) === 0) return [];
    const of = (word: number): number => field(tables, layout.SECTION_NETWORK_SETS, firstSet, word);
    return [of(layout.NETWORK_SET_PREFIXES), of(layout.NETWORK_SET_PREFIXES + 1)];
  });
  for (let endpoint = 0; endpoint < tables.counts[layout.SECTION_ENDPOINTS]!; endpoint++) {
    const group = templateField(tables, endpoint, layout.TEMPLATE_GROUP);
    if (group === layout.NONE) continue;
    const of = (word: number): number => field(tables, layout.SECTION_ENDPOINTS, endpoint, word);
    lists[group]!.push(of(layout.ENDPOINT_ADDRESSES), of(layout.ENDPOINT_ADDRESSES + 1));
  }
  const index = { groupsOf, lists };
  known.set(tables, index);
  return index;
}
