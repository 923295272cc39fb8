/** Roles and bindings: what the API server refuses, with its place, and what becomes of the rest. */
import { describe, expect, test } from 'vitest';
import { formatProblem } from '../../src/load/load.ts';
import { indexRbac } from '../../src/rbac/rbac-index.ts';
import { binding, role, rule } from '../rbac/support.ts';
import { errorsOf, load, warningsOf } from './support.ts';

const API = 'rbac.authorization.k8s.io';

/** A binding with something in it changed. */
function changed(namespace: string, change: object): string {
  const whole = JSON.parse(binding('b', 'ClusterRole/r', ['User/ann'], namespace).slice(4)) as object;
  return JSON.stringify({ ...whole, ...change });
}

describe('roles', () => {
  test.each<readonly [string, string, string]>([
    [
      'without verbs',
      role('r', [{ verbs: [], apiGroups: [''], resources: ['pods'] }], 'a'),
      'rules[0].verbs: a rule without verbs',
    ],
    [
      'without API groups',
      role('r', [{ verbs: ['get'], resources: ['pods'] }], 'a'),
      'rules[0].apiGroups: a rule without API groups',
    ],
    [
      'without resources',
      role('r', [{ verbs: ['get'], apiGroups: [''] }], 'a'),
      'rules[0].resources: a rule without resources',
    ],
    ['URLs in a Role', role('r', [rule('get /x')], 'a'), 'rules[0].nonResourceURLs: a Role cannot allow URLs'],
    [
      'URLs beside resources',
      role('r', [{ ...rule('get pods'), nonResourceURLs: ['/x'] }]),
      'rules[0].nonResourceURLs: one rule for resources and URLs',
    ],
    ['a bad name', role('a%b', []), "metadata.name: name 'a%b' is with a '/' or '%'"],
    [
      'an aggregation of nothing',
      role('r', [], '', { aggregationRule: { clusterRoleSelectors: [] } }),
      'aggregationRule.clusterRoleSelectors: no selector of roles to collect',
    ],
  ])('%s', (_, text, expected) => {
    const errors = errorsOf(text);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(expected);
    expect(errors[0]).toMatch(/^t\.yaml:2: (Cluster)?Role /);
  });

  test('may have colons in their names, no rules, and null for rules', () => {
    expect(errorsOf(role('system:node', []))).toEqual([]);
    expect(errorsOf(role('r', []).replace('"rules":[]', '"rules":null'))).toEqual([]);
  });

  test('an unknown field is a warning', () => {
    const text = role('r', [{ ...rule('get pods'), resource: ['pods'] } as never], 'a');
    expect(warningsOf(text).join('\n')).toContain(
      "unknown field 'resource', and it is ignored; did you mean 'resources'?",
    );
  });
});

describe('bindings', () => {
  const subject = (each: object): object => ({ subjects: [each] });

  test.each<readonly [string, string, string]>([
    ['a Role for the cluster', changed('', { roleRef: { apiGroup: API, kind: 'Role', name: 'r' } }), 'roleRef.kind'],
    ['another group', changed('a', { roleRef: { apiGroup: 'apps', kind: 'Role', name: 'r' } }), 'roleRef.apiGroup'],
    ['no role', changed('a', { roleRef: { apiGroup: API, kind: 'Role', name: '' } }), 'roleRef.name'],
    ['no roleRef', changed('a', { roleRef: undefined }), 'roleRef: required'],
    ['an unknown kind', changed('a', subject({ kind: 'Robot', name: 'x' })), 'subjects[0].kind'],
    [
      'a group for an account',
      changed('a', subject({ kind: 'ServiceAccount', apiGroup: API, name: 'x' })),
      'subjects[0].apiGroup',
    ],
    [
      'an account without namespace',
      changed('', subject({ kind: 'ServiceAccount', name: 'x' })),
      'subjects[0].namespace',
    ],
    ['a bad account', changed('a', subject({ kind: 'ServiceAccount', name: 'X_' })), 'subjects[0].name'],
    ['no name', changed('a', subject({ kind: 'User', name: '' })), 'subjects[0].name'],
  ])('%s', (_, text, field) => {
    const errors = errorsOf(text);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(field);
  });

  test('default the groups of roles and subjects', () => {
    const text = changed('a', { roleRef: { kind: 'Role', name: 'r' }, subjects: [{ kind: 'User', name: 'ann' }] });
    expect(errorsOf(text)).toEqual([]);
  });
});

describe('what is wrong between objects', () => {
  const problemsOf = (text: string): string[] => indexRbac(load(text).resources).problems.map(formatProblem);

  test('bindings to missing roles, with their place', () => {
    expect(problemsOf(binding('b', 'Role/gone', ['User/ann'], 'a'))).toEqual([
      "t.yaml:2: RoleBinding a/b: roleRef.name: Role 'gone' is not in the input, so nobody knows what the binding grants; add the role, or remove the binding",
    ]);
    expect(problemsOf(binding('b', 'ClusterRole/cluster-admin', ['User/ann']))).toEqual([]);
  });

  test('unknown verbs, with their place', () => {
    expect(problemsOf(role('r', [rule('get pods'), rule('Get,reed pods')], 'a'))).toEqual([
      "t.yaml:2: Role a/r: rules[1].verbs[0]: nothing asks for the verb 'Get', so it allows nothing that margay knows of; verbs are lower-case: write 'get'",
      "t.yaml:2: Role a/r: rules[1].verbs[1]: nothing asks for the verb 'reed', so it allows nothing that margay knows of; correct the verb",
    ]);
  });

  test('rules that aggregation takes away, and roles it collects that are not there', () => {
    const sum = { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: 'sum' } }] } };
    const part = role('part', [rule('get pods')], '', { labels: { to: 'sum' } });
    expect(problemsOf(role('sum', [rule('get pods')], '', sum) + part)).toEqual([]);
    expect(problemsOf(role('sum', [rule('list pods')], '', sum) + part)[0]).toContain(
      'rules[0]: no role that it collects has this rule, so the cluster takes it away',
    );
    expect(problemsOf(role('sum', [rule('list pods')], '', sum))[0]).toContain('none of the roles that it collects');
  });
});
