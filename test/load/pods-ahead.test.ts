/** A dump read by two threads gives what one thread reads, object by object and message by message. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { DocumentSink, RawDocument, TextProblem } from '../../src/load/document.ts';
import { readJsonPieces } from '../../src/load/documents.ts';
import { PodsAhead } from '../../src/load/pods-ahead.ts';
import { readFileDocuments } from '../../src/load/read-file.ts';
import type { Pod } from '../../src/model/resources.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-ahead-'));
const forgetEntries = bundleThreadEntries();
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
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 80, name: 'http' }] }] },
    // Now and then what only the long way can read or report.
    status: {
      phase: index % 97 === 0 ? 'Run\u0041ing "quoted"' : 'Running',
      podIPs: [{ ip: `10.0.${index >> 8}.${index & 255}` }],
    },
    ...(index % 211 === 0 ? { unknown: index } : {}),
  };
}

interface Read {
  readonly pods: Pod[];
  readonly rest: unknown[];
}

function sinkOf({ pods, rest }: Read): DocumentSink {
  return {
    pods: { isAsIs: false, add: (pod) => pods.push(pod) > 0 },
    document: ({ value, prefix, place }: RawDocument) => rest.push([value, prefix, place]),
    problem: (problem: TextProblem) => rest.push(problem),
  };
}

function read(path: string, aheadBytesMin: number): Read {
  const out: Read = { pods: [], rest: [] };
  const limits = { yamlBytesMax: 1_000, jsonBytesMax: 1e9, objectBytesMax: 1e6, aheadBytesMin };
  readFileDocuments({ name: 'dump.json', path }, sinkOf(out), limits);
  return out;
}

/** In small pieces; with another thread, once that has read all it can, so that what it read is what is taken. */
async function readPieces(path: string, isAhead: boolean): Promise<Read> {
  const bytes = readFileSync(path);
  const ahead = isAhead ? new PodsAhead(path, 'dump.json', false, bytes.length) : undefined;
  if (ahead !== undefined) await done(ahead);
  const out: Read = { pods: [], rest: [] };
  const firstByte = bytes[0] === 0xef ? 3 : 0;
  const pieces: Buffer[] = [];
  for (let at = firstByte; at < bytes.length; at += 50_000) pieces.push(bytes.subarray(at, at + 50_000));
  readJsonPieces('dump.json', pieces, sinkOf(out), 1e6, { firstByte, ahead });
  ahead?.close();
  return out;
}

async function done(ahead: PodsAhead): Promise<void> {
  const endMs = Date.now() + 30_000;
  while (!ahead.isDone && Date.now() < endMs) await new Promise((resolve) => setImmediate(resolve));
  expect(ahead.isDone).toBe(true);
}

function write(name: string, indent: number | undefined, start = ''): string {
  const items = Array.from({ length: 9_000 }, (_, index) => JSON.stringify(podObject(index), null, indent));
  const path = join(folder, name);
  const end = '],\n"kind": "List", "metadata": {"resourceVersion": ""}}\n';
  writeFileSync(path, `${start}{"apiVersion": "v1", "items": [\n${items.join(',\n')}${end}`);
  return path;
}

test.each([
  ['with white space', 4, ''],
  ['without, behind a byte order mark', undefined, '\ufeff'],
] as const)('%s', async (name, indent, start) => {
  const path = write(`${name}.json`, indent, start);
  const one = read(path, Number.POSITIVE_INFINITY);
  expect(one.pods.length).toBeGreaterThan(8_000);
  expect(one.rest.length).toBeGreaterThan(40);
  expect(read(path, 0)).toEqual(one);
  expect(await readPieces(path, true)).toEqual(await readPieces(path, false));
});

test('the other thread does read, and what it gives lies where it says', async () => {
  const path = write('asked.json', 2);
  const one = read(path, Number.POSITIVE_INFINITY);
  const text = readFileSync(path, 'utf8');
  const ahead = new PodsAhead(path, 'dump.json', false, text.length);
  const name = 'p-8500';
  const offset = text.lastIndexOf('{\n  "apiVersion"', text.indexOf(`"name": "${name}"`));
  await done(ahead);
  const taken = ahead.take(offset, 7);
  ahead.close();
  const expected = one.pods.find(({ meta }) => meta.name === name)!;
  expect(taken!.pod).toEqual({ ...expected, meta: { ...expected.meta, origin: { file: 'dump.json', line: 7 } } });
  expect(JSON.parse(text.slice(offset, taken!.end))).toEqual(podObject(8_500));
  expect(text.slice(offset, taken!.end).split('\n').length - 1).toBe(taken!.lines);
  expect(text.slice(0, taken!.lineStart).endsWith('\n')).toBe(true);
});
