/** A long file that a second thread reads gives what one thread reads, whatever becomes of the other. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { useThreadEntries } from '../../src/base/thread-entry.ts';
import type { DocumentSink, RawDocument, TextProblem } from '../../src/load/document.ts';
import { GIVEN_BACK, ReadAhead, SLOT_BYTES, SLOT_COUNT, SLOT_FREE_BYTES } from '../../src/load/read-ahead.ts';
import { readFileDocuments } from '../../src/load/read-file.ts';
import { LOOK_AHEAD_BYTES } from '../../src/load/text-buffer.ts';
import type { Pod } from '../../src/model/resources.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-ahead-'));
let forgetEntries = bundleThreadEntries();
afterEach(() => vi.restoreAllMocks());
afterAll(() => {
  forgetEntries();
  rmSync(folder, { recursive: true, force: true });
});

function podObject(index: number): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `p-${index}`,
      namespace: `team-${index % 3}`,
      labels: { app: 'a', hash: `${index}` },
      ...(index % 5 === 0 ? {} : { annotations: { 'cni.projectcalico.org/floatingIPs': `["10.9.0.${index % 200}"]` } }),
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'not an item', metadata: {} }],
    },
    spec: {
      nodeName: 'n1',
      containers: [{ name: 'c', image: imageOf(index), ports: [{ containerPort: 80, name: 'http' }] }],
    },
    // Now and then what only the long way can read or report.
    status: {
      phase: index % 97 === 0 ? 'Run\u0041ing "quoted"' : 'Running',
      podIPs: [{ ip: `10.0.${index >> 8}.${index & 255}` }],
    },
    ...(index % 211 === 0 ? { unknown: index } : {}),
  };
}

/** A kilobyte, sometimes with bytes beyond ASCII; seldom more than is kept of a slot in the memory of the next. */
function imageOf(index: number): string {
  if (index % 1_500 === 700) return 'y'.repeat(2 * SLOT_FREE_BYTES + 50 * index);
  return (index % 40 === 0 ? 'ü€😀' : 'x').repeat(index % 40 === 0 ? 110 : 1_000);
}

/** More than twice what the ring holds, beside what is read before there is a thread. */
function write(name: string, indent: number | undefined, start = ''): string {
  const items = Array.from({ length: 12_000 }, (_, index) => JSON.stringify(podObject(index), null, indent));
  const path = join(folder, name);
  const end = '],\n"kind": "List", "metadata": {"resourceVersion": ""}}\n';
  writeFileSync(path, `${start}{"apiVersion": "v1", "items": [\n${items.join(',\n')}${end}`);
  return path;
}

interface Read {
  readonly pods: Pod[];
  readonly rest: unknown[];
}

function read(path: string, aheadBytesMin: number): Read {
  const out: Read = { pods: [], rest: [] };
  const sink: DocumentSink = {
    pods: { isAsIs: false, add: (pod) => out.pods.push(pod) > 0 },
    document: ({ value, prefix, place }: RawDocument) => out.rest.push([value, prefix, place]),
    problem: (problem: TextProblem) => out.rest.push(problem),
  };
  const limits = { yamlBytesMax: 1_000, jsonBytesMax: 1e9, objectBytesMax: 1e6, aheadBytesMin };
  readFileDocuments({ name: 'dump.json', path }, sink, limits);
  return out;
}

test.each([
  ['with white space', 4, ''],
  ['without, behind a byte order mark', undefined, '\ufeff'],
] as const)('%s', (name, indent, start) => {
  const path = write(`${name}.json`, indent, start);
  const next = vi.spyOn(ReadAhead.prototype, 'next');
  const one = read(path, Number.POSITIVE_INFINITY);
  expect(next).not.toHaveBeenCalled();
  expect(one.pods.length).toBeGreaterThan(11_000);
  expect(one.rest.length).toBeGreaterThan(40);
  expect(read(path, 0)).toEqual(one);
  const pieces = next.mock.results.map(({ value }) => value as Buffer | undefined);
  expect(pieces.every((piece) => piece !== undefined)).toBe(true);
  expect(pieces.filter((piece) => piece!.length > 0).length).toBeGreaterThan(2 * SLOT_COUNT);
});

test('a thread that gives up in the middle', () => {
  const path = write('half.json', 2);
  const { next } = ReadAhead.prototype;
  let calls = 0;
  vi.spyOn(ReadAhead.prototype, 'next').mockImplementation(function (this: ReadAhead) {
    return ++calls > 2 ? undefined : next.call(this);
  });
  const broken = read(path, 0);
  expect(calls).toBe(3);
  expect(statSync(path).size).toBeGreaterThan(10 * SLOT_BYTES);
  vi.restoreAllMocks();
  expect(broken).toEqual(read(path, Number.POSITIVE_INFINITY));
});

test('a thread that cannot start, and a file that it cannot open', () => {
  const gone = new ReadAhead(join(folder, 'gone'), 0, 50);
  expect(gone.next()).toBeUndefined();
  gone.close();
  useThreadEntries('file:///gone/');
  const none = new ReadAhead(write('none.json', undefined), 0, 50);
  expect([none.next(), none.next()]).toEqual([undefined, undefined]);
  none.close();
  forgetEntries();
  forgetEntries = bundleThreadEntries();
});

test('slots are not filled again before they are given back', () => {
  const path = join(folder, 'bytes');
  const bytes = Buffer.alloc((2 * SLOT_COUNT + 1) * SLOT_BYTES + 77);
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * 31 + (at >>> 12)) & 255;
  writeFileSync(path, bytes);
  const ahead = new ReadAhead(path, 5);
  let at = 5;
  let last: Buffer = Buffer.alloc(0);
  const store = vi.spyOn(Atomics, 'store');
  let taken = 0;
  for (let piece = ahead.next(); piece !== undefined && piece.length > 0; piece = ahead.next()) {
    const givenBack = store.mock.calls.filter(([, index]) => index === GIVEN_BACK).at(-1)?.[2] ?? 0;
    expect(givenBack).toBe(Math.max(0, taken++ - 1));
    expect(last.equals(bytes.subarray(at - last.length, at))).toBe(true);
    expect(piece.equals(bytes.subarray(at, at + piece.length))).toBe(true);
    // Whoever has it may write before and behind it.
    for (const [start, length] of [
      [piece.byteOffset - SLOT_FREE_BYTES, SLOT_FREE_BYTES],
      [piece.byteOffset + piece.length, LOOK_AHEAD_BYTES],
    ] as const) {
      Buffer.from(piece.buffer, start, length).fill(1);
    }
    expect(last.equals(bytes.subarray(at - last.length, at))).toBe(true);
    at += piece.length;
    last = piece;
  }
  expect(at).toBe(statSync(path).size);
  ahead.close();
});
