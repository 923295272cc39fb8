/** The agent's configuration: which place wins, and what is said of mistakes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ConfigError, collectConfig, resolveConfig, sourcesOf } from '../../src/agent/config.ts';
import { camelName, environmentName, SETTINGS } from '../../src/agent/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NOTHING = { flags: {}, env: {}, file: undefined };
const FILES = { filename: ['policies'] };

function file(text: string): string {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
  writeFileSync(path, text);
  return path;
}

function problemsOf(
  flags: Record<string, unknown>,
  more: Partial<Parameters<typeof resolveConfig>[0]> = {},
): readonly string[] {
  try {
    resolveConfig({ ...NOTHING, flags: { ...FILES, ...flags }, ...more });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test('flags win over the environment, that over the file, and that over defaults', () => {
  const path = file('listen: 127.0.0.1:1\nsnap-bytes: 100\nfilename: [a, b]\nrecursive: true\n');
  const env = { MARGAY_LISTEN: '127.0.0.1:2', MARGAY_SNAP_BYTES: '200', MARGAY_CONFIG: path, MARGAY_STRICT: 'true' };
  const flags = { listen: '127.0.0.1:3' };
  const { config, values } = resolveConfig({ flags, env, file: undefined });
  expect(config).toMatchObject({
    listen: '127.0.0.1:3',
    snapBytes: 200,
    filename: ['a', 'b'],
    recursive: true,
    strict: true,
    ringMib: 16,
    captureMib: 64,
  });
  const from = new Map(values.map(({ key, from: place }) => [key, place]));
  expect(from.get('listen')).toBe('flag --listen');
  expect(from.get('snap-bytes')).toBe('environment MARGAY_SNAP_BYTES');
  expect(from.get('filename')).toBe(`file ${path}:3`);
  expect(from.get('ring-mib')).toBe('default');
});

test('every setting can be set in each place, and is told with its place', () => {
  const samples: Readonly<Record<string, unknown>> = {
    source: 'file:x.pcap',
    listen: '127.0.0.1:5',
    redis: 'redis://h',
    interface: ['eth0'],
    'identity-dead-after': 86_000,
  };
  const sampleOf = ({ key, form, default: standard }: (typeof SETTINGS)[number]): unknown => {
    if (samples[key] !== undefined) return samples[key];
    switch (form.type) {
      case 'switch':
        return true;
      case 'number':
        return (standard as number) + 1;
      case 'choice':
        return form.choices.find((each) => each !== standard);
      case 'list':
        return ['one', 'two'];
      default:
        return 'some';
    }
  };
  for (const setting of SETTINGS) {
    const value = sampleOf(setting);
    const inFile = collectConfig({ ...NOTHING, file: file(JSON.stringify({ [setting.key]: value })) });
    const text = Array.isArray(value) ? value.join(',') : String(value);
    const inEnvironment = collectConfig({ ...NOTHING, env: { [environmentName(setting.key)]: text } });
    const flag = typeof value === 'number' ? String(value) : value;
    const inFlags = collectConfig({ ...NOTHING, flags: { [camelName(setting.key)]: flag } });
    for (const { raw, problems, values } of [inFile, inEnvironment, inFlags]) {
      expect(problems, setting.key).toEqual([]);
      expect(raw[camelName(setting.key)], setting.key).toEqual(value);
      expect(values.filter(({ from }) => from !== 'default').map(({ key }) => key)).toEqual([setting.key]);
    }
  }
});

describe('mistakes', () => {
  test('are told all at once, each with its place', () => {
    const path = file('snap-bytes: many\nlisen: 127.0.0.1:1\nrecursive: perhaps\nfilename: {a: 1}\n');
    const problems = problemsOf(
      { format: 'xml', source: 'wire', flowLogKeep: '-1' },
      { env: { MARGAY_RING_MIB: '9999', MARGAY_FLOWLOG: 'x' }, file: path },
    );
    const all = problems.join('\n');
    for (const part of [
      `file ${path}:1: "many": must be a whole number from 64 to 65535`,
      `file ${path}:2: there is no setting 'lisen'; did you mean 'listen'?`,
      `file ${path}:3: "perhaps": must be true or false`,
      'flag --format: "xml": must be one of native, goldmane, hubble',
      'flag --flow-log-keep: "-1": must be a whole number from 0 to 1000',
      'environment MARGAY_RING_MIB: "9999": must be a whole number from 1 to 1024',
      "environment MARGAY_FLOWLOG: there is no such setting; did you mean 'flow-log'?",
      "--source 'wire' is none; give cap, tcpdump, file:PATH or -",
    ]) {
      expect(all).toContain(part);
    }
    // -f was given as a flag, so the file's is not looked at.
    expect(problems).toHaveLength(8);
  });

  test.each([
    ['---\n- a\n', /:1: must be a map/],
    ['just text', /:1: must be a map/],
    ['a: [', /:\d+: /],
    ['listen: a\nlisten: b\n', /:2: .*unique/],
  ])('a file that is none: %j', (text, expected) => {
    const problems = problemsOf({}, { file: file(text) });
    expect(problems.join('\n')).toMatch(expected);
  });

  test('an empty file is one, a missing one is told', () => {
    expect(problemsOf({}, { file: file('') })).toEqual([]);
    expect(problemsOf({}, { file: join(folder, 'none') })).toEqual([
      `--config: ${join(folder, 'none')} can't be read (ENOENT)`,
    ]);
  });

  test.each<[Record<string, unknown>, RegExp]>([
    [{ filename: [] }, /^-f is missing/],
    [{ kubernetes: true }, /exclude each other/],
    [{ filename: ['-'] }, /standard input cannot be watched/],
    [{ kubeconfig: 'x' }, /--kubeconfig and --context are for --kubernetes/],
    [{ interface: ['any', 'eth0'] }, /any holds all others/],
    [{ interface: ['a/b'] }, /no name of an interface/],
    [{ interface: ['averyveryverylongname'] }, /no name of an interface/],
    [{ redis: 'http://x' }, /--redis: the address starts with/],
    [{ redis: 'redis://user:secret@host' }, /a password in the URL is seen by everyone/],
    [{ verifyKey: 'x' }, /--verify-key is for --redis/],
    [{ identityDeadAfter: '10' }, /must not be shorter/],
    [{ listen: 'nowhere' }, /--listen 'nowhere' is no address/],
    [{ listen: 'unix:/tmp/x' }, /needs HOST:PORT/],
    [{ listen: '0.0.0.0:1' }, /not on the loopback interface/],
    [{ listen: '0.0.0.0:1', allowRemote: true }, /needs --token-file or --tls-cert/],
    [{ tlsCert: 'x' }, /belong together/],
  ])('that exclude each other: %j', (flags, expected) => {
    const problems = problemsOf(flags);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });

  test('addresses that others can reach are taken with a token or TLS', () => {
    expect(problemsOf({ listen: '0.0.0.0:1', allowRemote: true, tokenFile: 't' })).toEqual([]);
    expect(problemsOf({ listen: '[::]:1', allowRemote: true, tlsCert: 'c', tlsKey: 'k' })).toEqual([]);
  });

  test('control characters are shown as escapes', () => {
    const problems = problemsOf({ format: 'a\u001b[31m\nb' }, { env: { 'MARGAY_A\u001bB': '1' } });
    expect(problems.join('')).not.toMatch(/\p{Cc}/u);
  });
});

test('variables that Kubernetes makes for a Service called margay are no settings', () => {
  const env = {
    MARGAY_SERVICE_HOST: '10.0.0.1',
    MARGAY_SERVICE_PORT: '9099',
    MARGAY_SERVICE_PORT_HTTP: '9099',
    MARGAY_PORT: 'tcp://10.0.0.1:9099',
    MARGAY_PORT_9099_TCP: 'tcp://10.0.0.1:9099',
    MARGAY_PORT_9099_TCP_PROTO: 'tcp',
    MARGAY_AGENT_SERVICE_HOST: '10.0.0.2',
    MARGAY_AGENT_PORT_9099_TCP_ADDR: '10.0.0.2',
  };
  expect(problemsOf({}, { env })).toEqual([]);
});

test('nothing secret is shown', () => {
  const env = { MARGAY_REDIS_PASSWORD: 'hunter2', MARGAY_REDIS: 'redis://user:hunter2@host' };
  const { values, problems } = collectConfig({ ...NOTHING, env });
  expect(values.find(({ key }) => key === 'redis-password')).toEqual({
    key: 'redis-password',
    value: '(hidden)',
    from: 'environment MARGAY_REDIS_PASSWORD',
  });
  expect(JSON.stringify([values, problems])).not.toContain('hunter2');
});

test('sources', () => {
  const of = (flags: Record<string, unknown>) =>
    sourcesOf(resolveConfig({ ...NOTHING, flags: { ...FILES, ...flags } }).config);
  expect(of({})).toEqual([{ kind: 'cap', interfaceName: 'any' }]);
  expect(of({ source: 'tcpdump', interface: ['a', 'b'] })).toEqual([
    { kind: 'tcpdump', interfaceName: 'a' },
    { kind: 'tcpdump', interfaceName: 'b' },
  ]);
  expect(of({ source: 'file:x y.pcap' })).toEqual([{ kind: 'file', path: 'x y.pcap' }]);
  expect(of({ source: '-' })).toEqual([{ kind: 'stdin' }]);
});
