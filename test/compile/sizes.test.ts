/** Sizes beyond the usual: thousands of prefixes, chains of more steps than one word has bits, long-lived caches, all kinds. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import * as layout from '../../src/tables/layout.ts';
import { openTables, type Tables, textField } from '../../src/tables/tables.ts';
import { globalNetworkSet, joinDocuments, networkPolicy, pod } from './cluster.ts';
import { tablesOf, verdict } from './verdict.ts';

describe('sizes', () => {
  test('thousands of prefixes, some in several sets, lead to the sets that hold them', () => {
    const nets = (from: number, to: number): string =>
      `[${Array.from({ length: to - from }, (_, i) => `100.${(from + i) >> 8}.${(from + i) & 255}.0/24`).join(', ')}]`;
    const rule = (name: string, action: string): string =>
      `{action: ${action}, source: {selector: 'set == "${name}"', namespaceSelector: 'global()'}}`;
    const tables = tablesOf(
      joinDocuments(
        globalNetworkSet('low', nets(0, 900), '{set: low}'),
        globalNetworkSet('high', nets(600, 1500), '{set: high}'),
        pod('a', '10.0.0.1'),
        networkPolicy('p', `ingress: [${rule('low', 'Deny')}, ${rule('high', 'Allow')}]`),
      ),
    );
    const at = (block: number): string => verdict(tables, `100.${block >> 8}.${block & 255}.7`, '10.0.0.1');
    for (const block of [0, 599, 600, 899]) expect([block, at(block)]).toEqual([block, 'deny rule']);
    for (const block of [900, 1499]) expect([block, at(block)]).toEqual([block, 'allow']);
    expect(at(1500)).toBe('deny end-of-tier');
  });

  test('rules beyond the first 32 of a chain decide, by destination and by source port', () => {
    const rules = (side: string): string =>
      Array.from({ length: 70 }, (_, i) => `{action: Allow, protocol: TCP, ${side}: {ports: [${1000 + 10 * i}]}}`).join(
        ', ',
      );
    const world = (side: string): Tables =>
      tablesOf(joinDocuments(pod('a', '10.0.0.1'), networkPolicy('p', `ingress: [${rules(side)}]`)));
    const byDestination = world('destination');
    const bySource = world('source');
    const ask = (srcPort: number): string =>
      evaluateFlow(bySource, { src: '192.0.2.1', dst: '10.0.0.1', protocol: 'tcp', src_port: srcPort, dst_port: 80 })
        .action;
    for (let i = 0; i < 70; i++) {
      expect([i, verdict(byDestination, '192.0.2.1', '10.0.0.1', 1000 + 10 * i)]).toEqual([i, 'allow']);
      expect([i, ask(1000 + 10 * i)]).toEqual([i, 'allow']);
    }
    expect(verdict(byDestination, '192.0.2.1', '10.0.0.1', 1001)).toBe('deny end-of-tier');
    expect(ask(1001)).toBe('deny');
  });

  test('IPv6 prefixes of every length up to everything, and at the end of the space', () => {
    const world = (nets: string): Tables =>
      tablesOf(
        joinDocuments(pod('a', 'fd00::1'), networkPolicy('p', `ingress: [{action: Allow, source: {nets: [${nets}]}}]`)),
      );
    const everything = world("'::/0'");
    for (const src of ['::1', '2001:db8::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff']) {
      expect(verdict(everything, src, 'fd00::1')).toBe('allow');
    }
    const third = world("'2001:db8:0:0:1::/80', '2001:db8::2:0:0:0/96', 'ffff:ffff::/32'");
    const cases = [
      ['2001:db8:0:0:0:ffff:ffff:ffff', 'deny end-of-tier'],
      ['2001:db8:0:0:1::', 'allow'],
      ['2001:db8:0:0:1:ffff:ffff:ffff', 'allow'],
      ['2001:db8:0:0:1:ffff:ffff:fffe', 'allow'],
      ['2001:db8:0:0:2::1', 'allow'],
      ['2001:db8:0:0:2:1::', 'deny end-of-tier'],
      ['ffff:fffe::1', 'deny end-of-tier'],
      ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'allow'],
    ] as const;
    expect(cases.map(([src]) => [src, verdict(third, src, 'fd00::1')])).toEqual(cases);
  });

  test('prefixes of everything, of a service and of the loop block, hold every address', () => {
    const everything = (address: string): string =>
      `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: app, labels: {kubernetes.io/service-name: web}}, addressType: IPv6, endpoints: [{addresses: ['${address}']}], ports: [{port: 80}]}`;
    const loop = `{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: default}, spec: {serviceClusterIPs: [{cidr: '::/0'}]}}`;
    const rule = 'ingress: [{action: Allow, source: {services: {name: web, namespace: app}}}]';
    const documents = [pod('a', 'fd00::1'), networkPolicy('p', rule)];
    const all = tablesOf(joinDocuments(...documents, everything('::/0')));
    const one = tablesOf(joinDocuments(...documents, everything('2001:db8::1')));
    const looped = tablesOf(joinDocuments(...documents, everything('2001:db8::1'), loop));
    for (const src of ['::', '::1', '2001:db8::1', '8000::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff']) {
      const isListed = src === '2001:db8::1';
      expect([src, verdict(all, src, 'fd00::1')]).toEqual([src, 'allow']);
      expect([src, verdict(one, src, 'fd00::1')]).toEqual([src, isListed ? 'allow' : 'deny end-of-tier']);
      // Policy denies first; what it allows is inside the loop block.
      expect([src, verdict(looped, src, 'fd00::1')]).toEqual([
        src,
        isListed ? 'deny service-loop' : 'deny end-of-tier',
      ]);
    }
  });

  test('text beyond ASCII comes back as it was', () => {
    const { resources } = loadResources([{ name: 'ordnung/пример-日本.yaml', text: networkPolicy('p', '') }]);
    const tables = openTables(compile(resources));
    expect(textField(tables, layout.SECTION_POLICIES, 0, layout.POLICY_FILE)).toBe('ordnung/пример-日本.yaml');
    expect(textField(tables, layout.SECTION_POLICIES, 0, layout.POLICY_ID)).toBe('np:app/p');
  });

  test('what thousands of gone pods left in the caches is dropped, and the plan stays the same', () => {
    const { resources: loaded } = loadResources([pod('kept', '10.255.0.1', { labels: '{app: kept}' })]);
    const [kept] = loaded.pods;
    const many = Array.from({ length: 10_001 }, (_, i) => ({
      ...kept!,
      meta: { ...kept!.meta, name: `p${i}`, labels: new Map([['n', `${i}`]]) },
      podIPs: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`],
    }));
    const { policies } = loadResources([networkPolicy('p', 'selector: has(n) || has(app)')]).resources;
    const resources = { ...loaded, policies, pods: [kept!, ...many] };
    const compiler = new IncrementalCompiler(resources);
    // Made with the endpoint, and kept for as long as that is.
    const addresses = (): unknown => compiler.plan().endpoints[0]!.addresses;
    expect(compiler.plan().groups).toHaveLength(10_002);
    const before = addresses();
    for (const one of many) compiler.delete(one);
    // The plan that finds the caches stale is still made from them, the next one is not.
    expect(addresses()).toBe(before);
    compiler.delete(resources.serviceAccounts[0]!);
    expect(addresses()).not.toBe(before);
    expect(compiler.plan()).toEqual(planCluster(compiler.resources()));
  });

  test('an incremental compiler gives back every kind that it was given', () => {
    const rbac = ['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'].map((kind) => {
      const scope = kind.startsWith('Cluster') ? '' : ', namespace: app';
      const body = kind.endsWith('Binding')
        ? 'roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}, subjects: []'
        : 'rules: []';
      return `{apiVersion: rbac.authorization.k8s.io/v1, kind: ${kind}, metadata: {name: r${scope}}, ${body}}`;
    });
    const admission = [
      '{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: v}, spec: {validations: [{expression: "true"}]}}',
      '{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: v}, spec: {policyName: v, validationActions: [Deny]}}',
    ];
    const { resources, errors } = loadResources([joinDocuments(...rbac, ...admission)], { permissive: true });
    expect(errors).toEqual([]);
    expect(
      [resources.roles, resources.roleBindings, resources.admissionPolicies, resources.admissionBindings].map(
        (list) => list.length,
      ),
    ).toEqual([2, 2, 1, 1]);
    expect(new IncrementalCompiler(resources).resources()).toEqual(resources);
  });
});
