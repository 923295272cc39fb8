/**
 * Opening a buffer: everything is checked once, then nobody checks again.
 *
 * `openTables` verifies magic, version, length, checksum, that sections lie inside the buffer without overlap, and that every
 * index and list in every record points to something that exists. After that the packet path reads the plain typed
 * views without a thought. Readers off the packet path use the small accessors below.
 */
import { check, checkRecords } from './check.ts';
import { checksumWords } from './checksum.ts';
import * as layout from './layout.ts';

export interface Tables {
  readonly buffer: ArrayBufferLike;
  readonly words: Int32Array;
  /** First word of each section. */
  readonly starts: readonly number[];
  /** Number of records of each section. */
  readonly counts: readonly number[];
  /** Views of the sections that packets run over; offsets stored in records are relative to these. */
  readonly ints: Int32Array;
  readonly prefixes: Int32Array;
  readonly chains: Int32Array;
  readonly steps: Int32Array;
  readonly bits: Int32Array;
  readonly classMaps: Int32Array;
  readonly policyClasses: Int32Array;
  readonly functionRefs: Int32Array;
  readonly functions: Int32Array;
  readonly pairs: Int32Array;
  readonly classes4: Int32Array;
  readonly classes6: Int32Array;
  readonly trie4: Int32Array;
  readonly exact6: Int32Array;
  readonly ranges6: Int32Array;
  readonly owners: Int32Array;
  readonly owners6: Int32Array;
  readonly endpoints: Int32Array;
  readonly templates: Int32Array;
  readonly nodes: Int32Array;
  readonly services: Int32Array;
  readonly rules: Int32Array;
  /** Index of the node whose endpoints alone are local, or NONE. */
  readonly localNode: number;
  /** Text by string index; decoded on first use. */
  readonly string: (index: number) => string;
}

/** Checks `buffer` and returns its views. Throws an `InvariantError` that names the first broken rule. */
export function openTables(buffer: ArrayBufferLike): Tables {
  check(
    buffer.byteLength % 4 === 0 && buffer.byteLength >= layout.HEADER_WORDS * 4,
    'the buffer is shorter than a header',
  );
  const words = new Int32Array(buffer);
  check(words[0] === layout.MAGIC, 'the buffer does not start with the magic number of margay tables');
  check(
    words[1] === layout.LAYOUT_VERSION,
    `the tables have layout version ${words[1]}, this program reads ${layout.LAYOUT_VERSION}; compile them again`,
  );
  check(words[layout.HEADER_LENGTH] === words.length, 'the buffer has not the length that its header states');
  check(
    words[layout.HEADER_CHECKSUM] === checksumWords(words, layout.HEADER_LOCAL_NODE),
    'the checksum does not fit: the tables are damaged; compile them again',
  );
  const tables = viewTables(buffer);
  checkRecords(tables);
  return tables;
}

/** The views of a buffer that `openTables` has checked before, perhaps in another thread. */
export function viewTables(buffer: ArrayBufferLike): Tables {
  const words = new Int32Array(buffer);
  const { starts, counts } = readDirectory(words);
  const view = (section: number): Int32Array =>
    words.subarray(starts[section]!, starts[section]! + counts[section]! * layout.RECORD_WORDS[section]!);
  return {
    buffer,
    words,
    starts,
    counts,
    ints: view(layout.SECTION_INTS),
    prefixes: view(layout.SECTION_PREFIXES),
    chains: view(layout.SECTION_CHAINS),
    steps: view(layout.SECTION_STEPS),
    bits: view(layout.SECTION_BITS),
    classMaps: view(layout.SECTION_CLASS_MAPS),
    policyClasses: view(layout.SECTION_POLICY_CLASSES),
    functionRefs: view(layout.SECTION_FUNCTION_REFS),
    functions: view(layout.SECTION_FUNCTIONS),
    pairs: view(layout.SECTION_PAIRS),
    classes4: view(layout.SECTION_CLASSES_4),
    classes6: view(layout.SECTION_CLASSES_6),
    trie4: view(layout.SECTION_TRIE_4),
    exact6: view(layout.SECTION_EXACT_6),
    ranges6: view(layout.SECTION_RANGES_6),
    owners: view(layout.SECTION_OWNERS),
    owners6: view(layout.SECTION_OWNERS_6),
    endpoints: view(layout.SECTION_ENDPOINTS),
    templates: view(layout.SECTION_TEMPLATES),
    nodes: view(layout.SECTION_NODES),
    services: view(layout.SECTION_SERVICES),
    rules: view(layout.SECTION_RULES),
    localNode: words[layout.HEADER_LOCAL_NODE]!,
    string: stringReader(words, starts, counts),
  };
}

/** One word of a record. */
export function field(tables: Tables, section: number, index: number, word: number): number {
  return tables.words[tables.starts[section]! + index * layout.RECORD_WORDS[section]! + word]!;
}

/** The text of a string field of a record. */
export function textField(tables: Tables, section: number, index: number, word: number): string {
  return tables.string(field(tables, section, index, word));
}

/** The ints of a list field (`word` holds the start, `word + 1` the count). */
export function intsField(tables: Tables, section: number, index: number, word: number): Int32Array {
  const start = field(tables, section, index, word);
  return tables.ints.subarray(start, start + field(tables, section, index, word + 1));
}

/** The template of an endpoint: what it has in common with others (layout.ts). */
export function templateOf(tables: Tables, endpoint: number): number {
  return tables.endpoints[endpoint * layout.ENDPOINT_SIZE + layout.ENDPOINT_TEMPLATE]!;
}

/** One word of the template of an endpoint. */
export function templateField(tables: Tables, endpoint: number, word: number): number {
  return tables.templates[templateOf(tables, endpoint) * layout.TEMPLATE_SIZE + word]!;
}

/** The text of a string field of the template of an endpoint. */
export function templateText(tables: Tables, endpoint: number, word: number): string {
  return tables.string(templateField(tables, endpoint, word));
}

/** The name of an endpoint: of its key, what is behind the kind and the namespace. */
export function endpointName(tables: Tables, endpoint: number): string {
  const key = textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY);
  if (templateField(tables, endpoint, layout.TEMPLATE_KIND) === layout.KIND_HEP) return key.slice('hep:'.length);
  return key.slice('wep:'.length + templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE).length + 1);
}

function readDirectory(words: Int32Array): { starts: number[]; counts: number[] } {
  const starts: number[] = [];
  const counts: number[] = [];
  const hasRoom = words[layout.HEADER_HAS_ROOM] === 1;
  let end = layout.HEADER_WORDS;
  for (let section = 0; section < layout.SECTION_COUNT; section++) {
    const start = words[layout.HEADER_DIRECTORY + 2 * section]!;
    const count = words[layout.HEADER_DIRECTORY + 2 * section + 1]!;
    check(
      (start === end || (hasRoom && start > end)) && count >= 0,
      `section ${section} does not follow the one before it`,
    );
    end = start + count * layout.RECORD_WORDS[section]!;
    check(end <= words.length, `section ${section} reaches beyond the buffer`);
    starts.push(start);
    counts.push(count);
  }
  check(end === words.length || hasRoom, 'the sections do not fill the buffer');
  return { starts, counts };
}

function stringReader(
  words: Int32Array,
  starts: readonly number[],
  counts: readonly number[],
): (index: number) => string {
  const decoder = new TextDecoder();
  let cache: (string | undefined)[] | undefined;
  const bytes = new Uint8Array(
    words.buffer,
    words.byteOffset + starts[layout.SECTION_STRING_BYTES]! * 4,
    counts[layout.SECTION_STRING_BYTES]! * 4,
  );
  return (index) => {
    cache ??= new Array(counts[layout.SECTION_STRINGS]!);
    let text = cache[index];
    if (text === undefined) {
      const at = starts[layout.SECTION_STRINGS]! + index * 2;
      const offset = words[at + layout.STRING_OFFSET_BYTES]!;
      // TextDecoder refuses views of shared memory, so the bytes are copied first.
      text = decoder.decode(bytes.slice(offset, offset + words[at + layout.STRING_LENGTH_BYTES]!));
      cache[index] = text;
    }
    return text;
  };
}
