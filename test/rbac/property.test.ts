/** Random roles, bindings and requests from tiny pools: the index against the slow evaluator, and `Rights` against both. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { authorize } from '../../src/rbac/authorize.ts';
import { impliedGroups } from '../../src/rbac/rbac-index.ts';
import { coversName, Rights } from '../../src/rbac/rights.ts';
import { splitResource } from '../../src/rbac/rule-match.ts';
import { slowAllows } from './slow.ts';
import { binding, loadRbac, type RuleText, role } from './support.ts';

const NAMESPACES = ['a', 'b'];
const USERS = ['ann', 'eve', 'system:serviceaccount:a:x', 'system:serviceaccount:b:x'];
const GROUPS = ['interns', 'system:authenticated', 'system:serviceaccounts', 'system:serviceaccounts:a'];
const VERBS = ['get', 'create', 'bind'];
const RESOURCES = ['pods', 'pods/exec', 'secrets'];
const NAMES = ['one', 'two'];
const PATHS = ['/healthz', '/api', '/api/v1'];

const someOf = (pool: readonly string[]): fc.Arbitrary<string[]> =>
  fc.subarray([...pool], { minLength: 1, maxLength: Math.min(3, pool.length) });

const resourceRule: fc.Arbitrary<RuleText> = fc.record({
  verbs: someOf([...VERBS, '*']),
  apiGroups: someOf(['', 'apps', '*']),
  resources: someOf([...RESOURCES, '*', '*/exec', 'pods/*']),
  resourceNames: fc.oneof(fc.constant([]), someOf(NAMES)),
});
const pathRule: fc.Arbitrary<RuleText> = fc.record({
  verbs: someOf(VERBS),
  nonResourceURLs: someOf([...PATHS, '/api/*', '*', '/a**']),
});

const LABELS = [{}, { to: 'one' }, { to: 'two' }];
const AGGREGATIONS = [
  {},
  {},
  { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: 'one' } }] } },
  {
    aggregationRule: {
      clusterRoleSelectors: [{ matchExpressions: [{ key: 'to', operator: 'NotIn', values: ['two'] }] }],
    },
  },
];

const clusterRole = fc.tuple(
  fc.array(fc.oneof(resourceRule, pathRule), { maxLength: 2 }),
  fc.constantFrom(...LABELS),
  fc.constantFrom(...AGGREGATIONS),
);
const subject = fc.oneof(
  fc.constantFrom(...USERS).map((name) => `User/${name}`),
  fc.constantFrom(...GROUPS).map((name) => `Group/${name}`),
  fc.constantFrom(...NAMESPACES).map((namespace) => `ServiceAccount/${namespace}/x`),
);

const objects = fc
  .record({
    clusterRoles: fc.array(clusterRole, { maxLength: 4 }),
    roles: fc.array(fc.tuple(fc.constantFrom(...NAMESPACES), fc.array(resourceRule, { maxLength: 2 })), {
      maxLength: 3,
    }),
    bindings: fc.array(
      fc.tuple(
        fc.constantFrom('', ...NAMESPACES),
        fc.constantFrom('ClusterRole/c0', 'ClusterRole/c1', 'ClusterRole/c2', 'ClusterRole/c3', 'Role/r0', 'Role/r1'),
        fc.array(subject, { minLength: 1, maxLength: 2 }),
      ),
      { maxLength: 5 },
    ),
  })
  .map(({ clusterRoles, roles, bindings }) =>
    [
      ...clusterRoles.map(([rules, labels, more], i) => role(`c${i}`, rules, '', { labels, ...more })),
      ...roles.map(([namespace, rules], i) => role(`r${i}`, rules, namespace)),
      ...bindings.map(([namespace, roleText, subjects], i) => {
        const isWide = namespace === '';
        return binding(`b${i}`, isWide ? roleText.replace(/^Role\/r/, 'ClusterRole/c') : roleText, subjects, namespace);
      }),
    ].join(''),
  );

const request = fc
  .record({
    user: fc.constantFrom(...USERS),
    groups: fc.subarray(['interns', 'system:masters']),
    verb: fc.constantFrom(...VERBS),
    apiGroup: fc.constantFrom('', 'apps'),
    whole: fc.constantFrom(...RESOURCES),
    name: fc.constantFrom('', ...NAMES),
    namespace: fc.constantFrom('', ...NAMESPACES),
    path: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(...PATHS) },
    ),
  })
  .map(({ whole, groups, ...rest }) => {
    const [resource, subresource] = splitResource(whole);
    const all = [...groups, ...impliedGroups(rest.user)];
    return { ...rest, groups: all, resource, subresource };
  });

describe('random roles and bindings', () => {
  test('the index answers as the slow evaluator', () => {
    fc.assert(
      fc.property(objects, fc.array(request, { minLength: 20, maxLength: 20 }), (text, requests) => {
        const { resources, index } = loadRbac(text);
        for (const each of requests)
          expect([each, authorize(index, each).allowed]).toEqual([each, slowAllows(resources, each)]);
      }),
      { numRuns: 300 },
    );
  });

  test('a subject is among the holders of a right exactly if the answer to its request is yes', () => {
    fc.assert(
      fc.property(objects, fc.array(request, { minLength: 10, maxLength: 10 }), (text, requests) => {
        const { resources, index } = loadRbac(text);
        const rights = new Rights(index);
        for (const { path: _, ...request } of requests) {
          const each = { ...request, groups: request.groups.filter((group) => group !== 'system:masters') };
          const resource = each.subresource === '' ? each.resource : `${each.resource}/${each.subresource}`;
          const holders = rights.holders({ verbs: [each.verb], apiGroup: each.apiGroup, resource }, each.namespace);
          const keys = new Set([`User/${each.user}`, ...each.groups.map((group) => `Group/${group}`)]);
          const isHolder = holders.some((holding) => keys.has(holding.principal.key) && coversName(holding, each.name));
          expect([each, isHolder]).toEqual([each, slowAllows(resources, each)]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
