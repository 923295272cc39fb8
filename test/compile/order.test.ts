import { describe, expect, test } from 'vitest';
import {
  globalPolicy,
  hostEndpoint,
  joinDocuments,
  networkPolicy,
  permissivePlanOf,
  planOf,
  pod,
  policyOf,
  runs,
  warningLines,
} from './cluster.ts';

const A = pod('a', '10.0.0.1');
const tier = (name: string, spec = ''): string =>
  `{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: ${name}}, spec: {${spec}}}`;
const staged = (name: string, spec: string): string =>
  networkPolicy(name, spec).replace('NetworkPolicy', 'StagedNetworkPolicy');
const kubernetes = (name: string): string =>
  `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: ${name}, namespace: app}, spec: {podSelector: {}, policyTypes: [Ingress]}}`;
const ids = (...documents: string[]): string[] =>
  permissivePlanOf(joinDocuments(A, ...documents)).policies.map(({ id }) => id);
const runsOf = (...documents: string[]): string[] =>
  runs(permissivePlanOf(joinDocuments(A, ...documents)), 'wep:app/a');

describe('policies inside a tier', () => {
  test('by order, negative and fractional ones too, none last', () => {
    expect(
      ids(
        networkPolicy('none', ''),
        networkPolicy('b', 'order: 10.5'),
        networkPolicy('a', 'order: 11'),
        networkPolicy('z', 'order: -1'),
      ),
    ).toEqual(['np:app/z', 'np:app/b', 'np:app/a', 'np:app/none']);
  });

  test('row 67: of equal order `web-x` runs before `web`, `web0` after', () => {
    expect(ids(networkPolicy('web', ''), networkPolicy('web0', ''), networkPolicy('web-x', ''))).toEqual([
      'np:app/web-x',
      'np:app/web',
      'np:app/web0',
    ]);
  });

  test('row 68: of equal order and name the global one first, then by namespace, then by kind', () => {
    expect(ids(networkPolicy('p', ''), globalPolicy('p', ''), networkPolicy('p', '', 'aaa'), staged('p', ''))).toEqual([
      'gnp:p',
      'np:aaa/p',
      'np:app/p',
      'snp:app/p',
    ]);
  });

  test('row 69: a Kubernetes policy runs at 1000, before one without order', () => {
    expect(
      ids(networkPolicy('a', ''), kubernetes('k'), networkPolicy('b', 'order: 999'), networkPolicy('c', 'order: 1001')),
    ).toEqual(['np:app/b', 'knp:app/k', 'np:app/c', 'np:app/a']);
  });
});

describe('tiers', () => {
  test('row 70: one without order ties with `default`, and the name decides', () => {
    const plan = planOf(joinDocuments(tier('zeta'), tier('alpha'), tier('first', 'order: 5')));
    expect(plan.tiers.map(({ name }) => name)).toEqual([
      'first',
      'kube-admin',
      'alpha',
      'default',
      'zeta',
      'kube-baseline',
    ]);
    expect(plan.tiers.map(({ defaultAction }) => defaultAction)).toEqual([
      'deny',
      'pass',
      'deny',
      'deny',
      'deny',
      'pass',
    ]);
  });

  test('row 71: a tier without object comes last, denies, and its policies are enforced, with a warning', () => {
    const plan = permissivePlanOf(
      joinDocuments(A, networkPolicy('ghost.p', 'tier: ghost'), networkPolicy('p', 'order: 5000')),
    );
    expect(plan.tiers.at(-1)).toEqual({
      name: 'ghost',
      order: Number.POSITIVE_INFINITY,
      defaultAction: 'deny',
      exists: false,
    });
    expect(runs(plan, 'wep:app/a')).toEqual(['default< np:app/p', 'ghost< np:app/ghost.p']);
    expect(warningLines(plan)).toEqual([
      "NetworkPolicy app/ghost.p spec.tier: tier 'ghost' does not exist: Calico enforces the policy after all other tiers, with default Deny",
    ]);
  });

  test('row 72: a tier takes part by direction', () => {
    expect(runsOf(networkPolicy('p', 'types: [Ingress]'), globalPolicy('q', 'types: [Egress]'))).toEqual([
      'default< np:app/p',
      'default> gnp:q',
    ]);
  });

  test('row 73: staged policies are listed where they stand', () => {
    expect(runsOf(networkPolicy('b', 'order: 2'), staged('a', 'order: 1'), staged('c', 'order: 3'))).toEqual([
      'default< snp:app/a np:app/b snp:app/c',
    ]);
    expect(policyOf(permissivePlanOf(staged('a', '')), 'snp:app/a').isStaged).toBe(true);
  });

  test('a policy staged for deletion does not exist', () => {
    expect(ids(staged('a', 'stagedAction: Delete'), staged('b', 'stagedAction: Learn'))).toEqual(['snp:app/b']);
  });
});

describe('types', () => {
  test.each([
    ['', true, false],
    ['egress: [{action: Allow}]', false, true],
    ['ingress: [{action: Allow}], egress: [{action: Allow}]', true, true],
    // Row 77: an empty list of egress rules counts as none.
    ['ingress: [{action: Allow}], egress: []', true, false],
    // Row 79: a type without rules governs the direction.
    ['types: [Egress]', false, true],
  ])('rows 77, 79: %s', (spec, hasIngress, hasEgress) => {
    expect(policyOf(planOf(networkPolicy('p', spec)), 'np:app/p')).toMatchObject({ hasIngress, hasEgress });
  });

  test('row 78: rules of a direction that is no type are kept apart: the policy does not run there', () => {
    expect(runsOf(networkPolicy('p', 'types: [Ingress], egress: [{action: Allow}]'))).toEqual(['default< np:app/p']);
  });
});

describe('doNotTrack, preDNAT, applyOnForward', () => {
  const host = hostEndpoint('h', 'node: n1, interfaceName: eth0, expectedIPs: [192.168.1.1]');
  const plan = planOf(
    joinDocuments(
      A,
      host,
      globalPolicy('raw', 'order: 1, types: [Ingress, Egress], doNotTrack: true, applyOnForward: true'),
      globalPolicy('pre', 'order: 2, types: [Ingress], preDNAT: true, applyOnForward: true'),
      globalPolicy('aof', 'order: 3, types: [Ingress, Egress], applyOnForward: true'),
      globalPolicy('normal', 'order: 4, types: [Ingress]'),
    ),
  );

  test('row 80: the first two have no effect on a pod; the third is a normal policy there', () => {
    expect(runs(plan, 'wep:app/a')).toEqual(['default< gnp:aof gnp:normal', 'default> gnp:aof']);
    for (const list of ['forwardTiers', 'preDnatTiers', 'untrackedTiers'] as const)
      expect(runs(plan, 'wep:app/a', list)).toEqual([]);
  });

  test('a host endpoint has four lists; applyOnForward is in two', () => {
    expect(runs(plan, 'hep:h')).toEqual(['default< gnp:aof gnp:normal', 'default> gnp:aof']);
    expect(runs(plan, 'hep:h', 'forwardTiers')).toEqual(['default< gnp:aof', 'default> gnp:aof']);
    expect(runs(plan, 'hep:h', 'preDnatTiers')).toEqual(['default< gnp:pre']);
    expect(runs(plan, 'hep:h', 'untrackedTiers')).toEqual(['default< gnp:raw', 'default> gnp:raw']);
  });

  test('preDNAT governs ingress alone, whatever its types', () => {
    const open = permissivePlanOf(
      joinDocuments(host, globalPolicy('pre', 'preDNAT: true, applyOnForward: true, types: [Ingress, Egress]')),
    );
    expect(runs(open, 'hep:h', 'preDnatTiers')).toEqual(['default< gnp:pre']);
  });
});

test('groups with equal lists share one array', () => {
  const plan = planOf(
    joinDocuments(
      pod('a', '10.0.0.1', { labels: '{x: "1"}' }),
      pod('b', '10.0.0.2', { labels: '{x: "2"}' }),
      pod('c', '10.0.0.3', { labels: '{k: "2"}' }),
      globalPolicy('p', 'order: 1'),
      networkPolicy('q', 'order: 2, selector: has(x)'),
      networkPolicy('r', 'order: 3, selector: has(k)'),
      networkPolicy('s', 'order: 4'),
    ),
  );
  expect(plan.groups).toHaveLength(3);
  expect(plan.groups[0]!.tiers).toBe(plan.groups[1]!.tiers);
  expect(runs(plan, 'wep:app/a')).toEqual(['default< gnp:p np:app/q np:app/s']);
  expect(runs(plan, 'wep:app/c')).toEqual(['default< gnp:p np:app/r np:app/s']);
});
