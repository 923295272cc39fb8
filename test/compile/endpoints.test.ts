import { describe, expect, test } from 'vitest';
import { sortedLabels } from '../../src/compile/labels.ts';
import {
  account,
  addresses,
  endpointOf,
  globalNetworkSet,
  globalPolicy,
  groupOf,
  hostEndpoint,
  ingressRule,
  joinDocuments,
  membersOf,
  namespace,
  networkPolicy,
  networkSet,
  peers,
  permissivePlanOf,
  planOf,
  pod,
  prefixTexts,
  runs,
  setTexts,
  warningLines,
} from './cluster.ts';

const keys = (yaml: string): string[] => planOf(yaml).endpoints.map(({ key }) => key);

describe('which pods are endpoints', () => {
  test('row 11: a hostNetwork pod is none, and an unscheduled one neither', () => {
    expect(
      keys(
        joinDocuments(
          pod('a', '10.0.0.1', { spec: '  hostNetwork: true\n  containers: [{name: c, image: x}]' }),
          pod('b', '10.0.0.2', { node: "''" }),
        ),
      ),
    ).toEqual([]);
  });

  test.each(['Succeeded', 'Failed', 'Completed'])('row 12: a pod of phase %s gave its address back', (phase) => {
    expect(keys(pod('a', '10.0.0.1', { phase }))).toEqual([]);
  });

  const terminating = (annotations: string): string =>
    pod('a', '10.0.0.1', { annotations }).replace(
      'metadata: {',
      "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z', ",
    );

  test('row 13: a terminating pod is an endpoint until an annotation says its address is gone', () => {
    expect(keys(terminating("{cni.projectcalico.org/podIP: '10.0.0.1'}"))).toEqual(['wep:app/a']);
    expect(keys(terminating('{}'))).toEqual(['wep:app/a']);
    expect(keys(terminating("{cni.projectcalico.org/podIP: ''}"))).toEqual([]);
    expect(keys(terminating("{vpc.amazonaws.com/pod-ips: ''}"))).toEqual([]);
    // Without a deletion timestamp the empty annotation means nothing.
    expect(keys(pod('a', '10.0.0.1', { annotations: "{cni.projectcalico.org/podIP: ''}" }))).toEqual(['wep:app/a']);
  });

  test('row 14: a pending pod with an address is one', () => {
    expect(keys(pod('a', '10.0.0.1', { phase: 'Pending' }))).toEqual(['wep:app/a']);
  });

  test('a pod without any address is none', () => {
    expect(keys(pod('a', ''))).toEqual([]);
  });
});

describe('where addresses come from', () => {
  const annotated = (status: string, annotations: string): string =>
    pod('a', '', { annotations }).replace(/status: .*/, `status: {${status}}`);
  const all =
    "{cni.projectcalico.org/podIPs: '10.0.0.3/32,fd00::3/128', cni.projectcalico.org/podIP: '10.0.0.4/32', vpc.amazonaws.com/pod-ips: '10.0.0.5,10.0.0.6'}";

  test.each([
    ['status.podIPs', "podIP: '10.0.0.2', podIPs: [{ip: '10.0.0.1'}, {ip: 'fd00::1'}]", all, ['10.0.0.1', 'fd00::1']],
    ['status.podIP', "podIP: '10.0.0.2'", all, ['10.0.0.2']],
    ['podIPs annotation', '', all, ['10.0.0.3', 'fd00::3']],
    ['podIP annotation', '', all.replace('10.0.0.3/32,fd00::3/128', ''), ['10.0.0.4']],
    ['AWS annotation', '', "{vpc.amazonaws.com/pod-ips: '10.0.0.5,10.0.0.6'}", ['10.0.0.5', '10.0.0.6']],
  ])('%s', (_, status, annotations, expected) => {
    expect(addresses(planOf(annotated(status, annotations)), 'wep:app/a')).toEqual(expected);
  });

  test('one malformed address fails the whole conversion, with a warning', () => {
    const plan = planOf(annotated('', "{cni.projectcalico.org/podIPs: '10.0.0.3,banana'}"));
    expect(plan.endpoints).toEqual([]);
    expect(warningLines(plan)).toEqual([
      "Pod app/a status.podIPs: 'banana' is no address; Calico cannot convert the pod, so it is no endpoint",
    ]);
  });

  test('an address listed twice is one', () => {
    const plan = planOf(annotated('', "{cni.projectcalico.org/podIPs: '10.0.0.3,10.0.0.3/32'}"));
    expect(addresses(plan, 'wep:app/a')).toEqual(['10.0.0.3']);
  });
});

describe('own labels and inheritance', () => {
  /** Which of the pods' addresses a selector picks, cluster-wide. */
  const picked = (selector: string, ...documents: string[]): string[] => {
    const plan = permissivePlanOf(
      joinDocuments(
        ...documents,
        globalPolicy('g', `ingress: [{action: Allow, source: {selector: ${JSON.stringify(selector)}}}]`),
      ),
    );
    return peers(plan, ingressRule(plan, 'gnp:g').source);
  };

  test('row 15: a pod cannot pretend to be in another namespace', () => {
    const a = pod('a', '10.0.0.1', {
      labels: '{projectcalico.org/namespace: other, projectcalico.org/orchestrator: none}',
    });
    expect(picked('projectcalico.org/namespace == "other"', a)).toEqual([]);
    expect(picked('projectcalico.org/namespace == "app" && projectcalico.org/orchestrator == "k8s"', a)).toEqual([
      '10.0.0.1/32',
    ]);
  });

  test('row 16: labels that look inherited are taken from pods', () => {
    const a = pod('a', '10.0.0.1', { labels: '{pcns.env: prod, pcsa.x: w, pcn: z}' });
    expect(picked('has(pcns.env) || has(pcsa.x)', a)).toEqual([]);
    expect(picked('has(pcn)', a)).toEqual(['10.0.0.1/32']);
  });

  test('row 17: on a network set they stay, and shadow what it inherits', () => {
    const documents = [namespace('app', '{env: dev, team: x}'), networkSet('s', '[192.0.2.0/24]', '{pcns.env: prod}')];
    expect(picked('pcns.env == "prod" && pcns.team == "x"', ...documents)).toEqual(['192.0.2.0/24']);
    expect(picked('pcns.env == "dev"', ...documents)).toEqual([]);
  });

  test('row 18: a set or host that carries an account label joins the account', () => {
    const label = '{projectcalico.org/serviceaccount: api}';
    const documents = [
      pod('a', '10.0.0.1', { serviceAccount: 'api' }),
      networkSet('s', '[192.0.2.0/24]', label),
      globalNetworkSet('g', '[198.51.100.0/24]', label),
      hostEndpoint('h', 'node: n1, interfaceName: eth0, expectedIPs: [192.168.1.1]', label),
    ];
    const plan = planOf(
      joinDocuments(
        ...documents,
        globalPolicy('g', 'ingress: [{action: Allow, source: {serviceAccounts: {names: [api]}}}]'),
      ),
    );
    expect(peers(plan, ingressRule(plan, 'gnp:g').source)).toEqual([
      '10.0.0.1/32',
      '192.0.2.0/24',
      '192.168.1.1/32',
      '198.51.100.0/24',
    ]);
  });

  test('row 19: a host labelled with a namespace is selected by its policies and is a peer in it', () => {
    const plan = planOf(
      joinDocuments(
        hostEndpoint(
          'h',
          'node: n1, interfaceName: eth0, expectedIPs: [192.168.1.1]',
          '{projectcalico.org/namespace: app}',
        ),
        networkPolicy('p', 'ingress: [{action: Allow, source: {selector: all()}}]'),
      ),
    );
    expect(runs(plan, 'hep:h')).toEqual(['default< np:app/p']);
    expect(runs(plan, 'hep:h', 'forwardTiers')).toEqual([]);
    expect(peers(plan, ingressRule(plan, 'np:app/p').source)).toEqual(['192.168.1.1/32']);
  });

  test('row 20: the label with the name of a namespace or account cannot be forged', () => {
    const documents = [
      namespace('app', '{projectcalico.org/name: fake}'),
      account('api', '{projectcalico.org/name: fake}'),
      pod('a', '10.0.0.1', { serviceAccount: 'api' }),
    ];
    expect(
      picked('pcns.projectcalico.org/name == "app" && pcsa.projectcalico.org/name == "api"', ...documents),
    ).toEqual(['10.0.0.1/32']);
  });

  test('row 21: without Namespace object a pod has no inherited labels and its profile is missing', () => {
    const plan = planOf(pod('a', '10.0.0.1'), { asIs: true });
    expect(groupOf(plan, 'wep:app/a').profiles).toEqual(['kns.app', 'ksa.app.default']);
    expect(plan.profiles).toEqual([]);
  });

  test('row 22: without ServiceAccount object the name matches and labels do not', () => {
    const documents = [namespace('app'), pod('a', '10.0.0.1', { serviceAccount: 'ghost' })];
    expect(picked('projectcalico.org/serviceaccount == "ghost"', ...documents)).toEqual(['10.0.0.1/32']);
    expect(picked('has(pcsa.projectcalico.org/name)', ...documents)).toEqual([]);
    const plan = planOf(joinDocuments(...documents));
    expect(plan.profiles.map(({ name }) => name)).toEqual(['kns.app']);
  });

  test('row 23: an account name of 63 characters and more matches', () => {
    const long = 'a'.repeat(70);
    expect(
      picked(`projectcalico.org/serviceaccount == "${long}"`, pod('a', '10.0.0.1', { serviceAccount: long })),
    ).toEqual(['10.0.0.1/32']);
  });

  test('own labels win over inherited ones, an earlier profile over a later one', () => {
    const profile = (name: string, labels: string): string =>
      `{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: ${name}}, spec: {labelsToApply: ${labels}}}`;
    const documents = [
      profile('p', '{a: p, b: p, c: p}'),
      profile('q', '{b: q, c: q, d: q}'),
      hostEndpoint('h', 'node: n1, expectedIPs: [192.168.1.1], profiles: [q, p]', '{a: own}'),
    ];
    expect(picked('a == "own" && b == "q" && c == "q" && d == "q"', ...documents)).toEqual(['192.168.1.1/32']);
  });
});

describe('groups', () => {
  test('pods that no selector can tell apart share one, whatever their other differences', () => {
    const plan = planOf(
      joinDocuments(
        pod('b', '10.0.0.2', { labels: '{x: "1", z: "2", pcns.z: q}', node: 'n2' }),
        pod('a', '10.0.0.1', { labels: '{z: "2", x: "1"}' }),
        pod('c', '10.0.0.3', { labels: '{x: "1"}' }),
        pod('d', '10.0.0.4', { labels: '{x: "1", z: "2"}', serviceAccount: 'other' }),
        pod('e', '10.0.0.5', { labels: '{x: "1", z: "2", nobody-asks: e}' }),
        networkPolicy('asks', 'selector: "x == \'1\'", ingress: [{action: Allow, source: {selector: "has(z)"}}]'),
      ),
    );
    expect(plan.endpoints.map(({ key, group }) => [key, group])).toEqual([
      ['wep:app/a', 0],
      ['wep:app/b', 0],
      ['wep:app/c', 1],
      ['wep:app/d', 2],
      ['wep:app/e', 0],
    ]);
    expect(prefixTexts(plan.groups[0]!.prefixes)).toEqual(['10.0.0.1/32', '10.0.0.2/32', '10.0.0.5/32']);
    expect(sortedLabels(endpointOf(plan, 'wep:app/b').labels)).toEqual([
      ['pcns.z', 'q'],
      ['x', '1'],
      ['z', '2'],
    ]);
  });

  test('network sets with equal labels share one; a /0 is two halves', () => {
    const plan = planOf(
      joinDocuments(
        globalNetworkSet('b', "['10.0.0.1/8', 0.0.0.0/0]", '{x: "1"}'),
        globalNetworkSet('a', "['::/0', 192.0.2.1]", '{x: "1"}'),
      ),
      { permissive: true },
    );
    expect(plan.groups.map(({ kind, networkSets, endpoints }) => ({ kind, networkSets, endpoints }))).toEqual([
      { kind: 'ns', networkSets: ['gns:a', 'gns:b'], endpoints: [] },
    ]);
    expect(prefixTexts(plan.groups[0]!.prefixes)).toEqual([
      '0.0.0.0/1',
      '10.0.0.0/8',
      '128.0.0.0/1',
      '192.0.2.1/32',
      '::/1',
      '8000::/1',
    ]);
  });
});

describe('addresses with several owners', () => {
  test('row 24: the address is in the set as soon as one owner matches, and is listed as shared', () => {
    const plan = planOf(
      joinDocuments(
        pod('a', '10.0.0.1', { labels: '{role: bad}' }),
        pod('b', '10.0.0.1'),
        networkPolicy('p', 'ingress: [{action: Deny, source: {selector: role == "bad"}}]'),
      ),
    );
    expect(peers(plan, ingressRule(plan, 'np:app/p').source)).toEqual(['10.0.0.1/32']);
    expect(plan.sharedAddresses.map(({ endpoints }) => endpoints)).toEqual([[0, 1]]);
    expect(warningLines(plan)).toContain(
      'Pod app/b : address 10.0.0.1 belongs to wep:app/a and wep:app/b: as a peer it counts for each of them',
    );
  });

  test('two host endpoints of one node are no conflict, of two nodes they are', () => {
    const hosts = (node: string): string =>
      joinDocuments(
        hostEndpoint('a', "node: n1, interfaceName: '*', expectedIPs: [192.168.1.1]"),
        hostEndpoint('b', `node: ${node}, interfaceName: eth0, expectedIPs: [192.168.1.1]`),
      );
    expect(planOf(hosts('n1')).sharedAddresses).toEqual([]);
    expect(planOf(hosts('n2')).sharedAddresses.map(({ endpoints }) => endpoints)).toEqual([[0, 1]]);
  });
});

describe('host endpoints', () => {
  test('row 25: one with an interface name alone contributes no address', () => {
    const plan = planOf(
      joinDocuments(
        hostEndpoint('h', 'node: n1, interfaceName: eth0', '{x: "1"}'),
        globalPolicy('g', 'ingress: [{action: Allow, source: {selector: has(x)}}]'),
      ),
    );
    expect(peers(plan, ingressRule(plan, 'gnp:g').source)).toEqual([]);
    expect(endpointOf(plan, 'hep:h').interfaceName).toBe('eth0');
  });

  test('row 27: a port with a protocol number makes Felix ignore the whole object', () => {
    const plan = permissivePlanOf(
      hostEndpoint('h', 'node: n1, expectedIPs: [192.168.1.1], ports: [{name: http, port: 80, protocol: 6}]'),
    );
    expect(plan.endpoints).toEqual([]);
    expect(plan.nodes).toEqual([]);
    expect(warningLines(plan)).toEqual([
      "HostEndpoint h spec.ports[0].protocol: '6' is not TCP, UDP or SCTP: Felix ignores the whole host endpoint",
    ]);
  });

  test('a named port of a host is a member of the set', () => {
    const plan = planOf(
      joinDocuments(
        hostEndpoint('h', 'node: n1, expectedIPs: [192.168.1.1], ports: [{name: http, port: 80, protocol: TCP}]'),
        globalPolicy('g', 'types: [Egress], egress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]'),
      ),
    );
    const set = plan.policies[0]!.egress[0]!.destination.namedPorts[0]!;
    expect(setTexts(plan, [set])).toEqual(['all() port tcp http']);
    expect(membersOf(plan, set)).toEqual(['192.168.1.1,tcp:80']);
  });
});

describe('allowedSourcePrefixes and floating addresses', () => {
  const annotation = `{cni.projectcalico.org/allowedSourcePrefixes: '["192.0.2.0/24"]', cni.projectcalico.org/floatingIPs: '["203.0.113.7"]'}`;
  const felix = (name: string, spec: string): string =>
    `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: ${name}}, spec: {${spec}}}`;
  const a = pod('a', '10.0.0.1', { annotations: annotation });

  test('row 97: with spoofing Disabled the endpoint disappears, and is known as rejected', () => {
    const plan = planOf(a);
    expect(plan.endpoints).toEqual([]);
    expect(plan.rejectedPods.map(({ key, node, addresses: list }) => [key, node, prefixTexts(list)])).toEqual([
      ['wep:app/a', 'n1', ['10.0.0.1/32']],
    ]);
    expect(warningLines(plan)[0]).toContain('WorkloadSourceSpoofing is Disabled');
  });

  test('with Any on its node it may send from these prefixes, and from floating addresses while enabled', () => {
    const sources = (...configurations: string[]): string[] =>
      prefixTexts(endpointOf(planOf(joinDocuments(a, ...configurations)), 'wep:app/a').allowedSources);
    expect(sources(felix('default', 'workloadSourceSpoofing: Any'))).toEqual(['192.0.2.0/24']);
    expect(sources(felix('node.n1', 'workloadSourceSpoofing: Any, floatingIPs: Enabled'))).toEqual([
      '192.0.2.0/24',
      '203.0.113.7/32',
    ]);
    expect(planOf(joinDocuments(a, felix('node.n2', 'workloadSourceSpoofing: Any'))).endpoints).toEqual([]);
  });

  test.each(['no json', '{}', '["192.0.2.1/33"]', '[5]'])('a malformed annotation %s fails the conversion', (text) => {
    const plan = planOf(
      pod('a', '10.0.0.1', { annotations: `{cni.projectcalico.org/allowedSourcePrefixes: '${text}'}` }),
    );
    expect(plan.endpoints).toEqual([]);
    expect(plan.rejectedPods).toEqual([]);
    expect(warningLines(plan)).toHaveLength(1);
  });

  test('an empty list needs no setting', () => {
    const plan = planOf(pod('a', '10.0.0.1', { annotations: "{cni.projectcalico.org/allowedSourcePrefixes: '[]'}" }));
    expect(plan.endpoints).toHaveLength(1);
  });
});

describe('named ports', () => {
  test('row 56: containers and init containers count, nameless, odd and portless ones do not', () => {
    const spec = `  containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}, {containerPort: 81}, {name: dns, containerPort: 53, protocol: UDP}]}]
  initContainers: [{name: i, image: x, ports: [{name: http, containerPort: 8080}]}]`;
    const plan = planOf(pod('a', '10.0.0.1', { spec }));
    expect(groupOf(plan, 'wep:app/a').namedPorts).toEqual([
      { name: 'dns', protocol: 17, port: 53 },
      { name: 'http', protocol: 6, port: 80 },
      { name: 'http', protocol: 6, port: 8080 },
    ]);
  });
});
