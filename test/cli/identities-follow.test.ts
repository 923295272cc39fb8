/** Owners that follow Redis while a capture streams in. */
import { afterEach, describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { FollowedIdentities } from '../../src/cli/identity-follow.ts';
import { entriesOf } from '../../src/identity/entries.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { loadResources } from '../../src/load/load.ts';
import { publisher, setOf } from '../identity/support/cluster.ts';
import { hasRedis, RedisServer, until } from '../identity/support/redis-server.ts';

const OUTPUT = {
  stdout: { write: () => {}, isTerminal: false, columns: undefined },
  stderr: { write: () => {}, isTerminal: false, columns: undefined },
  hasColor: false,
  isClosed: () => false,
  interruptible: () => new AbortController().signal,
  flush: () => {},
};

const POLICIES = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: app == "web"
  egress: [{action: Deny}]
`;

function pod(name: string, ip: string, app: string): object {
  return { ip, namespace: 'a', pod: name, uid: name, service_account: 's', node: 'n1', labels: { app } };
}

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

describe.skipIf(!hasRedis)('a stream judged through Redis', () => {
  test('follows what changes, takes new tables where it must, and says when nobody vouches', async () => {
    const redis = await RedisServer.start();
    cleanUp.push(() => redis.stop());
    const store = new RedisStore({ config: redisConfig(redis.url, {}), cluster: 'default' });
    const pub = publisher({ store });
    const publish = (lines: readonly object[]): void => pub.replace(entriesOf(setOf(lines), 0));
    publish([pod('web-0', '10.0.0.1', 'web'), pod('web-1', '10.0.0.2', 'web')]);
    const running = pub.run();
    cleanUp.push(async () => {
      pub.stop();
      await running;
      await store.close();
    });
    await until(() => pub.isSettled);
    const followed = await FollowedIdentities.start({ redis: redis.url, identityStaleAfter: 2 }, OUTPUT);
    cleanUp.push(() => followed.close());
    const { resources } = loadResources([{ name: 'p.yaml', text: POLICIES }]);
    let tables = followed.compile(resources);
    const changed: number[] = [];
    followed.onOwner = (_version, words, at) => changed.push(words[at]!);
    const answer = (src: string) => {
      tables = followed.newTables() ?? tables;
      const { action, reason, source_name } = evaluateFlow(tables, { src, dst: '192.0.2.1', dst_port: 1 });
      return [action, reason, source_name];
    };
    expect(answer('10.0.0.1')).toEqual(['deny', 'rule', 'web-0']);
    expect(answer('10.0.0.3')).toEqual(['uncertain', 'no-identity', undefined]);
    const first = tables;
    publish([pod('web-0', '10.0.0.1', 'web'), pod('web-2', '10.0.0.3', 'web')]);
    await until(() => answer('10.0.0.3')[2] === 'web-2' && answer('10.0.0.2')[1] === 'no-identity');
    expect(tables).toBe(first);
    expect(changed).toContain(0x0a000003);
    publish([pod('web-0', '10.0.0.1', 'web'), pod('db-0', '10.0.0.3', 'db')]);
    await until(() => answer('10.0.0.3')[2] === 'db-0');
    expect(answer('10.0.0.3')[0]).toBe('allow');
    expect(tables).not.toBe(first);
    expect(followed.isStale()).toBe(false);
    const agents = async () =>
      (await redis.admin.keys('margay:{default}:agent:*')).map((key) => redis.admin.hgetall(key));
    await until(async () => (await agents()).length === 1);
    expect(await (await agents())[0]).toMatchObject({ lag: '0', refused: '0' });
    await redis.kill();
    await until(() => followed.isStale());
    expect(answer('10.0.0.3')[2]).toBe('db-0');
    await redis.start();
    await until(() => !followed.isStale());
  });
});
