/** What a host lacks, and settings with their places, as commands. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { ConfigValue } from '../../src/agent/api.ts';
import type { Check } from '../../src/agent/doctor.ts';
import { KubernetesServer } from '../identity/support/kubernetes-server.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { lesson, margay } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-doctor-'));
const cleanUp: (() => unknown)[] = [];
let before: NodeJS.ProcessEnv;
beforeEach(() => {
  before = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith('MARGAY_')) delete process.env[name];
});
afterEach(async () => {
  process.env = before;
  for (const each of cleanUp.splice(0).reverse()) await each();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FREE = ['--listen', '127.0.0.1:0'];

async function doctor(
  ...args: string[]
): Promise<{ code: number; isFine: boolean; of: (name: string) => Check | undefined }> {
  const { code, stdout, stderr } = await margay(['doctor', '-o', 'json', ...FREE, ...args]);
  expect(stderr).toBe('');
  const { isFine, checks } = JSON.parse(stdout) as { isFine: boolean; checks: Check[] };
  return { code, isFine, of: (name) => checks.find((check) => check.name === name) };
}

describe('doctor', () => {
  test('finds all there is to read a file, and asks for nothing that capture needs', async () => {
    const { code, isFine, of } = await doctor(...lesson('sa-names'), '--source', 'file:pcaps/sa-names/capture.pcapng');
    expect([code, isFine]).toEqual([0, true]);
    expect(['node', 'capture', 'policies', 'listen'].map((name) => of(name)?.result)).toEqual([
      'fine',
      'fine',
      'fine',
      'fine',
    ]);
    expect(of('libpcap')).toBeUndefined();
    expect(of('capability')).toBeUndefined();
  });

  test('says what is missing and what to do: exit code 1', async () => {
    writeFileSync(join(folder, 'bad.yaml'), 'apiVersion: v1\nkind: Pod\nmetadata: {}\n');
    mkdirSync(join(folder, 'path'), { recursive: true });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUp.push(() => server.close());
    const { port } = server.address() as { port: number };
    const { code, isFine, of } = await doctor(
      ...['-f', join(folder, 'bad.yaml'), '-i', 'nosuch0', '--flow-log', '/no/such/folder/flows'],
      ...['--listen', `127.0.0.1:${port}`, '--redis', 'redis://127.0.0.1:1'],
    );
    expect([code, isFine]).toEqual([1, false]);
    for (const [name, found, todo] of [
      ['interface', /no interface nosuch0/, /give -i one of .*\blo\b/],
      ['policies', /1 errors? in/, /margay validate/],
      ['redis', /127\.0\.0\.1:1 can't be reached/, /correct --redis/],
      ['listen', /EADDRINUSE/, /change --listen/],
      ['flow-log', /ENOENT/, /make \/no\/such\/folder writable/],
    ] as const) {
      expect(of(name), name).toMatchObject({ result: 'missing' });
      expect(of(name)!.found).toMatch(found);
      expect(of(name)!.todo).toMatch(todo);
    }
  });

  test('for live capture also library, right and interface', async () => {
    const { of } = await doctor(...lesson('sa-names'), '-i', 'lo');
    expect(of('interface')).toMatchObject({ result: 'fine', found: 'lo' });
    for (const name of ['libpcap', 'capability', 'setpriv', 'tcpdump']) {
      const { result, todo } = of(name)!;
      expect(todo === '', name).toBe(result === 'fine');
    }
  });

  test.skipIf(!hasRedis)('a Redis that answers and has nothing', async () => {
    const redis = await RedisServer.start();
    cleanUp.push(() => redis.stop());
    const { of } = await doctor(...lesson('sa-names'), '--redis', redis.url, '--source', 'file:/dev/null');
    expect(of('redis')).toMatchObject({
      result: 'missing',
      found: expect.stringContaining('has no identities of cluster default'),
    });
  });

  test('a Kubernetes API that answers, and one that refuses', async () => {
    const api = new KubernetesServer();
    await api.start();
    cleanUp.push(() => api.close());
    const kubeconfig = api.writeKubeconfig(folder);
    const args = ['--kubernetes', '--kubeconfig', kubeconfig, '--source', 'file:/dev/null'];
    expect((await doctor(...args)).of('kubernetes')!.result).toBe('fine');
    api.failures = { status: 403, count: 1 };
    const { of } = await doctor(...args);
    expect(of('kubernetes')).toMatchObject({
      result: 'missing',
      found: 'the API answers 403',
      todo: expect.stringContaining('get, list and watch'),
    });
  });

  test('a table for people; mistakes of the command line are told first: exit code 2', async () => {
    const { stdout } = await margay(['doctor', ...FREE, ...lesson('sa-names'), '--source', 'file:/dev/null']);
    expect(stdout).toMatch(/^CHECK +RESULT +FOUND +WHAT TO DO\nnode +fine/);
    const { code, stderr, stdout: nothing } = await margay(['doctor', '--snap-bytes', '1']);
    expect([code, nothing]).toEqual([2, '']);
    expect(stderr).toContain('--snap-bytes');
  });
});

describe('config print', () => {
  test('shows every setting and where it came from; what it prints as YAML is read back', async () => {
    const file = join(folder, 'agent.yaml');
    writeFileSync(file, 'snap-bytes: 300\ninterface: [eth0, eth1]\n');
    process.env.MARGAY_RING_MIB = '32';
    process.env.MARGAY_REDIS_PASSWORD = 'hunter2';
    const args = ['config', 'print', ...lesson('sa-names'), '--config', file, '--redis', 'redis://h'];
    const json = await margay([...args, '-o', 'json']);
    expect([json.code, json.stderr]).toEqual([0, '']);
    const values = new Map((JSON.parse(json.stdout) as ConfigValue[]).map((each) => [each.key, each]));
    expect(values.get('snap-bytes')).toEqual({ key: 'snap-bytes', value: 300, from: `file ${file}:1` });
    expect(values.get('ring-mib')).toEqual({ key: 'ring-mib', value: 32, from: 'environment MARGAY_RING_MIB' });
    expect(values.get('redis')!.from).toBe('flag --redis');
    expect(values.get('listen')!.from).toBe('default');
    const table = await margay(args);
    expect(table.stdout).toMatch(/^SETTING +VALUE +FROM\nfilename +pcaps\/sa-names +flag --filename\n/);
    const yaml = await margay([...args, '-o', 'yaml']);
    expect(parse(yaml.stdout)).toMatchObject({ 'snap-bytes': 300, interface: ['eth0', 'eth1'], 'ring-mib': 32 });
    for (const { stdout } of [json, table, yaml]) expect(stdout).not.toContain('hunter2');
    const again = join(folder, 'again.yaml');
    writeFileSync(again, yaml.stdout);
    delete process.env.MARGAY_RING_MIB;
    const second = await margay(['config', 'print', '--config', again, '-o', 'json']);
    expect(second.code, second.stderr).toBe(0);
    const same = (JSON.parse(second.stdout) as ConfigValue[]).map(({ key, value }) => [key, value]);
    expect(same).toEqual([...values.values()].map(({ key, value }) => [key, value]));
  });

  test('prints what there is, and what is wrong with it on standard error: exit code 2', async () => {
    const { code, stdout, stderr } = await margay(['config', 'print', '--splits', '0', '--listen', '0.0.0.0:1']);
    expect(code).toBe(2);
    expect(stdout).toContain('splits');
    expect(stderr.trim().split('\n')).toHaveLength(3);
  });
});
