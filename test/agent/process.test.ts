/** The agent as a process: what it says, its signals, its mistakes, its end. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentStatus, ConfigValue, FlowDetail, FlowPage, PolicyBoard } from '../../src/agent/api.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { compile } from '../../src/compile/compile.ts';
import { expandFiles } from '../../src/load/files.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';
import { type Agent, AgentBench, CAPTURE, ENV } from './agent-process.ts';
import { until } from './engine-support.ts';

let agents: AgentBench;
beforeAll(() => {
  agents = new AgentBench();
});
afterEach(() => agents.afterEach());
afterAll(() => agents.remove());

test('judges a capture as a replay does, and every number that it shows adds up', async () => {
  const flowLog = join(agents.folder, 'flows.jsonl');
  const agent = await agents
    .start(['-f', 'pcaps/sa-names', '--source', `file:${CAPTURE}`, '--flow-log', flowLog])
    .ready();
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
  const agent = await agents
    .start(['-f', 'pcaps/sa-names', '--source', '-', '--until-end', '--flow-log', '-', '--format', 'hubble'])
    .ready();
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

describe('the end', () => {
  test('SIGUSR2 tells the state; SIGTERM and SIGINT end with 0 and the accounting', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const agent = await agents.start(['-f', 'pcaps/sa-names', '--source', '-']).ready();
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
    const agent = agents.start(['-f', 'pcaps/sa-names', '--source', `file:${CAPTURE}`]);
    await new Promise((resolve) => setTimeout(resolve, ms));
    const start = performance.now();
    const code = await agent.end();
    expect(performance.now() - start).toBeLessThan(15_000);
    // Before its handlers are there the signal is the system's own.
    expect([0, null]).toContain(code);
    if (code === 0) expect(agent.stdout).toMatch(/^seen \d+ = /m);
  });

  test('with pipes that nobody reads', async () => {
    const agent = agents.start(
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
    const agent = await agents.start(['-f', 'pcaps/sa-names', '--source', '-']).ready();
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
    spawnSync(process.execPath, [agents.bundled.main, ...args], { encoding: 'utf8', env: { ...ENV, ...env } });

  test('are all told before anything starts: exit code 2', () => {
    const { status, stderr } = run(['agent', '--listen', '0.0.0.0:1', '--snap-bytes', 'x'], { MARGAY_LISTN: 'x' });
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(4);
  });

  test('what is not there is told at once: exit code 2', () => {
    for (const [args, expected] of [
      [['-f', '/no/such/file'], /^margay: '\/no\/such\/file' does not exist; correct the path after -f\n$/],
      [['--kubernetes', '--kubeconfig', '/no/such/config'], /--kubeconfig: '\/no\/such\/config' does not exist/],
      [['--kubernetes'], /no cluster is named here, and this is no pod of one; give --kubeconfig FILE/],
    ] as const) {
      const env = { HOME: agents.folder, KUBECONFIG: '' };
      const { status, stderr } = run(['agent', '--source', '-', '--listen', '127.0.0.1:0', ...args], env);
      expect([status, stderr]).toEqual([2, expect.stringMatching(expected)]);
    }
  });

  test('an address that is taken, a token that is no token: exit code 4 and one line', async () => {
    const agent = await agents.start(['-f', 'pcaps/sa-names', '--source', '-']).ready();
    const taken = run(['agent', '-f', 'pcaps/sa-names', '--source', '-', '--listen', new URL(agent.url).host]);
    expect([taken.status, taken.stderr.trim().split('\n').length]).toEqual([4, 1]);
    expect(taken.stderr).toMatch(/^margay: .*EADDRINUSE/);
    writeFileSync(join(agents.folder, 'token'), 'short\n');
    const short = run([
      'agent',
      '-f',
      'pcaps/sa-names',
      '--source',
      '-',
      '--listen',
      '127.0.0.1:0',
      '--token-file',
      join(agents.folder, 'token'),
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
