/** The agent while things around it break: policies, Redis, readers of its pages. */
import { appendFileSync, cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentStatus, FlowPage } from '../../src/agent/api.ts';
import { entriesOf } from '../../src/identity/entries.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { publisher, setOf } from '../identity/support/cluster.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { AgentBench, CAPTURE } from './agent-process.ts';
import { until } from './engine-support.ts';

let agents: AgentBench;
beforeAll(() => {
  agents = new AgentBench();
});
afterEach(() => agents.afterEach());
afterAll(() => agents.remove());

describe('policies', () => {
  test('are taken as files change; a broken file is said everywhere and changes nothing; SIGHUP loads at once', async () => {
    const folderOf = agents.manifests();
    const agent = await agents.start(['-f', folderOf, '--source', '-']).ready();
    agent.head();
    await agent.waitFor('a first generation', ({ generation, isReady }) => generation.number === 1 && isReady);
    expect((await fetch(`${agent.url}readyz`)).status).toBe(200);
    appendFileSync(
      join(folderOf, 'policies.yaml'),
      '\n---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {selector: "a ="}\n',
    );
    const broken = await agent.waitFor('it is refused', ({ policySource }) => policySource.trouble !== undefined);
    expect(broken).toMatchObject({ isReady: false, generation: { number: 1 }, banners: [{ kind: 'stale-policy' }] });
    const ready = await fetch(`${agent.url}readyz`);
    expect([ready.status, ((await ready.json()) as { reasons: { kind: string }[] }).reasons[0]!.kind]).toEqual([
      503,
      'stale-policy',
    ]);
    const metrics = await (await fetch(`${agent.url}metrics`)).text();
    expect(metrics).toContain('margay_updates_refused_total 1\n');
    expect(metrics).toContain('margay_resync_state 2\n');
    expect(
      agent.logs().some(({ level, detail }) => level === 'error' && String(detail).includes('policies.yaml')),
    ).toBe(true);
    cpSync('pcaps/sa-names/policies.yaml', join(folderOf, 'policies.yaml'));
    const mended = await agent.waitFor('it is taken', ({ generation, isReady }) => generation.number >= 2 && isReady);
    agent.process.kill('SIGHUP');
    await agent.waitFor('a reload', ({ generation }) => generation.number > mended.generation.number);
    expect(await agent.end()).toBe(0);
  });

  // A second of changes after another: the main loop answers throughout, and what is judged is judged by whole generations.
  test('every second others, while packets come: nothing is lost, nothing stands still', async () => {
    const folderOf = agents.manifests();
    const agent = await agents
      .start([
        '-f',
        folderOf,
        '--source',
        '-',
        '--flow-log',
        join(agents.folder, 'reload.jsonl'),
        '--flow-log-interval',
        '1',
      ])
      .ready();
    await agent.waitFor('a first generation', ({ generation }) => generation.number === 1);
    const capture = readFileSync(CAPTURE);
    agent.process.stdin!.write(capture);
    let pages = 0;
    for (let i = 0; i < 4; i++) {
      const before = (await agent.status()).generation.number;
      writeFileSync(join(folderOf, 'extra.yaml'), `apiVersion: v1\nkind: Namespace\nmetadata: {name: n${i}}\n`);
      await agent.waitFor('a new generation', ({ generation }) => generation.number > before);
      agent.process.stdin!.write(capture);
      pages += (await agent.get<FlowPage>('api/v1/flows?limit=5')).flows.length;
    }
    const status = await agent.waitFor('all is judged', ({ accounting }) => accounting.seen === 5 * 222);
    expect(status.accounting).toMatchObject({ lost: 0, judged: 5 * 208, undecoded: 5 * 14 });
    expect(status.eventLoopLagMs).toBeLessThan(2_000);
    expect(pages).toBeGreaterThan(0);
    expect(await agent.end()).toBe(0);
    const generations = new Set(
      readFileSync(join(agents.folder, 'reload.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { generation: number }).generation),
    );
    expect(generations.size).toBeGreaterThan(1);
  });
});

describe.skipIf(!hasRedis)('with identities from Redis', () => {
  const lines = ['web', 'db'].map((name, i) => ({
    ip: `10.244.1.${i + 1}`,
    namespace: 'prod-engineering',
    pod: `${name}-0`,
    uid: `uid-${name}`,
    service_account: name,
    node: 'node-1',
    labels: { app: name },
  }));

  test('Redis that is not there yet, goes, and comes back empty: the last good owners stay, and it is said how old they are', async () => {
    const redis = await RedisServer.start();
    agents.later(() => redis.stop());
    await redis.kill();
    const args = [
      '-f',
      'pcaps/sa-names',
      '--source',
      '-',
      '--redis',
      redis.url,
      '--identity-stale-after',
      '2',
      '--identity-dead-after',
      '3',
    ];
    const agent = await agents.start(args).ready();
    agent.head();
    // Nothing is judged by owners that nobody has told.
    await agent.waitFor('it is told', ({ identitySource }) => identitySource.trouble !== undefined);
    expect((await agent.status()).generation.number).toBe(0);
    await redis.start();
    const store = new RedisStore({ config: redisConfig(redis.url, {}), cluster: 'default' });
    const pub = publisher({ store });
    pub.replace(entriesOf(setOf(lines), 0));
    const running = pub.run();
    agents.later(async () => {
      pub.stop();
      await running;
      await store.close();
    });
    const first = await agent.waitFor(
      'owners',
      ({ generation, isReady, banners }) => generation.number > 0 && isReady && banners.length === 0,
    );
    expect(first.generation.endpoints).toBe(2);
    await redis.kill();
    await agent.waitFor(
      'it is stale',
      ({ identitySource, banners }) => identitySource.isStale && banners.some(({ kind }) => kind === 'stale-identity'),
    );
    const dead = await agent.waitFor('it is not ready', ({ isReady }) => !isReady);
    expect(dead.generation.endpoints).toBe(2);
    expect(await (await fetch(`${agent.url}metrics`)).text()).toContain('margay_identity_stale 1\n');
    await redis.start();
    const back = await agent.waitFor(
      'it is ready again',
      ({ isReady, identitySource }) => isReady && !identitySource.isStale,
    );
    expect(back.generation.endpoints).toBe(2);
    await agent.waitFor('no banner', ({ banners }) => banners.length === 0);
    expect(await agent.end()).toBe(0);
    expect(agent.stderr).not.toMatch(/Unhandled|\n +at /);
  });
});

test('descriptors and memory stay as they are over reloads and readers', async () => {
  const folderOf = agents.manifests();
  const agent = await agents.start(['-f', folderOf, '--source', '-']).ready();
  await agent.waitFor('a generation', ({ generation }) => generation.number === 1);
  const descriptors = (): number => readdirSync(`/proc/${agent.process.pid}/fd`).length;
  const round = async (): Promise<void> => {
    const { generation } = await agent.status();
    agent.process.kill('SIGHUP');
    await agent.waitFor('a reload', ({ generation: now }) => now.number > generation.number);
    await Promise.all(Array.from({ length: 10 }, () => agent.get('api/v1/policies')));
  };
  for (let i = 0; i < 2; i++) await round();
  const before = descriptors();
  for (let i = 0; i < 6; i++) await round();
  expect(descriptors()).toBeLessThanOrEqual(before + 12);
  expect((await agent.status()).memoryBytes).toBeLessThan(600 * 2 ** 20);
  expect(await agent.end()).toBe(0);
});

// A store that is away for longer than a child may be silent, before there is anything to judge by.
test('capture waits for the first policies, however long they take', async () => {
  const folderOf = agents.manifests();
  writeFileSync(join(folderOf, 'policies.yaml'), 'not: {yaml');
  const agent = await agents.start(['-f', folderOf, '--source', '-']).ready();
  agent.process.stdin!.write(readFileSync(CAPTURE));
  const waited = await agent.waitFor(
    'eleven seconds',
    ({ startedAt, now }) => Date.parse(now) - Date.parse(startedAt) > 11_500,
  );
  expect(waited).toMatchObject({ isReady: false, sources: [{ restarts: 0 }], accounting: { seen: 0 } });
  expect(waited.banners.map(({ kind }) => kind)).toEqual(['compile-failed']);
  cpSync('pcaps/sa-names/policies.yaml', join(folderOf, 'policies.yaml'));
  const judged = await agent.waitFor('all is judged', ({ accounting }) => accounting.seen === 222);
  expect(judged.accounting).toMatchObject({ lost: 0, judged: 208 });
  // Groups and parents pass one wish on several times.
  agent.process.kill('SIGTERM');
  agent.process.kill('SIGTERM');
  expect(await agent.end()).toBe(0);
  expect(agent.stdout).toContain('seen 222 = ');
});

test('a thousand connections and headers that never end do not touch capture', async () => {
  const agent = await agents.start(['-f', 'pcaps/sa-names', '--source', '-']).ready();
  await agent.waitFor('a generation', ({ generation }) => generation.number === 1);
  const { port } = new URL(agent.url);
  const sockets = Array.from({ length: 1_000 }, (_, i) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    if (i % 10 === 0) socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nX: ');
    return socket;
  });
  agents.later(() => {
    for (const socket of sockets) socket.destroy();
  });
  await until('most are dropped', () => sockets.filter(({ destroyed, closed }) => destroyed || closed).length > 800);
  agent.process.stdin!.write(readFileSync(CAPTURE));
  // Its pages are taken; it tells its state all the same.
  await until('all is judged', () => {
    agent.process.kill('SIGUSR2');
    return agent.logs().some(({ msg, status }) => msg === 'state' && (status as AgentStatus).accounting.judged === 208);
  });
  const last = agent
    .logs()
    .filter(({ msg }) => msg === 'state')
    .at(-1) as { status: AgentStatus };
  expect(last.status.accounting).toMatchObject({ seen: 222, lost: 0, droppedByKernel: 0 });
  for (const socket of sockets) socket.destroy();
  await agent.waitFor('it answers again', ({ accounting }) => accounting.seen === 222);
  expect(await agent.end()).toBe(0);
});
