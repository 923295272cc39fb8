/** Publisher and reader over a real server: all goes well. Faults are in faults.test.ts. */
import { afterEach, describe, expect, test } from 'vitest';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { entriesOfPods, publisher, reader, textOfEntries, textOfTable } from './support/cluster.ts';
import { hasRedis, RedisServer, until } from './support/redis-server.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function server(): Promise<RedisServer> {
  const started = await RedisServer.start();
  open.push({ close: () => started.stop() });
  return started;
}

function storeOf(url: string): RedisStore {
  const store = new RedisStore({ config: redisConfig(url, {}), cluster: 'test' });
  open.push(store);
  return store;
}

describe.skipIf(!hasRedis)('publisher and reader over a real server', () => {
  test('a reader sees what was published, and what changes', async () => {
    const redis = await server();
    const troubles: string[] = [];
    const pub = publisher({ store: storeOf(redis.url), onTrouble: (t) => troubles.push(t) });
    const read = reader({ store: storeOf(redis.url), onTrouble: (t) => troubles.push(t) });
    const running = [pub.run(), read.run()];
    open.push({
      close: async () => {
        pub.stop();
        read.stop();
        await Promise.all(running);
      },
    });
    pub.replace(entriesOfPods(1000));
    await until(
      () => read.isSynced && pub.isSettled,
      15_000,
      () => troubles.join('\n'),
    );
    expect(textOfTable(read.table)).toBe(textOfEntries(entriesOfPods(1000)));
    const next = entriesOfPods(900, (i) => (i % 3 === 0 ? 1 : 0));
    pub.replace(next);
    await until(
      () => textOfTable(read.table) === textOfEntries(next),
      15_000,
      () => troubles.join('\n'),
    );
    expect(read.resyncs).toEqual({ start: 1, gap: 0, epoch: 0, server: 0, behind: 0, trimmed: 0, refused: 0 });
    expect(read.rev).toBe(pub.rev);
    expect(read.refused).toBe(0);
  });
});
