/** Ways to act as an account, chains of them, and the admission policies that close some. */
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type Account, type AccountWorld, type Direct, waysToAll } from '../../src/rbac/account-ways.ts';
import { admissionObjects, recogniseAdmission } from '../../src/rbac/admission.ts';
import { type Chain, findChains, mergeChains } from '../../src/rbac/chains.ts';
import { principalText, Rights } from '../../src/rbac/rights.ts';
import { binding, document, loadRbac, role, rule } from './support.ts';

const WEB: Account = { namespace: 'a', name: 'web' };

/** A cluster in which `web-0` runs as `a/web`, whose admission policies are those of the text. */
function worldOf(text: string, users: Readonly<Record<string, readonly string[]>> = {}): AccountWorld {
  const { resources } = loadRbac(text);
  const { admissions } = recogniseAdmission(resources.admissionPolicies, resources.admissionBindings);
  return {
    namespaces: ['a', 'b', 'c'],
    podsOf: ({ namespace, name }) => (namespace === 'a' && name === 'web' ? ['web-0'] : []),
    groupsOf: ({ kind, name }) => (kind === 'User' ? (users[name] ?? []) : []),
    hasAdmission: admissions.length > 0,
    admissionOf: ({ namespace, name }) =>
      admissions.filter(({ account }) => account.namespace === namespace && account.name === name),
  };
}

/** `way: subject` of those who can act as `a/web`, refused ones apart. */
function ways(text: string, account = WEB, users = {}): { readonly free: string[]; readonly blocked: string[] } {
  const found = waysToAll(new Rights(loadRbac(text).index), [account], worldOf(text, users));
  const line = ({ way, principal }: Direct): string => `${way}: ${principalText(principal)}`;
  return {
    free: found.filter(({ blockedBy }) => blockedBy === undefined).map(line),
    blocked: found.filter(({ blockedBy }) => blockedBy !== undefined).map(line),
  };
}

/** Ann has one rule in namespace a. */
function ann(...rules: readonly string[]): string {
  return role('r', rules.map(rule), 'a') + binding('b', 'Role/r', ['User/ann'], 'a');
}

describe('ways to act as an account', () => {
  test.each<readonly [string, string | undefined]>([
    ['create pods', 'create-pod'],
    ['update pods', 'change-pod'],
    ['patch pods web-0', 'change-pod'],
    ['create deployments.apps', 'controller'],
    ['patch deployments.apps some', 'controller'],
    ['update statefulsets.apps', 'controller'],
    ['create daemonsets.apps', 'controller'],
    ['create replicasets.apps', 'controller'],
    ['create jobs.batch', 'controller'],
    ['update cronjobs.batch', 'controller'],
    ['create replicationcontrollers', 'controller'],
    ['create pods/exec', 'exec'],
    ['get pods/exec', 'exec'],
    ['create pods/attach web-0', 'attach'],
    ['patch pods/ephemeralcontainers', 'debug'],
    ['create serviceaccounts/token', 'token'],
    ['create serviceaccounts/token web', 'token'],
    ['impersonate serviceaccounts web', 'impersonate'],
    ['* *.*', 'create-pod'],
    // What is none.
    ['get pods', undefined],
    ['create pods web-0', undefined],
    ['patch pods other-0', undefined],
    ['create pods/exec other-0', undefined],
    ['create deployments.apps some', undefined],
    ['create deployments', undefined],
    ['update deployments.apps/scale', undefined],
    ['create pods/portforward', undefined],
    ['delete pods', undefined],
    ['create serviceaccounts/token other', undefined],
    ['impersonate serviceaccounts other', undefined],
    ['update serviceaccounts', undefined],
    ['create secrets', undefined],
    ['get secrets', undefined],
  ])('%s: %s', (text, way) => {
    const { free } = ways(ann(text));
    if (way === undefined) expect(free).toEqual([]);
    else expect(free).toContain(`${way}: User ann`);
  });

  test('count in the namespace of the account, and from everywhere', () => {
    const here = role('r', [rule('create pods')]);
    expect(ways(here + binding('b', 'ClusterRole/r', ['Group/x'], 'a')).free).toEqual(['create-pod: Group x']);
    expect(ways(here + binding('b', 'ClusterRole/r', ['Group/x'], 'b')).free).toEqual([]);
    expect(ways(here + binding('b', 'ClusterRole/r', ['Group/x'])).free).toEqual(['create-pod: Group x']);
  });

  test('into a pod need a pod of the account', () => {
    expect(ways(ann('create pods/exec', 'create pods'), { namespace: 'a', name: 'idle' }).free).toEqual([
      'create-pod: User ann',
    ]);
  });

  test('a secret takes two rights, of one subject or of a group that it is in for certain', () => {
    expect(ways(ann('create secrets', 'get secrets')).free).toEqual(['secret: User ann']);
    const reads = role('s', [rule('get secrets')], 'a');
    const all = reads + binding('s', 'Role/s', ['Group/system:authenticated'], 'a');
    expect(ways(ann('create secrets') + all).free).toEqual(['secret: User ann']);
    expect(ways(ann('create secrets') + reads + binding('s', 'Role/s', ['User/eve'], 'a')).free).toEqual([]);
  });

  test('the kubelet leads into every pod, by a right on nodes', () => {
    const text = role('r', [rule('create nodes/proxy')]);
    expect(ways(text + binding('b', 'ClusterRole/r', ['User/ann'])).free).toEqual(['node-proxy: User ann']);
    expect(ways(text + binding('b', 'ClusterRole/r', ['User/ann'], 'a')).free).toEqual([]);
  });
});

/** Chains to `a/web` as lines, shortest first. */
function chains(text: string, depth = 2): string[] {
  const { index } = loadRbac(text);
  const found = findChains(new Rights(index), [WEB], worldOf(text), { depth, isBrief: true });
  return found.chains.map(({ principal, links }) => {
    const steps = links.map(({ right, to }) => `${right} → ${to}`).join(', ');
    return `${links.length} ${principalText(principal)}: ${steps}`;
  });
}

const RBAC = 'rbac.authorization.k8s.io';

describe('chains', () => {
  test('by an account that has a way', () => {
    const runner =
      role('r', [rule('create pods')], 'a') +
      binding('b', 'Role/r', ['ServiceAccount/b/ci'], 'a') +
      role('t', [rule('create serviceaccounts/token ci')], 'b') +
      binding('t', 'Role/t', ['User/eve'], 'b');
    expect(chains(runner)).toEqual([
      '1 ServiceAccount b/ci: create pods → ServiceAccount a/web',
      '2 User eve: create serviceaccounts/token → ServiceAccount b/ci, create pods → ServiceAccount a/web',
    ]);
    expect(chains(runner, 1)).toHaveLength(1);
  });

  test('by impersonation: a user takes one right, a group a second one', () => {
    const direct =
      ann('create pods') + role('g', [rule('create pods')], 'a') + binding('g', 'Role/g', ['Group/ops'], 'a');
    const asUser = role('u', [rule('impersonate users ann')]) + binding('u', 'ClusterRole/u', ['User/eve']);
    const asGroup = role('v', [rule('impersonate groups ops')]) + binding('v', 'ClusterRole/v', ['User/bob']);
    expect(chains(direct + asUser + asGroup).slice(2)).toEqual([
      '2 User eve: impersonate users → User ann, create pods → ServiceAccount a/web',
    ]);
    const both = role('v', [rule('impersonate groups ops'), rule('impersonate users nobody')]);
    expect(chains(direct + both + binding('v', 'ClusterRole/v', ['User/bob'])).slice(2)).toEqual([
      '2 User bob: impersonate groups → Group ops, create pods → ServiceAccount a/web',
    ]);
  });

  test('by impersonating system:masters', () => {
    const text = role('v', [rule('impersonate groups system:masters'), rule('impersonate users')]);
    expect(chains(text + binding('v', 'ClusterRole/v', ['User/bob']))).toEqual([
      '2 User bob: impersonate groups → Group system:masters, anything → ServiceAccount a/web',
    ]);
  });

  test('by a group of accounts, of which anybody who runs a pod is a member', () => {
    const text =
      role('r', [rule('create pods')], 'a') +
      binding('b', 'Role/r', ['Group/system:serviceaccounts:b'], 'a') +
      role('s', [rule('create jobs.batch')], 'b') +
      binding('s', 'Role/s', ['User/eve'], 'b');
    expect(chains(text)).toContain(
      '2 User eve: create jobs.batch → Group system:serviceaccounts:b, create pods → ServiceAccount a/web',
    );
  });

  test.each<readonly [string, readonly string[], string | undefined]>([
    ['bind and bindings', [`bind clusterroles.${RBAC} edit`, `create rolebindings.${RBAC}`], 'ClusterRole edit'],
    ['bind of every role', [`bind clusterroles.${RBAC}`, `patch rolebindings.${RBAC}`], 'ClusterRole edit'],
    ['bind of a role without a way', [`bind clusterroles.${RBAC} view`, `create rolebindings.${RBAC}`], undefined],
    ['bind alone', [`bind clusterroles.${RBAC}`], undefined],
    ['bindings alone: nobody gives what they lack', [`create rolebindings.${RBAC}`], undefined],
    ['escalate of their own role', [`escalate roles.${RBAC} r`, `update roles.${RBAC} r`], 'Role r'],
    ['escalate of a role they do not have', [`escalate roles.${RBAC} other`, `update roles.${RBAC} other`], undefined],
    ['escalate alone', [`escalate roles.${RBAC}`], undefined],
    ['a new role', [`escalate,create,bind roles.${RBAC}`, `create rolebindings.${RBAC}`], 'a new Role'],
  ])('by %s', (_, rules, through) => {
    const roles = role('edit', [rule('create deployments.apps')]) + role('view', [rule('get deployments.apps')]);
    const found = chains(roles + ann(...rules));
    if (through === undefined) expect(found).toEqual([]);
    else {
      expect(found).toHaveLength(1);
      expect(found[0]).toContain('2 User ann: ');
      expect(found[0]).toContain(`→ ${through}, create `);
    }
  });

  test('are as long as asked for, and a subject is found by its shortest', () => {
    const step = (who: string, whom: string): string =>
      role(`r-${who}`, [rule(`impersonate users ${whom}`)]) +
      binding(`b-${who}`, `ClusterRole/r-${who}`, [`User/${who}`]);
    const text = ann('create pods') + step('u2', 'ann') + step('u3', 'u2') + step('u4', 'u3') + step('u4b', 'ann');
    expect(chains(text, 4).map((line) => line.slice(0, 9).trim())).toEqual([
      '1 User an',
      '2 User u2',
      '2 User u4',
      '3 User u3',
      '4 User u4',
    ]);
    expect(chains(text, 3)).toHaveLength(4);
    expect(chains(step('u2', 'u3') + step('u3', 'u2'), 6)).toEqual([]);
  });

  test('merge into one for each subject', () => {
    const one = (name: string, text: string): string =>
      role(name, [rule(text)], 'a') + binding(name, `Role/${name}`, ['User/ann'], 'a');
    const text = one('x', 'create serviceaccounts/token web') + one('y', 'impersonate serviceaccounts api');
    const accounts = [WEB, { namespace: 'a', name: 'api' }];
    const { index } = loadRbac(text);
    const { chains: all } = findChains(new Rights(index), accounts, worldOf(text), { depth: 1, isBrief: true });
    expect(all).toHaveLength(2);
    expect(mergeChains(all)).toMatchObject([
      { accounts, gives: 'api', links: [{ right: 'create serviceaccounts/token, impersonate serviceaccounts' }] },
    ]);
  });

  test('of a brief search tell each account once, whatever the number of rights', () => {
    const again = role('q', [rule('create pods')], 'a') + binding('q', 'Role/q', ['User/ann'], 'a');
    const text = ann('create pods', 'create jobs.batch', 'create serviceaccounts/token') + again;
    const accounts = [WEB, { namespace: 'a', name: 'api' }];
    const { index } = loadRbac(text);
    const find = (isBrief: boolean): readonly Chain[] =>
      findChains(new Rights(index), accounts, worldOf(text), { depth: 1, isBrief }).chains;
    expect(find(true)).toHaveLength(1);
    expect(find(true)[0]).toMatchObject({ accounts, gives: 'network', links: [{ way: 'create-pod' }] });
    expect(find(false).map(({ links }) => links[0]!.way)).toEqual(['create-pod', 'create-pod', 'controller', 'token']);
  });
});

const POLICY = admissionObjects(WEB, ['role'], ['deployers']).map(document).join('');
const RUN_ANY = ann('create pods', 'update deployments.apps', 'create pods/exec', 'create serviceaccounts/token');

describe('an admission policy', () => {
  test('that margay wrote is recognised, and refuses pods and templates alone', () => {
    const { free, blocked } = ways(RUN_ANY + POLICY);
    expect(free).toEqual(['exec: User ann', 'token: User ann']);
    expect(blocked).toEqual(['create-pod: User ann', 'controller: User ann']);
    expect(ways(RUN_ANY + POLICY, { namespace: 'a', name: 'other' }).blocked).toEqual([]);
  });

  test('is recognised through YAML, with other blanks, and with further fields', () => {
    const yaml = admissionObjects(WEB, [], ['deployers']).map(
      (object) => `---\n${stringify(object, { lineWidth: 60 })}`,
    );
    expect(ways(RUN_ANY + yaml.join('')).blocked).toHaveLength(2);
    expect(ways(RUN_ANY + POLICY.replaceAll(' || ', '  ||\\n')).blocked).toHaveLength(2);
  });

  test('lets its groups through', () => {
    const text = role('r', [rule('create pods')], 'a') + POLICY;
    const of = (subject: string, users = {}): string[] =>
      ways(text + binding('b', 'Role/r', [subject], 'a'), WEB, users).blocked;
    expect(of('Group/deployers')).toEqual([]);
    expect(of('Group/interns')).toHaveLength(1);
    expect(of('User/ann', { ann: ['deployers'] })).toEqual([]);
    expect(of('ServiceAccount/kube-system/job-controller')).toEqual([]);
    expect(of('ServiceAccount/a/ci')).toHaveLength(1);
  });

  test.each<readonly [string, string, string]>([
    ['without a binding', POLICY.split('---\n').slice(0, 2).join('---\n'), 'no binding puts it in force'],
    ['that only warns', POLICY.replace('"Deny"', '"Warn"'), 'no binding denies what it finds'],
    [
      'that lets pass what it cannot judge',
      POLICY.replace('"Fail"', '"Ignore"'),
      'its failurePolicy lets requests pass',
    ],
    ['with another expression', POLICY.replace("object.kind != 'Pod'", 'true'), 'its expressions are not those'],
    ['that exempts more', POLICY.replace("'system:nodes'", "'system:authenticated'"), 'its expressions are not those'],
    ['that overlooks jobs', POLICY.replace('"jobs",', ''), 'it does not look at every jobs'],
    ['that overlooks changes', POLICY.replace('"CREATE","UPDATE"', '"CREATE"'), 'it does not look at every pods'],
    [
      'with a condition',
      POLICY.replace('"failurePolicy"', '"matchConditions":[{"name":"x","expression":"false"}],"failurePolicy"'),
      'it looks at some objects only',
    ],
    [
      'for some namespaces',
      POLICY.replace(
        '"validationActions"',
        '"matchResources":{"namespaceSelector":{"matchLabels":{"x":"y"}}},"validationActions"',
      ),
      'no binding denies what it finds, everywhere',
    ],
  ])('%s does not count, and that is said', (_, text, reason) => {
    expect(ways(RUN_ANY + text).blocked).toEqual([]);
    const { resources } = loadRbac(text);
    const { notes } = recogniseAdmission(resources.admissionPolicies, resources.admissionBindings);
    expect(notes).toHaveLength(1);
    expect(notes[0]!.message).toContain(reason);
  });
});
