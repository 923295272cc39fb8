import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PolicyError } from '../../src/base/errors.ts';
import { decode } from '../../src/load/decode.ts';
import type { RawDocument, TextProblem } from '../../src/load/document.ts';
import { expandFiles } from '../../src/load/files.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import { readFileDocuments } from '../../src/load/read-file.ts';

let directory: string;
const at = (...parts: string[]): string => join(directory, ...parts);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'margay-load-'));
  mkdirSync(at('tree', 'sub', 'deep'), { recursive: true });
  mkdirSync(at('empty', 'sub'), { recursive: true });
  for (const name of ['b.yaml', 'a.yml', 'C.json', 'notes.txt', 'sub/d.yaml', 'sub/deep/e.json']) {
    const object = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: name.toLowerCase().replaceAll(/[./]/g, '-') },
    };
    writeFileSync(at('tree', name), JSON.stringify(object));
  }
  symlinkSync(at('tree', 'notes.txt'), at('tree', 'link.yaml'));
  symlinkSync(at('tree', 'sub'), at('tree', 'z.yaml'));
  writeFileSync(at('empty', 'sub', 'x.yaml'), '');
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the files behind -f', () => {
  const expand = (names: string[], isRecursive = false): string[] =>
    expandFiles(names, isRecursive).map(({ name }) => name.replace(`${directory}/`, ''));

  test('of a directory: those with manifests, by name', () => {
    expect(expand([at('tree')])).toEqual(['tree/C.json', 'tree/a.yml', 'tree/b.yaml', 'tree/link.yaml']);
  });

  test('of a tree', () => {
    expect(expand([at('tree')], true)).toEqual([
      'tree/C.json',
      'tree/a.yml',
      'tree/b.yaml',
      'tree/link.yaml',
      'tree/sub/d.yaml',
      'tree/sub/deep/e.json',
    ]);
  });

  test('a file named itself may be called anything, and is taken once', () => {
    expect(expand([at('tree', 'notes.txt'), at('tree', 'sub'), at('tree', 'notes.txt')])).toEqual([
      'tree/notes.txt',
      'tree/sub/d.yaml',
    ]);
  });

  test('a link to a directory, named itself', () => {
    expect(expand([at('tree', 'z.yaml')])).toEqual(['tree/z.yaml/d.yaml']);
  });

  test('standard input', () => {
    expect(expandFiles(['-'], false)).toEqual([{ name: 'stdin', path: '-' }]);
  });

  test.each([
    [['missing'], false, 'does not exist; correct the path after -f'],
    [['empty'], false, 'holds no .yaml, .yml or .json file; use -R for subdirectories'],
    [['empty/sub/x.yaml', 'missing'], true, 'does not exist; correct the path after -f'],
  ])('%j', (names, isRecursive, message) => {
    const expandThem = (): unknown =>
      expandFiles(
        names.map((name) => at(name)),
        isRecursive,
      );
    expect(expandThem).toThrow(PolicyError);
    expect(expandThem).toThrow(message);
  });

  test('a tree without any', () => {
    mkdirSync(at('bare', 'sub'), { recursive: true });
    expect(() => expandFiles([at('bare')], true)).toThrow('correct the path after -f');
  });
});

describe('reading', () => {
  test('a tree', () => {
    const { resources, errors } = loadResources(expandFiles([at('tree')], true));
    expect(resources.namespaces.map(({ meta }) => meta.name)).toEqual([
      'c-json',
      'a-yml',
      'b-yaml',
      'notes-txt',
      'sub-d-yaml',
      'sub-deep-e-json',
    ]);
    expect(resources.namespaces[0]?.meta.origin).toEqual({ file: at('tree', 'C.json'), line: 1 });
    expect(errors).toEqual([]);
  });

  test('a file that cannot be read is trouble of the system', () => {
    expect(() => loadResources([{ name: 'x', path: at('gone.yaml') }])).toThrow('ENOENT');
  });

  test('bytes that are not UTF-8, and the documents around them', () => {
    const good = (name: string): string => `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`;
    const bad = Buffer.concat([
      Buffer.from(`${good('a')}---\nkey: "é`),
      Buffer.from([0xe9]),
      Buffer.from(`€"\n---\n${good('b')}`),
    ]);
    writeFileSync(at('bad.yaml'), bad);
    const { resources, errors } = loadResources([{ name: 'bad.yaml', path: at('bad.yaml') }]);
    expect(errors.map(formatProblem)).toEqual(['bad.yaml:5:8: bytes that are not UTF-8; save the file as UTF-8']);
    expect(resources.namespaces.map(({ meta }) => meta.name)).toEqual(['a', 'b']);
  });

  /** In a process of its own, built as the package is. */
  test('standard input', () => {
    const root = join(import.meta.dirname, '..', '..');
    const modules = join(root, 'node_modules');
    symlinkSync(modules, at('node_modules'));
    writeFileSync(at('package.json'), '{"type":"module"}');
    const compilerOptions = { rootDir: join(root, 'src'), outDir: at('dist'), declaration: false };
    const files = [join(root, 'src', 'load', 'load.ts')];
    writeFileSync(
      at('tsconfig.json'),
      JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files }),
    );
    execFileSync(join(modules, '.bin', 'tsc'), ['-p', at('tsconfig.json')]);
    const script = `
      import { loadResources } from './dist/load/load.js';
      const { resources, errors } = loadResources([{ name: 'stdin', path: '-' }]);
      console.log(JSON.stringify([resources.namespaces.map(({ meta }) => [meta.name, meta.origin]), errors]));
    `;
    writeFileSync(at('stdin.js'), script);
    const input = '\n{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}';
    const answer = execFileSync(process.execPath, [at('stdin.js')], { input, encoding: 'utf8' });
    expect(JSON.parse(answer)).toEqual([[['a', { file: 'stdin', line: 2 }]], []]);
  });
});

describe('files past the limit of YAML', () => {
  const LIMITS = { yamlBytesMax: 100, jsonBytesMax: 20_000_000, objectBytesMax: 1000 };
  const pod = (name: string): string => `{"kind":"Pod","metadata":{"name":"${name}"}}`;

  function read(text: string): { documents: RawDocument[]; problems: string[] } {
    writeFileSync(at('long'), text);
    const documents: RawDocument[] = [];
    const problems: string[] = [];
    const problem = ({ place, message }: TextProblem): void => {
      problems.push(`${place.line}:${place.column}: ${message}`);
    };
    readFileDocuments(
      { name: 'long', path: at('long') },
      { document: (each) => documents.push(each), problem },
      LIMITS,
    );
    return { documents, problems };
  }

  /** Longer than what is read at a time. */
  const space = `${' '.repeat(1023)}\n`.repeat(9000);

  test('JSON is read, object by object', () => {
    const { documents, problems } = read(`\ufeff{"kind":"List","items":[${pod('ä')},${space}${pod('b')}]}`);
    expect(problems).toEqual([]);
    expect(
      documents.map(({ value, place }) => [(value as { metadata: { name: string } }).metadata.name, place.line]),
    ).toEqual([
      ['ä', 1],
      ['b', 9001],
    ]);
  });

  test('YAML is not', () => {
    expect(read(`a: b\n${' '.repeat(100)}`).problems).toEqual(['1:1: YAML of more than 100 bytes']);
  });

  test('nor is JSON past its own limit, or one object of it', () => {
    expect(read(`{"kind":"List","items":[${pod('a')},${space}${space}${space}${pod('b')}]}`)).toMatchObject({
      documents: [{ value: { metadata: { name: 'a' } } }],
      problems: [
        '1:1: JSON of more than 20000000 bytes',
        "1:1: unexpected end: the object that '{' opened is not closed",
      ],
    });
    expect(read(`{"x":"${'y'.repeat(2000)}"}`).problems).toEqual(['1:1: one object is longer than 1000 bytes']);
  });

  test('the limits of the program', () => {
    writeFileSync(at('big.yaml'), Buffer.alloc(64 * 1024 * 1024 + 1, 'a: b\n'));
    expect(loadResources([{ name: 'big.yaml', path: at('big.yaml') }]).errors.map(formatProblem)).toEqual([
      'big.yaml:1:1: YAML of more than 67108864 bytes; split it, or convert it to JSON',
    ]);
  });

  test('an empty file holds nothing', () => {
    writeFileSync(at('nothing.yaml'), '');
    expect(loadResources([{ name: 'n', path: at('nothing.yaml') }])).toMatchObject({ errors: [], warnings: [] });
  });
});

test.each([
  [[0x61, 0xff, 0x62], 'a\uffffb'],
  [[0xc3], '\uffff'],
  [[0xc3, 0x0a, 0xc3, 0xa9], '\uffff\né'],
  [[0xf0, 0x9f, 0x98, 0x80, 0x80], '😀\uffff'],
  [[0xed, 0xa0, 0x80], '\uffff\uffff\uffff'],
  [[0xe2, 0x82], '\uffff\uffff'],
  [[0xe2, 0x82, 0xac, 0xc0], '€\uffff'],
])('bytes %j', (bytes, text) => {
  expect(decode(Buffer.from(bytes))).toBe(text);
});
