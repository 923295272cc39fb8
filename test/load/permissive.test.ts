import { describe, expect, test } from 'vitest';
import type { GlobalNetworkPolicy, KubernetesNetworkPolicy, NetworkPolicy } from '../../src/model/resources.ts';
import {
  calicoObject,
  clusterPolicy,
  egressRule,
  errorsOf,
  ingressRule,
  kubernetesPolicy,
  load,
  policy,
} from './support.ts';

/** The messages of all warnings but those about what was made up; there must be no error. */
function effectsOf(text: string): string[] {
  const { errors, warnings } = load(text, { permissive: true });
  expect(errors).toEqual([]);
  return warnings
    .filter(({ message }) => !message.includes('is taken to exist'))
    .map(({ field, message }) => `${field}: ${message}`);
}

const DROPPED = 'Calico drops the whole policy, as if it did not exist';
const WIDENED = 'Calico ignores the selector, so the policy applies to more endpoints';

/** An object that the API refuses, and what Calico does if it is there all the same (semantics 3.2). */
describe('what the API refuses is taken, with its effect', () => {
  test.each([
    ['policy selector', policy({ selector: 'a' }), 'spec.selector', DROPPED],
    ['account selector of a policy', policy({ serviceAccountSelector: 'a' }), 'spec.serviceAccountSelector', WIDENED],
    [
      'namespace selector of a policy',
      policy({ namespaceSelector: 'a' }, 'GlobalNetworkPolicy'),
      'spec.namespaceSelector',
      WIDENED,
    ],
    ['rule selector', ingressRule({ source: { selector: 'a' } }), 'spec.ingress[0].source.selector', DROPPED],
    [
      'account selector of a rule',
      ingressRule({ source: { serviceAccounts: { selector: 'a' } } }),
      'spec.ingress[0].source.serviceAccounts.selector',
      DROPPED,
    ],
    ['protocol in lower case', ingressRule({ protocol: 'tcp' }), 'spec.ingress[0].protocol', 'Calico takes it as TCP'],
    ['unknown protocol', ingressRule({ protocol: 'GRE' }), 'spec.ingress[0].protocol', DROPPED],
    [
      'port out of range',
      ingressRule({ protocol: 'TCP', source: { ports: [99_999] } }),
      'spec.ingress[0].source.ports[0]',
      DROPPED,
    ],
    ['port without protocol', ingressRule({ source: { ports: [80] } }), 'spec.ingress[0].source.ports', DROPPED],
    [
      'net that is none',
      ingressRule({ source: { nets: ['x'] } }),
      'spec.ingress[0].source.nets[0]',
      'Calico skips it, and where no CIDR of a list is left the list no longer restricts the rule',
    ],
    [
      'bare address',
      ingressRule({ source: { nets: ['10.0.0.1'] } }),
      'spec.ingress[0].source.nets[0]',
      'Calico takes it as 10.0.0.1/32',
    ],
    [
      'host bits',
      ingressRule({ source: { nets: ['10.0.0.1/8'] } }),
      'spec.ingress[0].source.nets[0]',
      'Calico takes it as 10.0.0.0/8',
    ],
    [
      'both versions',
      ingressRule({ source: { nets: ['10.0.0.0/8', 'fd00::/8'] } }),
      'spec.ingress[0].source.nets[1]',
      'each packet is compared with the CIDRs of its own version alone, and a list without any never matches',
    ],
    [
      'everything excluded',
      ingressRule({ source: { notNets: ['0.0.0.0/0'] } }),
      'spec.ingress[0].source.notNets[0]',
      'the rule matches no IPv4 packet',
    ],
    [
      'ICMP code alone',
      ingressRule({ protocol: 'ICMP', icmp: { code: 1 } }),
      'spec.ingress[0].icmp.code',
      'Calico ignores the code',
    ],
    [
      'http in egress',
      egressRule({ http: {} }),
      'spec.egress[0].http',
      'the network layer ignores http, so the rule matches without it',
    ],
    [
      'services on the near side',
      egressRule({ source: { services: { name: 's', namespace: 'n' } } }),
      'spec.egress[0].source.services',
      'the rule matches the addresses of the service there',
    ],
    [
      'global services without namespace',
      ingressRule({ source: { services: { name: 's' } } }, 'GlobalNetworkPolicy'),
      'spec.ingress[0].source.services.namespace',
      'it matches nothing',
    ],
    ['global()', policy({ selector: 'global()' }), 'spec.selector', 'global() is true for everything'],
    ['type twice', policy({ types: ['Egress', 'Egress'] }), 'spec.types[1]', 'it is taken as it is'],
    [
      'operator of a label selector',
      kubernetesPolicy({ podSelector: { matchExpressions: [{ key: 'a', operator: 'Is' }] } }),
      'spec.podSelector.matchExpressions[0].operator',
      'Calico skips the expression, so the selector matches more',
    ],
    [
      'empty peer',
      kubernetesPolicy({ ingress: [{ from: [{}] }] }),
      'spec.ingress[0].from[0]',
      "Calico takes it as all pods of the policy's namespace",
    ],
    [
      'CIDR of a block',
      kubernetesPolicy({ ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] }),
      'spec.ingress[0].from[0].ipBlock.cidr',
      'Calico cannot read it, and the peer matches any address',
    ],
    [
      'endPort of a name',
      kubernetesPolicy({ ingress: [{ ports: [{ port: 'a', endPort: 9 }] }] }),
      'spec.ingress[0].ports[0].endPort',
      'Calico drops the whole rule',
    ],
    [
      'host endpoint port',
      calicoObject('HostEndpoint', {
        node: 'n',
        interfaceName: '*',
        ports: [{ name: 'a', protocol: 'ICMP', port: 1 }],
      }),
      'spec.ports[0].protocol',
      'Calico ignores the whole host endpoint',
    ],
    [
      'rule that cannot be converted, Accept',
      clusterPolicy({ ingress: [{ action: 'Accept', from: [{}] }] }),
      'spec.ingress[0].from[0]',
      'Calico drops the whole rule',
    ],
    [
      'rule that cannot be converted, Pass',
      clusterPolicy({ ingress: [{ action: 'Pass', from: [{}] }] }),
      'spec.ingress[0].from[0]',
      'Calico replaces the whole rule by one that denies everything',
    ],
  ])('%s', (_name, text, field, effect) => {
    expect(errorsOf(text)).toHaveLength(1);
    const effects = effectsOf(text);
    expect(effects).toHaveLength(1);
    expect(effects[0]?.startsWith(`${field}: `), effects[0]).toBe(true);
    expect(effects[0]?.endsWith(`: ${effect}`), effects[0]).toBe(true);
  });
});

describe('the model holds what was written', () => {
  const first = <T>(text: string): T => load(text, { permissive: true }).resources.policies[0] as T;

  test('selectors, ports and nets', () => {
    const rule = { protocol: 'tcp', source: { selector: 'a', nets: ['x', '10.0.0.1'], ports: ['90:80', -1, 'Ht tp'] } };
    const { selector, ingress } = first<NetworkPolicy>(
      policy({ selector: 'b', ingress: [{ action: 'Allow', ...rule }] }),
    );
    expect(selector).toBe('b');
    expect(ingress[0]).toMatchObject({
      protocol: 'tcp',
      source: {
        selector: 'a',
        nets: ['x', '10.0.0.1'],
        ports: [
          { type: 'range', min: 90, max: 80 },
          { type: 'range', min: -1, max: -1 },
          { type: 'named', name: 'Ht tp' },
        ],
      },
    });
  });

  test('a global policy', () => {
    const spec = { namespaceSelector: 'x', preDNAT: true, egress: [{ action: 'Deny' }] };
    expect(first<GlobalNetworkPolicy>(policy(spec, 'GlobalNetworkPolicy'))).toMatchObject({
      namespaceSelector: 'x',
      preDNAT: true,
      applyOnForward: false,
      types: ['Egress'],
    });
  });

  test('a Kubernetes policy', () => {
    const ingress = [
      { from: [{ ipBlock: { cidr: 'x', except: ['y'] }, podSelector: {} }], ports: [{ port: 'a', endPort: 2 }] },
    ];
    const found = first<KubernetesNetworkPolicy>(
      kubernetesPolicy({ policyTypes: ['Egress', 'x', 'Ingress'], ingress }),
    );
    expect(found.policyTypes).toEqual(['Ingress', 'Egress']);
    expect(found.ingress[0]).toMatchObject({
      peers: [{ ipBlock: { cidr: 'x', except: ['y'] }, podSelector: { matchExpressions: [] } }],
      ports: [{ protocol: 'TCP', port: 'a', endPort: 2 }],
    });
  });
});

test('what no CRD would hold stays an error', () => {
  expect(errorsOf(ingressRule({ action: 'allow' }), { permissive: true })).toHaveLength(1);
  expect(errorsOf(policy({ order: 'x' }), { permissive: true })).toHaveLength(1);
  expect(errorsOf('{"apiVersion":"v1","kind":"Pod","metadata":{}}', { permissive: true })).toHaveLength(1);
});
