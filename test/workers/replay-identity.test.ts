/**
 * A replay by several workers against the same by one: lines, connections, totals, counts a rule, sources, in their order and to the
 * byte.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { answerOf, MODES } from './answer.ts';

const PCAPS = new URL('../../pcaps/', import.meta.url);
const CONFORMANCE = new URL('../conformance/', import.meta.url);

let folder: string;
let removeEntries: () => void;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-workers-'));
  removeEntries = bundleThreadEntries();
});
afterAll(() => {
  removeEntries();
  rmSync(folder, { recursive: true });
});

function tablesOf(...paths: readonly string[]): Tables {
  const sources = paths.map((path) => ({ name: path, text: readFileSync(path, 'utf8') }));
  return openTables(compile(loadResources(sources).resources));
}

describe('lessons', () => {
  const lessons = readdirSync(PCAPS).filter((name) => existsSync(new URL(`${name}/capture.pcapng`, PCAPS)));
  test.each(lessons)('%s', async (lesson) => {
    const at = (name: string): string => fileURLToPath(new URL(`${lesson}/${name}`, PCAPS));
    const tables = tablesOf(at('cluster.yaml'), at('policies.yaml'));
    const files = [at('capture.pcapng')];
    for (const mode of MODES) {
      const one = await answerOf(tables, files, mode, 1);
      for (const workers of [2, 3]) expect(await answerOf(tables, files, mode, workers)).toEqual(one);
    }
  });
});
