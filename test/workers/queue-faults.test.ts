/** A queue to which bad things happen: no packet is lost or counted twice, and no part of an answer passes for the whole. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { QueueCancelled } from '../../src/analyze/queue-submit.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { hasRedis, RedisServer, until } from '../identity/support/redis-server.ts';
import { documents } from '../rows/objects.ts';
import { builtSources, removeBuiltSources } from '../support/built.ts';
import { answerOf, MODES } from './answer.ts';
import { placeOf, queueAnswer, startMargay, WorkerProcess } from './queue-support.ts';
import { randomTraffic, WORLD } from './traffic.ts';

const world = openTables(compile(loadResources([{ name: 'w', text: documents(...WORLD) }]).resources));
const modeOf = (name: string) => MODES.find((mode) => mode.name === name)!;
const PACKETS = modeOf('packets');
const CONNECTIONS = modeOf('connections');

describe.skipIf(!hasRedis)('a replay by a queue', () => {
  let folder: string;
  let capture: string;
  let manifests: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'margay-queue-faults-'));
    capture = join(folder, 'capture.pcap');
    manifests = join(folder, 'world.yaml');
    writeFileSync(capture, writePcap(randomTraffic(7, 5_000)));
    writeFileSync(manifests, documents(...WORLD));
    builtSources();
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
    removeBuiltSources();
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

  function worker(redis: RedisServer): WorkerProcess {
    const made = new WorkerProcess(redis.url);
    cleanUp.push(() => made.end());
    return made;
  }

  /** Resolves when a job is in the hands of a worker. */
  async function untilAtWork(redis: RedisServer, isDone = () => false): Promise<void> {
    await until(async () => {
      if (isDone()) return true;
      const [active] = await redis.admin.keys('*:active');
      return active !== undefined && (await redis.admin.llen(active)) > 0;
    }, 60_000);
  }

  test.each([1, 2])('survives workers that are killed at random moments (seed %i)', async (seed) => {
    const random = new Xorshift32(seed);
    const redis = await started();
    const workers = [worker(redis), worker(redis)];
    const mode = seed === 1 ? PACKETS : CONNECTIONS;
    const one = await answerOf(world, [capture], mode, 1);
    let isDone = false;
    const place = placeOf(redis, { lockMs: 700 });
    const asked = queueAnswer(world, [capture], mode, place, { workers: 6 }).finally(() => {
      isDone = true;
    });
    asked.catch(() => {});
    for (let kills = 0; kills < 2 && !isDone; kills++) {
      await untilAtWork(redis, () => isDone);
      const moment = performance.now() + random.below(400);
      await until(() => performance.now() > moment || isDone);
      const victim = random.below(2);
      await workers[victim]!.end('SIGKILL');
      workers[victim] = worker(redis);
    }
    expect(await asked).toBe(one);
    // A worker that opened the run as it ended clears up after itself, a moment later.
    await until(async () => (await redis.admin.keys('*:queue:*:*')).length === 0);
  });

  test('has a job given back by a worker that is told to go, and goes on elsewhere', async () => {
    const redis = await started();
    const first = worker(redis);
    const one = await answerOf(world, [capture], PACKETS, 1);
    const asked = queueAnswer(world, [capture], PACKETS, placeOf(redis, { lockMs: 60_000 }), { workers: 4 });
    asked.catch(() => {});
    await untilAtWork(redis);
    const second = worker(redis);
    // Finished within the grace, or given back: with this lock nobody would get it otherwise.
    expect(await first.end('SIGTERM')).toBe(0);
    expect(first.said).toMatch(/stopped after \d+ jobs?\n/);
    await second.ready();
    expect(await asked).toBe(one);
  });

  test('survives a Redis that is killed and comes back with its data', async () => {
    const redis = await started(['appendonly yes', 'appendfsync always']);
    const workers = [worker(redis), worker(redis)];
    const one = await answerOf(world, [capture], PACKETS, 1);
    const asked = queueAnswer(world, [capture], PACKETS, placeOf(redis), { workers: 4 });
    asked.catch(() => {});
    await Promise.all(workers.map((each) => each.ready()));
    await untilAtWork(redis);
    await redis.kill();
    await redis.start();
    expect(await asked).toBe(one);
  });

  test('ends with a clear error where Redis comes back empty, or not at all', async () => {
    const redis = await started();
    worker(redis);
    const lost = queueAnswer(world, [capture], PACKETS, placeOf(redis, { ttlMs: 2_000 }));
    lost.catch(() => {});
    await untilAtWork(redis);
    await redis.kill();
    await redis.start();
    await expect(lost).rejects.toThrow(/has lost the run .*start it again/);
    const away = queueAnswer(world, [capture], PACKETS, placeOf(redis, { awayMs: 500 }));
    away.catch(() => {});
    await untilAtWork(redis);
    await redis.kill();
    await expect(away).rejects.toMatchObject({ name: 'QueueError', code: 'QUEUE' });
    await redis.start();
  });

  test('leaves nothing behind when it is cancelled, and drops the job in hand', async () => {
    const redis = await started();
    const one = worker(redis);
    const controller = new AbortController();
    const asked = queueAnswer(world, [capture], PACKETS, placeOf(redis), { signal: controller.signal });
    asked.catch(() => {});
    await untilAtWork(redis);
    controller.abort();
    await expect(asked).rejects.toThrow(QueueCancelled);
    await until(
      () => one.said.includes('it is over'),
      15_000,
      () => one.said,
    );
    await until(async () => (await redis.admin.keys('*:queue:*:*')).length === 0);
  });

  test('leaves keys that go by themselves when the submitter dies', async () => {
    const redis = await started();
    worker(redis);
    const submitter = startMargay(['replay', '-f', manifests, capture, '--queue', redis.url]);
    await untilAtWork(redis);
    submitter.kill('SIGKILL');
    const [run] = await redis.admin.keys('*:our-run');
    expect(await redis.admin.pttl(run!)).toBeGreaterThan(0);
    // Half a minute passes: what lets the run live has gone, and the worker takes away the rest.
    await redis.admin.pexpire(run!, 1);
    // Its own keys go before its place in the list of runs.
    const left = async (): Promise<number> =>
      (await redis.admin.keys('*:queue:*:*')).length + (await redis.admin.zcard('margay:{default}:queue:runs'));
    await until(async () => (await left()) === 0);
  });
});
