/** Every folder of test/cases: a small cluster, packets, and the answers that must come (test/cases/README.md). */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluateFlow } from '../src/analyze/evaluate-flow.ts';
import { compile } from '../src/compile/compile.ts';
import { type LoadOptions, loadResources } from '../src/load/load.ts';
import { createReference } from '../src/reference/evaluate.ts';
import { dumpTables } from '../src/tables/dump.ts';
import { openTables } from '../src/tables/tables.ts';
import { answerText } from './property/compare.ts';
import { type EvalWorker, startEvalWorker } from './support/eval-worker.ts';
import { parseFlow } from './support/flow-text.ts';

const ROOT = join(import.meta.dirname, 'cases');
const CASES = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

let worker: EvalWorker;
const scratch = mkdtempSync(join(tmpdir(), 'margay-cases-'));
beforeAll(() => {
  worker = startEvalWorker();
});
afterAll(async () => {
  await worker.close();
  rmSync(scratch, { recursive: true });
});

describe.each(CASES)('case %s', (name) => {
  const folder = join(ROOT, name);
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  const linesOf = (file: string): string[] => read(file).trimEnd().split('\n');

  const options: LoadOptions = existsSync(join(folder, 'options.json')) ? JSON.parse(read('options.json')) : {};
  const sources = ['policy.yaml', 'endpoints.yaml'].map((file) => ({ name: file, text: read(file) }));
  const { resources, errors } = loadResources(sources, options);
  const packets = linesOf('packets.txt');
  const verdicts = linesOf('verdicts.txt');
  const flows = packets.map(parseFlow);
  const buffer = compile(resources);
  const answerLines = (answers: readonly Parameters<typeof answerText>[0][]): string[] =>
    answers.map((answer) => answerText(answer).replaceAll('\n', '; '));

  test('is whole: it loads, says what it is for, has packets that pass and packets that do not', () => {
    expect(errors).toEqual([]);
    expect(read('README')).toMatch(/^\S.*\n$/);
    expect(verdicts.length).toBe(packets.length);
    expect(verdicts.some((line) => line.startsWith('allow '))).toBe(true);
    expect(verdicts.some((line) => line.startsWith('deny '))).toBe(true);
  });

  test('the reference', () => {
    const reference = createReference(resources);
    expect(answerLines(flows.map((flow) => reference.evaluate(flow)))).toEqual(verdicts);
  });

  test('the tables', async () => {
    const tables = openTables(buffer);
    expect(answerLines(flows.map((flow) => evaluateFlow(tables, flow)))).toEqual(verdicts);
    await expect(dumpTables(tables)).toMatchFileSnapshot(join(folder, 'tables.txt'));
  });

  test('the tables in a worker', async () => {
    expect(answerLines(await worker.evaluate(buffer, flows))).toEqual(verdicts);
  });

  test('the tables written and read again', () => {
    const file = join(scratch, `${name}.tables`);
    writeFileSync(file, new Uint8Array(buffer));
    const bytes = readFileSync(file);
    const tables = openTables(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    expect(answerLines(flows.map((flow) => evaluateFlow(tables, flow)))).toEqual(verdicts);
    expect(dumpTables(tables)).toBe(dumpTables(openTables(buffer)));
  });
});
