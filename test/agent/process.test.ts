/** The agent as a process: what it says, its signals, its end, whatever happens around it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentStatus, ConfigValue, FlowDetail, FlowPage, PolicyBoard } from '../../src/agent/api.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { compile } from '../../src/compile/compile.ts';
import { entriesOf } from '../../src/identity/entries.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { expandFiles } from '../../src/load/files.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';
import { publisher, setOf } from '../identity/support/cluster.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { type Bundled, bundleCommandLine } from '../support/bundled.ts';
import { until } from './engine-support.ts';

let bundled: Bundled;
let folder: string;
const agents: Agent[] = [];
const cleanUp: (() => unknown)[] = [];

beforeAll(() => {
  bundled = bundleCommandLine();
  folder = mkdtempSync(join(tmpdir(), 'margay-process-'));
});
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.kill();
  for (const each of cleanUp.splice(0).reverse()) await each();
});
afterAll(() => {
  bundled.remove();
  rmSync(folder, { recursive: true, force: true });
});

const CAPTURE = 'pcaps/sa-names/capture.pcapng';

/** Settings of whoever runs the tests are none of the agent's. */
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?MARGAY_/.test(name)));

class Agent {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  code: number | null | undefined;

  constructor(
    args: readonly string[],
    { isRead = true, env = {} }: { isRead?: boolean; env?: Record<string, string> } = {},
  ) {
    this.process = spawn(process.execPath, [bundled.main, 'agent', '--listen', '127.0.0.1:0', ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...ENV, ...env },
    });
    this.process.stdin!.on('error', () => {});
    if (isRead) this.process.stdout!.on('data', (part) => (this.stdout += part));
    if (isRead) this.process.stderr!.on('data', (part) => (this.stderr += part));
    this.process.on('exit', (code) => {
      this.code = code;
    });
    this.process.setMaxListeners(0);
    agents.push(this);
  }

  async ready(): Promise<this> {
    await until(`it listens\n${this.stderr}`, () => this.url !== '' || this.code !== undefined);
    expect(this.code, this.stderr).toBeUndefined();
    return this;
  }

  /** Standard input is a capture that has no packets yet: without its head the source is none. */
  head(): void {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(65_535, 16);
    header.writeUInt32LE(1, 20);
    this.process.stdin!.write(header);
  }

  get url(): string {
    return /http:\/\/[\d.:]+\//.exec(this.stdout + this.stderr)?.[0] ?? '';
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}${path}`)).json()) as T;
  }

  status(): Promise<AgentStatus> {
    return this.get('api/v1/status');
  }

  /** Asks for the status until it is as wanted. */
  async waitFor(what: string, isTrue: (status: AgentStatus) => boolean): Promise<AgentStatus> {
    let status: AgentStatus | undefined;
    let isAsking = false;
    await until(what, () => {
      if (status !== undefined && isTrue(status)) return true;
      if (!isAsking) {
        isAsking = true;
        void this.status()
          .then((answer) => {
            status = answer;
          })
          .catch(() => {})
          .finally(() => {
            isAsking = false;
          });
      }
      return false;
    });
    return status!;
  }

  logs(): Record<string, unknown>[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.code === undefined) {
      this.process.kill(signal);
      await once(this.process, 'exit');
    }
    return this.code ?? null;
  }

  async kill(): Promise<void> {
    if (this.code !== undefined) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}

/** A copy of a lesson's manifests that may be changed. */
function manifests(): string {
  const copy = mkdtempSync(join(folder, 'manifests-'));
  for (const name of ['cluster.yaml', 'policies.yaml']) cpSync(`pcaps/sa-names/${name}`, join(copy, name));
  return copy;
}

test('judges a capture as a replay does, and every number that it shows adds up', async () => {
  const flowLog = join(folder, 'flows.jsonl');
  const agent = await new Agent(['-f', 'pcaps/sa-names', '--source', `file:${CAPTURE}`, '--flow-log', flowLog]).ready();
  const { resources } = loadResources(expandFiles(['pcaps/sa-names'], false));
  const { totals } = await replayCaptures(openTables(compile(resources)), [CAPTURE], { onConnection: () => {} });
  const status = await agent.waitFor('all is judged', ({ accounting }) => accounting.seen === totals.packets);
  expect(status.accounting).toMatchObject({
    judged: totals.packets - totals.undecoded,
    undecoded: totals.undecoded,
    allow: totals.allow,
    deny: totals.deny,
    unpoliced: totals.unpoliced,
    lost: 0,
    duplicate: 0,
  });
  expect(status).toMatchObject({ isReady: true, generation: { number: 1, policies: 1 }, banners: [] });
  let page: FlowPage | undefined;
  await until('all flows are there', () => {
    void agent.get<FlowPage>('api/v1/flows?limit=1000').then((answer) => {
      page = answer;
    });
    return page?.matched === totals.connections;
  });
  const denied = await agent.get<FlowPage>('api/v1/flows?verdict=deny&account=db&limit=3');
  expect(denied.flows.every(({ record, generation }) => record.action === 'deny' && generation === 1)).toBe(true);
  const detail = await agent.get<FlowDetail>(`api/v1/flows/${denied.flows[0]!.id}`);
  expect(detail.steps.filter(({ isDeciding }) => isDeciding)).toHaveLength(1);
  expect(detail.text).toContain('is denied');
  const board = await agent.get<PolicyBoard>('api/v1/policies');
  const hits = board.tiers
    .flatMap(({ policies }) => policies)
    .find(({ name }) => name === 'np:prod-engineering/demo-calico');
  expect(hits!.rules.reduce((sum, { packets }) => sum + packets, 0)).toBeGreaterThan(0);
  const values = await agent.get<ConfigValue[]>('api/v1/config');
  expect(values.find(({ key }) => key === 'source')!.from).toBe('flag --source');
  expect(await agent.end()).toBe(0);
  const { packets, undecoded } = totals;
  expect(agent.stdout).toContain(
    `seen ${packets} = judged ${packets - undecoded} + duplicate 0 + undecoded ${undecoded} + lost 0\n`,
  );
  const lines = readFileSync(flowLog, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { packets: number });
  expect(lines.reduce((sum, line) => sum + line.packets, 0)).toBe(packets - undecoded);
});

test('standard input, until it ends: exit code 0 and the accounting, with the flow log on standard output', async () => {
  const agent = await new Agent([
    '-f',
    'pcaps/sa-names',
    '--source',
    '-',
    '--until-end',
    '--flow-log',
    '-',
    '--format',
    'hubble',
  ]).ready();
  createReadStream(CAPTURE).pipe(agent.process.stdin!);
  await until('it ends', () => agent.code !== undefined);
  expect(agent.code, agent.stderr).toBe(0);
  // Lines of JSON and nothing else.
  const lines = agent.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { flow: { extensions: Record<string, number> } });
  expect(lines.reduce((sum, { flow }) => sum + flow.extensions['margay.packets']!, 0)).toBe(208);
  expect(agent.logs().at(-1)).toMatchObject({ msg: 'stopped', accounting: { seen: 222, judged: 208, undecoded: 14 } });
});

describe('policies', () => {
  test('are taken as files change; a broken file is said everywhere and changes nothing; SIGHUP loads at once', async () => {
    const folderOf = manifests();
    const agent = await new Agent(['-f', folderOf, '--source', '-']).ready();
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
    const folderOf = manifests();
    const agent = await new Agent([
      '-f',
      folderOf,
      '--source',
      '-',
      '--flow-log',
      join(folder, 'reload.jsonl'),
      '--flow-log-interval',
      '1',
    ]).ready();
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
      readFileSync(join(folder, 'reload.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { generation: number }).generation),
    );
    expect(generations.size).toBeGreaterThan(1);
  });
});

describe('the end', () => {
  test('SIGUSR2 tells the state; SIGTERM and SIGINT end with 0 and the accounting', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const agent = await new Agent(['-f', 'pcaps/sa-names', '--source', '-']).ready();
      await agent.waitFor('a generation', ({ generation }) => generation.number === 1);
      // Of Node.js itself: a debugger for whoever may send it.
      agent.process.kill('SIGUSR1');
      agent.process.kill('SIGUSR2');
      await until('the state', () => agent.logs().some(({ msg }) => msg === 'state'));
      const state = agent.logs().find(({ msg }) => msg === 'state') as {
        status: AgentStatus;
        settings: Record<string, unknown>;
      };
      expect([state.status.generation.number, state.settings.source]).toEqual([1, '-']);
      expect(await agent.end(signal)).toBe(0);
      expect(agent.stdout).toMatch(/^seen 0 = judged 0 \+ duplicate 0 \+ undecoded 0 \+ lost 0$/m);
      expect(agent.logs().at(-1)).toMatchObject({ msg: 'stopped' });
      expect(agent.stderr).not.toContain('Debugger');
    }
  });

  // At any moment of its start, too.
  test.each([0, 100, 250, 400, 700])('SIGTERM after %i ms', async (ms) => {
    const agent = new Agent(['-f', 'pcaps/sa-names', '--source', `file:${CAPTURE}`]);
    await new Promise((resolve) => setTimeout(resolve, ms));
    const start = performance.now();
    const code = await agent.end();
    expect(performance.now() - start).toBeLessThan(15_000);
    // Before its handlers are there the signal is the system's own.
    expect([0, null]).toContain(code);
    if (code === 0) expect(agent.stdout).toMatch(/^seen \d+ = /m);
  });

  test('with pipes that nobody reads', async () => {
    const agent = new Agent(
      ['-f', 'pcaps/sa-names', '--source', '-', '--log-level', 'debug', '--flow-log', '-', '--flow-log-interval', '1'],
      {
        isRead: false,
      },
    );
    const capture = readFileSync(CAPTURE);
    for (let i = 0; i < 60; i++)
      if (!agent.process.stdin!.write(capture))
        await Promise.race([once(agent.process.stdin!, 'drain'), once(agent.process, 'exit')]);
    await until('its output is full', () => pipeIsFull(agent));
    const start = performance.now();
    expect(await agent.end()).toBe(0);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test('leaves no process behind', async () => {
    const agent = await new Agent(['-f', 'pcaps/sa-names', '--source', '-']).ready();
    await agent.waitFor('it runs', ({ sources }) => sources[0]?.pid !== undefined);
    const pids = (await agent.status()).sources.flatMap(({ pid }) => pid ?? []);
    expect(await agent.end()).toBe(0);
    await until('all are gone', () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  });
});

/** Nothing more fits in what it writes to: its pipes hold 64 KiB. */
function pipeIsFull(agent: Agent): boolean {
  return (
    (agent.process.stdout as { readableLength?: number }).readableLength! > 0 ||
    agent.process.stdout!.readableFlowing === null
  );
}

describe('mistakes', () => {
  const run = (args: readonly string[], env: Record<string, string> = {}) =>
    spawnSync(process.execPath, [bundled.main, ...args], { encoding: 'utf8', env: { ...ENV, ...env } });

  test('are all told before anything starts: exit code 2', () => {
    const { status, stderr } = run(['agent', '--listen', '0.0.0.0:1', '--snap-bytes', 'x'], { MARGAY_LISTN: 'x' });
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(4);
  });

  test('an address that is taken, a token that is no token: exit code 4 and one line', async () => {
    const agent = await new Agent(['-f', 'pcaps/sa-names', '--source', '-']).ready();
    const taken = run(['agent', '-f', 'pcaps/sa-names', '--source', '-', '--listen', new URL(agent.url).host]);
    expect([taken.status, taken.stderr.trim().split('\n').length]).toEqual([4, 1]);
    expect(taken.stderr).toMatch(/^margay: .*EADDRINUSE/);
    writeFileSync(join(folder, 'token'), 'short\n');
    const short = run([
      'agent',
      '-f',
      'pcaps/sa-names',
      '--source',
      '-',
      '--listen',
      '127.0.0.1:0',
      '--token-file',
      join(folder, 'token'),
    ]);
    expect([short.status, short.stderr]).toEqual([4, expect.stringContaining('shorter than 16')]);
    const log = run([
      'agent',
      '-f',
      'pcaps/sa-names',
      '--source',
      '-',
      '--listen',
      '127.0.0.1:0',
      '--flow-log',
      '/no/such/folder/x',
    ]);
    expect([log.status, log.stderr]).toEqual([4, expect.stringContaining('/no/such/folder/x')]);
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
    cleanUp.push(() => redis.stop());
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
    const agent = await new Agent(args).ready();
    agent.head();
    // Nothing is judged by owners that nobody has told.
    await agent.waitFor('it is told', ({ identitySource }) => identitySource.trouble !== undefined);
    expect((await agent.status()).generation.number).toBe(0);
    await redis.start();
    const store = new RedisStore({ config: redisConfig(redis.url, {}), cluster: 'default' });
    const pub = publisher({ store });
    pub.replace(entriesOf(setOf(lines), 0));
    const running = pub.run();
    cleanUp.push(async () => {
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
  const folderOf = manifests();
  const agent = await new Agent(['-f', folderOf, '--source', '-']).ready();
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
  const folderOf = manifests();
  writeFileSync(join(folderOf, 'policies.yaml'), 'not: {yaml');
  const agent = await new Agent(['-f', folderOf, '--source', '-']).ready();
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
  const agent = await new Agent(['-f', 'pcaps/sa-names', '--source', '-']).ready();
  await agent.waitFor('a generation', ({ generation }) => generation.number === 1);
  const { port } = new URL(agent.url);
  const sockets = Array.from({ length: 1_000 }, (_, i) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    if (i % 10 === 0) socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nX: ');
    return socket;
  });
  cleanUp.push(() => {
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
