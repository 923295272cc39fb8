import { describe, expect, test } from 'vitest';
import {
  at,
  calicoObject,
  clusterPolicy,
  egressRule,
  errorsOf,
  ingressRule,
  kubernetesPolicy,
  load,
  policy,
} from './support.ts';

/** Object, field, message with its fix. */
type Case = readonly [text: string, subject: string, field: string, message: string];

const NP = 'NetworkPolicy app/p';
const GNP = 'GlobalNetworkPolicy p';
const KNP = 'NetworkPolicy app/k';
const CNP = 'ClusterNetworkPolicy c';
const IN = 'spec.ingress[0]';
const OUT = 'spec.egress[0]';
const IN_TO = { destination: { ports: [80] } };
const X63 = 'x'.repeat(63);

function check(cases: readonly Case[]): void {
  test.each(cases)('%s', (text, subject, field, message) => {
    expect(errorsOf(text)).toEqual([`${at(subject, field)}: ${message}`]);
  });
}

describe('shape', () => {
  check([
    [policy({ selector: 1 }), NP, 'spec.selector', 'must be text, got 1; put the value in quotes'],
    [policy({ order: '10' }), NP, 'spec.order', "must be a number, got '10'; remove the quotes"],
    [policy({ order: 'first' }), NP, 'spec.order', "must be a number, got 'first'; write a number"],
    [policy({ ingress: {} }), NP, 'spec.ingress', 'must be a list, got a map; write a list'],
    [policy({ ingress: [null] }), NP, IN, 'must be a map of fields, got null; write a map of fields'],
    [policy([]), NP, 'spec', 'must be a map of fields, got a list; write a map of fields'],
    [policy({ ingress: [{}] }), NP, `${IN}.action`, 'required, but not given; add it'],
    [policy({ ingress: [{ action: null }] }), NP, `${IN}.action`, 'required, but not given; add it'],
    [
      ingressRule({ action: 'allow' }),
      NP,
      `${IN}.action`,
      "'allow' is not one of Allow, Deny, Log, Pass; did you mean 'Allow'?",
    ],
    [
      ingressRule({ action: 'Permit' }),
      NP,
      `${IN}.action`,
      "'Permit' is not one of Allow, Deny, Log, Pass; use one of them",
    ],
    [ingressRule({ ipVersion: 5 }), NP, `${IN}.ipVersion`, '5 is not one of 4, 6; use one of them'],
    [
      ingressRule({ protocol: 6.5 }),
      NP,
      `${IN}.protocol`,
      'must be a whole number or text, got 6.5; write a whole number or text',
    ],
    [
      policy({ selector: `a == "${'x'.repeat(1018)}"` }),
      NP,
      'spec.selector',
      '1025 characters, and at most 1024 are allowed; shorten it',
    ],
    [
      ingressRule({ source: { nets: Array.from({ length: 257 }, (_, i) => `10.0.${i >> 8}.${i & 255}/32`) } }),
      NP,
      `${IN}.source.nets`,
      '257 entries, and at most 256 are allowed; split the list',
    ],
    [ingressRule({ protocol: 'ICMP', icmp: { type: -1 } }), NP, `${IN}.icmp.type`, '-1 is less than 0; use 0 or more'],
    [
      ingressRule({ protocol: 'ICMP', icmp: { type: 255 } }),
      NP,
      `${IN}.icmp.type`,
      '255 is more than 254; use 254 or less',
    ],
    [
      policy({ doNotTrack: 'yes' }, 'GlobalNetworkPolicy'),
      GNP,
      'spec.doNotTrack',
      "must be true or false, got 'yes'; write true or false, without quotes",
    ],
    [
      clusterPolicy({ ingress: [{ action: 'Deny', from: [] }] }),
      CNP,
      `${IN}.from`,
      'an empty list is not allowed here; add an entry, or remove the field',
    ],
    [
      calicoObject('Tier', { defaultAction: 'Allow' }),
      'Tier x',
      'spec.defaultAction',
      "'Allow' is not one of Deny, Pass; use one of them",
    ],
  ]);

  test('every error of a document in one go', () => {
    const rules = [
      { action: 'allow', protocol: 'tcp', source: { selector: 'a' } },
      { action: 'Deny', protocol: 'tcp' },
      { protocol: 'udp' },
      { action: 'Allow', source: { selector: 'a' }, destination: { ports: ['80'] } },
    ];
    const fieldsOf = (text: string): string[] => load(text).errors.map(({ field }) => field);
    // What is wrong in a rule that has no action, or a wrong one, follows when the action is right.
    expect(fieldsOf(policy({ order: 'x', selector: 'a =', ingress: rules }))).toEqual([
      'spec.order',
      'spec.ingress[0].action',
      'spec.ingress[2].action',
      'spec.selector',
      'spec.ingress[1].protocol',
      'spec.ingress[3].source.selector',
      'spec.ingress[3].destination.ports',
    ]);
    expect(
      fieldsOf(
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":1,"labels":{"a":1,"b":"x y"}},"spec":{"nodeName":1}}',
      ),
    ).toEqual(['metadata.name', 'metadata.labels.a', 'spec.nodeName', 'metadata.labels.b']);
    expect(fieldsOf('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"A"},"spec":[]}')).toEqual(['spec']);
    expect(
      fieldsOf(
        calicoObject('HostEndpoint', {
          expectedIPs: [1],
          ports: [
            { name: 1, protocol: 'x', port: 0 },
            { name: '', protocol: 'TCP', port: 1 },
          ],
        }),
      ),
    ).toEqual(['spec.expectedIPs[0]', 'spec.ports[0].name', 'spec.ports[0].port', 'spec.node', 'spec.ports[1].name']);
    expect(fieldsOf(kubernetesPolicy({ ingress: [{ from: [{ podSelector: 1 }, {}] }, 'x'] }))).toEqual([
      'spec.ingress[0].from[0].podSelector',
      'spec.ingress[1]',
      'spec.ingress[0].from[1]',
    ]);
    expect(
      errorsOf(
        policy({
          order: 1,
          selector: 'a =',
          types: ['Egress', 'Egress'],
          ingress: [{ action: 'Allow', protocol: 'tcp' }],
        }),
      ),
    ).toHaveLength(3);
  });
});

describe('metadata', () => {
  const meta = (metadata: object): string => JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata });

  check([
    [meta({}), 'Pod default', 'metadata.name', 'the object has no name; add metadata.name'],
    [
      meta({ generateName: 'a-' }),
      'Pod default',
      'metadata.name',
      'generateName alone names no object; add metadata.name',
    ],
    [
      meta({ name: 'A' }),
      'Pod default/A',
      'metadata.name',
      "name 'A' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; rename the object",
    ],
    [
      meta({ name: 'x'.repeat(254) }),
      `Pod default/${'x'.repeat(254)}`,
      'metadata.name',
      `name '${'x'.repeat(40)}…' is longer than 253 characters; rename the object`,
    ],
    [
      meta({ name: 'p', namespace: 'a.b' }),
      'Pod a.b/p',
      'metadata.namespace',
      "name 'a.b' is not lower-case letters, digits and '-', beginning and ending with a letter or digit; correct it",
    ],
    [
      meta({ name: 'p', namespace: `${X63}x` }),
      `Pod ${X63}x/p`,
      'metadata.namespace',
      `name '${'x'.repeat(40)}…' is longer than 63 characters; correct it`,
    ],
    [
      meta({ name: 'p', labels: { 'a b': 'c' } }),
      'Pod default/p',
      'metadata.labels["a b"]',
      "label key 'a b' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the key",
    ],
    [
      meta({ name: 'p', labels: { 'a/b/c': '' } }),
      'Pod default/p',
      'metadata.labels["a/b/c"]',
      "label key 'a/b/c' is made of more than two parts; correct the key",
    ],
    [
      meta({ name: 'p', labels: { '/a': '' } }),
      'Pod default/p',
      'metadata.labels["/a"]',
      "label key '/a' is wrong before the slash: empty; correct the key",
    ],
    [
      meta({ name: 'p', labels: { 'A/a': '' } }),
      'Pod default/p',
      'metadata.labels["A/a"]',
      "label key 'A/a' is wrong before the slash: not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct the key",
    ],
    [
      meta({ name: 'p', labels: { 'a/': '' } }),
      'Pod default/p',
      'metadata.labels["a/"]',
      "label key 'a/' is empty; correct the key",
    ],
    [
      meta({ name: 'p', labels: { [`${X63}x`]: '' } }),
      'Pod default/p',
      `metadata.labels.${X63}x`,
      `label key '${'x'.repeat(40)}…' is longer than 63 characters; correct the key`,
    ],
    [
      meta({ name: 'p', labels: { a: 'x y' } }),
      'Pod default/p',
      'metadata.labels.a',
      "label value 'x y' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the value",
    ],
    [
      meta({ name: 'p', labels: { a: `${X63}x` } }),
      'Pod default/p',
      'metadata.labels.a',
      `label value '${'x'.repeat(40)}…' is longer than 63 characters; correct the value`,
    ],
    [
      meta({ name: 'p', annotations: { 'a b': 'c' } }),
      'Pod default/p',
      'metadata.annotations["a b"]',
      "annotation key 'a b' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the key",
    ],
    [
      meta({ name: 'p', annotations: { a: 'é'.repeat(131_073) } }),
      'Pod default/p',
      'metadata.annotations',
      '262147 bytes of annotations, and at most 262144 are allowed; shorten them',
    ],
    [
      calicoObject('Tier', {}, { namespace: 'a' }),
      'Tier x',
      'metadata.namespace',
      'Tier has no namespace; remove the field',
    ],
    [
      calicoObject('Tier', {}, { name: 'a.b' }),
      'Tier a.b',
      'metadata.name',
      "name 'a.b' is not lower-case letters, digits and '-', beginning and ending with a letter or digit; rename the object",
    ],
    [
      calicoObject('NetworkPolicy', {}, { name: 'a.b.c' }),
      'NetworkPolicy default/a.b.c',
      'metadata.name',
      "name 'a.b.c' is of more than two parts with dots; rename the object",
    ],
    [
      calicoObject('GlobalNetworkPolicy', {}, { name: 'knp.default.a' }),
      'GlobalNetworkPolicy knp.default.a',
      'metadata.name',
      "name 'knp.default.a' is of more than two parts with dots; rename the object",
    ],
  ]);

  test.each(['a', 'a.b', '0', 'knp.default.a.b.c', 'ossg.default.x'])('a policy may be called %s', (name) => {
    expect(errorsOf(calicoObject('NetworkPolicy', {}, { name }))).toEqual([]);
  });
});

describe('selectors', () => {
  test.each([
    [policy({ selector: 'a' }), NP, 'spec.selector'],
    [policy({ serviceAccountSelector: 'a' }), NP, 'spec.serviceAccountSelector'],
    [policy({ namespaceSelector: 'a' }, 'GlobalNetworkPolicy'), GNP, 'spec.namespaceSelector'],
    [ingressRule({ source: { selector: 'a' } }), NP, `${IN}.source.selector`],
    [ingressRule({ destination: { notSelector: 'a' } }), NP, `${IN}.destination.notSelector`],
    [egressRule({ source: { namespaceSelector: 'a' } }), NP, `${OUT}.source.namespaceSelector`],
    [
      egressRule({ destination: { serviceAccounts: { selector: 'a' } } }),
      NP,
      `${OUT}.destination.serviceAccounts.selector`,
    ],
  ])('%s', (text, subject, field) => {
    const [line, ...rest] = errorsOf(text);
    expect(rest).toEqual([]);
    expect(line?.startsWith(`${at(subject, field)}: `)).toBe(true);
    expect(line).toMatch(/column \d+/);
  });

  const GLOBAL =
    "'global(' is not allowed here; remove it; it is allowed as the whole namespaceSelector of a rule's source or destination";
  const ALONE = 'global() cannot be combined with other selectors; use global() alone';

  check([
    [policy({ selector: 'global()' }), NP, 'spec.selector', GLOBAL],
    [policy({ selector: 'a == "global("' }), NP, 'spec.selector', GLOBAL],
    [policy({ serviceAccountSelector: 'global()' }), NP, 'spec.serviceAccountSelector', GLOBAL],
    [policy({ namespaceSelector: 'global()' }, 'GlobalNetworkPolicy'), GNP, 'spec.namespaceSelector', GLOBAL],
    [ingressRule({ source: { selector: 'global()' } }), NP, `${IN}.source.selector`, GLOBAL],
    [ingressRule({ source: { namespaceSelector: 'global() || has(a)' } }), NP, `${IN}.source.namespaceSelector`, ALONE],
  ]);

  test.each([
    { notSelector: 'global()' },
    { namespaceSelector: ' global( ) ' },
    { serviceAccounts: { selector: 'global()' } },
  ])('global() is taken in %j', (source) => {
    expect(errorsOf(ingressRule({ source }))).toEqual([]);
  });
});

describe('protocols and ports', () => {
  const PORT_NAMES = 'use a number, a range such as 80:90, or the name of a port';

  check([
    [ingressRule({ protocol: 0 }), NP, `${IN}.protocol`, 'protocol number 0 is not between 1 and 255; correct it'],
    [
      ingressRule({ protocol: '300' }),
      NP,
      `${IN}.protocol`,
      "unknown protocol '300'; use TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number",
    ],
    [
      ingressRule({ notProtocol: 256 }),
      NP,
      `${IN}.notProtocol`,
      'protocol number 256 is not between 1 and 255; correct it',
    ],
    [ingressRule({ protocol: 'tcp' }), NP, `${IN}.protocol`, "unknown protocol 'tcp'; write 'TCP'"],
    [
      ingressRule({ protocol: 'GRE' }),
      NP,
      `${IN}.protocol`,
      "unknown protocol 'GRE'; use TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number",
    ],
    [
      ingressRule(IN_TO),
      NP,
      `${IN}.destination.ports`,
      'port numbers without a protocol; set protocol to TCP, UDP or SCTP',
    ],
    [
      ingressRule({ source: { notPorts: ['80:90'] } }),
      NP,
      `${IN}.source.notPorts`,
      'port numbers without a protocol; set protocol to TCP, UDP or SCTP',
    ],
    [
      ingressRule({ protocol: 'ICMP', ...IN_TO }),
      NP,
      `${IN}.destination.ports`,
      'protocol ICMP has no ports; set protocol to TCP, UDP or SCTP',
    ],
    [
      ingressRule({ protocol: 47, destination: { notPorts: ['http'] } }),
      NP,
      `${IN}.destination.notPorts`,
      'protocol 47 has no ports; set protocol to TCP, UDP or SCTP',
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: [0] } }),
      NP,
      `${IN}.destination.ports[0]`,
      'port 0 is not between 1 and 65535; correct it',
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: [1, 65536] } }),
      NP,
      `${IN}.destination.ports[1]`,
      'port 65536 is not between 1 and 65535; correct it',
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['1:70000'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      'port 1:70000 is not between 1 and 65535; correct it',
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['90:80'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      "port range 90:80 ends before it begins; write '80:90'",
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['80-90'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      "port name '80-90' is without a letter; write a range with a colon: '80:90'",
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['HTTP'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      `port name 'HTTP' is not lower-case letters, digits and '-'; ${PORT_NAMES}`,
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['a--b'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      `port name 'a--b' is with two '-' in a row; ${PORT_NAMES}`,
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['-a'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      `port name '-a' is beginning or ending with '-'; ${PORT_NAMES}`,
    ],
    [
      ingressRule({ protocol: 'TCP', destination: { ports: ['aaaaaaaaaaaaaaaa'] } }),
      NP,
      `${IN}.destination.ports[0]`,
      `port name 'aaaaaaaaaaaaaaaa' is longer than 15 characters; ${PORT_NAMES}`,
    ],
  ]);

  test.each([6, 17, 132, 'TCP', 'UDP', 'SCTP', '6'])('protocol %s has ports', (protocol) => {
    expect(errorsOf(ingressRule({ protocol, ...IN_TO }))).toEqual([]);
  });
});

describe('ICMP', () => {
  check([
    [
      ingressRule({ icmp: { type: 8 } }),
      NP,
      `${IN}.icmp`,
      'icmp without protocol ICMP or ICMPv6; add protocol: ICMP or protocol: ICMPv6',
    ],
    [
      ingressRule({ protocol: 'TCP', icmp: {} }),
      NP,
      `${IN}.icmp`,
      'icmp without protocol ICMP or ICMPv6; add protocol: ICMP or protocol: ICMPv6',
    ],
    [
      ingressRule({ protocol: 1, icmp: { code: 0 } }),
      NP,
      `${IN}.icmp.code`,
      'an ICMP code without a type; add the type',
    ],
    [ingressRule({ notICMP: { code: 0 } }), NP, `${IN}.notICMP.code`, 'an ICMP code without a type; add the type'],
    [
      ingressRule({ protocol: 'ICMP', ipVersion: 6 }),
      NP,
      `${IN}.protocol`,
      'protocol ICMP is of IP version 4, and ipVersion is 6; set ipVersion: 4, or remove it',
    ],
    [
      ingressRule({ notProtocol: 58, ipVersion: 4 }),
      NP,
      `${IN}.notProtocol`,
      'protocol ICMPv6 is of IP version 6, and ipVersion is 4; set ipVersion: 6, or remove it',
    ],
  ]);
});

describe('nets', () => {
  const nets = (list: readonly string[], rest: object = {}): string =>
    egressRule({ destination: { nets: list }, ...rest });
  const NETS = `${OUT}.destination.nets`;

  check([
    [nets(['x']), NP, `${NETS}[0]`, "'x' is not a CIDR; write ADDRESS/LENGTH"],
    [nets(['10.0.0.0/8', '10.0.0.0/33']), NP, `${NETS}[1]`, "'10.0.0.0/33' is not a CIDR; write ADDRESS/LENGTH"],
    [nets(['010.0.0.0/8']), NP, `${NETS}[0]`, "'010.0.0.0/8' is not a CIDR; write ADDRESS/LENGTH"],
    [nets(['10.0.0.1']), NP, `${NETS}[0]`, "'10.0.0.1' is an address, not a CIDR; write '10.0.0.1/32'"],
    [nets(['fd00::1']), NP, `${NETS}[0]`, "'fd00::1' is an address, not a CIDR; write 'fd00::1/128'"],
    [nets(['10.0.0.1/8']), NP, `${NETS}[0]`, "CIDR '10.0.0.1/8' has bits set after its length; write '10.0.0.0/8'"],
    [
      nets(['::ffff:10.0.0.0/90']),
      NP,
      `${NETS}[0]`,
      "CIDR '::ffff:10.0.0.0/90' has bits set after its length; write '::ffc0:0:0/90'",
    ],
    [
      nets(['10.0.0.0/8', 'fd00::/8', '11.0.0.0/8', 'fc00::/8']),
      NP,
      `${NETS}[1]`,
      'IPv4 and IPv6 CIDRs in one rule; make two rules, one for each IP version',
    ],
    [
      egressRule({ source: { nets: ['10.0.0.0/8'] }, destination: { notNets: ['fd00::/8'] } }),
      NP,
      `${OUT}.destination.notNets[0]`,
      'IPv4 and IPv6 CIDRs in one rule; make two rules, one for each IP version',
    ],
    [
      nets(['10.0.0.0/8'], { ipVersion: 6 }),
      NP,
      `${NETS}[0]`,
      'an IPv4 CIDR in a rule of ipVersion 6; correct the CIDR, or ipVersion',
    ],
    [
      egressRule({ destination: { notNets: ['0.0.0.0/0'] } }),
      NP,
      `${OUT}.destination.notNets[0]`,
      "'0.0.0.0/0' leaves no address when it is excluded; remove it",
    ],
    [
      egressRule({ destination: { notNets: ['::0/0'] } }),
      NP,
      `${OUT}.destination.notNets[0]`,
      "'::0/0' leaves no address when it is excluded; remove it",
    ],
  ]);

  test.each(['10.0.0.0/8', '0.0.0.0/0', '10.0.0.0/08', '::ffff:10.0.0.0/104', 'fd00::/8', '::/0'])(
    '%s is taken',
    (net) => {
      expect(errorsOf(nets([net]))).toEqual([]);
    },
  );
});

describe('services', () => {
  const source = (rest: object): string =>
    ingressRule({ source: { services: { name: 's', namespace: 'app' }, ...rest } });
  const both = (field: string): Case[3] => `${field} cannot stand beside services; use one of the two, or two rules`;

  check([
    [
      ingressRule({ source: { services: { namespace: 'app' } } }),
      NP,
      `${IN}.source.services.name`,
      'services without the name of a service; add the name',
    ],
    [
      ingressRule({ source: { services: { name: 'S' } } }),
      NP,
      `${IN}.source.services.name`,
      "name 'S' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct it",
    ],
    [
      ingressRule({ source: { services: { name: 's', namespace: 'N' } } }),
      NP,
      `${IN}.source.services.namespace`,
      "name 'N' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct it",
    ],
    [source({ selector: 'all()' }), NP, `${IN}.source.selector`, both('selector')],
    [source({ notSelector: 'all()' }), NP, `${IN}.source.notSelector`, both('notSelector')],
    [source({ namespaceSelector: 'all()' }), NP, `${IN}.source.namespaceSelector`, both('namespaceSelector')],
    [source({ nets: ['10.0.0.0/8'] }), NP, `${IN}.source.nets`, both('nets')],
    [source({ notNets: ['10.0.0.0/8'] }), NP, `${IN}.source.notNets`, both('notNets')],
    [source({ serviceAccounts: {} }), NP, `${IN}.source.serviceAccounts`, both('serviceAccounts')],
    [
      ingressRule({ destination: { services: { name: 's', namespace: 'app' } } }),
      NP,
      `${IN}.destination.services`,
      'services in the destination of an ingress rule; use it in the source',
    ],
    [
      egressRule({ source: { services: { name: 's', namespace: 'app' } } }),
      NP,
      `${OUT}.source.services`,
      'services in the source of an egress rule; use it in the destination',
    ],
    [
      egressRule({ protocol: 'TCP', destination: { services: { name: 's', namespace: 'app' }, ports: [80] } }),
      NP,
      `${OUT}.destination.ports`,
      'ports beside destination.services, which has ports of its own; remove it',
    ],
    [
      egressRule({ protocol: 'TCP', destination: { services: { name: 's', namespace: 'app' }, notPorts: [80] } }),
      NP,
      `${OUT}.destination.notPorts`,
      'notPorts beside destination.services, which has ports of its own; remove it',
    ],
    [
      ingressRule({ source: { services: { name: 's' } } }, 'GlobalNetworkPolicy'),
      GNP,
      `${IN}.source.services.namespace`,
      'services without a namespace in a global policy; add the namespace',
    ],
    [
      egressRule({ destination: { services: { name: 's' } } }, 'GlobalNetworkPolicy'),
      GNP,
      `${OUT}.destination.services.namespace`,
      'services without a namespace in a global policy; add the namespace',
    ],
  ]);

  test('source services may have ports', () => {
    expect(
      errorsOf(ingressRule({ protocol: 'TCP', source: { services: { name: 's', namespace: 'app' }, ports: [80] } })),
    ).toEqual([]);
  });
});

describe('http', () => {
  const http = (match: object, rest: object = {}): string => ingressRule({ http: match, ...rest });
  const PATH = `${IN}.http.paths[0]`;

  check([
    [http({}, { action: 'Deny' }), NP, `${IN}.http`, 'http in a rule with action Deny; use it with action Allow only'],
    [http({}, { protocol: 'UDP' }), NP, `${IN}.http`, 'http in a rule with protocol UDP; set protocol: TCP'],
    [egressRule({ http: {} }), NP, `${OUT}.http`, 'http in an egress rule; use it in ingress rules only'],
    [http({ methods: ['GET', 'PUT', 'GET'] }), NP, `${IN}.http.methods[2]`, "method 'GET' twice; remove one"],
    [http({ paths: [{}] }), NP, PATH, 'a path with neither exact nor prefix; add one of them'],
    [http({ paths: [{ exact: '/a', prefix: '/b' }] }), NP, PATH, 'exact and prefix in one path; make two entries'],
    [
      http({ paths: [{ exact: 'a' }] }),
      NP,
      `${PATH}.exact`,
      "path 'a' must begin with '/' and hold no '?', '#' or space; correct it",
    ],
    [
      http({ paths: [{ prefix: '/a b' }] }),
      NP,
      `${PATH}.prefix`,
      "path '/a b' must begin with '/' and hold no '?', '#' or space; correct it",
    ],
    [
      ingressRule({ metadata: { annotations: { 'a b': '' } } }),
      NP,
      `${IN}.metadata.annotations["a b"]`,
      "annotation key 'a b' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the key",
    ],
  ]);

  test.each([{}, { protocol: 'TCP' }, { protocol: 6 }])('http in a rule with %j is taken', (rest) => {
    expect(errorsOf(http({ methods: ['GET', ''], paths: [{ prefix: '/' }] }, rest))).toEqual([]);
  });
});

describe('policies', () => {
  const staged = (spec: object, kind = 'StagedNetworkPolicy'): string =>
    policy({ stagedAction: 'Delete', ...spec }, kind);
  const SNP = 'StagedNetworkPolicy app/p';
  const gnp = (spec: object): string => policy(spec, 'GlobalNetworkPolicy');

  check([
    [
      policy({ tier: 'Upper' }),
      NP,
      'spec.tier',
      "tier name 'Upper' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct it",
    ],
    [
      policy({ tier: `${X63}x` }),
      NP,
      'spec.tier',
      `tier name '${'x'.repeat(40)}…' is longer than 63 characters; correct it`,
    ],
    [policy({ types: ['Ingress', 'Ingress'] }), NP, 'spec.types[1]', 'type Ingress twice; remove one'],
    [
      policy({ performanceHints: ['AssumeNeededOnEveryNode', 'AssumeNeededOnEveryNode'] }),
      NP,
      'spec.performanceHints',
      'a hint twice; remove one',
    ],
    [gnp({ doNotTrack: true }), GNP, 'spec.doNotTrack', 'doNotTrack without applyOnForward; set applyOnForward: true'],
    [gnp({ preDNAT: true }), GNP, 'spec.preDNAT', 'preDNAT without applyOnForward; set applyOnForward: true'],
    [
      gnp({ preDNAT: true, doNotTrack: true, applyOnForward: true }),
      GNP,
      'spec.preDNAT',
      'preDNAT and doNotTrack in one policy; use one of them',
    ],
    [
      gnp({ preDNAT: true, applyOnForward: true, egress: [{ action: 'Allow' }] }),
      GNP,
      'spec.egress',
      'egress rules in a preDNAT policy; remove them',
    ],
    [
      gnp({ preDNAT: true, applyOnForward: true, types: ['Egress'] }),
      GNP,
      'spec.types',
      'type Egress in a preDNAT policy; remove it',
    ],
    [staged({ selector: 'all()' }), SNP, 'spec.selector', 'selector in a policy with stagedAction Delete; remove it'],
    [staged({ ingress: [] }), SNP, 'spec.ingress', 'ingress in a policy with stagedAction Delete; remove it'],
    [
      staged({ podSelector: { matchLabels: { a: 'b' } } }, 'StagedKubernetesNetworkPolicy'),
      'StagedKubernetesNetworkPolicy app/p',
      'spec.podSelector',
      'podSelector in a policy with stagedAction Delete; remove it',
    ],
    [
      policy({ policyTypes: ['Both'] }, 'StagedKubernetesNetworkPolicy'),
      'StagedKubernetesNetworkPolicy app/p',
      'spec.policyTypes[0]',
      "'Both' is not a policy type; use 'Ingress' or 'Egress'",
    ],
  ]);

  test('a staged deletion with nothing but a tier', () => {
    expect(errorsOf(staged({ tier: 'default', selector: '', types: ['Ingress'] }))).toEqual([]);
    expect(errorsOf(staged({ doNotTrack: false }, 'StagedGlobalNetworkPolicy'))).toEqual([]);
    expect(errorsOf(staged({ podSelector: {} }, 'StagedKubernetesNetworkPolicy'))).toEqual([]);
  });
});

describe('tiers, sets, host endpoints, profiles, settings', () => {
  const hep = (spec: object): string => calicoObject('HostEndpoint', { node: 'n', interfaceName: 'eth0', ...spec });
  const tier = (name: string, spec: object): string => calicoObject('Tier', spec, { name });
  const HEP = 'HostEndpoint x';

  check([
    [
      tier('kube-admin', { order: 10, defaultAction: 'Pass' }),
      'Tier kube-admin',
      'spec.order',
      'the built-in tier kube-admin has order 1000; set order: 1000',
    ],
    [
      tier('kube-baseline', { order: 10_000_000 }),
      'Tier kube-baseline',
      'spec.defaultAction',
      'the built-in tier kube-baseline has defaultAction Pass; set defaultAction: Pass',
    ],
    [
      tier('default', {}),
      'Tier default',
      'spec.order',
      'the built-in tier default has order 1000000; set order: 1000000',
    ],
    [
      tier('default', { order: 1_000_000, defaultAction: 'Pass' }),
      'Tier default',
      'spec.defaultAction',
      'the built-in tier default has defaultAction Deny; set defaultAction: Deny',
    ],
    [
      calicoObject('NetworkSet', { nets: ['x'] }, { namespace: 'a' }),
      'NetworkSet a/x',
      'spec.nets[0]',
      "'x' is neither a CIDR nor an address; correct it",
    ],
    [
      calicoObject('GlobalNetworkSet', {}, { labels: { 'projectcalico.org/namespace': 'a' } }),
      'GlobalNetworkSet x',
      'metadata.labels["projectcalico.org/namespace"]',
      "label projectcalico.org/namespace is Calico's own; remove it",
    ],
    [hep({ node: '' }), HEP, 'spec.node', 'no node; add the name of the node'],
    [
      hep({ node: 'N' }),
      HEP,
      'spec.node',
      "name 'N' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct it",
    ],
    [hep({ interfaceName: '' }), HEP, 'spec', 'neither interfaceName nor expectedIPs; add one of them'],
    [
      hep({ interfaceName: 'eth 0' }),
      HEP,
      'spec.interfaceName',
      "'eth 0' is no name of an interface; correct it, or use '*' for all interfaces",
    ],
    [
      hep({ expectedIPs: ['10.0.0.0/8'] }),
      HEP,
      'spec.expectedIPs[0]',
      "'10.0.0.0/8' is not an IP address; write an address without a length",
    ],
    [
      hep({ profiles: ['P'] }),
      HEP,
      'spec.profiles[0]',
      "name 'P' is not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit; correct it",
    ],
    [
      hep({ ports: [{ name: '', protocol: 'TCP', port: 1 }] }),
      HEP,
      'spec.ports[0].name',
      "port name '' is empty; correct it",
    ],
    [
      hep({ ports: [{ name: 'A', protocol: 'TCP', port: 1 }] }),
      HEP,
      'spec.ports[0].name',
      "port name 'A' is not lower-case letters, digits and '-'; correct it",
    ],
    [
      hep({ ports: [{ name: 'a', protocol: 'ICMP', port: 1 }] }),
      HEP,
      'spec.ports[0].protocol',
      "protocol 'ICMP' has no ports; write TCP, UDP or SCTP",
    ],
    [
      calicoObject('Profile', { ingress: [{ action: 'Allow', protocol: 'x' }] }),
      'Profile x',
      `${IN}.protocol`,
      "unknown protocol 'x'; use TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number",
    ],
    [
      calicoObject('Profile', { labelsToApply: { a: 'b c' } }),
      'Profile x',
      'spec.labelsToApply.a',
      "label value 'b c' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the value",
    ],
    [
      calicoObject('FelixConfiguration', { defaultEndpointToHostAction: 'Refuse' }),
      'FelixConfiguration x',
      'spec.defaultEndpointToHostAction',
      "'Refuse' is not one of Drop, Return, Accept; use 'Drop' or another of them",
    ],
    [
      calicoObject('FelixConfiguration', { failsafeInboundHostPorts: [{ protocol: 'tcp', port: 22 }] }),
      'FelixConfiguration x',
      'spec.failsafeInboundHostPorts[0].protocol',
      "protocol 'tcp' of a failsafe port; write TCP, UDP or SCTP",
    ],
    [
      calicoObject('FelixConfiguration', { failsafeOutboundHostPorts: [{ protocol: 'TCP', port: 22, net: 'x' }] }),
      'FelixConfiguration x',
      'spec.failsafeOutboundHostPorts[0].net',
      "'x' is not a CIDR; write ADDRESS/LENGTH",
    ],
    [
      calicoObject('BGPConfiguration', { serviceClusterIPs: [{ cidr: '10.0.0.1/8' }] }),
      'BGPConfiguration x',
      'spec.serviceClusterIPs[0].cidr',
      "'10.0.0.1/8' is not a CIDR without host bits; write ADDRESS/LENGTH",
    ],
  ]);

  test('what is taken', () => {
    expect(errorsOf(hep({ interfaceName: '*', expectedIPs: ['10.0.0.1', 'fd00::1'], profiles: ['a.b'] }))).toEqual([]);
    expect(errorsOf(hep({ ports: [{ name: 'a', protocol: 6, port: 1 }] }))).toEqual([]);
    expect(errorsOf(tier('default', { order: 1_000_000 }))).toEqual([]);
    expect(
      errorsOf(
        calicoObject('FelixConfiguration', { defaultEndpointToHostAction: 'ACCEPT', failsafeInboundHostPorts: [] }),
      ),
    ).toEqual([]);
    expect(
      errorsOf(
        calicoObject('BGPConfiguration', { serviceClusterIPs: [{ cidr: '10.0.0.0/8' }, { cidr: '10.0.0.1' }, {}] }),
      ),
    ).toEqual([]);
  });
});

describe('Kubernetes NetworkPolicy', () => {
  const from = (peer: object): string => kubernetesPolicy({ podSelector: {}, ingress: [{ from: [peer] }] });
  const ports = (port: object): string => kubernetesPolicy({ podSelector: {}, ingress: [{ ports: [port] }] });
  const PEER = `${IN}.from[0]`;
  const PORT = `${IN}.ports[0]`;
  const select = (expression: object): string => kubernetesPolicy({ podSelector: { matchExpressions: [expression] } });
  const EXPRESSION = 'spec.podSelector.matchExpressions[0]';

  check([
    [from({}), KNP, PEER, 'a peer without a selector; add podSelector, namespaceSelector or ipBlock'],
    [
      from({ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8' } }),
      KNP,
      `${PEER}.ipBlock`,
      'ipBlock beside a selector in one peer; make two peers of it',
    ],
    [from({ ipBlock: {} }), KNP, `${PEER}.ipBlock.cidr`, 'ipBlock without cidr; add the CIDR'],
    [from({ ipBlock: { cidr: 'x' } }), KNP, `${PEER}.ipBlock.cidr`, "'x' is not a CIDR; write ADDRESS/LENGTH"],
    [
      from({ ipBlock: { cidr: '10.0.0.0/8', except: ['x'] } }),
      KNP,
      `${PEER}.ipBlock.except[0]`,
      "'x' is not a CIDR; write ADDRESS/LENGTH",
    ],
    [
      from({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] } }),
      KNP,
      `${PEER}.ipBlock.except[0]`,
      "'10.0.0.0/8' is not a part of '10.0.0.0/8' smaller than the whole; correct it, or remove it",
    ],
    [
      from({ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/9'] } }),
      KNP,
      `${PEER}.ipBlock.except[0]`,
      "'11.0.0.0/9' is not a part of '10.0.0.0/8' smaller than the whole; correct it, or remove it",
    ],
    [ports({ protocol: 'ICMP' }), KNP, `${PORT}.protocol`, "'ICMP' is not a protocol with ports; use TCP, UDP or SCTP"],
    [ports({ port: 0 }), KNP, `${PORT}.port`, 'port 0 is not between 1 and 65535; correct it'],
    [ports({ port: '80' }), KNP, `${PORT}.port`, "port name '80' is without a letter; remove the quotes"],
    [
      ports({ port: 'a_b' }),
      KNP,
      `${PORT}.port`,
      "port name 'a_b' is not lower-case letters, digits and '-'; use the name of a port, or a number",
    ],
    [ports({ endPort: 80 }), KNP, `${PORT}.endPort`, 'endPort without port; add port'],
    [
      ports({ port: 'http', endPort: 80 }),
      KNP,
      `${PORT}.endPort`,
      'endPort beside the name of a port; use a number for port',
    ],
    [ports({ port: 80, endPort: 79 }), KNP, `${PORT}.endPort`, 'endPort 79 is less than port 80; correct one of them'],
    [
      ports({ port: 80, endPort: 70_000 }),
      KNP,
      `${PORT}.endPort`,
      'endPort 70000 is not between 1 and 65535; correct it',
    ],
    [
      kubernetesPolicy({ policyTypes: ['ingress'] }),
      KNP,
      'spec.policyTypes[0]',
      "'ingress' is not a policy type; use 'Ingress' or 'Egress'",
    ],
    [
      kubernetesPolicy({ policyTypes: ['Ingress', 'Egress', 'Ingress'] }),
      KNP,
      'spec.policyTypes',
      '3 policy types, and there are two; remove the repeated ones',
    ],
    [
      kubernetesPolicy({ podSelector: { matchLabels: { 'a b': 'c' } } }),
      KNP,
      'spec.podSelector.matchLabels["a b"]',
      "label key 'a b' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the key",
    ],
    [
      kubernetesPolicy({ podSelector: { matchLabels: { a: 'b c' } } }),
      KNP,
      'spec.podSelector.matchLabels.a',
      "label value 'b c' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the value",
    ],
    [select({ key: 'a', operator: 'In' }), KNP, `${EXPRESSION}.values`, 'operator In without values; add values'],
    [
      select({ key: 'a', operator: 'NotIn', values: [] }),
      KNP,
      `${EXPRESSION}.values`,
      'operator NotIn without values; add values',
    ],
    [
      select({ key: 'a', operator: 'Exists', values: ['b'] }),
      KNP,
      `${EXPRESSION}.values`,
      'operator Exists takes no values; remove them',
    ],
    [
      select({ key: 'a', operator: 'Equals', values: ['b'] }),
      KNP,
      `${EXPRESSION}.operator`,
      "unknown operator 'Equals'; use In, NotIn, Exists or DoesNotExist",
    ],
    [select({ operator: 'Exists' }), KNP, `${EXPRESSION}.key`, "label key '' is empty; correct the key"],
    [
      select({ key: 'a', operator: 'In', values: ['b c'] }),
      KNP,
      `${EXPRESSION}.values[0]`,
      "label value 'b c' is not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; correct the value",
    ],
  ]);
});

describe('ClusterNetworkPolicy', () => {
  const from = (peer: object): string => clusterPolicy({ ingress: [{ action: 'Accept', from: [peer] }] });
  const protocols = (protocol: object): string =>
    clusterPolicy({ egress: [{ action: 'Deny', to: [{ namespaces: {} }], protocols: [protocol] }] });
  const PROTOCOL = `${OUT}.protocols[0]`;

  check([
    [clusterPolicy({ priority: 1001 }), CNP, 'spec.priority', '1001 is more than 1000; use 1000 or less'],
    [
      clusterPolicy({ tier: 'admin' }),
      CNP,
      'spec.tier',
      "'admin' is not one of Admin, Baseline; did you mean 'Admin'?",
    ],
    [
      clusterPolicy({ subject: {} }),
      CNP,
      'spec.subject',
      'subject must have exactly one of namespaces and pods; give one of them',
    ],
    [
      clusterPolicy({ subject: { pods: {} } }),
      CNP,
      'spec.subject.pods.podSelector',
      'pods without podSelector; add podSelector: {} for all pods',
    ],
    [from({}), CNP, `${IN}.from[0]`, 'a peer must have exactly one field, and this one has 0; give one'],
    [
      from({ namespaces: {}, pods: { podSelector: {} } }),
      CNP,
      `${IN}.from[0]`,
      'a peer must have exactly one field, and this one has 2; give one',
    ],
    [
      clusterPolicy({ egress: [{ action: 'Pass', to: [{ networks: ['10.0.0.0'] }] }] }),
      CNP,
      `${OUT}.to[0].networks[0]`,
      "'10.0.0.0' is not a CIDR; write ADDRESS/LENGTH",
    ],
    [
      protocols({}),
      CNP,
      PROTOCOL,
      'an entry must have exactly one of tcp, udp, sctp and destinationNamedPort; make one entry of each',
    ],
    [
      protocols({ tcp: { destinationPort: {} } }),
      CNP,
      `${PROTOCOL}.tcp.destinationPort`,
      'destinationPort must have exactly one of number and range; give one of them',
    ],
    [
      protocols({ udp: { destinationPort: { range: { start: 2, end: 2 } } } }),
      CNP,
      `${PROTOCOL}.udp.destinationPort.range`,
      'range 2 to 2 does not begin before it ends; correct it, or use number',
    ],
  ]);
});

test('a valid object of every kind of policy comes through', () => {
  const texts = [
    ingressRule({ protocol: 'TCP', source: { selector: 'has(a)' }, ...IN_TO }),
    egressRule({ action: 'Log' }, 'GlobalNetworkPolicy'),
    ingressRule({}, 'StagedNetworkPolicy'),
    ingressRule({}, 'StagedGlobalNetworkPolicy'),
    policy({ podSelector: {}, policyTypes: ['Ingress'] }, 'StagedKubernetesNetworkPolicy'),
    kubernetesPolicy({ podSelector: {}, egress: [{ to: [{ podSelector: {} }], ports: [{ port: 80, endPort: 90 }] }] }),
    clusterPolicy({ egress: [{ action: 'Deny', to: [{ nodes: {} }], protocols: [{ destinationNamedPort: 'http' }] }] }),
  ];
  const { errors, resources } = load(texts.join('\n---\n'));
  expect(errors).toEqual([]);
  expect(resources.policies.map(({ kind }) => kind)).toEqual([
    'NetworkPolicy',
    'GlobalNetworkPolicy',
    'StagedNetworkPolicy',
    'StagedGlobalNetworkPolicy',
    'StagedKubernetesNetworkPolicy',
    'KubernetesNetworkPolicy',
    'KubernetesClusterNetworkPolicy',
  ]);
});
