import { expect, test } from 'vitest';
import { uniqueId } from '../../src/base/hash.ts';
import { planToJson } from '../../src/compile/compile-json.ts';
import { parseSelector } from '../../src/selector/selector.ts';
import { globalPolicy, joinDocuments, namespace, networkPolicy, planOf, pod } from './cluster.ts';

const CLUSTER = joinDocuments(
  namespace('app'),
  pod('a', '10.0.0.1', {
    labels: '{role: db}',
    spec: '  containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}]}]',
  }),
  networkPolicy(
    'p',
    `order: 1.5, ingress: [{action: Allow, protocol: TCP, source: {selector: role == "db", notNets: [10.0.0.0/8]}, destination: {ports: [http, "80:90"], notPorts: [85]}}, {action: Deny, protocol: ICMP, icmp: {type: 3, code: 1}, notICMP: {type: 4}}]`,
  ),
  globalPolicy(
    'g',
    `types: [Egress], egress: [{action: Pass, notProtocol: UDP, ipVersion: 6, destination: {notSelector: has(x)}}]`,
  ),
);

/** The vector of semantics 1.4 for `role == "db"` in namespace `app`. */
const DB = 's:wzWenftES5m57582q7DjzqyIT7SKWwyDbozj6Q';
/** The selector belongs to the destination, which has none: the port of any endpoint. */
const HTTP = uniqueId('n:', `${parseSelector('all()').id},tcp,http`);
const HAS_X = parseSelector('has(x)').id;

test('the whole document of a small cluster', () => {
  expect(planToJson(planOf(CLUSTER))).toEqual({
    endpoints: {
      'wep:app/a': {
        node: 'n1',
        profiles: ['kns.app', 'ksa.app.default'],
        tiers: [{ name: 'default', default_action: 'deny', ingress: ['np:app/p'], egress: ['gnp:g'] }],
      },
    },
    policies: {
      'gnp:g': {
        tier: 'default',
        order: null,
        selector: 'all()',
        ingress: [],
        egress: [
          {
            action: 'pass',
            ip_version: 6,
            not_protocol: 17,
            destination: { not_ip_sets: [HAS_X] },
            origin: 'test.yaml:15',
          },
        ],
      },
      'np:app/p': {
        tier: 'default',
        order: 1.5,
        selector: 'projectcalico.org/namespace == "app"',
        ingress: [
          {
            action: 'allow',
            protocol: 6,
            source: { not_nets: ['10.0.0.0/8'], ip_sets: [DB] },
            destination: { ports: ['80:90'], named_ports: [HTTP], not_ports: ['85'] },
            origin: 'test.yaml:13',
          },
          {
            action: 'deny',
            ip_version: 4,
            protocol: 1,
            icmp: { type: 3, code: 1 },
            not_icmp: { type: 4 },
            origin: 'test.yaml:13',
          },
        ],
        egress: [],
      },
    },
    ip_sets: { [HTTP]: ['10.0.0.1,tcp:80'], [HAS_X]: [], [DB]: ['10.0.0.1/32'] },
  });
});

test('same input, same bytes, whatever the order of the documents', () => {
  const text = JSON.stringify(planToJson(planOf(CLUSTER)));
  const reversed = CLUSTER.split('\n---\n').toReversed().join('\n---\n');
  const withoutLines = (json: string): string => json.replace(/test\.yaml:\d+/g, 'test.yaml');
  expect(withoutLines(JSON.stringify(planToJson(planOf(reversed))))).toBe(withoutLines(text));
});
