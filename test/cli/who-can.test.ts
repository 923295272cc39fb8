/** `can-i` and `who-can`: what they print on the lesson (goldens), exit codes, forms of output, bad input. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { binding, role, rule } from '../rbac/support.ts';
import { margay } from './support.ts';

const CLUSTER = ['-f', 'pcaps/sa-selector'];
const OPEN = [...CLUSTER, '-f', 'pcaps/rbac-interns/open'];
const CLOSED = [...CLUSTER, '-f', 'pcaps/rbac-interns/closed'];
const HALF = [...CLOSED, '-f', 'pcaps/rbac-interns/half.yaml'];
const DB = ['who-can', 'reach', 'prod-engineering/db-0', '--port', '5432'];
const DIFF = ['--diff', 'pcaps/rbac-interns/open', 'pcaps/rbac-interns/closed'];
const DIFF_BACK = ['--diff', 'pcaps/rbac-interns/closed', 'pcaps/rbac-interns/open'];
const SENIOR = ['--service-account', 'prod-engineering/senior'];
const INTERN = ['--as', 'alice', '--as-group', 'interns', '-n', 'prod-engineering'];
const OUT = [
  'who-can',
  'label',
  '--service-account',
  'prod-engineering/intern-alice',
  '--selector',
  'role != "intern"',
];

const CASES: readonly (readonly [file: string, args: readonly string[]])[] = [
  ['help-can-i', ['can-i', '--help']],
  ['help-who-can', ['who-can', '--help']],
  ['help-who-can-reach', ['who-can', 'reach', '--help']],
  ['can-i-yes', ['can-i', 'create', 'deployments', ...INTERN, ...OPEN]],
  ['can-i-no', ['can-i', 'create', 'pods', ...INTERN, ...OPEN]],
  ['can-i-json', ['can-i', 'create', 'deploy', ...INTERN, ...OPEN, '-o', 'json']],
  [
    'can-i-tier',
    [
      'can-i',
      'update',
      'tier.networkpolicies',
      'restrict-intern-access',
      '--tier',
      'default',
      '--as',
      'sue',
      '--as-group',
      'network-security',
      '-n',
      'prod-engineering',
      ...OPEN,
    ],
  ],
  ['who-can-assign', ['who-can', 'assign', ...SENIOR, ...OPEN]],
  ['who-can-assign-closed', ['who-can', 'assign', ...SENIOR, ...CLOSED]],
  [
    'who-can-assign-emit',
    ['who-can', 'assign', ...SENIOR, '--emit-admission-policy', '--allow-group', 'seniors', ...OPEN],
  ],
  ['who-can-label', [...OUT, ...OPEN]],
  ['who-can-label-closed', [...OUT, ...CLOSED]],
  ['who-can-edit', ['who-can', 'edit', '--policy', 'prod-engineering/restrict-intern-access', ...OPEN]],
  ['who-can-reach', [...DB, ...OPEN]],
  ['who-can-reach-json', [...DB, ...OPEN, '-o', 'json']],
  ['who-can-reach-dot', [...DB, ...OPEN, '-o', 'dot']],
  ['who-can-reach-sarif', [...DB, ...OPEN, '-o', 'sarif']],
  ['who-can-reach-intern', ['who-can', 'reach', 'prod-engineering/alice-0', '--port', '80', ...OPEN]],
  ['who-can-reach-closed', [...DB, ...CLOSED]],
  ['who-can-reach-half', [...DB, ...HALF]],
  ['who-can-diff', [...DB, ...CLUSTER, ...DIFF]],
  ['who-can-diff-back', [...DB, ...CLUSTER, ...DIFF_BACK]],
  ['who-can-diff-back-dot', [...DB, ...CLUSTER, ...DIFF_BACK, '-o', 'dot']],
];

describe('output of', () => {
  test.each(CASES)('%s', async (file, args) => {
    const { code, stdout, stderr } = await margay(args);
    const shown = args.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(' ');
    const parts = [`$ margay ${shown}`, `exit code ${code}`, '', stdout];
    if (stderr !== '') parts.push('--- standard error', stderr);
    await expect(parts.join('\n').replaceAll(/"version": "\d[^"]*"/g, '"version": "…"')).toMatchFileSnapshot(
      `../goldens/cli/${file}.txt`,
    );
  });
});

const folder = mkdtempSync(join(tmpdir(), 'margay-who-can-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('the lesson', () => {
  test('says that interns can step out, then cannot, then can again', async () => {
    const subjects = async (args: readonly string[]): Promise<string[]> => {
      const { stdout } = await margay([...DB, ...args, '-o', 'json', '-q']);
      return (JSON.parse(stdout) as { entries: { subject: string }[] }).entries.map(({ subject }) => subject);
    };
    expect(await subjects(OPEN)).toContain('Group interns');
    expect(await subjects(CLOSED)).toEqual([]);
    expect(await subjects(HALF)).toEqual(['Group interns']);
  });

  test('has the admission policies that margay writes', async () => {
    const written = await Promise.all(
      ['default', 'db', 'senior'].map(async (name) => {
        const account = ['--service-account', `prod-engineering/${name}`];
        const emit = ['--emit-admission-policy', '--allow-group', 'seniors', '-q'];
        return (await margay(['who-can', 'assign', ...account, ...emit, ...CLUSTER])).stdout;
      }),
    );
    const kept = readFileSync('pcaps/rbac-interns/closed/admission.yaml', 'utf8');
    expect(kept.slice(kept.indexOf('---'))).toBe(written.join(''));
    expect(parseAllDocuments(kept)).toHaveLength(6);
  });
});

describe('exit codes', () => {
  test('of can-i: 0 for yes, 1 for no, 0 for no with --exit-zero', async () => {
    expect((await margay(['can-i', 'create', 'deployments', ...INTERN, ...OPEN])).code).toBe(0);
    expect((await margay(['can-i', 'create', 'pods', ...INTERN, ...OPEN])).code).toBe(1);
    expect((await margay(['can-i', 'create', 'pods', ...INTERN, ...OPEN, '--exit-zero'])).code).toBe(0);
  });

  test('of a comparison: 1 if something opens', async () => {
    expect((await margay([...DB, ...CLUSTER, ...DIFF])).code).toBe(0);
    expect((await margay([...DB, ...CLUSTER, ...DIFF_BACK])).code).toBe(1);
    expect(
      (await margay([...DB, ...CLUSTER, '--diff', 'pcaps/rbac-interns/open', 'pcaps/rbac-interns/open'])).code,
    ).toBe(0);
  });

  const dangling = binding('b', 'Role/gone', ['User/ann'], 'a') + role('r', [rule('get,reed pods')], 'a');

  test('3 for an answer that misses a role or meets an unknown verb, each with its place', async () => {
    const path = file('dangling.yaml', dangling + binding('c', 'Role/r', ['User/ann'], 'a'));
    const yes = await margay(['can-i', 'get', 'pods', '-n', 'a', '--as', 'ann', '-f', path]);
    expect(yes.code).toBe(3);
    expect(yes.stderr).toContain(`${path}:2: RoleBinding a/b: roleRef.name: Role 'gone' is not in the input`);
    expect(yes.stderr).toContain(`${path}:4: Role a/r: rules[0].verbs[1]: nothing asks for the verb 'reed'`);
    expect(yes.stderr).toContain('the answer is incomplete: 2 problems');
    const no = await margay(['can-i', 'get', 'secrets', '-n', 'a', '--as', 'ann', '-f', path, '-o', 'json']);
    expect(no.code).toBe(1);
    expect(JSON.parse(no.stdout)).toEqual({ allowed: false, reason: 'no rule allows it', incomplete: true });
    const who = await margay(['who-can', 'assign', '--service-account', 'a/x', '-f', path, '-o', 'json']);
    expect(who.code).toBe(3);
    expect(JSON.parse(who.stdout)).toMatchObject({ incomplete: true });
    const requests = file('requests.jsonl', '{"id":7,"user":"ann","verb":"get","resource":"pods","namespace":"a"}\n');
    expect((await margay(['can-i', '--requests', requests, '-o', 'jsonl', '-f', path])).code).toBe(3);
  });

  test('0 for validate, which warns of the same', async () => {
    const { code, stdout } = await margay(['validate', '-f', file('dangling.yaml', dangling), '-o', 'json']);
    expect(code).toBe(0);
    const { warnings } = JSON.parse(stdout) as { warnings: { field: string }[] };
    expect(warnings.map(({ field }) => field)).toEqual(expect.arrayContaining(['roleRef.name', 'rules[0].verbs[1]']));
  });

  test('2 for refused objects, and for questions that make no sense', async () => {
    const bad = file('bad.yaml', role('r', [{ verbs: [] }], 'a'));
    expect((await margay(['can-i', 'get', 'pods', '--as', 'ann', '-f', bad])).code).toBe(2);
    for (const args of [
      ['can-i', 'get', '--as', 'ann'],
      ['can-i', 'get', 'pods'],
      ['can-i', 'get', '/x', 'name', '--as', 'ann'],
      ['can-i', 'get', 'pods', '--as', 'ann', '--requests', 'x'],
      ['who-can', 'assign', '--service-account', 'web'],
      ['who-can', 'reach'],
      ['who-can', 'reach', 'web'],
      ['who-can', 'reach', 'a/b', '--port', '70000'],
      ['who-can', 'reach', 'prod-engineering/nothing'],
      ['who-can', 'reach', 'prod-engineering/db-0', '--diff', 'pcaps/rbac-interns/open'],
      ['who-can', 'edit', '--policy', 'nothing'],
      ['who-can', 'label', ...SENIOR, '--selector', 'role =='],
      ['who-can', 'assign', ...SENIOR, '--emit-admission-policy'],
    ]) {
      const { code, stdout, stderr } = await margay([...args, ...OPEN]);
      expect([args, code, stdout]).toEqual([args, 2, '']);
      expect(stderr).not.toContain('    at ');
    }
  });
});

describe('can-i --requests', () => {
  test.each(['1', '11', '21'])('answers the recorded requests of world %s', async (seed) => {
    const folder = `test/conformance/rbac/${seed}`;
    const requests = `${folder}/requests.jsonl`;
    const { stdout } = await margay([
      'can-i',
      '--requests',
      requests,
      '-o',
      'jsonl',
      '-q',
      '-f',
      `${folder}/rbac.yaml`,
    ]);
    const lines = (text: string): Record<string, unknown>[] =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const answers = lines(stdout).map(({ id, allowed }) => ({ id, expect: allowed }));
    expect(answers).toEqual(
      lines(readFileSync(requests, 'utf8')).map(({ id, expect: wanted }) => ({ id, expect: wanted })),
    );
  });

  test('answers line for line, errors in their place', async () => {
    const lines = [
      '{"id":1,"user":"x","groups":["interns"],"verb":"create","api_group":"apps","resource":"deployments","namespace":"prod-engineering"}',
      'nonsense',
      '{"id":"two","user":"x","verb":"get"}',
      '{"user":"x","verb":"get","path":"/healthz"}',
    ];
    const { code, stdout } = await margay([
      'can-i',
      '--requests',
      file('r.jsonl', lines.join('\n')),
      '-o',
      'jsonl',
      ...OPEN,
    ]);
    expect(code).toBe(2);
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(answers).toMatchObject([
      { id: 1, allowed: true, rule: { file: 'pcaps/rbac-interns/open/roles.yaml', line: 11, index: 1 } },
      { id: null, line: 2, error: expect.stringContaining('not JSON') as unknown },
      { id: 'two', line: 3, error: 'resource is missing; give a resource or a path' },
      { allowed: false },
    ]);
  });
});

describe('can-i', () => {
  const text =
    role(
      'r',
      [rule('get pods'), rule('get deployments.apps'), rule('get tier.networkpolicies.projectcalico.org')],
      'default',
    ) + binding('b', 'Role/r', ['User/ann', 'ServiceAccount/x/web', 'Group/system:serviceaccounts:y'], 'default');

  test.each<readonly [string, string, number]>([
    ['pods', 'ann', 0],
    ['pod', 'ann', 0],
    ['po', 'ann', 0],
    ['pods/log', 'ann', 1],
    ['deployments', 'ann', 0],
    ['deploy', 'ann', 0],
    ['deployments.apps', 'ann', 0],
    ['deployments.batch', 'ann', 1],
    ['tier.networkpolicies', 'ann', 0],
    ['tier.networkpolicies.projectcalico.org', 'ann', 0],
    ['pods', 'system:serviceaccount:x:web', 0],
    ['pods', 'system:serviceaccount:y:any', 0],
    ['pods', 'system:serviceaccount:z:web', 1],
  ])('get %s as %s: exit code %i', async (resource, user, code) => {
    const path = file('names.yaml', text);
    expect((await margay(['can-i', 'get', resource, '--as', user, '-f', path])).code).toBe(code);
  });

  test('takes the namespace default where none is given, and another group where one is', async () => {
    const path = file('names.yaml', text);
    const ask = async (...more: string[]): Promise<number> =>
      (await margay(['can-i', 'get', 'pods', '--as', 'ann', '-f', path, ...more])).code;
    expect(await ask('-n', 'other')).toBe(1);
    expect(await ask('-A')).toBe(1);
    expect(await ask('--api-group', 'apps')).toBe(1);
    expect(await ask('--subresource', 'log')).toBe(1);
  });
});

describe('who-can', () => {
  test('names the people of a group from a file of users, and counts their groups', async () => {
    const users = file('users.yaml', 'alice: [interns]\nbob: [interns, seniors]\n');
    const { stdout } = await margay(['who-can', 'assign', ...SENIOR, '--users', users, '-o', 'json', ...OPEN]);
    expect(JSON.parse(stdout)).toMatchObject({
      entries: [{ subject: 'Group interns', members: ['alice', 'bob'] }, {}, {}],
    });
    const bad = await margay(['who-can', 'assign', ...SENIOR, '--users', file('u.yaml', '- x'), ...OPEN]);
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining('is no map from users to lists of groups')]);
  });

  test('finds chains as long as --depth says', async () => {
    const entries = async (depth: string): Promise<unknown[]> => {
      const { stdout } = await margay(['who-can', 'assign', ...SENIOR, '--depth', depth, '-o', 'json', ...OPEN]);
      return (JSON.parse(stdout) as { entries: unknown[] }).entries;
    };
    expect(await entries('1')).toHaveLength(2);
    expect(await entries('2')).toHaveLength(3);
  });
});
