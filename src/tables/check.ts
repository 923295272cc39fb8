/** The one check of a buffer: every index, list, row and function lies where the packet path will look for it. */
import { InvariantError } from '../base/assert.ts';
import { ClassMapChecker } from './check-maps.ts';
import * as layout from './layout.ts';
import type { Tables } from './tables.ts';

export function check(condition: boolean, problem: string): asserts condition {
  if (!condition) fail(problem);
}

/** Where millions of checks run, a message must not be made unless it is needed: `if (…) fail(…)`. */
function fail(problem: string): never {
  throw new InvariantError(`tables: ${problem}`);
}

/** Throws an `InvariantError` at the first record that points outside. */
export function checkRecords(tables: Tables): void {
  check(inside(tables.localNode, tables.counts[layout.SECTION_NODES]!), 'the local node is none of the nodes');
  checkStrings(tables);
  checkReferences(tables);
  checkSets(tables);
  checkSteps(tables);
  const maps = new ClassMapChecker(tables);
  checkChains(tables, maps);
  checkPolicyClasses(tables, maps);
  checkFunctions(tables);
  checkAddressClasses(tables, layout.SECTION_CLASSES_4);
  checkAddressClasses(tables, layout.SECTION_CLASSES_6);
  checkTrie(tables);
  checkIpv6(tables);
  checkOwners(tables);
  checkFailsafes(tables);
}

type Visit = (at: (word: number) => number, index: number) => void;

function eachRecord(tables: Tables, section: number, visit: Visit): void {
  const { words } = tables;
  const size = layout.RECORD_WORDS[section]!;
  let start = tables.starts[section]!;
  const at = (word: number): number => words[start + word]!;
  for (let index = 0; index < tables.counts[section]!; index++, start += size) visit(at, index);
}

function checkStrings(tables: Tables): void {
  const limit = tables.counts[layout.SECTION_STRING_BYTES]! * 4;
  eachRecord(tables, layout.SECTION_STRINGS, (at, index) => {
    const isInside = list(at(layout.STRING_OFFSET_BYTES), at(layout.STRING_LENGTH_BYTES), limit);
    if (!isInside) fail(`string ${index} lies outside the text`);
  });
}

/** How a word of a record is used: an index into a section (NONE allowed or not), or start and count of a list. */
type Use = readonly [word: number, target: number, form: 'index' | 'optional' | 'list' | 'pairs'];

const S = layout;
const USES: readonly (readonly [section: number, uses: readonly Use[]])[] = [
  [S.SECTION_TIERS, [[S.TIER_NAME, S.SECTION_STRINGS, 'index']]],
  [
    S.SECTION_POLICIES,
    [
      [S.POLICY_ID, S.SECTION_STRINGS, 'index'],
      [S.POLICY_NAMESPACE, S.SECTION_STRINGS, 'index'],
      [S.POLICY_NAME, S.SECTION_STRINGS, 'index'],
      [S.POLICY_TIER, S.SECTION_TIERS, 'index'],
      [S.POLICY_INGRESS, S.SECTION_RULES, 'list'],
      [S.POLICY_EGRESS, S.SECTION_RULES, 'list'],
      [S.POLICY_SELECTOR, S.SECTION_STRINGS, 'index'],
      [S.POLICY_FILE, S.SECTION_STRINGS, 'index'],
    ],
  ],
  [
    S.SECTION_PROFILES,
    [
      [S.PROFILE_NAME, S.SECTION_STRINGS, 'index'],
      [S.PROFILE_INGRESS, S.SECTION_RULES, 'list'],
      [S.PROFILE_EGRESS, S.SECTION_RULES, 'list'],
      [S.PROFILE_FILE, S.SECTION_STRINGS, 'index'],
    ],
  ],
  [
    S.SECTION_RULES,
    [
      [S.RULE_SOURCE, S.SECTION_SIDES, 'index'],
      [S.RULE_DESTINATION, S.SECTION_SIDES, 'index'],
      [S.RULE_FILE, S.SECTION_STRINGS, 'index'],
    ],
  ],
  [
    S.SECTION_SIDES,
    [
      [S.SIDE_NETS, S.SECTION_PREFIXES, 'list'],
      [S.SIDE_NOT_NETS, S.SECTION_PREFIXES, 'list'],
      [S.SIDE_IP_SETS, S.SECTION_INTS, 'list'],
      [S.SIDE_NOT_IP_SETS, S.SECTION_INTS, 'list'],
      [S.SIDE_PORTS, S.SECTION_INTS, 'pairs'],
      [S.SIDE_NAMED_PORTS, S.SECTION_INTS, 'list'],
      [S.SIDE_NOT_PORTS, S.SECTION_INTS, 'pairs'],
      [S.SIDE_NOT_NAMED_PORTS, S.SECTION_INTS, 'list'],
      [S.SIDE_SERVICE_PORTS, S.SECTION_IP_SETS, 'optional'],
    ],
  ],
  [
    S.SECTION_IP_SETS,
    [
      [S.IP_SET_ID, S.SECTION_STRINGS, 'index'],
      [S.IP_SET_TEXT, S.SECTION_STRINGS, 'index'],
      [S.IP_SET_MEMBERS, S.SECTION_MEMBERS, 'list'],
    ],
  ],
  [
    S.SECTION_GROUPS,
    [
      [S.GROUP_PROFILES, S.SECTION_INTS, 'list'],
      [S.GROUP_TIERS, S.SECTION_INTS, 'index'],
      [S.GROUP_FORWARD_TIERS, S.SECTION_INTS, 'index'],
      [S.GROUP_PRE_DNAT_TIERS, S.SECTION_INTS, 'index'],
      [S.GROUP_UNTRACKED_TIERS, S.SECTION_INTS, 'index'],
      [S.GROUP_NETWORK_SETS, S.SECTION_NETWORK_SETS, 'list'],
      [S.GROUP_SETS, S.SECTION_INTS, 'list'],
    ],
  ],
  [
    S.SECTION_ENDPOINTS,
    [
      [S.ENDPOINT_KEY, S.SECTION_STRINGS, 'index'],
      [S.ENDPOINT_TEMPLATE, S.SECTION_TEMPLATES, 'index'],
      [S.ENDPOINT_NODE, S.SECTION_NODES, 'optional'],
      [S.ENDPOINT_UID, S.SECTION_STRINGS, 'index'],
      [S.ENDPOINT_ADDRESSES, S.SECTION_PREFIXES, 'list'],
      [S.ENDPOINT_INTERFACE, S.SECTION_STRINGS, 'index'],
    ],
  ],
  [
    S.SECTION_TEMPLATES,
    [
      [S.TEMPLATE_NAMESPACE, S.SECTION_STRINGS, 'index'],
      [S.TEMPLATE_SERVICE_ACCOUNT, S.SECTION_STRINGS, 'index'],
      [S.TEMPLATE_LABELS, S.SECTION_INTS, 'pairs'],
      [S.TEMPLATE_GROUP, S.SECTION_GROUPS, 'optional'],
      [S.TEMPLATE_FILE, S.SECTION_STRINGS, 'index'],
      [S.TEMPLATE_ALLOWED_SOURCES, S.SECTION_PREFIXES, 'list'],
    ],
  ],
  [
    S.SECTION_NODES,
    [
      [S.NODE_NAME, S.SECTION_STRINGS, 'index'],
      [S.NODE_UPLINK, S.SECTION_ENDPOINTS, 'optional'],
      [S.NODE_WILDCARD, S.SECTION_ENDPOINTS, 'optional'],
      [S.NODE_ADDRESSES, S.SECTION_PREFIXES, 'list'],
      [S.NODE_POD_CIDRS, S.SECTION_PREFIXES, 'list'],
      [S.NODE_INTERFACE_PREFIXES, S.SECTION_STRINGS, 'index'],
      [S.NODE_FAILSAFES_INBOUND, S.SECTION_INTS, 'list'],
      [S.NODE_FAILSAFES_OUTBOUND, S.SECTION_INTS, 'list'],
    ],
  ],
  [
    S.SECTION_SERVICES,
    [
      [S.SERVICE_KEY, S.SECTION_STRINGS, 'index'],
      [S.SERVICE_ADDRESS, S.SECTION_PREFIXES, 'index'],
      [S.SERVICE_BACKENDS, S.SECTION_INTS, 'pairs'],
    ],
  ],
  [S.SECTION_LOOP_PREFIXES, [[0, S.SECTION_PREFIXES, 'index']]],
  [
    S.SECTION_NETWORK_SETS,
    [
      [S.NETWORK_SET_NAME, S.SECTION_STRINGS, 'index'],
      [S.NETWORK_SET_PREFIXES, S.SECTION_PREFIXES, 'list'],
    ],
  ],
];

function checkReferences(tables: Tables): void {
  for (const [section, uses] of USES) for (const use of uses) checkUse(tables, section, use);
}

function checkUse({ words, starts, counts }: Tables, section: number, [word, target, form]: Use): void {
  const limit = counts[target]!;
  const size = layout.RECORD_WORDS[section]!;
  const lowest = form === 'optional' ? layout.NONE : 0;
  const unit = form === 'list' ? 1 : form === 'pairs' ? 2 : 0;
  let at = starts[section]! + word;
  for (let index = 0; index < counts[section]!; index++, at += size) {
    const value = words[at]!;
    const count = unit === 0 ? 1 : unit * words[at + 1]!;
    if (value < lowest || count < 0 || value + count > limit) {
      fail(`word ${word} of record ${index} in section ${section} points outside section ${target}`);
    }
  }
}

function checkSets(tables: Tables): void {
  const limit = tables.counts[layout.SECTION_IP_SETS]!;
  eachRecord(tables, layout.SECTION_GROUPS, (at, index) => {
    for (let i = 0; i < at(layout.GROUP_SETS + 1); i++) {
      const set = tables.ints[at(layout.GROUP_SETS) + i]!;
      if (set < 0 || set >= limit) fail(`group ${index} is in no set`);
    }
  });
}

function checkSteps(tables: Tables): void {
  check(tables.counts[layout.SECTION_STEPS]! > 0, 'there is no step 0');
  eachRecord(tables, layout.SECTION_STEPS, (at, index) => {
    const action = at(layout.STEP_ACTION);
    check(action >= layout.STEP_ALLOW && action <= layout.STEP_NONE, `step ${index} has an unknown action`);
    check(inside(at(layout.STEP_RULE), tables.counts[layout.SECTION_RULES]!), `step ${index} names no rule`);
    check(inside(at(layout.STEP_TIER), tables.counts[layout.SECTION_TIERS]!), `step ${index} names no tier`);
    check(
      at(layout.STEP_TRACE_NAME) >= 0 && at(layout.STEP_TRACE_NAME) < tables.counts[layout.SECTION_STRINGS]!,
      `step ${index} names no text`,
    );
    check(
      list(at(layout.STEP_SELECTED_BY), at(layout.STEP_SELECTED_BY + 1), tables.ints.length),
      `step ${index} lists outside`,
    );
  });
}

function checkChains(tables: Tables, maps: ClassMapChecker): void {
  const { bits, ints, steps } = tables;
  eachRecord(tables, layout.SECTION_CHAINS, (at, index) => {
    const words = at(layout.CHAIN_ROW_WORDS);
    const stepCount = at(layout.CHAIN_STEP_COUNT);
    const version = at(layout.CHAIN_VERSION);
    const rows = (word: number, count: number): boolean => list(at(word), count * words, bits.length);
    check(version === 4 || version === 6, `chain ${index} has no IP version`);
    check(stepCount > 0 && words === (stepCount + 31) >>> 5, `chain ${index} has rows of the wrong length`);
    check(
      list(at(layout.CHAIN_FIRST_STEP), stepCount, steps.length / layout.RECORD_WORDS[layout.SECTION_STEPS]!),
      `chain ${index} has steps outside`,
    );
    for (const [map, rowsWord] of [
      [layout.CHAIN_SRC_MAP, layout.CHAIN_SRC_ROWS],
      [layout.CHAIN_DST_MAP, layout.CHAIN_DST_ROWS],
    ] as const) {
      const rowCount = at(rowsWord + 1);
      const limit = maps.rowLimit(at(map), version);
      check(rows(rowsWord, rowCount) && limit >= 0, `chain ${index} has rows outside`);
      check(limit <= rowCount, `chain ${index} maps a class to no row`);
    }
    const failsafes = at(layout.CHAIN_FAILSAFES);
    check(failsafes >= 0 && failsafes < stepCount, `chain ${index} has no step behind its failsafes`);
    const keyCount = at(layout.CHAIN_KEYS + 1);
    check(
      keyCount > 0 && list(at(layout.CHAIN_KEYS), keyCount, ints.length) && rows(layout.CHAIN_KEY_ROWS, keyCount),
      `chain ${index} has key rows outside`,
    );
    check(ascendingFromZero(ints, at(layout.CHAIN_KEYS), keyCount), `chain ${index} has keys out of order`);
    const source = at(layout.CHAIN_SOURCE_KEYS);
    if (source !== layout.NONE) {
      const count = ints[source] ?? -1;
      check(count > 0 && list(source, count + 2, ints.length), `chain ${index} has source keys outside`);
      check(list(ints[source + count + 1]!, count * words, bits.length), `chain ${index} has source rows outside`);
      check(ascendingFromZero(ints, source + 1, count), `chain ${index} has source keys out of order`);
    }
    for (let step = 0; step < stepCount; step++) {
      const record = (at(layout.CHAIN_FIRST_STEP) + step) * layout.RECORD_WORDS[layout.SECTION_STEPS]!;
      if (steps[record + layout.STEP_ACTION] !== layout.STEP_PASS) continue;
      const jump = steps[record + layout.STEP_JUMP]!;
      if (jump <= step || jump >= stepCount) fail(`step ${step} of chain ${index} passes to no later step`);
    }
  });
}

function checkPolicyClasses(tables: Tables, maps: ClassMapChecker): void {
  const chainSize = layout.RECORD_WORDS[layout.SECTION_CHAINS]!;
  check(tables.counts[layout.SECTION_POLICY_CLASSES]! > 0, 'there is no policy class 0');
  eachRecord(tables, layout.SECTION_POLICY_CLASSES, (at, index) => {
    const chain = at(layout.POLICY_CLASS_CHAIN);
    const columns = at(layout.POLICY_CLASS_COLUMNS);
    const map = at(layout.POLICY_CLASS_MAP);
    check(inside(chain, tables.counts[layout.SECTION_CHAINS]!), `policy class ${index} names no chain`);
    check(
      list(at(layout.POLICY_CLASS_REFS), columns, tables.functionRefs.length),
      `policy class ${index} has functions outside`,
    );
    const version = chain === layout.NONE ? 0 : tables.chains[chain * chainSize + layout.CHAIN_VERSION]!;
    const limit = maps.rowLimit(map, version);
    check(limit >= 0, `policy class ${index} has its map outside`);
    check(limit <= columns, `policy class ${index} maps a class to no column`);
  });
}

function checkFunctions(tables: Tables): void {
  const { functionRefs, functions, pairs } = tables;
  /** log2 + 1 of the size of the function that starts there and was checked. */
  const checked = new Uint8Array(functions.length);
  const checkRef = (ref: number, name: string): void => {
    if (ref === layout.NONE || checked[ref >>> 5] === (ref & 31) + 1) return;
    checkFunction(tables, ref, name);
    checked[ref >>> 5] = (ref & 31) + 1;
  };
  for (let i = 0; i < functionRefs.length; i++) checkRef(functionRefs[i]!, 'function');
  for (let i = 0; i < pairs.length; i++) checkRef(pairs[i]!, 'function of a pair');
}

function checkFunction({ functions, counts }: Tables, ref: number, name: string): void {
  const offset = ref >>> 5;
  const size = 1 << (ref & 31);
  check((ref & 31) <= 20 && list(offset, 2 * size, functions.length), `a ${name} lies outside`);
  check(functions[offset] === 0, `a ${name} does not start at key 0`);
  for (let k = 0; k < size; k++) {
    const value = functions[offset + size + k]!;
    const step = value >> layout.VALUE_STEP_SHIFT;
    if (value < 0 || step >= counts[layout.SECTION_STEPS]!) fail(`a ${name} names no step`);
    if (k > 0 && functions[offset + k]! < functions[offset + k - 1]!) fail(`a ${name} has keys out of order`);
  }
}

function checkAddressClasses(tables: Tables, section: number): void {
  const limit = tables.counts[layout.SECTION_POLICY_CLASSES]!;
  const version = section === layout.SECTION_CLASSES_4 ? 4 : 6;
  check(tables.counts[section]! > 0, `section ${section} is empty`);
  let row = 0;
  let column = 0;
  eachRecord(tables, section, (at, index) => {
    check(at(layout.CLASS_PEER) >= 0, `class ${index} has no peer class`);
    for (const word of [layout.CLASS_EGRESS, layout.CLASS_INGRESS]) {
      check(at(word) >= 0 && at(word) < limit, `class ${index} names no policy class`);
      const chain = tables.policyClasses[at(word) * layout.POLICY_CLASS_SIZE + layout.POLICY_CLASS_CHAIN]!;
      check(isOfVersion(tables, chain, version), `class ${index} names a policy class of the other IP version`);
    }
    check(at(layout.CLASS_PAIR_ROW) >= 0 && at(layout.CLASS_PAIR_COLUMN) >= 0, `class ${index} has no pairs`);
    row = Math.max(row, at(layout.CLASS_PAIR_ROW));
    column = Math.max(column, at(layout.CLASS_PAIR_COLUMN));
  });
  check(row + column + 1 < tables.pairs.length, `a class of section ${section} has pairs outside`);
}

/** Maps of a chain have as many classes as its IP version has: those of the other one must not ask it. */
function isOfVersion({ chains }: Tables, chain: number, version: 4 | 6): boolean {
  return chain === layout.NONE || chains[chain * layout.CHAIN_SIZE + layout.CHAIN_VERSION] === version;
}

/** Every path of three loads ends at an address class. */
function checkTrie(tables: Tables): void {
  const { trie4 } = tables;
  const classWords = layout.RECORD_WORDS[layout.SECTION_CLASSES_4]!;
  const classLimit = tables.counts[layout.SECTION_CLASSES_4]! * classWords;
  const root = layout.TRIE_ROOT_ENTRIES;
  check(trie4.length > root, 'the IPv4 trie has no root');
  const levels = [new Uint8Array(trie4.length), new Uint8Array(trie4.length)] as const;
  const mark = (entry: number, level: 0 | 1): void => {
    const offset = entry >>> 1;
    const count = (entry & 1) === 1 ? layout.TRIE_NODE_ENTRIES : 1;
    check(entry >= 0 && offset >= root && offset + count <= trie4.length, 'the IPv4 trie leads nowhere');
    // Filling one byte costs as much as a thousand; most of the root's entries name a class.
    if (count === 1) levels[level][offset] = 1;
    else levels[level].fill(1, offset, offset + count);
  };
  for (let i = 0; i < root; i++) mark(trie4[i]!, 0);
  for (let i = root; i < trie4.length; i++) if (levels[0][i] === 1) mark(trie4[i]!, 1);
  for (let i = root; i < trie4.length; i++) {
    const entry = trie4[i]!;
    const isClass = entry >= 0 && entry < classLimit && entry % classWords === 0;
    if (levels[1][i] === 1 && !isClass) fail(`entry ${i} of the IPv4 trie names no class`);
  }
}

function checkIpv6(tables: Tables): void {
  const slots = tables.counts[layout.SECTION_EXACT_6]!;
  const classes = tables.counts[layout.SECTION_CLASSES_6]!;
  check(isPowerOfTwo(slots), 'the IPv6 hash has not a power of two slots');
  let used = 0;
  eachRecord(tables, layout.SECTION_EXACT_6, (at, index) => {
    check(at(4) >= 0 && at(4) <= classes, `slot ${index} of the IPv6 hash names no class`);
    if (at(4) !== 0) used++;
  });
  check(used < slots, 'the IPv6 hash is full');
  check(tables.counts[layout.SECTION_RANGES_6]! > 0, 'the IPv6 ranges are empty');
  eachRecord(tables, layout.SECTION_RANGES_6, (at, index) => {
    check(at(4) >= 0 && at(4) < classes, `range ${index} of IPv6 names no class`);
    check(
      index > 0 || (at(0) === 0 && at(1) === 0 && at(2) === 0 && at(3) === 0),
      'the IPv6 ranges do not start at ::',
    );
  });
}

function checkOwners(tables: Tables): void {
  checkOwnerHash(tables, tables.owners, layout.OWNER_SIZE, layout.OWNER_OWNER);
  checkOwnerHash(tables, tables.owners6, layout.OWNER_6_SIZE, layout.OWNER_6_OWNER);
  const chainSlots = 2 * layout.CHAIN_SLOT_COUNT;
  // Templates of a group share their chains: each list is looked at once.
  const seen = new Set<number>([layout.NONE]);
  eachRecord(tables, layout.SECTION_TEMPLATES, (at, index) => {
    const offset = at(layout.TEMPLATE_CHAINS);
    if (seen.has(offset)) return;
    seen.add(offset);
    check(list(offset, chainSlots, tables.ints.length), `template ${index} has its chains outside`);
    for (let i = 0; i < chainSlots; i++) {
      const chain = tables.ints[offset + i]!;
      check(inside(chain, tables.counts[layout.SECTION_CHAINS]!), `template ${index} names no chain`);
      const version = i < layout.CHAIN_SLOT_COUNT ? 4 : 6;
      check(isOfVersion(tables, chain, version), `template ${index} names a chain of the other IP version`);
    }
  });
}

/** `word` of each record of `size` words is the owner. */
function checkOwnerHash(tables: Tables, owners: Int32Array, size: number, word: number): void {
  const endpoints = tables.counts[layout.SECTION_ENDPOINTS]!;
  const slots = owners.length / size;
  check(isPowerOfTwo(slots), 'the owner hash has not a power of two slots');
  let used = 0;
  for (let slot = 0; slot < slots; slot++) {
    const owner = owners[slot * size + word]! - 1;
    if (owner === layout.NONE) continue;
    used++;
    if (owner >= 0) checkOwnerList(tables, owner, slot);
    else if (layout.podAlone(owner) >= endpoints) fail(`owner ${slot} names no endpoint or node`);
  }
  check(used < slots, 'the owner hash is full');
}

function checkOwnerList({ ints, counts }: Tables, start: number, index: number): void {
  let next = start;
  for (const section of [layout.SECTION_ENDPOINTS, layout.SECTION_NODES, layout.SECTION_ENDPOINTS]) {
    const count = ints[next] ?? -1;
    if (count < 0 || !list(next, count + 1, ints.length)) fail(`owner ${index} has its list outside`);
    for (let i = 1; i <= count; i++) {
      const number = ints[next + i]!;
      if (number < 0 || number >= counts[section]!) fail(`owner ${index} names no endpoint or node`);
    }
    next += count + 1;
  }
}

function checkFailsafes(tables: Tables): void {
  eachRecord(tables, layout.SECTION_NODES, (at, index) => {
    for (const word of [layout.NODE_FAILSAFES_INBOUND, layout.NODE_FAILSAFES_OUTBOUND]) {
      check(at(word + 1) % 3 === 0, `node ${index} has a failsafe without its prefix`);
      for (let i = 2; i < at(word + 1); i += 3) {
        const prefix = tables.ints[at(word) + i]!;
        check(inside(prefix, tables.counts[layout.SECTION_PREFIXES]!), `node ${index} has a failsafe of no prefix`);
      }
    }
  });
}

function inside(value: number, limit: number): boolean {
  return value >= layout.NONE && value < limit;
}

function list(start: number, count: number, limit: number): boolean {
  return start >= 0 && count >= 0 && start + count <= limit;
}

function ascendingFromZero(ints: Int32Array, start: number, count: number): boolean {
  if (ints[start] !== 0) return false;
  for (let i = 1; i < count; i++) if (ints[start + i]! <= ints[start + i - 1]!) return false;
  return true;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
