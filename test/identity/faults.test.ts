/**
 * Faults of a real server and the way to it, at random moments while changes flow.
 *
 * Whatever happened, when it is over every reader's table is what the publisher's source says; on the way it was never empty; each resync is
 * counted by its cause. The rate is low here to spare the machine: `MARGAY_FAULT_RATE=4000 MARGAY_FAULT_MS=10000` is the full measure.
 */
import { describe, expect, test } from 'vitest';
import { entriesOfRecord, entryName } from '../../src/identity/entries.ts';
import type { IdentityPublisher } from '../../src/identity/publisher.ts';
import type { IdentityReader, ReaderOptions } from '../../src/identity/reader.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { entriesOfPods, podLine, publisher, reader, recordOf, textOfEntries, textOfTable } from './support/cluster.ts';
import { TcpProxy } from './support/proxy.ts';
import { freePort, hasRedis, RedisServer, until } from './support/redis-server.ts';

const CHANGES_A_SECOND = Number(process.env.MARGAY_FAULT_RATE ?? 400);
const CHURN_MS = Number(process.env.MARGAY_FAULT_MS ?? 700);
const PODS = 300;
const TICK_MS = 20;

/** A server with a publisher and readers, and a source that changes all the time. */
class Bed {
  readonly troubles: string[] = [];
  readonly publishers: IdentityPublisher[] = [];
  readonly readers: IdentityReader[] = [];
  /** What went wrong on the way. */
  wrong: string | undefined;
  readonly #wanted = entriesOfPods(PODS);
  readonly #generations = new Array<number>(PODS).fill(0);
  readonly #closers: (() => unknown)[] = [];
  readonly #running: Promise<void>[] = [];
  #churn: NodeJS.Timeout | undefined;

  onClose(close: () => unknown): void {
    this.#closers.push(close);
  }

  store(url: string, env: Record<string, string> = {}, logEntries?: number): RedisStore {
    const store = new RedisStore({
      config: redisConfig(url, env),
      cluster: 'test',
      ...(logEntries === undefined ? {} : { logEntries }),
    });
    this.onClose(() => store.close());
    return store;
  }

  publish(url: string, leaseMs = 1_000): IdentityPublisher {
    const made = publisher({
      store: this.store(url),
      leaseMs,
      reconcileMs: 800,
      onTrouble: (text) => this.troubles.push(`publisher: ${text}`),
    });
    made.replace(this.#wanted);
    this.publishers.push(made);
    this.#running.push(made.run());
    return made;
  }

  read(store: RedisStore, options: Partial<ReaderOptions> = {}): IdentityReader {
    let wasThere = false;
    const made: IdentityReader = reader({
      store,
      blockMs: 200,
      onTrouble: (text) => this.troubles.push(`reader: ${text}`),
      onChange: () => {
        wasThere ||= made.table.owners.size > 0;
        if (wasThere && made.table.owners.size < PODS / 2)
          this.wrong ??= `a reader had ${made.table.owners.size} addresses at revision ${made.rev}`;
      },
      ...options,
    });
    this.readers.push(made);
    this.#running.push(made.run());
    return made;
  }

  /** Pods give their addresses to new ones, at `CHANGES_A_SECOND`; each takes about four entries. */
  churn(): void {
    const pods = Math.max(1, Math.round((CHANGES_A_SECOND * TICK_MS) / 1000 / 4));
    this.#churn = setInterval(() => {
      for (let i = 0; i < pods; i++) this.#replacePod(Math.floor(Math.random() * PODS));
    }, TICK_MS);
  }

  #replacePod(index: number): void {
    const old = entriesOfRecord(recordOf(podLine(index, this.#generations[index])));
    const next = entriesOfRecord(recordOf(podLine(index, ++this.#generations[index]!)));
    for (const entry of next) {
      this.#wanted.set(entryName(entry), entry);
      for (const made of this.publishers) made.put(entry);
    }
    for (const entry of old.reverse()) {
      this.#wanted.delete(entryName(entry));
      for (const made of this.publishers) made.remove(entryName(entry));
    }
  }

  calm(): void {
    clearInterval(this.#churn);
    this.#churn = undefined;
  }

  /** True if all readers have what the source says. */
  isWhole(): boolean {
    const leader = this.publishers.find((each) => each.isSettled);
    if (leader === undefined || this.readers.some((each) => !each.isSynced || each.rev !== leader.rev)) return false;
    const truth = textOfEntries(this.#wanted);
    return this.readers.every((each) => textOfTable(each.table) === truth);
  }

  async settled(): Promise<void> {
    await until(
      () => this.isWhole(),
      30_000,
      () => this.report(),
    );
  }

  report(): string {
    const readers = this.readers.map((each) => `${each.isSynced} rev ${each.rev} ${JSON.stringify(each.resyncs)}`);
    const publishers = this.publishers.map(
      (each) => `leads ${each.isLeader} settled ${each.isSettled} rev ${each.rev} ${JSON.stringify(each.refusals)}`,
    );
    return [...readers, ...publishers, ...this.troubles.slice(-20)].join('\n');
  }

  async close(): Promise<void> {
    this.calm();
    for (const each of [...this.publishers, ...this.readers]) each.stop();
    for (const close of this.#closers.reverse()) await close();
    await Promise.all(this.#running);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Somewhere in the churn. */
function sometime(): Promise<void> {
  return pause(CHURN_MS * (0.2 + Math.random() * 0.6));
}

interface Scene {
  readonly bed: Bed;
  readonly redis: RedisServer;
  readonly publisher: IdentityPublisher;
  readonly readers: readonly IdentityReader[];
  /** Between all clients and the server. */
  readonly proxy: TcpProxy;
}

/** All is well and changes flow; then the fault, its end, quiet; then all is well again. */
async function survive(
  fault: (scene: Scene) => Promise<void>,
  options: { config?: string[]; env?: Record<string, string> } = {},
): Promise<Scene> {
  const bed = new Bed();
  try {
    const redis = await RedisServer.start(options.config === undefined ? {} : { config: options.config });
    bed.onClose(() => redis.stop());
    const proxy = await TcpProxy.start(redis.port);
    bed.onClose(() => proxy.close());
    const made = bed.publish(proxy.url);
    const readers = [0, 1].map(() => bed.read(bed.store(proxy.url)));
    await bed.settled();
    bed.churn();
    await sometime();
    const scene = { bed, redis, publisher: made, readers, proxy };
    await fault(scene);
    await sometime();
    bed.calm();
    await bed.settled();
    expect(bed.wrong).toBeUndefined();
    return scene;
  } finally {
    await bed.close();
  }
}

describe.skipIf(!hasRedis)('readers and publisher survive', () => {
  test('a server that is down at the start', async () => {
    const bed = new Bed();
    try {
      const port = await freePort();
      const url = `redis://127.0.0.1:${port}`;
      bed.publish(url);
      const read = bed.read(bed.store(url));
      await until(() => bed.troubles.some((text) => text.includes("can't be reached")));
      expect(read.isSynced).toBe(false);
      const redis = await RedisServer.start({ port });
      bed.onClose(() => redis.stop());
      await bed.settled();
      expect(read.resyncs.start).toBe(1);
    } finally {
      await bed.close();
    }
  });

  test('a server that is killed and comes back empty', async () => {
    const { publisher: pub, readers } = await survive(async ({ redis, readers: [first] }) => {
      await redis.kill();
      await sometime();
      expect(first!.table.owners.size).toBe(PODS);
      await redis.start();
    });
    expect(pub.rebuilds.missing).toBe(2);
    for (const each of readers) expect(each.resyncs.epoch + each.resyncs.server).toBeGreaterThan(0);
  });

  test('a server that comes back with old data', async () => {
    const { readers } = await survive(async ({ redis }) => {
      await redis.admin.save();
      await sometime();
      await redis.kill();
      await redis.start();
    });
    for (const each of readers)
      expect(each.resyncs.server + each.resyncs.epoch + each.resyncs.behind).toBeGreaterThan(0);
  });

  test('a server that is stopped for longer than a command may take, and goes on', async () => {
    await survive(async ({ redis, readers: [first] }) => {
      redis.signal('SIGSTOP');
      await until(() => first!.ageMs() > 2_300);
      expect(first!.table.owners.size).toBe(PODS);
      redis.signal('SIGCONT');
    });
  });

  test('FLUSHALL', async () => {
    const { publisher: pub, readers } = await survive(async ({ redis }) => {
      await redis.admin.flushall();
    });
    expect(pub.rebuilds.missing).toBe(2);
    for (const each of readers) expect(each.resyncs.epoch).toBe(1);
  });

  test.each(['ep:5', 'meta', 'log', 'leader', 'sig'])('a key of the wrong type at %s', async (key) => {
    await survive(async ({ redis }) => {
      const name = `margay:{test}:${key}`;
      await redis.admin.multi().del(name).sadd(name, 'x').exec();
    });
  });

  test('values that no publisher wrote, and keeps what they said before', async () => {
    const { readers } = await survive(async ({ redis, bed, readers: [first] }) => {
      bed.calm();
      await bed.settled();
      const before = textOfTable(first!.table);
      const { rev, epoch } = first!;
      // Straight into the log: as a publisher would, but not what it would.
      const add = (n: number, key: string, value: string, kind = 'ep') =>
        redis.admin
          .multi()
          .hset('margay:{test}:meta', 'rev', String(rev + n))
          .xadd(
            'margay:{test}:log',
            `${rev + n}-0`,
            'op',
            'set',
            'kind',
            kind,
            'key',
            key,
            'value',
            value,
            'epoch',
            epoch,
          )
          .exec();
      await add(1, '010.0.0.1', 'a/b|abcdefghijkl');
      await add(2, '10.0.0.1', 'no owner');
      await add(3, 'abcdefghijkl', '{"pod":"a/b","uid":"other","node":"n","sa":"a/","labels":"{}"}', 'pod');
      await add(4, '10.0.0.1', 'x'.repeat(2_000_000));
      await add(5, 'a/b', '{"labels":{"not":"text"}}', 'sa');
      await until(() => first!.refused >= 5);
      expect(textOfTable(first!.table)).toBe(before);
      bed.churn();
    });
    for (const each of readers) expect(each.refused).toBeGreaterThanOrEqual(5);
  });

  test('a server without memory', async () => {
    await survive(
      async ({ redis, bed }) => {
        await redis.admin.config('SET', 'maxmemory', '1');
        await until(() => bed.troubles.some((text) => text.includes('OOM')));
        await redis.admin.config('SET', 'maxmemory', '0');
      },
      { config: ['maxmemory-policy noeviction'] },
    );
  });

  test('a wrong password, and rights that are taken and given back', async () => {
    const rules = [
      'on',
      '>good',
      'resetkeys',
      '%R~margay:*',
      '-@all',
      '+@read',
      '+@connection',
      '+info',
      '+eval_ro',
      '+evalsha_ro',
    ];
    await survive(async ({ redis, bed, proxy }) => {
      await redis.admin.call('ACL', 'SETUSER', 'reader', ...rules);
      const url = proxy.url.replace('//', '//reader@');
      const wrong = reader({
        store: bed.store(url, { MARGAY_REDIS_PASSWORD: 'bad' }),
        onTrouble: (text) => bed.troubles.push(text),
      });
      const running = wrong.run();
      await until(() => bed.troubles.some((text) => text.includes('WRONGPASS')));
      expect(wrong.isSynced).toBe(false);
      wrong.stop();
      const right = bed.read(bed.store(url, { MARGAY_REDIS_PASSWORD: 'good' }));
      await until(() => right.isSynced);
      await redis.admin.call('ACL', 'SETUSER', 'reader', 'resetkeys', '-@read');
      await until(() => bed.troubles.some((text) => text.includes('NOPERM')));
      expect(right.table.owners.size).toBe(PODS);
      await redis.admin.call('ACL', 'SETUSER', 'reader', ...rules);
      await running;
      expect(bed.troubles.join()).not.toMatch(/\bgood\b|\bbad\b/);
    });
  });

  test('a log that was trimmed under a slow reader', async () => {
    const { readers } = await survive(async ({ redis, bed, readers: [first] }) => {
      const slow = await TcpProxy.start(redis.port);
      bed.onClose(() => slow.close());
      const late = bed.read(bed.store(slow.url));
      await until(() => late.isSynced);
      const { rev } = late;
      slow.hold();
      await until(() => first!.rev > rev + 20);
      await redis.admin.xtrim('margay:{test}:log', 'MAXLEN', 1);
      slow.cut();
      slow.release();
      await until(
        () => late.resyncs.gap + late.resyncs.trimmed + late.resyncs.server > 0,
        15_000,
        () => bed.report(),
      );
    });
    expect(readers.length).toBe(2);
  });

  test('CLIENT KILL again and again', async () => {
    await survive(async ({ redis }) => {
      for (let i = 0; i < 8; i++) {
        await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await pause(CHURN_MS / 8);
      }
    });
  });

  test('a replica that is promoted', async () => {
    const { readers } = await survive(async ({ redis, bed, proxy }) => {
      const replica = await RedisServer.start({
        config: [`replicaof 127.0.0.1 ${redis.port}`, 'repl-diskless-sync-delay 0'],
      });
      bed.onClose(() => replica.stop());
      await until(async () => (await replica.admin.info('replication')).includes('master_link_status:up'));
      await redis.kill();
      await replica.admin.call('REPLICAOF', 'NO', 'ONE');
      proxy.target = replica.port;
    });
    for (const each of readers) expect(each.resyncs.server + each.resyncs.epoch).toBeGreaterThan(0);
  });

  test('two publishers that take the lead from each other', async () => {
    await survive(async ({ redis, bed, publisher: first, proxy }) => {
      const second = bed.publish(proxy.url);
      for (let i = 0; i < 10; i++) {
        await redis.admin.del('margay:{test}:leader');
        await pause(CHURN_MS / 6);
      }
      await until(
        () => first.takeOvers + second.takeOvers > 1,
        15_000,
        () => bed.report(),
      );
    });
  });

  test('a publisher that wakes after its lease', async () => {
    const bed = new Bed();
    try {
      const redis = await RedisServer.start();
      const slow = await TcpProxy.start(redis.port);
      bed.onClose(() => redis.stop());
      bed.onClose(() => slow.close());
      const sleeper = bed.publish(slow.url, 600);
      bed.read(bed.store(redis.url));
      await bed.settled();
      const second = bed.publish(redis.url, 600);
      bed.churn();
      slow.hold();
      await until(
        () => second.isLeader && second.changes > 0,
        15_000,
        () => bed.report(),
      );
      slow.release();
      await until(
        () => !sleeper.isLeader,
        15_000,
        () => bed.report(),
      );
      await sometime();
      bed.calm();
      await bed.settled();
      expect(second.isLeader).toBe(true);
      expect(bed.wrong).toBeUndefined();
    } finally {
      await bed.close();
    }
  });

  test('a network that delays, drops, half-closes and duplicates', async () => {
    const { proxy } = await survive(async ({ proxy: { mischief: _ }, proxy: on }) => {
      on.mischief = { delayMs: 3, drop: 0.004, halfClose: 0.004, duplicate: 0.01 };
      await pause(CHURN_MS * 3);
      on.mischief = {};
      // What is still under way was disturbed as well.
      on.cut();
    });
    expect(proxy.counts.duplicate).toBeGreaterThan(0);
  });
});
