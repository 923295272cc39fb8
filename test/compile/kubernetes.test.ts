import { describe, expect, test } from 'vitest';
import { clusterPolicyForm } from '../../src/compile/convert-cluster.ts';
import { compactPorts, parsePortText } from '../../src/compile/convert-kubernetes.ts';
import type { Plan, PlanRule } from '../../src/compile/plan.ts';
import { loadResources } from '../../src/load/load.ts';
import type { ClusterNetworkPolicy } from '../../src/model/resources.ts';
import type { Port } from '../../src/model/rule.ts';
import {
  globalNetworkSet,
  hostEndpoint,
  joinDocuments,
  membersOf,
  namespace,
  networkSet,
  permissivePlanOf,
  planOf,
  pod,
  policyOf,
  prefixTexts,
  runs,
  setTexts,
  UNCONSTRAINED,
  warningLines,
} from './cluster.ts';

const WORLD = joinDocuments(
  namespace('app', '{env: dev}'),
  namespace('web', '{env: prod}'),
  pod('a', '10.0.0.1', { labels: '{role: db}' }),
  pod('b', '10.0.0.2', { labels: '{role: web}' }),
  pod('a', '10.0.1.1', { namespace: 'web', labels: '{role: db}' }),
  networkSet('set', '[192.0.2.0/24]', '{role: db}'),
  globalNetworkSet('outside', '[198.51.100.0/24]', '{role: db}'),
  hostEndpoint('host', 'node: n1, interfaceName: eth0, expectedIPs: [192.168.1.1]', '{role: db}'),
);

function kubernetesPolicy(spec: string): string {
  return `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: app}, spec: {${spec}}}`;
}

function clusterPolicy(spec: string): string {
  return `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: p}, spec: {${spec}}}`;
}

/** `action protocol from=set to=set ports` of a rule, what does not constrain left out. */
function describeRule(plan: Plan, rule: PlanRule): string {
  const side = (name: string, { ipSets, nets, notNets, ports, namedPorts }: PlanRule['source']): string[] => [
    ...setTexts(plan, ipSets).map((text) => `${name} ${text}`),
    ...prefixTexts(nets).map((text) => `${name} net ${text}`),
    ...prefixTexts(notNets).map((text) => `${name} not net ${text}`),
    ...setTexts(plan, namedPorts).map((text) => `${name} ${text}`),
    ...(ports.length === 0 ? [] : [`${name} ports ${ports.map((range) => range.join('-')).join(' ')}`]),
  ];
  const protocol = rule.protocol < 0 ? [] : [`protocol ${rule.protocol}`];
  return [rule.action, ...protocol, ...side('from', rule.source), ...side('to', rule.destination)].join(', ');
}

function ingressOf(plan: Plan, id: string): string[] {
  return policyOf(plan, id).ingress.map((rule) => describeRule(plan, rule));
}

describe('NetworkPolicy', () => {
  const ingress = (rules: string): string[] => {
    const plan = permissivePlanOf(
      joinDocuments(WORLD, kubernetesPolicy(`podSelector: {}, policyTypes: [Ingress], ingress: ${rules}`)),
    );
    return ingressOf(plan, 'knp:app/p');
  };
  /** Members of the set of the first rule. */
  const peers = (from: string): string[] => {
    const plan = planOf(
      joinDocuments(WORLD, kubernetesPolicy(`podSelector: {}, policyTypes: [Ingress], ingress: [{from: ${from}}]`)),
    );
    return membersOf(plan, policyOf(plan, 'knp:app/p').ingress[0]!.source.ipSets[0]!);
  };

  test('selects pods of its namespace by labels, never hosts', () => {
    const plan = planOf(
      joinDocuments(
        WORLD,
        hostEndpoint('app-host', 'node: n1, interfaceName: eth0', '{projectcalico.org/namespace: app}'),
        kubernetesPolicy(
          `podSelector: {matchLabels: {z: "1", a: "2"}, matchExpressions: [{key: x, operator: In, values: [v, u]}, {key: m, operator: NotIn, values: [v]}, {key: e, operator: Exists}, {key: d, operator: DoesNotExist}]}, policyTypes: [Ingress]`,
        ),
      ),
    );
    expect(policyOf(plan, 'knp:app/p').selectorText).toBe(
      '((projectcalico.org/orchestrator == "k8s" && a == "2" && z == "1" && x in {"u", "v"} && m not in {"v"} && has(e) && !has(d)) && projectcalico.org/namespace == "app")',
    );
    const open = planOf(joinDocuments(WORLD, kubernetesPolicy('podSelector: {}, policyTypes: [Ingress]')));
    expect(open.endpoints.filter(({ key }) => runs(open, key).length > 0).map(({ key }) => key)).toEqual([
      'wep:app/a',
      'wep:app/b',
    ]);
    expect(policyOf(open, 'knp:app/p')).toMatchObject({ order: 1000, hasIngress: true, hasEgress: false });
  });

  test('no rules, one empty rule', () => {
    expect(ingress('[]')).toEqual([]);
    expect(ingress('[{}]')).toEqual(['allow']);
  });

  test('row 81: an empty peer is the pods of the namespace', () => {
    expect(peers('[{podSelector: {}}]')).toEqual(['10.0.0.1/32', '10.0.0.2/32']);
    expect(ingress('[{from: [{}]}]')).toEqual([
      'allow, from (projectcalico.org/namespace == "app" && projectcalico.org/orchestrator == "k8s")',
    ]);
  });

  test('row 82: namespaceSelector {} is all pods, no sets', () => {
    expect(peers('[{namespaceSelector: {}}]')).toEqual(['10.0.0.1/32', '10.0.0.2/32', '10.0.1.1/32']);
  });

  test('both selectors are ANDed', () => {
    expect(peers('[{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {role: db}}}]')).toEqual([
      '10.0.1.1/32',
    ]);
    expect(peers('[{podSelector: {matchLabels: {role: db}}}]')).toEqual(['10.0.0.1/32']);
  });

  test('ipBlock is nets and notNets', () => {
    expect(ingress("[{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, '10.2.0.0/16']}}]}]")).toEqual([
      'allow, from net 10.0.0.0/8, from not net 10.1.0.0/16, from not net 10.2.0.0/16',
    ]);
  });

  test('expansion: protocols as text outer, peers inner; ports of one protocol in one rule', () => {
    const rules =
      '[{from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 11.0.0.0/8}}], ports: [{port: 53, protocol: UDP}, {port: 443}, {port: 80}, {port: 1, protocol: SCTP}]}, {}]';
    expect(ingress(rules)).toEqual([
      'allow, protocol 132, from net 10.0.0.0/8, to ports 1-1',
      'allow, protocol 132, from net 11.0.0.0/8, to ports 1-1',
      'allow, protocol 6, from net 10.0.0.0/8, to ports 80-80 443-443',
      'allow, protocol 6, from net 11.0.0.0/8, to ports 80-80 443-443',
      'allow, protocol 17, from net 10.0.0.0/8, to ports 53-53',
      'allow, protocol 17, from net 11.0.0.0/8, to ports 53-53',
      'allow',
    ]);
  });

  test('row 83: an entry without port absorbs the numbers of its protocol', () => {
    expect(ingress('[{ports: [{port: 80}, {}, {port: 81}, {port: 53, protocol: UDP}]}]')).toEqual([
      'allow, protocol 6',
      'allow, protocol 17, to ports 53-53',
    ]);
  });

  test('ranges and names', () => {
    expect(ingress('[{ports: [{port: http}, {port: 82, endPort: 90}, {port: 80}, {port: 81}]}]')).toEqual([
      'allow, protocol 6, to all() port tcp http, to ports 80-90',
    ]);
  });

  test('row 84: a named port with endPort drops the rule, with a warning, and keeps the rest', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        WORLD,
        kubernetesPolicy(
          'podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}, {port: http, endPort: 90}]}, {ports: [{port: 80}]}]',
        ),
      ),
    );
    expect(ingressOf(plan, 'knp:app/p')).toEqual(['allow, protocol 6, to ports 80-80']);
    expect(warningLines(plan)).toEqual([
      "NetworkPolicy app/p spec.ingress[0].ports: 'http:90' is no port, range or name; Calico drops this rule and keeps the rest of the policy",
    ]);
  });

  test('a reversed range likewise', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        WORLD,
        kubernetesPolicy('podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 90, endPort: 80}]}]'),
      ),
    );
    expect(policyOf(plan, 'knp:app/p').ingress).toEqual([]);
  });

  test('a malformed block is any address, a malformed exception ends the list', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        WORLD,
        kubernetesPolicy(
          'podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: banana}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, banana, 10.2.0.0/16]}}]}]',
        ),
      ),
    );
    expect(ingressOf(plan, 'knp:app/p')).toEqual(['allow', 'allow, from net 10.0.0.0/8, from not net 10.1.0.0/16']);
    expect(warningLines(plan)).toHaveLength(2);
  });

  test('egress rules speak of the destination', () => {
    const plan = planOf(
      joinDocuments(
        WORLD,
        kubernetesPolicy(
          'podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 53, protocol: UDP}]}]',
        ),
      ),
    );
    expect(policyOf(plan, 'knp:app/p').egress.map((rule) => describeRule(plan, rule))).toEqual([
      'allow, protocol 17, to net 10.0.0.0/8, to ports 53-53',
    ]);
  });

  test('the staged kind has its own short name and the same rules', () => {
    const staged = kubernetesPolicy('podSelector: {}, policyTypes: [Ingress], ingress: [{}]')
      .replace('networking.k8s.io/v1', 'projectcalico.org/v3')
      .replace('kind: NetworkPolicy', 'kind: StagedKubernetesNetworkPolicy');
    const plan = planOf(joinDocuments(WORLD, staged));
    expect(policyOf(plan, 'sknp:app/p')).toMatchObject({ isStaged: true, order: 1000 });
    expect(ingressOf(plan, 'sknp:app/p')).toEqual(['allow']);
  });
});

describe('ports', () => {
  const range = (min: number, max = min): Port => ({ type: 'range', min, max });
  const named = (name: string): Port => ({ type: 'named', name });

  test.each([
    [[range(80)], [range(80)]],
    [
      [range(81), range(80), range(90), range(80)],
      [range(80, 81), range(90)],
    ],
    [[range(80, 85), range(82), range(86, 90)], [range(80, 90)]],
    // Fewer than two numeric ports: as written.
    [
      [range(80), named('http')],
      [range(80), named('http')],
    ],
    // A range counts as its numbers.
    [
      [range(80, 81), named('http')],
      [named('http'), range(80, 81)],
    ],
    [
      [range(90), named('b'), range(80), named('a')],
      [named('b'), named('a'), range(80), range(90)],
    ],
  ])('%j compacts to %j', (ports, expected) => {
    expect(compactPorts(ports)).toEqual(expected);
  });

  test.each([
    ['80', range(80)],
    ['80:90', range(80, 90)],
    ['http', named('http')],
    ['1.2_x-Y', named('1.2_x-Y')],
    ['65536', "'65536' is beyond port 65535"],
    ['90:80', 'port range 90:80 is reversed'],
    ['a:1', "'a:1' is no port, range or name"],
  ])('%s', (text, expected) => {
    expect(parsePortText(text)).toEqual(expected);
  });
});

describe('ClusterNetworkPolicy', () => {
  const SUBJECT = 'tier: Admin, priority: 7, subject: {namespaces: {}}';
  const planWith = (rest: string): Plan => permissivePlanOf(joinDocuments(WORLD, clusterPolicy(rest)));
  const ingress = (rules: string): string[] => ingressOf(planWith(`${SUBJECT}, ingress: ${rules}`), 'kcnp:p');
  const egress = (rules: string): string[] => {
    const plan = planWith(`${SUBJECT}, egress: ${rules}`);
    return policyOf(plan, 'kcnp:p').egress.map((rule) => describeRule(plan, rule));
  };

  test('tier, order and directions; the subject is pods alone', () => {
    const plan = planWith(`${SUBJECT}, ingress: [{action: Accept, from: [{namespaces: {}}]}]`);
    expect(policyOf(plan, 'kcnp:p')).toMatchObject({ order: 7, hasIngress: true, hasEgress: false });
    expect(plan.endpoints.filter(({ key }) => runs(plan, key).length > 0).map(({ kind }) => kind)).toEqual([
      'wep',
      'wep',
      'wep',
    ]);
    expect(runs(plan, 'wep:app/a')).toEqual(['kube-admin< kcnp:p']);
    const baseline = planWith(
      'tier: Baseline, priority: 1, subject: {pods: {namespaceSelector: {matchLabels: {env: dev}}, podSelector: {matchLabels: {role: db}}}}',
    );
    expect(policyOf(baseline, 'kcnp:p')).toMatchObject({ hasIngress: true, hasEgress: true });
    expect(runs(baseline, 'wep:app/a')).toEqual(['kube-baseline< kcnp:p', 'kube-baseline> kcnp:p']);
    expect(runs(baseline, 'wep:web/a')).toEqual([]);
  });

  test('rows 85, 86: a rule with a peer that Calico does not support is a Deny of everything, or gone', () => {
    const rules = (action: string): string =>
      `[{action: ${action}, to: [{namespaces: {}}, {nodes: {}}]}, {action: Accept, to: [{namespaces: {}}]}]`;
    const all = 'to has(projectcalico.org/namespace)';
    expect(egress(rules('Pass'))).toEqual(['deny', `allow, ${all}`]);
    expect(egress(rules('Deny'))).toEqual(['deny', `allow, ${all}`]);
    expect(egress(rules('Accept'))).toEqual([`allow, ${all}`]);
    const plan = planWith(`${SUBJECT}, egress: ${rules('Pass')}`);
    expect(policyOf(plan, 'kcnp:p').egress[0]).toMatchObject({ source: UNCONSTRAINED, destination: UNCONSTRAINED });
    expect(warningLines(plan)).toEqual([
      'ClusterNetworkPolicy p spec.egress[0]: a peer has no field that Calico supports (nodes); Calico puts a Deny of everything in its place',
    ]);
  });

  test('row 87: peers by namespaces carry no orchestrator term', () => {
    const plan = planWith(
      `${SUBJECT}, ingress: [{action: Deny, from: [{namespaces: {matchExpressions: [{key: env, operator: NotIn, values: [prod]}]}}]}]`,
    );
    const set = policyOf(plan, 'kcnp:p').ingress[0]!.source.ipSets[0]!;
    expect(membersOf(plan, set)).toEqual([
      '10.0.0.1/32',
      '10.0.0.2/32',
      '192.0.2.0/24',
      '192.168.1.1/32',
      '198.51.100.0/24',
    ]);
  });

  test('peers by pods do', () => {
    expect(
      ingress('[{action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: db}}}}]}]'),
    ).toEqual([
      'allow, from (has(projectcalico.org/namespace) && (projectcalico.org/orchestrator == "k8s" && role == "db"))',
    ]);
  });

  test('protocols: named ports form one rule without protocol, first; numbers merge; an entry without port absorbs', () => {
    const all = 'from has(projectcalico.org/namespace)';
    expect(
      ingress(
        `[{action: Accept, from: [{namespaces: {}}], protocols: [{udp: {destinationPort: {number: 53}}}, {tcp: {destinationPort: {range: {start: 80, end: 90}}}}, {destinationNamedPort: http}, {tcp: {destinationPort: {number: 91}}}, {destinationNamedPort: dns}]}]`,
      ),
    ).toEqual([
      `allow, ${all}, to all() port any http, to all() port any dns`,
      `allow, protocol 6, ${all}, to ports 80-91`,
      `allow, protocol 17, ${all}, to ports 53-53`,
    ]);
    expect(
      ingress(
        `[{action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}, {tcp: {}}]}]`,
      ),
    ).toEqual([`allow, protocol 6, ${all}`]);
    expect(ingress('[{action: Pass, from: [{namespaces: {}}]}]')).toEqual([`pass, ${all}`]);
  });

  test('egress networks; a bad one spoils the rule', () => {
    expect(egress('[{action: Accept, to: [{networks: [10.0.0.0/8, "fd00::/8"]}]}]')).toEqual([
      'allow, to net 10.0.0.0/8, to net fd00::/8',
    ]);
    expect(egress('[{action: Deny, to: [{namespaces: {}}, {networks: [banana]}]}]')).toEqual(['deny']);
  });

  test('an unknown action drops the rule, an unknown tier or a missing subject the policy', () => {
    const { resources } = loadResources([
      clusterPolicy(`${SUBJECT}, egress: [{action: Accept, to: [{namespaces: {}}]}]`),
    ]);
    const policy = resources.policies[0] as ClusterNetworkPolicy;
    const egressRules = (changed: ClusterNetworkPolicy) => clusterPolicyForm(changed).value?.egress.length;
    expect(egressRules(policy)).toBe(1);
    expect(egressRules({ ...policy, egress: [{ ...policy.egress[0]!, action: 'Maybe' }] })).toBe(0);
    expect(egressRules({ ...policy, tier: 'Middle' })).toBeUndefined();
    expect(egressRules({ ...policy, subjectNamespaces: undefined })).toBeUndefined();
    expect(
      clusterPolicyForm({ ...policy, tier: 'Middle' }).warnings.map(({ field, message }) => [field, message]),
    ).toEqual([['spec.tier', 'Calico treats the policy as nonexistent']]);
  });
});
