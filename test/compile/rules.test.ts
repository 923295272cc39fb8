import { describe, expect, test } from 'vitest';
import type { Plan, PlanRule } from '../../src/compile/plan.ts';
import {
  egressRule,
  globalPolicy,
  ingressRule,
  joinDocuments,
  membersOf,
  networkPolicy,
  networkSet,
  permissivePlanOf,
  planOf,
  pod,
  prefixTexts,
  setTexts,
  UNCONSTRAINED,
  warningLines,
} from './cluster.ts';

const PORTS = `  containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}, {name: http, containerPort: 81, protocol: UDP}, {name: sig, containerPort: 90, protocol: SCTP}]}]`;
const WORLD = joinDocuments(
  pod('a', '10.0.0.1', { spec: PORTS, labels: '{role: web}' }),
  pod('b', '10.0.0.2', { spec: PORTS }),
);

/** Plan with one GNP of one ingress rule. */
function withRule(rule: string): Plan {
  return permissivePlanOf(joinDocuments(WORLD, globalPolicy('p', `ingress: [{action: Allow, ${rule}}]`)));
}

function ruleOf(rule: string): PlanRule {
  return ingressRule(withRule(rule), 'gnp:p');
}

describe('protocols, versions, ICMP', () => {
  test.each([
    ['protocol: TCP', 6, 0],
    ['protocol: udp', 17, 0],
    ['protocol: SCTP', 132, 0],
    ['protocol: UDPLite', 136, 0],
    ['protocol: "47"', 47, 0],
    // Row 51: the name implies the version; row 52: the number does not.
    ['protocol: ICMP', 1, 4],
    ['protocol: ICMPv6', 58, 6],
    ['protocol: 1', 1, 0],
    ['protocol: 58', 58, 0],
    ['ipVersion: 6', -1, 6],
    ['ipVersion: 6, protocol: ICMP', 1, 6],
    ['notProtocol: UDP', -1, 0],
  ])('rows 51, 52: %s', (text, protocol, ipVersion) => {
    expect(ruleOf(text)).toMatchObject({ protocol, ipVersion });
  });

  test('row 53: notProtocol implies no version', () => {
    expect(ruleOf('notProtocol: ICMP')).toMatchObject({ protocol: -1, notProtocol: 1, ipVersion: 0 });
  });

  test('row 66: an ICMP code without type is ignored', () => {
    expect(ruleOf('protocol: ICMP, icmp: {code: 3}')).toMatchObject({ icmpType: -1, icmpCode: -1 });
    expect(ruleOf('protocol: ICMP, icmp: {type: 8}')).toMatchObject({ icmpType: 8, icmpCode: -1 });
    expect(ruleOf('protocol: ICMP, icmp: {type: 0, code: 0}, notICMP: {type: 3, code: 4}')).toMatchObject({
      icmpType: 0,
      icmpCode: 0,
      notIcmpType: 3,
      notIcmpCode: 4,
    });
  });

  test('row 64: http has no effect on the rule', () => {
    const rule = ruleOf("protocol: TCP, http: {methods: [GET], paths: [{prefix: '/x'}]}");
    const { conditions, ...rest } = rule;
    expect({ ...rest, conditions: undefined }).toEqual({ ...ruleOf('protocol: TCP'), origin: rule.origin });
    // It stands beside the rule, for the authorization service.
    expect(conditions).toMatchObject({ methods: ['GET'], paths: [{ prefix: '/x' }] });
  });

  test('row 65: a Log rule stays in its place', () => {
    const plan = planOf(
      joinDocuments(WORLD, globalPolicy('p', 'ingress: [{action: Log}, {action: Deny}, {action: Pass}]')),
    );
    expect(plan.policies[0]!.ingress.map(({ action }) => action)).toEqual(['log', 'deny', 'pass']);
  });
});

describe('nets', () => {
  test('rows 47-50: both versions and lists are kept, bare addresses are full prefixes, host bits are cleared', () => {
    const { source, destination } = ruleOf(
      "source: {nets: ['10.1.2.3/8', 'fd00::1', '0.0.0.0/0']}, destination: {notNets: ['192.0.2.1']}",
    );
    expect(prefixTexts(source.nets)).toEqual(['10.0.0.0/8', 'fd00::1/128', '0.0.0.0/0']);
    expect(prefixTexts(destination.notNets)).toEqual(['192.0.2.1/32']);
  });

  test('entries that are no CIDR are skipped; if none is left, the match is gone, and both are warned about', () => {
    const some = withRule("source: {nets: [banana, '10.0.0.0/8']}");
    expect(prefixTexts(ingressRule(some, 'gnp:p').source.nets)).toEqual(['10.0.0.0/8']);
    expect(warningLines(some)).toEqual([
      "GlobalNetworkPolicy p spec.ingress[0].source.nets[0]: 'banana' is no CIDR and is skipped",
    ]);
    const none = withRule('source: {notNets: [banana]}');
    expect(ingressRule(none, 'gnp:p').source).toEqual(UNCONSTRAINED);
    expect(warningLines(none)[0]).toContain('the rule applies to every address');
  });
});

describe('ports', () => {
  test('row 59: 40 numeric ports are 40 ranges', () => {
    const list = Array.from({ length: 40 }, (_, i) => 1000 + 2 * i);
    const { destination } = ruleOf(`protocol: TCP, destination: {ports: [${list.join(', ')}]}`);
    expect(destination.ports).toEqual(list.map((port) => [port, port]));
  });

  test('row 54: numeric beside named ports: the address must be in the selector set, the port in one of both', () => {
    const plan = withRule(`protocol: TCP, destination: {selector: role == "web", ports: [http, "8080:8090"]}`);
    const { destination } = ingressRule(plan, 'gnp:p');
    expect(destination.ports).toEqual([[8080, 8090]]);
    expect(setTexts(plan, destination.ipSets)).toEqual(['role == "web"']);
    expect(setTexts(plan, destination.namedPorts)).toEqual(['role == "web" port tcp http']);
    expect(membersOf(plan, destination.namedPorts[0]!)).toEqual(['10.0.0.1,tcp:80']);
  });

  test('with named ports alone the selector is part of the tuple set', () => {
    const plan = withRule(`protocol: TCP, destination: {selector: role == "web", ports: [http]}`);
    const { destination } = ingressRule(plan, 'gnp:p');
    expect(destination).toEqual({ ...UNCONSTRAINED, namedPorts: destination.namedPorts });
    expect(setTexts(plan, destination.namedPorts)).toEqual(['role == "web" port tcp http']);
  });

  test('row 55: without protocol the ports of every protocol count, each with its own', () => {
    const plan = withRule('destination: {ports: [http]}');
    const { namedPorts } = ingressRule(plan, 'gnp:p').destination;
    expect(setTexts(plan, namedPorts)).toEqual(['all() port any http']);
    expect(membersOf(plan, namedPorts[0]!)).toEqual([
      '10.0.0.1,tcp:80',
      '10.0.0.1,udp:81',
      '10.0.0.2,tcp:80',
      '10.0.0.2,udp:81',
    ]);
  });

  test.each([
    ['UDP', ['10.0.0.1,udp:81', '10.0.0.2,udp:81']],
    ['17', ['10.0.0.1,udp:81', '10.0.0.2,udp:81']],
    ['TCP', ['10.0.0.1,tcp:80', '10.0.0.2,tcp:80']],
  ])('with protocol %s those of the protocol', (protocol, members) => {
    const plan = withRule(`protocol: ${protocol}, destination: {ports: [http]}`);
    expect(membersOf(plan, ingressRule(plan, 'gnp:p').destination.namedPorts[0]!)).toEqual(members);
  });

  test('SCTP has its own, and a name nobody has is an empty set', () => {
    const plan = withRule('protocol: SCTP, source: {ports: [sig]}, destination: {ports: [nobody]}');
    const { source, destination } = ingressRule(plan, 'gnp:p');
    expect(membersOf(plan, source.namedPorts[0]!)).toEqual(['10.0.0.1,sctp:90', '10.0.0.2,sctp:90']);
    expect(membersOf(plan, destination.namedPorts[0]!)).toEqual([]);
  });

  test('row 57: a named notPort is a set the tuple must not be in, made with the positive selector', () => {
    const plan = withRule(`destination: {selector: role == "web", notPorts: [http]}`);
    const { destination } = ingressRule(plan, 'gnp:p');
    expect(setTexts(plan, destination.ipSets)).toEqual(['role == "web"']);
    expect(setTexts(plan, destination.notNamedPorts)).toEqual(['role == "web" port any http']);
  });

  test('row 58: a network set has no named ports', () => {
    const plan = planOf(
      joinDocuments(
        WORLD,
        networkSet('s', '[192.0.2.0/24]', '{role: web}'),
        globalPolicy(
          'p',
          `ingress: [{action: Allow, protocol: TCP, destination: {selector: role == "web", ports: [http]}}]`,
        ),
      ),
    );
    expect(membersOf(plan, ingressRule(plan, 'gnp:p').destination.namedPorts[0]!)).toEqual(['10.0.0.1,tcp:80']);
  });

  test("the IDs of named ports and services are Calico's", () => {
    const plan = permissivePlanOf(
      joinDocuments(
        globalPolicy(
          'p',
          `types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP, destination: {selector: role == "db", ports: [http]}}, {action: Allow, destination: {selector: role == "db", ports: [http]}}, {action: Allow, source: {services: {name: web, namespace: app}}}], egress: [{action: Allow, destination: {services: {name: web, namespace: app}}}]`,
        ),
      ),
    );
    expect(plan.ipSets.map(({ id }) => id)).toEqual([
      'n:-QyjwKEcgnmJVjGVxr55nE0Zt1aXzS4NH_36rw',
      'n:v1r2STTlO7TacjeCimdhkpVVM3zO_Bl2xCq5fw',
      'svc:h04jGb2SEBs47F_jeGlIV2CDvpPyhO7lc4sJbA',
      'svcnoport:44nwR4tl8bzZna7p6MciNTLJ7UdRPLrEW_3Baw',
    ]);
  });
});

describe('services (semantics 3.8)', () => {
  const slice = (name: string, rest: string): string =>
    `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}, namespace: app, labels: {kubernetes.io/service-name: web}}, ${rest}}`;
  const slices = joinDocuments(
    slice(
      'web-1',
      'addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}, {addresses: [10.0.0.2], conditions: {ready: false, serving: false}}], ports: [{name: a, port: 8080}, {name: b, port: 53, protocol: UDP}, {name: c}]',
    ),
    slice(
      'web-2',
      'addressType: IPv6, endpoints: [{addresses: ["fd00::1"]}, {addresses: ["fd00::1"]}], ports: [{name: a, port: 8080}]',
    ),
    slice('web-3', 'addressType: FQDN, endpoints: [{addresses: [example.com]}], ports: [{name: a, port: 8080}]'),
  );

  test('rows 61, 62: a destination service is every address of its slices with every numbered port', () => {
    const plan = planOf(
      joinDocuments(
        slices,
        networkPolicy(
          'p',
          'types: [Egress], egress: [{action: Allow, destination: {services: {name: web, namespace: app}}}]',
        ),
      ),
    );
    const { destination } = egressRule(plan, 'np:app/p');
    expect(destination).toEqual({ ...UNCONSTRAINED, servicePorts: 0 });
    expect(membersOf(plan, 0)).toEqual([
      '10.0.0.1,tcp:8080',
      '10.0.0.1,udp:53',
      '10.0.0.2,tcp:8080',
      '10.0.0.2,udp:53',
      'fd00::1,tcp:8080',
    ]);
  });

  test('row 63: a source service is its addresses', () => {
    const plan = planOf(
      joinDocuments(
        slices,
        networkPolicy('p', 'ingress: [{action: Allow, source: {services: {name: web, namespace: app}}}]'),
      ),
    );
    const { source } = ingressRule(plan, 'np:app/p');
    expect(source).toEqual({ ...UNCONSTRAINED, ipSets: [0] });
    expect(membersOf(plan, 0)).toEqual(['10.0.0.1/32', '10.0.0.2/32', 'fd00::1/128']);
  });

  test('row 60: without namespace it is an empty set, with a warning', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        slices,
        networkPolicy('p', 'types: [Egress], egress: [{action: Allow, destination: {services: {name: web}}}]'),
      ),
    );
    expect(plan.ipSets.map(({ text }) => text)).toEqual(['service /web']);
    expect(membersOf(plan, 0)).toEqual([]);
    expect(warningLines(plan)).toEqual([
      'NetworkPolicy app/p spec.egress[0].destination.services.namespace: a services match without namespace matches nothing',
    ]);
  });

  test('an unknown service is an empty set', () => {
    const plan = planOf(
      networkPolicy('p', 'ingress: [{action: Allow, source: {services: {name: nobody, namespace: app}}}]'),
    );
    expect(membersOf(plan, 0)).toEqual([]);
  });
});
