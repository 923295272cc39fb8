/** What the packet path relies on beyond plain references: rows, maps, functions, the trie and the hashes of tables. */
import { describe, expect, test } from 'vitest';
import * as layout from '../../src/tables/layout.ts';
import { refusalOf, soundSections } from './broken.ts';

/** The refusal of sound tables with one word changed. */
function withWord(section: number, word: number, value: number): string {
  return refusalOf((sections) => {
    sections[section]![word] = value;
  });
}

function withSection(section: number, words: readonly number[] | Int32Array): string {
  return refusalOf((sections) => {
    sections[section] = Int32Array.from(words);
  });
}

const FAR = 0x7000_0000;

describe('steps', () => {
  const step = (word: number, value: number): string =>
    withWord(layout.SECTION_STEPS, 2 * layout.RECORD_WORDS[layout.SECTION_STEPS]! + word, value);

  test('of no action, rule, tier or text', () => {
    expect(withSection(layout.SECTION_STEPS, [])).toBe('there is no step 0');
    for (const action of [-1, 4]) expect(step(layout.STEP_ACTION, action)).toBe('step 2 has an unknown action');
    for (const value of [-2, FAR]) {
      expect(step(layout.STEP_RULE, value)).toBe('step 2 names no rule');
      expect(step(layout.STEP_TIER, value)).toBe('step 2 names no tier');
      expect(step(layout.STEP_TRACE_NAME, value)).toBe('step 2 names no text');
    }
    expect(step(layout.STEP_TRACE_NAME, layout.NONE)).toBe('step 2 names no text');
    for (const value of [-1, FAR]) {
      expect(step(layout.STEP_SELECTED_BY, value)).toBe('step 2 lists outside');
      expect(step(layout.STEP_SELECTED_BY + 1, value)).toBe('step 2 lists outside');
    }
  });
});

describe('chains', () => {
  const sound = soundSections();
  const chains = sound[layout.SECTION_CHAINS]!;
  const size = layout.RECORD_WORDS[layout.SECTION_CHAINS]!;
  const stepSize = layout.RECORD_WORDS[layout.SECTION_STEPS]!;
  const word = (chain: number, field: number): number => chains[chain * size + field]!;
  const all = Array.from({ length: chains.length / size }, (_, chain) => chain);
  const change = (chain: number, field: number, value: number): string =>
    withWord(layout.SECTION_CHAINS, chain * size + field, value);

  test('of no IP version, with rows or steps elsewhere', () => {
    for (const version of [0, 5]) expect(change(0, layout.CHAIN_VERSION, version)).toBe('chain 0 has no IP version');
    for (const words of [0, 2])
      expect(change(0, layout.CHAIN_ROW_WORDS, words)).toBe('chain 0 has rows of the wrong length');
    expect(change(0, layout.CHAIN_STEP_COUNT, 0)).toBe('chain 0 has rows of the wrong length');
    for (const value of [-1, FAR]) {
      expect(change(0, layout.CHAIN_FIRST_STEP, value)).toBe('chain 0 has steps outside');
      for (const field of [layout.CHAIN_SRC_MAP, layout.CHAIN_DST_MAP, layout.CHAIN_SRC_ROWS, layout.CHAIN_DST_ROWS]) {
        expect(change(0, field, value)).toBe('chain 0 has rows outside');
      }
      expect(change(0, layout.CHAIN_SRC_ROWS + 1, value)).toBe('chain 0 has rows outside');
    }
    for (const value of [-1, word(0, layout.CHAIN_STEP_COUNT)]) {
      expect(change(0, layout.CHAIN_FAILSAFES, value)).toBe('chain 0 has no step behind its failsafes');
    }
  });

  test('that map a class to no row', () => {
    for (const [map, rows] of [
      [layout.CHAIN_SRC_MAP, layout.CHAIN_SRC_ROWS],
      [layout.CHAIN_DST_MAP, layout.CHAIN_DST_ROWS],
    ] as const) {
      const block = sound[layout.SECTION_CLASS_MAPS]![word(0, map)]!;
      for (const row of [-1, word(0, rows + 1)]) {
        expect(withWord(layout.SECTION_CLASS_MAPS, block, row)).toMatch(/^chain \d+ maps a class to no row$/);
      }
      for (const elsewhere of [-1, sound[layout.SECTION_CLASS_MAPS]!.length - layout.CLASS_MAP_BLOCK + 1]) {
        expect(withWord(layout.SECTION_CLASS_MAPS, word(0, map), elsewhere)).toMatch(/^chain \d+ has rows outside$/);
      }
    }
  });

  test('with keys outside or out of order', () => {
    for (const value of [-1, FAR]) {
      for (const field of [layout.CHAIN_KEYS, layout.CHAIN_KEYS + 1, layout.CHAIN_KEY_ROWS]) {
        expect(change(0, field, value)).toBe('chain 0 has key rows outside');
      }
    }
    expect(change(0, layout.CHAIN_KEYS + 1, 0)).toBe('chain 0 has key rows outside');
    const long = all.find((chain) => word(chain, layout.CHAIN_KEYS + 1) > 2)!;
    const keys = word(long, layout.CHAIN_KEYS);
    for (const [at, value] of [
      [keys, 1],
      [keys + 1, 0],
      [keys + 2, sound[layout.SECTION_INTS]![keys + 1]!],
    ] as const) {
      expect(withWord(layout.SECTION_INTS, at, value)).toMatch(/^chain \d+ has keys out of order$/);
    }
  });

  test('with source keys outside or out of order', () => {
    const chain = all.find((number) => word(number, layout.CHAIN_SOURCE_KEYS) !== layout.NONE)!;
    const source = word(chain, layout.CHAIN_SOURCE_KEYS);
    const ints = sound[layout.SECTION_INTS]!;
    const count = ints[source]!;
    expect(count).toBeGreaterThan(2);
    for (const value of [-2, ints.length, FAR]) {
      expect(change(chain, layout.CHAIN_SOURCE_KEYS, value)).toBe(`chain ${chain} has source keys outside`);
    }
    expect(withWord(layout.SECTION_INTS, source, 0)).toBe(`chain ${chain} has source keys outside`);
    expect(withWord(layout.SECTION_INTS, source, FAR)).toBe(`chain ${chain} has source keys outside`);
    for (const value of [-1, FAR]) {
      expect(withWord(layout.SECTION_INTS, source + count + 1, value)).toBe(`chain ${chain} has source rows outside`);
    }
    expect(withWord(layout.SECTION_INTS, source + 1, 1)).toBe(`chain ${chain} has source keys out of order`);
    expect(withWord(layout.SECTION_INTS, source + 2, 0)).toBe(`chain ${chain} has source keys out of order`);
  });

  test('that pass back, nowhere, or to themselves', () => {
    const steps = sound[layout.SECTION_STEPS]!;
    const passes = all.flatMap((chain) =>
      Array.from({ length: word(chain, layout.CHAIN_STEP_COUNT) }, (_, step) => ({ chain, step })).filter(
        ({ step }) => steps[(word(chain, layout.CHAIN_FIRST_STEP) + step) * stepSize] === layout.STEP_PASS,
      ),
    );
    expect(passes.length).toBeGreaterThan(0);
    for (const { chain, step } of passes.slice(0, 3)) {
      const at = (word(chain, layout.CHAIN_FIRST_STEP) + step) * stepSize + layout.STEP_JUMP;
      for (const jump of [-1, step, word(chain, layout.CHAIN_STEP_COUNT)]) {
        expect(withWord(layout.SECTION_STEPS, at, jump)).toBe(`step ${step} of chain ${chain} passes to no later step`);
      }
    }
  });
});

describe('policy classes and their functions', () => {
  const sound = soundSections();
  const size = layout.RECORD_WORDS[layout.SECTION_POLICY_CLASSES]!;
  const classes = sound[layout.SECTION_POLICY_CLASSES]!;
  const change = (field: number, value: number): string => withWord(layout.SECTION_POLICY_CLASSES, size + field, value);

  test('classes of no chain, functions, map or column', () => {
    expect(withSection(layout.SECTION_POLICY_CLASSES, [])).toBe('there is no policy class 0');
    for (const value of [-2, FAR]) {
      expect(change(layout.POLICY_CLASS_CHAIN, value)).toBe('policy class 1 names no chain');
      expect(change(layout.POLICY_CLASS_REFS, value)).toBe('policy class 1 has functions outside');
      expect(change(layout.POLICY_CLASS_COLUMNS, value)).toBe('policy class 1 has functions outside');
      expect(change(layout.POLICY_CLASS_MAP, value)).toBe('policy class 1 has its map outside');
    }
    const map = classes[size + layout.POLICY_CLASS_MAP]!;
    // The same map may serve a chain, which is checked first.
    for (const value of [-1, FAR]) {
      expect(withWord(layout.SECTION_CLASS_MAPS, sound[layout.SECTION_CLASS_MAPS]![map]!, value)).toMatch(
        /^(policy class \d+ maps a class to no column|chain \d+ maps a class to no row)$/,
      );
      expect(withWord(layout.SECTION_CLASS_MAPS, map, value)).toMatch(
        /^(policy class \d+ has its map outside|chain \d+ has rows outside)$/,
      );
    }
    expect(change(layout.POLICY_CLASS_COLUMNS, 0)).toBe('policy class 1 maps a class to no column');
  });

  test('functions that lie outside, start elsewhere, name no step, are out of order', () => {
    const refs = sound[layout.SECTION_FUNCTION_REFS]!;
    const index = refs.findIndex((ref) => ref !== layout.NONE && (ref & 31) >= 2);
    const offset = refs[index]! >>> 5;
    const count = 1 << (refs[index]! & 31);
    const ref = (value: number): string => withWord(layout.SECTION_FUNCTION_REFS, index, value);
    const entry = (at: number, value: number): string => withWord(layout.SECTION_FUNCTIONS, offset + at, value);
    expect(ref(0x7fff_ffe2)).toBe('a function lies outside');
    expect(ref((offset << 5) | 21)).toBe('a function lies outside');
    expect(ref(-2)).toBe('a function lies outside');
    expect(entry(0, 1)).toBe('a function does not start at key 0');
    expect(entry(count, -1)).toBe('a function names no step');
    expect(entry(count, FAR)).toBe('a function names no step');
    expect(entry(2, 0)).toBe('a function has keys out of order');
  });
});

describe('pairs', () => {
  test('functions are checked like those of one check', () => {
    const pairs = soundSections()[layout.SECTION_PAIRS]!;
    const index = pairs.findIndex((ref) => ref >= 0);
    expect(index).toBeGreaterThan(0);
    expect(withWord(layout.SECTION_PAIRS, index, 0x7fff_ffe2)).toBe('a function of a pair lies outside');
    expect(withWord(layout.SECTION_PAIRS, index, -2)).toBe('a function of a pair lies outside');
    expect(withWord(layout.SECTION_PAIRS, index, layout.NONE)).toBe('');
  });
});

/** A policy class whose chain is of this IP version. */
function policyClassOf(version: number): number {
  const sound = soundSections();
  const classes = sound[layout.SECTION_POLICY_CLASSES]!;
  const chains = sound[layout.SECTION_CHAINS]!;
  for (let number = 1; number * layout.POLICY_CLASS_SIZE < classes.length; number++) {
    const chain = classes[number * layout.POLICY_CLASS_SIZE + layout.POLICY_CLASS_CHAIN]!;
    if (chains[chain * layout.CHAIN_SIZE + layout.CHAIN_VERSION] === version) return number;
  }
  throw new Error(`no policy class of IPv${version}`);
}

describe('address classes', () => {
  test.each([
    ['IPv4', layout.SECTION_CLASSES_4],
    ['IPv6', layout.SECTION_CLASSES_6],
  ])('%s: none, of no policy class, or of no pairs', (_name, section) => {
    expect(withSection(section, [])).toBe(`section ${section} is empty`);
    const size = layout.RECORD_WORDS[section]!;
    const last = soundSections()[section]!.length / size - 1;
    const change = (field: number, value: number): string => withWord(section, last * size + field, value);
    expect(change(layout.CLASS_PEER, -1)).toBe(`class ${last} has no peer class`);
    expect(change(layout.CLASS_PEER, 0x0100_0000)).toMatch(/^chain \d+ has rows outside$/);
    for (const field of [layout.CLASS_EGRESS, layout.CLASS_INGRESS]) {
      for (const value of [-1, FAR]) expect(change(field, value)).toBe(`class ${last} names no policy class`);
      const other = policyClassOf(section === layout.SECTION_CLASSES_4 ? 6 : 4);
      expect(change(field, other)).toBe(`class ${last} names a policy class of the other IP version`);
    }
    for (const field of [layout.CLASS_PAIR_ROW, layout.CLASS_PAIR_COLUMN]) {
      expect(change(field, -1)).toBe(`class ${last} has no pairs`);
      expect(change(field, FAR)).toBe(`a class of section ${section} has pairs outside`);
    }
  });
});

describe('from addresses to classes', () => {
  test('the trie of IPv4', () => {
    const trie = soundSections()[layout.SECTION_TRIE_4]!;
    const root = layout.TRIE_ROOT_ENTRIES;
    expect(withSection(layout.SECTION_TRIE_4, trie.subarray(0, root))).toBe('the IPv4 trie has no root');
    // Before the nodes, behind the end, and a node that ends behind it; `offset << 1 | isNode`.
    for (const entry of [-1, 0, (root - 1) << 1, trie.length << 1, ((trie.length - 255) << 1) | 1]) {
      expect(withWord(layout.SECTION_TRIE_4, 0, entry)).toBe('the IPv4 trie leads nowhere');
    }
    const middle = trie[10 << 8]! >>> 1;
    expect(withWord(layout.SECTION_TRIE_4, middle, 0)).toBe('the IPv4 trie leads nowhere');
    const leaf = trie[middle]! >>> 1;
    const classSize = layout.RECORD_WORDS[layout.SECTION_CLASSES_4]!;
    for (const entry of [-classSize, 1, soundSections()[layout.SECTION_CLASSES_4]!.length]) {
      expect(withWord(layout.SECTION_TRIE_4, leaf, entry)).toBe(`entry ${leaf} of the IPv4 trie names no class`);
    }
  });

  test('the hash and the ranges of IPv6', () => {
    const sound = soundSections();
    const exact = sound[layout.SECTION_EXACT_6]!;
    const ranges = sound[layout.SECTION_RANGES_6]!;
    const classes = sound[layout.SECTION_CLASSES_6]!.length / layout.RECORD_WORDS[layout.SECTION_CLASSES_6]!;
    expect(withSection(layout.SECTION_EXACT_6, exact.subarray(5))).toBe('the IPv6 hash has not a power of two slots');
    expect(withSection(layout.SECTION_EXACT_6, [])).toBe('the IPv6 hash has not a power of two slots');
    for (const number of [-1, classes + 1]) {
      expect(withWord(layout.SECTION_EXACT_6, 4, number)).toBe('slot 0 of the IPv6 hash names no class');
    }
    expect(
      withSection(
        layout.SECTION_EXACT_6,
        exact.map((word, i) => (i % 5 === 4 ? 1 : word)),
      ),
    ).toBe('the IPv6 hash is full');
    expect(withSection(layout.SECTION_RANGES_6, [])).toBe('the IPv6 ranges are empty');
    const last = ranges.length / 5 - 1;
    for (const number of [-1, classes]) {
      expect(withWord(layout.SECTION_RANGES_6, last * 5 + 4, number)).toBe(`range ${last} of IPv6 names no class`);
    }
    for (let word = 0; word < 4; word++) {
      expect(withWord(layout.SECTION_RANGES_6, word, 1)).toBe('the IPv6 ranges do not start at ::');
    }
  });
});

describe('owners, chains of endpoints, failsafes', () => {
  const sound = soundSections();
  const ints = sound[layout.SECTION_INTS]!;
  const hashes = [
    { section: layout.SECTION_OWNERS, size: layout.OWNER_SIZE, word: layout.OWNER_OWNER },
    { section: layout.SECTION_OWNERS_6, size: layout.OWNER_6_SIZE, word: layout.OWNER_6_OWNER },
  ];

  test.each(hashes)('the hash of owners: section $section', ({ section, size, word }) => {
    const owners = sound[section]!;
    expect(withSection(section, owners.subarray(size))).toBe('the owner hash has not a power of two slots');
    const used = owners.findIndex((owner, i) => i % size === word && owner !== 0);
    expect(used).toBeGreaterThan(0);
    const slot = (used - word) / size;
    for (const list of [ints.length, FAR]) {
      expect(withWord(section, used, list + 1)).toBe(`owner ${slot} has its list outside`);
    }
    const endpoints = sound[layout.SECTION_ENDPOINTS]!.length / layout.ENDPOINT_SIZE;
    for (const endpoint of [endpoints, FAR]) {
      expect(withWord(section, used, layout.podAlone(endpoint) + 1)).toBe(`owner ${slot} names no endpoint or node`);
    }
    const full = Int32Array.from(owners, (each, i) => (i % size === word ? owners[used]! : each));
    expect(withSection(section, full)).toBe('the owner hash is full');
  });

  test('lists of owners', () => {
    const kinds = [layout.SECTION_ENDPOINTS, layout.SECTION_NODES, layout.SECTION_ENDPOINTS];
    const seen = new Set<number>();
    const owners = hashes.flatMap(({ section, size, word }) => [
      ...sound[section]!.filter((_, i) => i % size === word),
    ]);
    for (const owner of owners) {
      if (owner <= 0) continue;
      let at = owner - 1;
      kinds.forEach((_section, kind) => {
        if (ints[at]! > 0) {
          seen.add(kind);
          for (const number of [-1, FAR]) {
            expect(withWord(layout.SECTION_INTS, at + 1, number)).toMatch(/^owner \d+ names no endpoint or node$/);
          }
          expect(withWord(layout.SECTION_INTS, at, -1)).toMatch(/^owner \d+ has its list outside$/);
        }
        at += ints[at]! + 1;
      });
    }
    expect([...seen].sort()).toEqual([0, 1, 2]);
  });

  test('chains of endpoints', () => {
    const chains = sound[layout.SECTION_TEMPLATES]![layout.TEMPLATE_CHAINS]!;
    for (const value of [-2, ints.length, FAR]) {
      expect(withWord(layout.SECTION_TEMPLATES, layout.TEMPLATE_SIZE + layout.TEMPLATE_CHAINS, value)).toBe(
        'template 1 has its chains outside',
      );
    }
    expect(withWord(layout.SECTION_TEMPLATES, layout.TEMPLATE_CHAINS, layout.NONE)).toBe('');
    for (const value of [-2, FAR]) {
      expect(withWord(layout.SECTION_INTS, chains, value)).toMatch(/^template \d+ names no chain$/);
    }
    const slots = Array.from({ length: 2 * layout.CHAIN_SLOT_COUNT }, (_, slot) => slot);
    const [four, six] = [slots.slice(0, layout.CHAIN_SLOT_COUNT), slots.slice(layout.CHAIN_SLOT_COUNT)].map((half) =>
      half.map((slot) => chains + slot).find((at) => ints[at]! !== layout.NONE),
    );
    for (const [at, chain] of [
      [four!, ints[six!]!],
      [six!, ints[four!]!],
    ] as const) {
      expect(withWord(layout.SECTION_INTS, at, chain)).toMatch(/^template \d+ names a chain of the other IP version$/);
    }
  });

  test('failsafes', () => {
    const inbound = sound[layout.SECTION_NODES]![layout.NODE_FAILSAFES_INBOUND]!;
    expect(withWord(layout.SECTION_NODES, layout.NODE_FAILSAFES_INBOUND + 1, 2)).toBe(
      'node 0 has a failsafe without its prefix',
    );
    for (const prefix of [-2, FAR]) {
      expect(withWord(layout.SECTION_INTS, inbound + 2, prefix)).toMatch(/^node \d+ has a failsafe of no prefix$/);
    }
  });
});
