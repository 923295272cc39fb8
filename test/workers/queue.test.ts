/** Replays by the workers of a queue, real processes on a real Redis: the answer of one machine, to the byte. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { documents } from '../rows/objects.ts';
import { builtSources, removeBuiltSources } from '../support/built.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { answerOf, MODES } from './answer.ts';
import { placeOf, queueAnswer, serveHere, startMargay, WorkerProcess } from './queue-support.ts';
import { randomTraffic, WORLD } from './traffic.ts';

const world = openTables(compile(loadResources([{ name: 'w', text: documents(...WORLD) }]).resources));
const modeOf = (name: string) => MODES.find((mode) => mode.name === name)!;

describe.skipIf(!hasRedis)('a replay by a queue', () => {
  let folder: string;
  let redis: RedisServer;
  let here: ReturnType<typeof serveHere>;
  let removeEntries: () => void;
  const workers: WorkerProcess[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'margay-queue-test-'));
    redis = await RedisServer.start();
    removeEntries = bundleThreadEntries();
    // Blocks this process while it compiles.
    builtSources();
    // Two of many: one in this process, which starts at once, and one that is a process of its own.
    here = serveHere(redis);
    workers.push(new WorkerProcess(redis.url));
    await Promise.all(workers.map((worker) => worker.ready()));
  });
  afterAll(async () => {
    await Promise.all(workers.map((worker) => worker.end()));
    await here?.stop();
    await redis?.stop();
    removeEntries?.();
    rmSync(folder, { recursive: true });
    removeBuiltSources();
  });

  const written = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };

  const records = randomTraffic(5, 2000);
  const rotated = (): string[] =>
    [0, 400, 900, 1700].map((from, i, all) => {
      const part = records.slice(from, all[i + 1]);
      return written(`part-${i}.pcap`, i % 2 === 0 ? writePcap(part) : writePcapng(part));
    });

  test('is that of one machine, in each mode, with connections that span rotated captures', async () => {
    const files = rotated();
    // What tunnels carry changes the division in two of the ways only.
    const modes = MODES.filter(({ name }) => !name.includes('decap') || /^(connections|packets stateless)/.test(name));
    for (const mode of modes) {
      const one = await answerOf(world, files, mode, 1);
      expect(await queueAnswer(world, files, mode, placeOf(redis), { workers: 3 }), mode.name).toBe(one);
    }
  });

  test('so is that of compressed, damaged and empty captures', async () => {
    const pcap = writePcap(records);
    const files = [
      written('packed.gz', gzipSync(pcap)),
      written('cut.pcap', pcap.subarray(0, pcap.length - 7)),
      written('empty.pcap', writePcap([])),
      written(
        'noise',
        Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255),
      ),
      written('cut.gz', gzipSync(pcap).subarray(0, 40_000)),
      written('plain.pcap', pcap),
    ];
    for (const mode of [modeOf('connections'), modeOf('summary stateless')]) {
      expect(await queueAnswer(world, files, mode, placeOf(redis))).toBe(await answerOf(world, files, mode, 1));
    }
  });

  test('and what the command line prints; nothing stays in Redis, and no password shows', async () => {
    const files = rotated();
    const manifests = written('world.yaml', new TextEncoder().encode(documents(...WORLD)));
    const run = async (args: readonly string[]) => {
      const child = startMargay(['replay', '-f', manifests, '-q', ...args, ...files]);
      let stdout = '';
      let stderr = '';
      child.stdout?.on('data', (text) => (stdout += text));
      child.stderr?.on('data', (text) => (stderr += text));
      const code = await new Promise((resolve) => child.once('close', resolve));
      return { code, stdout, stderr };
    };
    const forms = [
      ['-o', 'json'],
      ['--packets', '-o', 'jsonl'],
      ['--summary', '--stateless'],
    ];
    const all = forms.flatMap((form) => [run(form), run([...form, '--queue', redis.url])]);
    const answers = await Promise.all(all);
    for (let i = 0; i < answers.length; i += 2) {
      expect(answers[i]!.stdout.length).toBeGreaterThan(100);
      expect(answers[i + 1]).toEqual(answers[i]);
    }
    expect(await redis.admin.keys('*')).toEqual(['margay:{default}:queue:workers']);
  });

  test('takes captures below --root, and refuses another file of the same name', async () => {
    const root = join(folder, 'root');
    const outside = join(folder, 'outside');
    for (const directory of [root, outside]) mkdirSync(join(directory, folder), { recursive: true });
    const [file] = rotated();
    copyFileSync(file!, join(root, file!));
    // The same size and another first packet.
    const other = writePcap(records.slice(0, 400)).map((byte, i) => (i === 60 ? byte ^ 1 : byte));
    writeFileSync(join(outside, file!), other);
    const place = (cluster: string) => placeOf(redis, { cluster, noWorkerMs: 2_500 });
    const here = new WorkerProcess(redis.url, ['--root', root, '--cluster', 'rooted']);
    const there = new WorkerProcess(redis.url, ['--root', outside, '--cluster', 'lied-to']);
    workers.push(here, there);
    await Promise.all([here.ready(), there.ready()]);
    const mode = modeOf('summary');
    rmSync(file!);
    rotated();
    expect(await queueAnswer(world, [file!], mode, place('rooted'))).toBe(await answerOf(world, [file!], mode, 1));
    const notes: string[] = [];
    const asked = queueAnswer(world, [file!], mode, { ...place('lied-to'), onNote: (note) => notes.push(note) });
    await expect(asked).rejects.toThrow(/no worker took the run for 3 s: .*same size and other content/);
    expect(notes.join()).toContain('a worker stays away');
    expect(await redis.admin.keys('*:{lied-to}:queue:*:*')).toEqual([]);
  });
});
