/** What lies in Redis and what workers send is checked before it is used; and the user of the README's ACL can do what it must, no more. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { JobTaker } from '../../src/analyze/queue-jobs.ts';
import { openLocalRun } from '../../src/analyze/queue-local.ts';
import { parseRun, queueKeysOf, type RunRecord } from '../../src/analyze/queue-run.ts';
import { QueueStore } from '../../src/analyze/queue-store.ts';
import { decodeMessage, encodeMessage } from '../../src/analyze/queue-wire.ts';
import { ResultWriter } from '../../src/analyze/queue-writer.ts';
import type { Final, Report } from '../../src/analyze/replay-parallel-messages.ts';
import { compile } from '../../src/compile/compile.ts';
import { type RedisConfig, redisConfig } from '../../src/identity/redis-config.ts';
import { loadResources } from '../../src/load/load.ts';
import { createCounters } from '../../src/match/counters.ts';
import { writePcap } from '../../src/packets/write.ts';
import { LAYOUT_VERSION } from '../../src/tables/layout.ts';
import { openTables } from '../../src/tables/tables.ts';
import { hasRedis, RedisServer, until } from '../identity/support/redis-server.ts';
import { documents } from '../rows/objects.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { answerOf, MODES } from './answer.ts';
import { PROGRAM, placeOf, queueAnswer, serveHere } from './queue-support.ts';
import { randomTraffic, WORLD } from './traffic.ts';

const world = openTables(compile(loadResources([{ name: 'w', text: documents(...WORLD) }]).resources));
const PACKETS = MODES.find(({ name }) => name === 'packets')!;
const SUMMARY = MODES.find(({ name }) => name === 'summary')!;
const HASH = 'a'.repeat(64);

const RECORD: RunRecord = {
  format: 'margay-queue/1',
  program: PROGRAM,
  layout: LAYOUT_VERSION,
  division: 'flows',
  shares: 4,
  needsRing: false,
  wantsLines: false,
  wantsConnections: true,
  wantsTimes: false,
  options: { stateless: true, capturePoint: 'veth' },
  files: [{ name: 'a.pcap', path: '/a.pcap', sizeBytes: 10, digest: HASH }],
  tables: { sizeBytes: 10, pieces: 1, digest: HASH },
  lockMs: 1000,
};

describe('the record of a run', () => {
  test('is read as it was written', () => {
    expect(parseRun(JSON.stringify(RECORD), PROGRAM)).toEqual(RECORD);
  });

  const [file] = RECORD.files;
  test.each([
    ['another version', { program: '9.9.9' }, 'another version of margay (this is 0.0.0)'],
    ['another layout', { layout: 1 }, 'another layout'],
    ['no shares', { shares: 0 }, 'number of shares'],
    ['too many shares', { shares: 1e9 }, 'number of shares'],
    ['an unknown division', { division: 'words' }, 'division'],
    ['no files', { files: [] }, 'list of files'],
    ['a file without digest', { files: [{ ...file, digest: 'x' }] }, 'no digest'],
    ['a path with a zero byte', { files: [{ ...file, path: '/a\0b' }] }, 'no name'],
    ['a negative size', { files: [{ ...file, sizeBytes: -1 }] }, 'no digest'],
    ['tables of a terabyte', { tables: { ...RECORD.tables, sizeBytes: 2 ** 40 } }, 'too large'],
    ['pieces that do not fit', { tables: { ...RECORD.tables, pieces: 7 } }, 'make no sense'],
    ['options that are none', { options: { stateless: 'yes' } }, 'options'],
    ['an endless lock', { lockMs: 1e12 }, 'lock time'],
    ['another format', { format: 'x' }, 'format'],
  ])('with %s is refused', (_name, change, problem) => {
    expect(() => parseRun(JSON.stringify({ ...RECORD, ...change }), PROGRAM)).toThrow(problem);
  });

  test('that is no JSON, or no object, is refused', () => {
    for (const text of ['', '{', 'null', '[]', '7']) expect(() => parseRun(text, PROGRAM)).toThrow('its record');
  });

  test('cluster names that would leave the keys are refused', () => {
    expect(queueKeysOf('prod').of('0123').run).toBe('margay:{prod}:queue:0123:our-run');
    expect(() => queueKeysOf('a}:b')).toThrow('cluster name');
  });
});

describe('what a worker sends', () => {
  const expected = { files: 1, counters: createCounters(world), stages: 9 };
  const REPORT: Report = {
    kind: 'report',
    steps: 1,
    file: 0,
    bytesRead: 100,
    packets: 2,
    moment: Number.POSITIVE_INFINITY,
    lineNumbers: Float64Array.of(1),
    lines: '{"packet":1}',
    moments: Float64Array.of(5, 6),
    firsts: Float64Array.of(1, 2),
    records: '{"first_packet":1}\n',
    orphans: [
      {
        key: new Int32Array(12).fill(-3),
        hash: -5,
        fromLower: true,
        record: {} as never,
        community: '1:x',
        packet: 2,
        verdict: 1,
        bytes: 3,
        seconds: 4,
        nanos: 5,
      },
    ],
    frames: {
      count: 1,
      bytes: Uint8Array.of(1, 2),
      numbers: Float64Array.of(1, 2, 2, 0, 0, 1, 0, -1),
      names: ['eth0'],
    },
  };
  const FINAL: Final = {
    kind: 'final',
    counters: createCounters(world),
    sources: [{ file: 'a', packets: 2, link_type: 1, lost: 0, error: null }],
    packets: 2,
    connections: 1,
    evictedConnections: 0,
    wasStopped: false,
    stageMs: undefined,
  };

  test('is read as it was written', async () => {
    for (const message of [REPORT, FINAL]) {
      const frame = await encodeMessage(message);
      expect(frame.readUInt32LE()).toBe(frame.length - 4);
      const read = decodeMessage(frame.subarray(4), expected);
      expect(JSON.stringify(read)).toBe(
        JSON.stringify(message).replaceAll('"bytes":{"0":1,"1":2}', '"bytes":{"type":"Buffer","data":[1,2]}'),
      );
      expect(read.kind === 'report' ? read.moment : 0).toBe(message.kind === 'report' ? Number.POSITIVE_INFINITY : 0);
    }
  });

  /** Every field of both messages, missing or of another type, one at a time; most must be refused, none may end in another error. */
  test('is refused where any field is of another shape', () => {
    const strange = [null, -1, 1e300, 'x', true, [], {}, [null], [1, 2, 3, 4, 5, 6, 7, 8, 9]];
    let refused = 0;
    for (const message of [REPORT, FINAL]) {
      const plain = JSON.parse(
        JSON.stringify(message, (_key, value: unknown) =>
          value instanceof Float64Array || value instanceof Int32Array
            ? Array.from(value)
            : value instanceof Uint8Array
              ? Buffer.from(value).toString('base64')
              : value,
        ),
      ) as Record<string, unknown>;
      const decode = (value: unknown): void => {
        decodeMessage(gzipSync(JSON.stringify(value)), expected);
      };
      expect(() => decode(plain)).not.toThrow();
      for (const field of Object.keys(plain)) {
        for (const value of strange) {
          try {
            decode({ ...plain, [field]: value });
          } catch (error) {
            expect((error as Error).name, `${field} ${JSON.stringify(value)}`).toBe('QueueError');
            refused++;
          }
        }
      }
      const { counters } = plain as { counters?: object };
      if (counters !== undefined) expect(() => decode({ ...plain, counters: { ...counters, packets: [1] } })).toThrow();
    }
    expect(refused).toBeGreaterThan(150);
  });

  test('is refused where it is damaged, or would be a flood', () => {
    expect(() => decodeMessage(Uint8Array.of(1, 2, 3), expected)).toThrow('damaged');
    expect(() => decodeMessage(gzipSync(Buffer.alloc(257 << 20), { level: 1 }), expected)).toThrow('damaged');
  });
});

describe.skipIf(!hasRedis)('a queue', () => {
  let folder: string;
  let capture: string;
  let removeEntries: () => void;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'margay-hostile-'));
    capture = join(folder, 'capture.pcap');
    writeFileSync(capture, writePcap(randomTraffic(3, 800)));
    removeEntries = bundleThreadEntries();
  });
  afterAll(() => {
    removeEntries();
    rmSync(folder, { recursive: true });
  });
  const cleanUp: (() => unknown)[] = [];
  afterEach(async () => {
    for (const each of cleanUp.splice(0).reverse()) await each();
  });

  async function started(config: readonly string[] = []): Promise<RedisServer> {
    const redis = await RedisServer.start({ config });
    cleanUp.push(() => redis.stop());
    return redis;
  }

  /** A worker in this process that does as it pleases with the first job of a run. */
  async function liar(redis: RedisServer) {
    const config = redisConfig(redis.url, {});
    const store = new QueueStore(config, 'default');
    cleanUp.push(() => store.close());
    await until(async () => (await store.runs()).length > 0);
    const [run] = await store.runs();
    const taker = new JobTaker(config, store.keys.prefix, run!, 500, () => {});
    cleanUp.push(() => taker.close());
    const take = async (token: string) => {
      let job = await taker.take(token);
      await until(async () => {
        if (job === undefined) job = await taker.take(token);
        return job !== undefined;
      });
      return job!;
    };
    return { store, run: run!, take };
  }

  const signal = new AbortController().signal;

  /** A worker that tells the truth, in this process. */
  function honest(redis: RedisServer, config?: RedisConfig): readonly string[] {
    const { notes, stop } = serveHere(redis, config);
    cleanUp.push(stop);
    return notes;
  }

  test('takes nothing of an attempt whose lock had run out, whatever it had sent', async () => {
    const redis = await started();
    const asked = queueAnswer(world, [capture], PACKETS, placeOf(redis, { lockMs: 500 }), { workers: 2 });
    asked.catch(() => {});
    const { store, run, take } = await liar(redis);
    const job = await take('late');
    const writer = new ResultWriter(store, run, job.id, signal);
    await writer.write({ kind: 'report' } as unknown as Report);
    const end = await writer.finish();
    const notes = honest(redis);
    await until(() => notes.some((note) => note.includes(`${job.id} done`)), 30_000);
    expect([await job.renew(), await job.complete(end)]).toEqual([false, false]);
    expect(await asked).toBe(await answerOf(world, [capture], PACKETS, 1));
  });

  test.each([
    ['is completed with nonsense', { attempt: 7 }, /makes no sense/],
    ['is completed with nothing', null, /makes no sense/],
  ])('ends with an error where a job %s', async (_name, value, problem) => {
    const redis = await started();
    const asked = queueAnswer(world, [capture], SUMMARY, placeOf(redis), { workers: 2 });
    asked.catch(() => {});
    const { take } = await liar(redis);
    await (await take('t')).complete(value);
    await expect(asked).rejects.toThrow(problem);
    expect(await redis.admin.keys('*:queue:*:*')).toEqual([]);
  });

  test('has a job done again of which Redis has lost the pieces', async () => {
    const redis = await started();
    const asked = queueAnswer(world, [capture], SUMMARY, placeOf(redis), { workers: 2 });
    asked.catch(() => {});
    const { take } = await liar(redis);
    await (await take('t')).complete({ attempt: '0123456789abcdef', pieces: 3, bytes: 10, digest: HASH });
    honest(redis);
    expect(await asked).toBe(await answerOf(world, [capture], SUMMARY, 1));
  });

  test('refuses results that are well-formed and false', async () => {
    const redis = await started();
    const asked = queueAnswer(world, [capture], SUMMARY, placeOf(redis), { workers: 2 });
    asked.catch(() => {});
    const { store, run, take } = await liar(redis);
    for (const share of [0, 1]) {
      const job = await take(`t${share}`);
      const writer = new ResultWriter(store, run, job.id, signal);
      const report = {
        kind: 'report',
        steps: 1,
        file: 1,
        bytesRead: 0,
        packets: 800,
        moment: Number.POSITIVE_INFINITY,
      };
      const none = { lineNumbers: [], lines: '', moments: [], firsts: [], records: '', orphans: [] };
      await writer.write({ ...report, ...none } as unknown as Report);
      const sources = [{ file: 'x', packets: 800, link_type: 1, lost: 0, error: null }];
      const final = { kind: 'final', counters: createCounters(world), sources, packets: 800, connections: 0 };
      await writer.write({ ...final, evictedConnections: 0, wasStopped: false } as unknown as Final);
      await job.complete(await writer.finish());
    }
    await expect(asked).rejects.toThrow('800 packets were read and 0 counted');
  });

  test('tables that were changed in Redis are refused by the worker, and a key of another type is an error', async () => {
    const redis = await started();
    const asked = queueAnswer(world, [capture], SUMMARY, placeOf(redis, { noWorkerMs: 1_500 }), { workers: 2 });
    asked.catch(() => {});
    const { store, run } = await liar(redis);
    const { tables } = store.keys.of(run);
    const text = (await redis.admin.hget(tables, '0'))!;
    await redis.admin.hset(tables, '0', (text[0] === 'A' ? 'B' : 'A') + text.slice(1));
    honest(redis);
    await expect(asked).rejects.toThrow('its tables are not those of their digest');
    const record = parseRun(
      JSON.stringify({ ...RECORD, files: [] as never, tables: RECORD.tables }).replace(
        '"files":[]',
        `"files":${JSON.stringify(RECORD.files)}`,
      ),
      PROGRAM,
    );
    await expect(openLocalRun(store, run, record, undefined)).rejects.toThrow("/a.pcap can't be read here (ENOENT)");
    await redis.admin.set('margay:{default}:queue:workers', 'text');
    await expect(queueAnswer(world, [capture], SUMMARY, placeOf(redis))).rejects.toThrow('another type');
  });

  test('works for the user of the ACL in the README, who can touch nothing else', async () => {
    const readme = readFileSync('README.md', 'utf8');
    const line = /^user margay-queue .*$/m.exec(readme)![0].replaceAll('{C}', '{default}');
    const redis = await started([line]);
    const env = { MARGAY_REDIS_USERNAME: 'margay-queue', MARGAY_REDIS_PASSWORD: 'margay-queue-password' };
    const config = redisConfig(redis.url, env);
    honest(redis, config);
    const place = { ...placeOf(redis), config };
    expect(await queueAnswer(world, [capture], PACKETS, place, { workers: 2 })).toBe(
      await answerOf(world, [capture], PACKETS, 1),
    );
    const client = new Redis({ port: redis.port, username: 'margay-queue', password: env.MARGAY_REDIS_PASSWORD });
    cleanUp.push(() => client.disconnect());
    client.on('error', () => {});
    await expect(client.set('other', '1')).rejects.toThrow('NOPERM');
    await expect(client.hset('margay:{default}:meta', 'epoch', '1')).rejects.toThrow('NOPERM');
    await expect(client.flushall()).rejects.toThrow('NOPERM');
    await expect(client.config('GET', '*')).rejects.toThrow('NOPERM');
    const wrong = redisConfig(redis.url, { ...env, MARGAY_REDIS_PASSWORD: 'wrong-one' });
    const asked = queueAnswer(world, [capture], SUMMARY, { ...place, config: wrong });
    await expect(asked).rejects.toThrow(/^(?!.*wrong-one).*WRONGPASS/);
  });
});
