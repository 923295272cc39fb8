/** What only odd input reaches: documents that an API server would refuse, objects without places. */
import { describe, expect, test } from 'vitest';
import { convertPolicy } from '../../src/compile/convert-calico.ts';
import type { Plan } from '../../src/compile/plan.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { SelectorCache } from '../../src/compile/selectors.ts';
import { sortWarnings } from '../../src/compile/warnings.ts';
import { loadResources } from '../../src/load/load.ts';
import * as layout from '../../src/tables/layout.ts';
import { setMembers } from '../../src/tables/members.ts';
import { textField } from '../../src/tables/tables.ts';
import {
  addresses,
  endpointOf,
  globalPolicy,
  hostEndpoint,
  joinDocuments,
  namespace,
  networkPolicy,
  permissivePlanOf,
  planOf,
  pod,
  policyOf,
  prefixTexts,
  runs,
  warningLines,
} from './cluster.ts';
import { tablesOf, verdict } from './verdict.ts';

const clusterPolicy = (rules: string): string =>
  `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: p}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ${rules}}}`;

const kubernetesPolicy = (spec: string): string =>
  `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: app}, spec: {${spec}}}`;

describe('ClusterNetworkPolicy', () => {
  const rulesOf = (rules: string): { readonly count: number; readonly warnings: readonly string[] } => {
    const plan = permissivePlanOf(joinDocuments(namespace('app'), clusterPolicy(`ingress: [${rules}]`)));
    return { count: policyOf(plan, 'kcnp:p').ingress.length, warnings: warningLines(plan) };
  };

  test('a reversed range and a peer of nothing spoil their rule', () => {
    const ports = 'protocols: [{tcp: {destinationPort: {range: {start: 90, end: 80}}}}]';
    expect(rulesOf(`{action: Accept, from: [{namespaces: {}}], ${ports}}`)).toEqual({
      count: 0,
      warnings: ['ClusterNetworkPolicy p spec.ingress[0]: port range 90-80 is reversed; Calico drops the rule'],
    });
    expect(rulesOf('{action: Accept, from: [{}]}')).toEqual({
      count: 0,
      warnings: [
        'ClusterNetworkPolicy p spec.ingress[0]: a peer has no field that Calico supports; Calico drops the rule',
      ],
    });
  });

  test('an entry of no protocol means every one, whatever stands beside it', () => {
    const plan = permissivePlanOf(
      clusterPolicy('ingress: [{action: Accept, from: [{namespaces: {}}], protocols: [{udp: {}}, {}]}]'),
    );
    expect(policyOf(plan, 'kcnp:p').ingress.map(({ protocol }) => protocol)).toEqual([-1]);
  });
});

describe('NetworkPolicy of Kubernetes', () => {
  test('types that nobody knows leave ingress', () => {
    const plan = permissivePlanOf(kubernetesPolicy('podSelector: {}, policyTypes: [Sideways]'));
    expect(policyOf(plan, 'knp:app/p')).toMatchObject({ hasIngress: true, hasEgress: false });
  });

  test('an operator that nobody knows is skipped, and so selects more', () => {
    const expressions = '{key: a, operator: Sideways}, {key: b, operator: DoesNotExist}';
    const plan = permissivePlanOf(kubernetesPolicy(`podSelector: {matchExpressions: [${expressions}]}`));
    expect(policyOf(plan, 'knp:app/p').selectorText).toBe(
      '((projectcalico.org/orchestrator == "k8s" && !has(b)) && projectcalico.org/namespace == "app")',
    );
  });

  test('staged for deletion it does not exist', () => {
    const staged = (action: string): Plan =>
      planOf(
        `{apiVersion: projectcalico.org/v3, kind: StagedKubernetesNetworkPolicy, metadata: {name: p, namespace: app}, spec: {stagedAction: ${action}, podSelector: {}}}`,
      );
    expect(staged('Set').policies.map(({ id }) => id)).toEqual(['sknp:app/p']);
    expect(staged('Delete').policies).toEqual([]);
  });
});

describe('policies of Calico', () => {
  test('a selector beyond our limits names its policy, a global one without namespace', () => {
    const names = Array.from({ length: 9000 }, (_, i) => `account-${i}`).join(', ');
    const text = globalPolicy('g', `ingress: [{action: Allow, source: {serviceAccounts: {names: [${names}]}}}]`);
    const { resources } = loadResources([{ name: 'big.yaml', text }]);
    expect(() => planCluster(resources)).toThrow(
      expect.objectContaining({ code: 'selector-limit', problem: expect.stringMatching(/^GlobalNetworkPolicy g: /) }),
    );
  });

  test('an error of ours is no error of the policy and passes as it is', () => {
    class Broken extends SelectorCache {
      override parse(): never {
        throw new RangeError('a bug');
      }
    }
    const { resources } = loadResources([networkPolicy('p', 'selector: has(x)')]);
    expect(() => convertPolicy(resources.policies[0]!, new Broken())).toThrow(new RangeError('a bug'));
  });

  test('a notSelector alone that does not parse drops a global policy', () => {
    const plan = permissivePlanOf(globalPolicy('g', "ingress: [{action: Allow, source: {notSelector: 'a = 1'}}]"));
    expect(plan.policies).toEqual([]);
    expect(warningLines(plan)).toEqual([
      expect.stringMatching(
        /^GlobalNetworkPolicy g spec\.ingress\[0\]\.source\.notSelector: .*Felix drops the whole policy$/,
      ),
    ]);
  });

  test('an account selector of a global policy that does not parse is ignored', () => {
    const plan = permissivePlanOf(
      joinDocuments(pod('a', '10.0.0.1'), globalPolicy('g', "serviceAccountSelector: 'a = 1'")),
    );
    expect(runs(plan, 'wep:app/a')).toEqual(['default< gnp:g']);
    expect(warningLines(plan)).toEqual([
      'GlobalNetworkPolicy g spec.serviceAccountSelector: does not parse; Calico ignores it, so the policy applies to more endpoints',
    ]);
  });

  test('a preDNAT policy of egress alone takes no part', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        hostEndpoint('h', 'node: n1, interfaceName: eth0'),
        globalPolicy('e', 'preDNAT: true, applyOnForward: true, types: [Egress]'),
        globalPolicy('i', 'preDNAT: true, applyOnForward: true, types: [Ingress]'),
      ),
    );
    expect(runs(plan, 'hep:h', 'preDnatTiers')).toEqual(['default< gnp:i']);
  });

  test('two warnings that differ in their advice alone are both kept, in its order', () => {
    const one = { origin: { file: 'f', line: 1 }, kind: 'K', namespace: '', name: 'n', field: 'f', message: 'm' };
    const [a, b] = [
      { ...one, fix: 'a' },
      { ...one, fix: 'b' },
    ];
    expect(sortWarnings([b, a, { ...b }])).toEqual([a, b]);
  });
});

describe('pods and hosts', () => {
  const annotated = (annotations: string): Plan => planOf(pod('a', '10.0.0.1', { annotations }));

  test('floating addresses that are none make a pod no endpoint; `null` is an empty list', () => {
    const plan = annotated(`{cni.projectcalico.org/floatingIPs: '["banana"]'}`);
    expect(plan.endpoints).toEqual([]);
    expect(warningLines(plan)).toEqual([
      'Pod app/a metadata.annotations[cni.projectcalico.org/floatingIPs]: "banana" is no address or prefix; Calico cannot convert the pod, so it is no endpoint',
    ]);
    expect(addresses(annotated(`{cni.projectcalico.org/floatingIPs: 'null'}`), 'wep:app/a')).toEqual(['10.0.0.1']);
  });

  test('a pod whose annotations tell no address has none', () => {
    expect(planOf(pod('a', '', { annotations: '{example.org/team: blue}' })).endpoints).toEqual([]);
  });

  test('a named port of a protocol in lower case is skipped', () => {
    const ports = '[{name: a, containerPort: 80, protocol: tcp}, {name: b, containerPort: 81, protocol: SCTP}]';
    const plan = planOf(pod('a', '10.0.0.1', { spec: `  containers: [{name: c, image: x, ports: ${ports}}]` }));
    expect(plan.groups[0]!.namedPorts).toEqual([{ name: 'b', protocol: 132, port: 81 }]);
  });

  test('a host endpoint of no node is a peer and governs nothing', () => {
    const documents = joinDocuments(
      hostEndpoint('h', 'interfaceName: eth0, expectedIPs: [192.0.2.1]', '{role: lost}'),
      pod('a', '10.0.0.1'),
      networkPolicy(
        'p',
        "ingress: [{action: Allow, source: {selector: 'role == \"lost\"', namespaceSelector: 'global()'}}]",
      ),
    );
    expect(permissivePlanOf(documents).nodes.map(({ name }) => name)).toEqual(['n1']);
    const tables = tablesOf(documents);
    expect(verdict(tables, '192.0.2.1', '10.0.0.1')).toBe('allow');
    expect(verdict(tables, '192.0.2.2', '10.0.0.1')).toBe('deny end-of-tier');
    expect(verdict(tables, '192.0.2.2', '192.0.2.1')).toBe('unpoliced');
  });

  test('an address that one host endpoint lists twice has one owner, with others one more', () => {
    const host = (name: string, node: string, ips: string): string =>
      hostEndpoint(name, `node: ${node}, interfaceName: eth0, expectedIPs: [${ips}]`);
    const twice = '192.0.2.1, 192.0.2.1';
    expect(planOf(host('a', 'n1', twice)).sharedAddresses).toEqual([]);
    const shared = planOf(joinDocuments(host('a', 'n1', twice), host('b', 'n2', twice))).sharedAddresses;
    expect(shared.map((entry) => [...prefixTexts([entry.address]), ...entry.endpoints])).toEqual([
      ['192.0.2.1/32', 0, 1],
    ]);
  });

  test('addresses of nodes that nobody could parse are skipped', () => {
    const { resources } = loadResources([
      '{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.1.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}',
    ]);
    const [node] = resources.nodes;
    const odd = { ...node!, addresses: ['banana', ...node!.addresses], podCIDRs: ['banana', ...node!.podCIDRs] };
    const [planned] = planCluster({ ...resources, nodes: [odd] }).nodes;
    expect([prefixTexts(planned!.addresses), prefixTexts(planned!.podCidrs)]).toEqual([
      ['192.0.2.1/32'],
      ['10.1.0.0/24'],
    ]);
  });

  test('a port of a host endpoint without protocol is TCP', () => {
    const plan = permissivePlanOf(
      hostEndpoint('h', "node: n1, interfaceName: eth0, ports: [{name: p, port: 80, protocol: ''}]"),
    );
    expect(plan.groups[endpointOf(plan, 'hep:h').group]!.namedPorts).toEqual([{ name: 'p', protocol: 6, port: 80 }]);
  });

  test('a refused pod of another node is not judged on this one', () => {
    const annotations = `{cni.projectcalico.org/allowedSourcePrefixes: '["198.51.100.0/24"]'}`;
    const documents = joinDocuments(pod('a', '10.0.0.1'), pod('z', '10.0.0.2', { node: 'n2', annotations }));
    expect(verdict(tablesOf(documents), '10.0.0.1', '10.0.0.2')).toMatch(/^deny/);
    expect(verdict(tablesOf(documents, 'n2'), '10.0.0.1', '10.0.0.2')).toMatch(/^deny/);
    expect(verdict(tablesOf(documents, 'n1'), '10.0.0.1', '10.0.0.2')).toBe('allow');
  });
});

describe('services', () => {
  const service = (name: string, spec: string): string =>
    `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: app}, spec: {${spec}}}`;
  const slice = (name: string, ports: string): string =>
    `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}, namespace: app, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: ${ports}}`;

  test('addresses and protocols that are none are skipped, ports and backends are in order', () => {
    const ports =
      '[{name: b, port: 443, targetPort: 1}, {name: a, port: 80, targetPort: 1}, {name: c, port: 9, protocol: FOO}, {name: u, port: 53, protocol: UDP}]';
    const plan = planOf(
      joinDocuments(
        service('web', `clusterIP: 10.96.0.1, externalIPs: [banana], ports: ${ports}`),
        slice('s1', '[{name: a, port: 8081}]'),
        slice('s2', '[{name: a, port: 8080}]'),
        slice('s3', '[{name: a, port: 8081}]'),
      ),
    );
    const [web] = plan.services;
    expect(prefixTexts(web!.addresses)).toEqual(['10.96.0.1/32']);
    expect(web!.ports.map(({ protocol, port, backends }) => [protocol, port, backends.map((one) => one.port)])).toEqual(
      [
        [6, 80, [8080, 8081]],
        [6, 443, []],
        [17, 53, []],
      ],
    );
  });

  test('two that list one address are in the order of their names', () => {
    const spec = 'externalIPs: [203.0.113.1], ports: [{port: 80}]';
    const tables = tablesOf(
      joinDocuments(service('b', `clusterIP: 10.96.0.2, ${spec}`), service('a', `clusterIP: 10.96.0.1, ${spec}`)),
    );
    const keys = Array.from({ length: tables.counts[layout.SECTION_SERVICES]! }, (_, index) =>
      textField(tables, layout.SECTION_SERVICES, index, layout.SERVICE_KEY),
    );
    expect(keys).toEqual(['app/a', 'app/b', 'app/a', 'app/b']);
  });

  test('a CIDR of the loop block that is none is skipped', () => {
    const plan = permissivePlanOf(
      '{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: default}, spec: {serviceClusterIPs: [{cidr: banana}, {cidr: 10.96.0.0/12}]}}',
    );
    expect(prefixTexts(plan.serviceLoopPrefixes)).toEqual(['10.96.0.0/12']);
  });

  test('a slice whose address is everything is two halves to a set, and everyone to a rule', () => {
    const everything = slice('s', '[{name: a, port: 80}]').replace('10.0.0.1', '0.0.0.0/0');
    const tables = tablesOf(
      joinDocuments(
        everything,
        pod('a', '10.0.0.1'),
        networkPolicy('p', 'ingress: [{action: Allow, source: {services: {name: web, namespace: app}}}]'),
      ),
    );
    expect(verdict(tables, '192.0.2.1', '10.0.0.1')).toBe('allow');
    expect(verdict(tables, '8.8.8.8', '10.0.0.1')).toBe('allow');
    const members = setMembers(tables, 0);
    const size = layout.RECORD_WORDS[layout.SECTION_MEMBERS]!;
    const lengths = [0, 1].map((member) => members[member * size]! & 255);
    expect([members.length / size, ...lengths]).toEqual([2, 1, 1]);
  });
});
