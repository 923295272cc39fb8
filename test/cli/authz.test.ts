/** `authz` on the command line: what it prints, what it refuses, and that its examples work. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lesson, margay } from './support.ts';

const REQUESTS = ['--requests', 'pcaps/sa-names/requests.jsonl'];

const CASES: readonly (readonly [file: string, args: readonly string[]])[] = [
  ['help-authz', ['authz', '--help']],
  ['authz', ['authz', ...lesson('sa-names'), ...REQUESTS]],
  ['authz-jsonl', ['authz', ...lesson('sa-names'), ...REQUESTS, '-o', 'jsonl']],
  ['authz-yaml', ['authz', ...lesson('sa-names'), ...REQUESTS, '-o', 'yaml']],
  [
    'authz-require-identity',
    ['authz', ...lesson('sa-names'), ...REQUESTS, '--require-identity', '--trust-domain', 'prod.example'],
  ],
  [
    'authz-endpoint',
    ['authz', ...lesson('sa-names'), ...REQUESTS, '--endpoint', 'prod-engineering/api-0', '-o', 'json'],
  ],
];

test.each(CASES)('output of %s', async (file, args) => {
  const { code, stdout, stderr } = await margay(args);
  const parts = [`$ margay ${args.join(' ')}`, `exit code ${code}`, '', stdout];
  if (stderr !== '') parts.push('--- standard error', stderr);
  await expect(parts.join('\n')).toMatchFileSnapshot(`../goldens/cli/${file}.txt`);
});

test('the README shows what is printed', async () => {
  const { stdout } = await margay(['authz', ...lesson('sa-names'), ...REQUESTS, '-q']);
  expect(readFileSync('README.md', 'utf8')).toContain(stdout);
});

describe('usage', () => {
  test.each([
    [['authz'], 'give --listen ADDRESS to serve, or --requests FILE to answer the requests of a file'],
    [['authz', '--requests', 'x', '--listen', 'unix:/x'], '--requests and --listen exclude each other'],
    [['authz', ...REQUESTS], '-f is missing'],
    [['authz', '-f', '-', '--requests', '-'], 'both ask for standard input'],
    [['authz', ...lesson('sa-names'), ...REQUESTS, '--metrics', '127.0.0.1:1'], '--metrics is for a service'],
    [
      ['authz', ...lesson('sa-names'), ...REQUESTS, '--endpoint', 'db-0'],
      "--endpoint 'db-0' is no pod; give NAMESPACE/POD",
    ],
    [
      ['authz', ...lesson('sa-names'), ...REQUESTS, '--endpoint', 'a/b'],
      "the input has no pod 'a/b' with policies; there are prod-engineering/",
    ],
    [['authz', ...lesson('sa-names'), ...REQUESTS, '--node', 'n9'], "names the node 'n9'"],
    [['authz', ...lesson('sa-names'), '--listen', '0.0.0.0:9001'], 'is not on the loopback interface'],
    [
      ['authz', ...lesson('sa-names'), '--listen', 'unix:/x', '--metrics', 'unix:/y'],
      '--metrics: a page for Prometheus needs HOST:PORT',
    ],
    [
      ['authz', ...lesson('sa-names'), '--listen', 'unix:/no/such/folder/x.sock', '--identity-dead-after', '0'],
      'It must be a whole number',
    ],
  ] as const)('%j', async (args, problem) => {
    const { code, stdout, stderr } = await margay(args);
    expect(stderr).toContain(problem);
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('lines that are no request', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'margay-authz-lines-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('are answered in their place, as denials, and the exit code is 2', async () => {
    const file = join(folder, 'requests.jsonl');
    const good = '{"id":7,"src":"10.244.1.10","dst":"10.244.2.10","dst_port":5432}';
    writeFileSync(file, ['{', '', good, '{"id":"x","src":"10.244.1.10"}', '[]'].join('\n'));
    const { code, stdout, stderr } = await margay([
      'authz',
      '-q',
      ...lesson('sa-names'),
      '--requests',
      file,
      '-o',
      'jsonl',
    ]);
    expect(code).toBe(2);
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(answers).toMatchObject([
      { id: null, line: 1, code: 'INVALID_ARGUMENT', error: expect.stringContaining('not JSON') },
      { id: 7, code: 'OK' },
      { id: 'x', line: 4, code: 'INVALID_ARGUMENT', error: expect.stringContaining('dst is missing') },
      { id: null, line: 5, code: 'INVALID_ARGUMENT', error: expect.stringContaining('not a JSON object') },
    ]);
    expect(stderr).toBe(`margay: 3 of 5 lines of ${file} are no request; each is answered with its error\n`);
  });

  test('a file that is not there, and manifests that do not load', async () => {
    const missing = await margay(['authz', ...lesson('sa-names'), '--requests', join(folder, 'none')]);
    expect(missing.code).toBe(4);
    const bad = await margay(['authz', '-f', 'test/cli/data/bad.yaml', ...REQUESTS]);
    expect([bad.code, bad.stdout]).toEqual([2, '']);
  });
});
