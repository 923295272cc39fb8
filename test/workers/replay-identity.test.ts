/**
 * A replay by several workers against the same by one: lines, connections, totals, counts a rule, sources, in their order and to the
 * byte.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { documents } from '../rows/objects.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { answerOf, MODES } from './answer.ts';
import { randomTraffic, WORLD } from './traffic.ts';

/** Tables so small that everything is thrown out of them all the time. */
const SMALL = { conntrackEntries: 128, connectionEntries: 128 };

const PCAPS = new URL('../../pcaps/', import.meta.url);

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

describe('random traffic', () => {
  test.each([1, 2, 3, 4])('seed %i', async (seed) => {
    const tables = openTables(compile(loadResources([{ name: 'w', text: documents(...WORLD) }]).resources));
    const file = join(folder, `traffic-${seed}.pcap`);
    const records = randomTraffic(seed, 6000);
    writeFileSync(file, seed % 2 === 0 ? writePcapng(records) : writePcap(records));
    for (const mode of MODES) {
      const one = await answerOf(tables, [file], mode, 1, SMALL);
      expect([mode.name, await answerOf(tables, [file], mode, 2 + (seed % 3), SMALL)]).toEqual([mode.name, one]);
    }
  });
});
