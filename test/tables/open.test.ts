/**
 * Whatever is broken in a buffer, `openTables` refuses it and says what: the header byte by byte, the rest by its checksum, and with a
 * right checksum every reference of every section.
 */
import { describe, expect, test } from 'vitest';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import * as layout from '../../src/tables/layout.ts';
import { openTables } from '../../src/tables/tables.ts';
import { assemble, refusal, refusalOf, soundBuffer, soundSections, withChecksum } from './broken.ts';

test('sound tables open, taken apart and put together again too, and every section has records', () => {
  expect(refusal(soundBuffer())).toBe('');
  expect(refusal(assemble(soundSections()))).toBe('');
  expect(new Uint8Array(assemble(soundSections()))).toEqual(new Uint8Array(soundBuffer()));
  expect(soundSections().every((section) => section.length > 0)).toBe(true);
});

describe('the header', () => {
  test('any byte of it changed is refused', () => {
    const messages = new Map<number, string>();
    for (let byte = 0; byte < layout.HEADER_WORDS * 4; byte++) {
      for (const bit of [0, 7]) {
        const bytes = new Uint8Array(soundBuffer());
        bytes[byte]! ^= 1 << bit;
        const message = refusal(bytes.buffer);
        expect([byte, message]).not.toEqual([byte, '']);
        messages.set(byte >> 2, message);
      }
    }
    const checksum = 'the checksum does not fit: the tables are damaged; compile them again';
    expect(messages.get(0)).toBe('the buffer does not start with the magic number of margay tables');
    expect(messages.get(1)).toMatch(/^the tables have layout version -?\d+, this program reads 6; compile them again$/);
    expect(messages.get(layout.HEADER_LENGTH)).toBe('the buffer has not the length that its header states');
    for (let word = layout.HEADER_CHECKSUM; word < layout.HEADER_WORDS; word++) {
      expect([word, messages.get(word)]).toEqual([word, checksum]);
    }
  });

  test('too short, not of whole words, cut, grown', () => {
    const short = 'the buffer is shorter than a header';
    expect(refusal(new ArrayBuffer(0))).toBe(short);
    expect(refusal(new ArrayBuffer(layout.HEADER_WORDS * 4 - 4))).toBe(short);
    const whole = soundBuffer();
    expect(refusal(whole.slice(0, whole.byteLength - 2))).toBe(short);
    const length = 'the buffer has not the length that its header states';
    expect(refusal(whole.slice(0, whole.byteLength - 4))).toBe(length);
    const grown = new Uint8Array(whole.byteLength + 4);
    grown.set(new Uint8Array(whole));
    expect(refusal(grown.buffer)).toBe(length);
  });

  test('a directory that leaves gaps, overlaps or ends elsewhere, although the checksum fits', () => {
    const changed = (section: number, word: 0 | 1, by: number): string => {
      const words = new Int32Array(soundBuffer());
      words[layout.HEADER_DIRECTORY + 2 * section + word]! += by;
      return refusal(withChecksum(words));
    };
    for (let section = 0; section < layout.SECTION_COUNT; section++) {
      const misplaced = `section ${section} does not follow the one before it`;
      expect(changed(section, 0, 1)).toBe(misplaced);
      expect(changed(section, 0, -1)).toBe(misplaced);
      expect(changed(section, 1, -0x4000_0000)).toBe(misplaced);
      expect(changed(section, 1, 0x1000_0000)).toBe(`section ${section} reaches beyond the buffer`);
    }
    expect(changed(layout.SECTION_COUNT - 1, 1, -1)).toBe('the sections do not fill the buffer');
  });

  test('a local node that is none', () => {
    const nodes = soundSections()[layout.SECTION_NODES]!.length / layout.RECORD_WORDS[layout.SECTION_NODES]!;
    for (const node of [layout.NONE, 0, nodes - 1]) expect(refusal(assemble(soundSections(), node))).toBe('');
    for (const node of [-2, nodes]) {
      expect(refusal(assemble(soundSections(), node))).toBe('the local node is none of the nodes');
    }
  });
});

test('any word behind the header changed is damage', () => {
  const random = new Xorshift32(5);
  const words = soundBuffer().byteLength / 4;
  for (let round = 0; round < 200; round++) {
    const bytes = new Uint8Array(soundBuffer());
    bytes[(layout.HEADER_WORDS + random.below(words - layout.HEADER_WORDS)) * 4 + random.below(4)]! ^=
      1 + random.below(255);
    expect(refusal(bytes.buffer)).toBe('the checksum does not fit: the tables are damaged; compile them again');
  }
});

test('tables in memory that is shared open as well', () => {
  const shared = new SharedArrayBuffer(soundBuffer().byteLength);
  new Uint8Array(shared).set(new Uint8Array(soundBuffer()));
  expect(openTables(shared).string(0)).toBe('');
});

/** By section, the words that refer to another one; of lists their first word. */
const REFERENCES: readonly (readonly [section: number, words: readonly number[]])[] = [
  [layout.SECTION_TIERS, [layout.TIER_NAME]],
  [
    layout.SECTION_POLICIES,
    [0, 1, 2, 3, layout.POLICY_INGRESS, layout.POLICY_EGRESS, layout.POLICY_SELECTOR, layout.POLICY_FILE],
  ],
  [layout.SECTION_PROFILES, [layout.PROFILE_NAME, layout.PROFILE_INGRESS, layout.PROFILE_EGRESS, layout.PROFILE_FILE]],
  [layout.SECTION_RULES, [layout.RULE_SOURCE, layout.RULE_DESTINATION, layout.RULE_FILE]],
  [layout.SECTION_SIDES, [0, 2, 4, 6, 8, 10, 12, 14, layout.SIDE_SERVICE_PORTS]],
  [layout.SECTION_IP_SETS, [layout.IP_SET_ID, layout.IP_SET_TEXT, layout.IP_SET_MEMBERS]],
  [layout.SECTION_GROUPS, [layout.GROUP_PROFILES, 3, 4, 5, 6, layout.GROUP_NETWORK_SETS, layout.GROUP_SETS]],
  [layout.SECTION_ENDPOINTS, [0, 1, 2, 3, layout.ENDPOINT_ADDRESSES, layout.ENDPOINT_INTERFACE]],
  [layout.SECTION_TEMPLATES, [1, 2, layout.TEMPLATE_LABELS, 5, 6, layout.TEMPLATE_ALLOWED_SOURCES]],
  [layout.SECTION_NODES, [0, 1, 3, 4, 6, 11, 13, 15]],
  [layout.SECTION_SERVICES, [layout.SERVICE_KEY, layout.SERVICE_ADDRESS, layout.SERVICE_BACKENDS]],
  [layout.SECTION_LOOP_PREFIXES, [0]],
  [layout.SECTION_NETWORK_SETS, [layout.NETWORK_SET_NAME, layout.NETWORK_SET_PREFIXES]],
];

describe('references', () => {
  test.each(REFERENCES)('of section %i', (section, words) => {
    const size = layout.RECORD_WORDS[section]!;
    const last = soundSections()[section]!.length / size - 1;
    for (const word of words) {
      for (const value of [-2, 0x7fff_0000]) {
        const message = refusalOf((sections) => {
          sections[section]![last * size + word] = value;
        });
        expect(message).toMatch(
          new RegExp(`^word ${word} of record ${last} in section ${section} points outside section \\d+$`),
        );
      }
    }
  });

  test('lists that are too long, or of fewer than no entries', () => {
    const lists = [
      [layout.SECTION_POLICIES, layout.POLICY_INGRESS],
      [layout.SECTION_SIDES, layout.SIDE_PORTS],
      [layout.SECTION_IP_SETS, layout.IP_SET_MEMBERS],
      [layout.SECTION_ENDPOINTS, layout.ENDPOINT_ADDRESSES],
      [layout.SECTION_TEMPLATES, layout.TEMPLATE_LABELS],
      [layout.SECTION_TEMPLATES, layout.TEMPLATE_ALLOWED_SOURCES],
      [layout.SECTION_NETWORK_SETS, layout.NETWORK_SET_PREFIXES],
    ] as const;
    for (const [section, word] of lists) {
      for (const count of [-1, 0x3fff_0000]) {
        const message = refusalOf((sections) => {
          sections[section]![word + 1] = count;
        });
        expect(message).toMatch(new RegExp(`^word ${word} of record 0 in section ${section} points outside`));
      }
    }
  });

  test('NONE only where there may be none', () => {
    const none = (section: number, word: number): string =>
      refusalOf((sections) => {
        sections[section]![word] = layout.NONE;
      });
    expect(none(layout.SECTION_ENDPOINTS, layout.ENDPOINT_NODE)).toBe('');
    expect(none(layout.SECTION_TEMPLATES, layout.TEMPLATE_GROUP)).toBe('');
    expect(none(layout.SECTION_ENDPOINTS, layout.ENDPOINT_KEY)).toContain('points outside section 0');
    expect(none(layout.SECTION_ENDPOINTS, layout.ENDPOINT_TEMPLATE)).toContain('points outside section 32');
    expect(none(layout.SECTION_LOOP_PREFIXES, 0)).toContain('points outside section 3');
  });

  test('strings outside the text', () => {
    for (const [word, value] of [
      [layout.STRING_OFFSET_BYTES, -1],
      [layout.STRING_OFFSET_BYTES, 1 << 28],
      [layout.STRING_LENGTH_BYTES, -1],
      [layout.STRING_LENGTH_BYTES, 1 << 28],
    ] as const) {
      const message = refusalOf((sections) => {
        sections[layout.SECTION_STRINGS]![2 * 3 + word] = value;
      });
      expect(message).toBe('string 3 lies outside the text');
    }
  });
});
