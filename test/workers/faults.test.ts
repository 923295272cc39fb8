/** Workers that die: no part of an answer passes for the whole. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { useThreadEntries } from '../../src/base/thread-entry.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { margay } from '../cli/support.ts';
import { documents } from '../rows/objects.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { WORLD } from './traffic.ts';

const tables = openTables(compile(loadResources([{ name: 'w', text: documents(...WORLD) }]).resources));

let folder: string;
let capture: string;
let manifests: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-faults-'));
  capture = join(folder, 'capture.pcap');
  manifests = join(folder, 'world.yaml');
  // Large enough for three workers, by the command line's own rule.
  const frame = buildFrame({
    src: 0x0a00_0002,
    dst: 0x0a00_0001,
    protocol: 6,
    dstPort: 80,
    payload: new Uint8Array(4000),
  });
  writeFileSync(capture, writePcap(Array.from({ length: 3300 }, () => ({ bytes: frame }))));
  writeFileSync(manifests, documents(...WORLD));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => useThreadEntries(undefined));

/** Threads run this instead, when worker number `worker` is told what to do. */
function runInstead(code: string): void {
  const script = `import { parentPort } from 'node:worker_threads';\nparentPort.once('message', ({ worker }) => { ${code} });`;
  writeFileSync(join(folder, 'replay-worker.mjs'), script);
  useThreadEntries(`${pathToFileURL(folder).href}/`);
}

const WAITS = 'setInterval(() => {}, 1000);';

describe.each([
  ['counts', { stateless: true }],
  ['lines', { onPacket: () => {} }],
])('a worker of a replay with %s', (_name, options) => {
  const replay = (): Promise<unknown> =>
    replayCaptures(tables, [capture], { ...options, workers: 3, bytesPerWorker: 1 });

  test('that throws', async () => {
    runInstead(`if (worker === 1) throw new Error('no luck'); else ${WAITS}`);
    await expect(replay()).rejects.toMatchObject({
      name: 'WorkerFault',
      message: 'worker 2 of 3 failed: no luck; the answer is incomplete and must not be used',
    });
  });

  test('that ends without a word', async () => {
    runInstead(`if (worker === 2) process.exit(0); else ${WAITS}`);
    await expect(replay()).rejects.toThrow('worker 3 of 3 failed: it ended by itself with code 0');
  });

  test('that says what makes no sense', async () => {
    runInstead(`parentPort.postMessage({ kind: 'report', lineNumbers: null }); ${WAITS}`);
    await expect(replay()).rejects.toThrow(TypeError);
  });
});

describe('the command line', () => {
  const args = (...more: string[]): string[] => ['replay', '-f', manifests, '-r', capture, '-q', ...more];

  test('ends with exit code 4 and says so', async () => {
    runInstead(`if (worker === 0) throw new Error('no luck'); else ${WAITS}`);
    const { code, stdout, stderr } = await margay(args('--summary', '--workers', '2'));
    expect([code, stdout]).toEqual([4, '']);
    expect(stderr).toBe('margay: worker 1 of 2 failed: no luck; the answer is incomplete and must not be used\n');
  });

  test('ends its threads when the cluster cannot be loaded', async () => {
    runInstead(WAITS);
    const { code, stderr } = await margay(['replay', '-f', join(folder, 'absent'), '-r', capture, '--workers', '2']);
    expect(code).toBe(2);
    expect(stderr).not.toContain('worker');
  });

  test('gives one answer, however many workers', async () => {
    const removeEntries = bundleThreadEntries();
    for (const form of ['table', 'json', 'jsonl']) {
      for (const mode of [[], ['--packets'], ['--summary', '--stateless']]) {
        const one = await margay(args(...mode, '-o', form));
        expect(one.code).toBe(0);
        expect(await margay(args(...mode, '-o', form, '--workers', '3'))).toEqual(one);
      }
    }
    removeEntries();
  });

  test('starts no thread for a small capture', async () => {
    writeFileSync(join(folder, 'replay-worker.mjs'), 'throw new Error("not wanted")');
    useThreadEntries(`${pathToFileURL(folder).href}/`);
    const small = ['replay', '-f', 'pcaps/tiers', '-r', 'pcaps/tiers/capture.pcapng', '-o', 'json'];
    expect(await margay([...small, '--workers', '8'])).toEqual(await margay(small));
    expect(await margay([...small, '--workers', 'auto'])).toEqual(await margay(small));
  });

  test.each(['0', '65', 'many', '1.5'])('knows no --workers %s', async (count) => {
    const { code, stderr } = await margay(args('--workers', count));
    expect(code).toBe(2);
    expect(stderr).toContain('It must be a whole number from 1 to 64, or auto.');
  });
});
