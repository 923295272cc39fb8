/**
 * The rules of the Kubernetes documentation (kubernetes.io/docs/reference/access-authn-authz/rbac) in our words, each with
 * requests that it allows and requests that it does not. Every row goes through the index and the slow evaluator.
 */
import { describe, expect, test } from 'vitest';
import { authorize } from '../../src/rbac/authorize.ts';
import { parseAccessRequest } from '../../src/rbac/request.ts';
import { slowAllows } from './slow.ts';
import { binding, loadRbac, role, rule } from './support.ts';

interface Row {
  readonly rule: string;
  readonly objects: string;
  /** JSON of `can-i --requests`, in short; the user is ann without groups unless it says otherwise. */
  readonly yes: readonly object[];
  readonly no: readonly object[];
}

const get = (resource: string, more: object = {}): object => ({ verb: 'get', resource, namespace: 'a', ...more });

/** Ann, by a RoleBinding in namespace a, has the rules. */
function inNamespace(...rules: readonly string[]): string {
  return role('r', rules.map(rule), 'a') + binding('b', 'Role/r', ['User/ann'], 'a');
}

/** Ann has the rules everywhere. */
function everywhere(...rules: readonly string[]): string {
  return role('r', rules.map(rule)) + binding('b', 'ClusterRole/r', ['User/ann']);
}

const ROWS: readonly Row[] = [
  {
    rule: 'nothing is allowed unless a rule says so',
    objects: role('r', [rule('get pods')]),
    yes: [],
    no: [get('pods')],
  },
  {
    rule: 'rights add up: there is no rule that takes one away',
    objects: inNamespace('get pods', 'list pods'),
    yes: [get('pods'), { ...get('pods'), verb: 'list' }],
    no: [{ ...get('pods'), verb: 'watch' }],
  },
  {
    rule: 'a Role counts in its own namespace',
    objects: inNamespace('get pods'),
    yes: [get('pods')],
    no: [get('pods', { namespace: 'b' }), get('pods', { namespace: '' })],
  },
  {
    rule: 'a ClusterRole bound by a RoleBinding counts in the namespace of the binding alone',
    objects: role('r', [rule('get pods'), rule('get nodes')]) + binding('b', 'ClusterRole/r', ['User/ann'], 'a'),
    yes: [get('pods')],
    no: [get('pods', { namespace: 'b' }), get('nodes', { namespace: '' })],
  },
  {
    rule: 'a ClusterRoleBinding counts in every namespace, and for what has none',
    objects: everywhere('get pods', 'get nodes'),
    yes: [
      get('pods'),
      get('pods', { namespace: 'b' }),
      get('pods', { namespace: '' }),
      get('nodes', { namespace: '' }),
    ],
    no: [get('secrets')],
  },
  {
    rule: 'a RoleBinding finds a Role in its own namespace only',
    objects: role('r', [rule('get pods')], 'b') + binding('b', 'Role/r', ['User/ann'], 'a'),
    yes: [],
    no: [get('pods'), get('pods', { namespace: 'b' })],
  },
  {
    rule: 'a binding to a role that does not exist grants nothing, and does not spoil the others',
    objects: binding('a', 'Role/gone', ['User/ann'], 'a') + inNamespace('get pods'),
    yes: [get('pods')],
    no: [get('secrets')],
  },
  {
    rule: 'the core group is the empty text, and other groups are no part of it',
    objects: inNamespace('get pods', 'get deployments.apps'),
    yes: [get('pods'), get('deployments', { api_group: 'apps' })],
    no: [get('pods', { api_group: 'apps' }), get('deployments')],
  },
  {
    rule: '* as a group, a verb or a resource stands for all of them, subresources included',
    objects: everywhere('* *.*'),
    yes: [get('pods'), get('pods/exec'), { ...get('anything', { api_group: 'x.y' }), verb: 'odd' }],
    no: [{ verb: 'get', path: '/healthz' }],
  },
  {
    rule: '* as a resource stays in its group',
    objects: inNamespace('get *.apps'),
    yes: [get('deployments', { api_group: 'apps' }), get('deployments/scale', { api_group: 'apps' })],
    no: [get('pods')],
  },
  {
    rule: 'a subresource is a resource of its own: pods does not include pods/log, nor the other way round',
    objects: inNamespace('get pods', 'create pods/exec'),
    yes: [get('pods'), { ...get('pods/exec'), verb: 'create' }],
    no: [get('pods/log'), get('pods/exec'), { ...get('pods'), verb: 'create' }],
  },
  {
    rule: '*/scale is that subresource of every resource',
    objects: inNamespace('get */scale'),
    yes: [get('pods/scale'), get('anything/scale')],
    no: [get('scale'), get('pods'), get('pods/log')],
  },
  {
    rule: 'pods/* is no pattern: it fits nothing but itself',
    objects: inNamespace('get pods/*'),
    yes: [get('pods/*')],
    no: [get('pods/log'), get('pods')],
  },
  {
    rule: 'resourceNames limit a rule to objects of these names',
    objects: inNamespace('get,update,delete configmaps my other'),
    yes: [get('configmaps', { name: 'my' }), { ...get('configmaps', { name: 'other' }), verb: 'update' }],
    no: [get('configmaps', { name: 'third' }), get('configmaps')],
  },
  {
    rule: 'create and list have no name at authorization, so resourceNames never allow them',
    objects: inNamespace('create,list configmaps my'),
    yes: [{ ...get('configmaps', { name: 'my' }), verb: 'list' }],
    no: [
      { ...get('configmaps'), verb: 'create' },
      { ...get('configmaps'), verb: 'list' },
    ],
  },
  {
    rule: 'names are compared letter by letter: default.* is a name, not a pattern',
    objects: inNamespace('get tier.networkpolicies.projectcalico.org default.*'),
    yes: [get('tier.networkpolicies', { api_group: 'projectcalico.org', name: 'default.*' })],
    no: [get('tier.networkpolicies', { api_group: 'projectcalico.org', name: 'default.p' })],
  },
  {
    rule: 'paths are allowed by a ClusterRole bound to the whole cluster, exactly or up to a final *',
    objects: everywhere('get /healthz', 'get /api/*'),
    yes: [
      { verb: 'get', path: '/healthz' },
      { verb: 'get', path: '/api/v1' },
      { verb: 'get', path: '/api/' },
    ],
    no: [
      { verb: 'get', path: '/healthz/etcd' },
      { verb: 'get', path: '/api' },
      { verb: 'post', path: '/healthz' },
      get('healthz'),
    ],
  },
  {
    rule: 'a RoleBinding gives no path',
    objects: role('r', [rule('get /healthz')]) + binding('b', 'ClusterRole/r', ['User/ann'], 'a'),
    yes: [],
    no: [
      { verb: 'get', path: '/healthz' },
      { verb: 'get', path: '/healthz', namespace: 'a' },
    ],
  },
  {
    rule: 'users and groups of one name are two subjects; names are case-sensitive',
    objects: role('r', [rule('get pods')], 'a') + binding('b', 'Role/r', ['Group/ann'], 'a'),
    yes: [get('pods', { user: 'eve', groups: ['ann'] })],
    no: [get('pods'), get('pods', { user: 'eve', groups: ['Ann'] })],
  },
  {
    rule: 'a service account is the user system:serviceaccount:NAMESPACE:NAME, whichever way a binding names it',
    objects:
      role('r', [rule('get pods')], 'a') +
      binding('b', 'Role/r', ['ServiceAccount/x/web', 'User/system:serviceaccount:y:api'], 'a'),
    yes: [get('pods', { user: 'system:serviceaccount:x:web' }), get('pods', { user: 'system:serviceaccount:y:api' })],
    no: [get('pods', { user: 'web' }), get('pods', { user: 'system:serviceaccount:a:web' })],
  },
  {
    rule: 'a service account of a RoleBinding without namespace is one of the binding’s own',
    objects:
      role('r', [rule('get pods')], 'a') +
      binding('b', 'Role/r', ['ServiceAccount//web'], 'a').replace('"namespace":"",', ''),
    yes: [get('pods', { user: 'system:serviceaccount:a:web' })],
    no: [get('pods', { user: 'system:serviceaccount::web' })],
  },
  {
    rule: 'service accounts are in system:serviceaccounts, in that of their namespace, and in system:authenticated',
    objects:
      role('r', [rule('get pods')], 'a') +
      role('s', [rule('get secrets')], 'a') +
      role('t', [rule('get nodes')], 'a') +
      binding('b1', 'Role/r', ['Group/system:serviceaccounts:x'], 'a') +
      binding('b2', 'Role/s', ['Group/system:serviceaccounts'], 'a') +
      binding('b3', 'Role/t', ['Group/system:authenticated'], 'a'),
    yes: [
      get('pods', { user: 'system:serviceaccount:x:web' }),
      get('secrets', { user: 'system:serviceaccount:y:web' }),
      get('nodes', { user: 'ann' }),
      get('nodes', { user: 'system:serviceaccount:y:web' }),
    ],
    no: [
      get('pods', { user: 'system:serviceaccount:y:web' }),
      get('secrets', { user: 'ann' }),
      get('nodes', { user: 'system:anonymous' }),
    ],
  },
  {
    rule: 'members of system:masters may do everything, paths and unknown verbs included',
    objects: '',
    yes: [get('pods', { groups: ['system:masters'] }), { verb: 'odd', path: '/x', groups: ['system:masters'] }],
    no: [get('pods', { user: 'system:masters' })],
  },
  {
    rule: 'cluster-admin is there without being written',
    objects: binding('b', 'ClusterRole/cluster-admin', ['User/ann']),
    yes: [get('pods'), { verb: 'get', path: '/metrics' }],
    no: [get('pods', { user: 'eve' })],
  },
  {
    rule: 'an aggregated ClusterRole has the rules of those that its selectors match, and none of its own',
    objects:
      role('sum', [rule('delete pods')], '', {
        aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: 'sum' } }] },
      }) +
      role('part', [rule('get pods')], '', { labels: { to: 'sum' } }) +
      role('other', [rule('list pods')], '', { labels: { to: 'else' } }) +
      binding('b', 'ClusterRole/sum', ['User/ann'], 'a'),
    yes: [get('pods')],
    no: [
      { ...get('pods'), verb: 'list' },
      { ...get('pods'), verb: 'delete' },
    ],
  },
  {
    rule: 'aggregation follows aggregation, circles included',
    objects:
      role('one', [], '', {
        labels: { in: 'three' },
        aggregationRule: { clusterRoleSelectors: [{ matchLabels: { in: 'one' } }] },
      }) +
      role('two', [], '', {
        labels: { in: 'one' },
        aggregationRule: {
          clusterRoleSelectors: [{ matchExpressions: [{ key: 'in', operator: 'In', values: ['two', 'three'] }] }],
        },
      }) +
      role('leaf', [rule('get pods')], '', { labels: { in: 'two' } }) +
      binding('b', 'ClusterRole/one', ['User/ann'], 'a'),
    yes: [get('pods')],
    no: [get('secrets')],
  },
  {
    rule: 'bind, escalate and impersonate are verbs like others',
    objects: everywhere(
      'bind clusterroles.rbac.authorization.k8s.io edit',
      'impersonate users eve',
      'impersonate serviceaccounts',
    ),
    yes: [
      { verb: 'bind', resource: 'clusterroles', api_group: 'rbac.authorization.k8s.io', name: 'edit' },
      { verb: 'impersonate', resource: 'users', name: 'eve' },
      { verb: 'impersonate', resource: 'serviceaccounts', name: 'web', namespace: 'a' },
    ],
    no: [
      { verb: 'bind', resource: 'clusterroles', api_group: 'rbac.authorization.k8s.io', name: 'admin' },
      { verb: 'impersonate', resource: 'users', name: 'bob' },
      { verb: 'escalate', resource: 'clusterroles', api_group: 'rbac.authorization.k8s.io', name: 'edit' },
    ],
  },
];

describe('the rules of RBAC', () => {
  test.each(ROWS)('$rule', ({ objects, yes, no }) => {
    const { resources, index } = loadRbac(objects);
    for (const [expected, requests] of [
      [true, yes],
      [false, no],
    ] as const) {
      for (const fields of requests) {
        const request = parseAccessRequest({ user: 'ann', ...fields });
        expect([fields, authorize(index, request).allowed]).toEqual([fields, expected]);
        expect([fields, slowAllows(resources, request)]).toEqual([fields, expected]);
      }
    }
  });

  test('the rule that gives a right is named with its role, binding and place', () => {
    const { index } = loadRbac(inNamespace('list pods', 'get pods'));
    const decision = authorize(index, parseAccessRequest({ user: 'ann', ...get('pods') }));
    expect(decision).toMatchObject({
      allowed: true,
      by: 'rule',
      rule: { index: 1, role: { meta: { name: 'r' } }, rule: { origin: { file: 'rbac.yaml', line: 2 } } },
      grant: { binding: { meta: { name: 'b', origin: { line: 4 } } } },
    });
  });

  test('an aggregated rule is named where it was written', () => {
    const { index } = loadRbac(ROWS.find(({ rule: text }) => text.startsWith('an aggregated'))!.objects);
    const decision = authorize(index, parseAccessRequest({ user: 'ann', ...get('pods') }));
    expect(decision).toMatchObject({
      rule: { role: { meta: { name: 'part' } } },
      grant: { binding: { roleName: 'sum' } },
    });
  });
});
