/** The whole analysis on made-up clusters and real handshakes: verdicts of one factor and of both, findings, gaps, the matrix. */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { analyzeFactors, type FactorsInput, type FactorsResult } from '../../src/analyze/factors.ts';
import { KeyStore } from '../../src/analyze/factors-keys.ts';
import { parseAccessLog, parsePeers } from '../../src/analyze/factors-logs.ts';
import type { FactorsRecord } from '../../src/analyze/factors-record.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { makeCertificate, spiffe, type TestCertificate } from '../support/certificate.ts';
import { captureOf, connection, type Ends, recordsOf } from '../support/tcp-capture.ts';
import { type RecordedSession, recordSession } from '../support/tls-session.ts';

const API_IP = '10.244.1.10';
const WEB_IP = '10.244.1.11';
const DB_IP = '10.244.2.10';
const OUTSIDE_IP = '203.0.113.50';

const pod = (name: string, ip: string, account: string, labels: object = {}, namespace = 'prod') => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: { app: name, ...labels } },
  spec: { nodeName: 'node-1', serviceAccountName: account },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
});
const account = (name: string, labels: object = {}, namespace = 'prod') => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name, namespace, labels },
});
const CLUSTER: readonly object[] = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'prod', labels: { env: 'prod' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'lab', labels: { env: 'lab' } } },
  account('api', { tier: 'gold' }),
  account('web'),
  account('db'),
  account('api', { tier: 'tin' }, 'lab'),
  pod('db', DB_IP, 'db'),
  pod('api', API_IP, 'api'),
  pod('web', WEB_IP, 'web'),
  pod('api', '10.244.1.20', 'api', {}, 'lab'),
];

const policy = (ingress: readonly object[], more: object = {}, kind = 'NetworkPolicy') => ({
  apiVersion: 'projectcalico.org/v3',
  kind,
  metadata: { name: 'db', ...(kind === 'NetworkPolicy' ? { namespace: 'prod' } : {}) },
  spec: { selector: 'app == "db"', ingress, ...more },
});
const allow = (serviceAccounts: object, more: object = {}) => ({
  action: 'Allow',
  source: { serviceAccounts },
  ...more,
});
const API_ONLY = policy([allow({ names: ['api'] })]);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-factors-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SERVER = makeCertificate({ names: [spiffe('prod', 'db')] });
const API = makeCertificate({ names: [spiffe('prod', 'api')] });
const sessions = new Map<string, Promise<RecordedSession>>();

/** One session a certificate and version; TLS 1.2 unless it is said otherwise. */
function session(
  client: TestCertificate | undefined,
  version: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.2',
): Promise<RecordedSession> {
  const key = `${client?.pem} ${version}`;
  const known = sessions.get(key) ?? recordSession({ version, server: SERVER, client });
  sessions.set(key, known);
  return known;
}

const PLAIN = [
  { isClient: true, bytes: new TextEncoder().encode('hello') },
  { isClient: false, bytes: new TextEncoder().encode('welcome') },
];

let nextPort = 30_000;
function packets(
  src: string,
  pieces: RecordedSession['pieces'],
  more: Partial<Ends> = {},
  startSeconds?: number,
): CaptureRecord[] {
  nextPort++;
  return recordsOf(connection({ src, srcPort: nextPort, dst: DB_IP, dstPort: 5432, ...more }, pieces), startSeconds);
}

async function analyze(
  objects: readonly object[],
  records: readonly CaptureRecord[],
  more: Partial<FactorsInput> & { readonly keyLog?: string } = {},
): Promise<FactorsResult> {
  const text = [...CLUSTER, ...objects].map((object) => JSON.stringify(object)).join('\n---\n');
  const { resources, errors } = loadResources([{ name: 'c.yaml', text }]);
  expect(errors).toEqual([]);
  const plan = planCluster(resources);
  const file = join(folder, 'capture.pcapng');
  writeFileSync(file, captureOf(records, more.keyLog));
  const { keyLog: _, ...options } = more;
  return analyzeFactors({
    plan,
    resources,
    tables: openTables(packPlan(plan, {})),
    captures: [file],
    keys: new KeyStore(),
    ...options,
  });
}

/** One line a connection: verdicts by address, certificate, both; factors; findings. */
const line = ({ verdicts, factors, findings }: FactorsRecord): string =>
  [
    verdicts.address,
    verdicts.certificate ?? '-',
    verdicts.both ?? '-',
    factors ?? '-',
    ...findings.map(({ name }) => name),
  ].join(' ');

const PLAIN_TEXT = 'plain-text-on-trusted-path';

describe('a rule that allows an account by name', () => {
  test('with each pair of address and certificate', async () => {
    const of = async (ip: string, client: TestCertificate | undefined) => packets(ip, (await session(client)).pieces);
    const web = makeCertificate({ names: [spiffe('prod', 'web')] });
    const result = await analyze(
      [API_ONLY],
      [
        ...(await of(API_IP, API)),
        ...(await of(API_IP, web)),
        ...(await of(API_IP, undefined)),
        ...packets(API_IP, PLAIN),
        ...packets(API_IP, []),
        ...(await of(WEB_IP, API)),
        ...(await of(WEB_IP, web)),
        ...(await of(OUTSIDE_IP, API)),
        ...packets(OUTSIDE_IP, PLAIN),
      ],
    );
    expect(result.records.map(line)).toEqual([
      'allow allow allow 2 of 2',
      'allow deny deny 1 of 2 identity-mismatch',
      'allow deny deny 1 of 2 no-certificate-on-trusted-path',
      `allow deny deny 1 of 2 ${PLAIN_TEXT}`,
      'allow deny deny 1 of 2',
      'deny allow deny 1 of 2 identity-mismatch',
      'deny deny deny 0 of 2',
      'deny allow deny 1 of 2 identity-mismatch',
      'deny deny deny 0 of 2',
    ]);
    expect(result.matrix).toEqual([
      {
        policy: 'np:prod/db',
        index: 0,
        action: 'allow',
        rule: expect.stringMatching(/^c\.yaml:\d+$/),
        accounts: 'api in prod',
        cells: {
          'yes/yes': 1,
          'yes/no': 1,
          'yes/absent': 3,
          'yes/unknown': 0,
          'no/yes': 2,
          'no/no': 1,
          'no/absent': 1,
          'no/unknown': 0,
        },
      },
    ]);
    expect(result.totals).toMatchObject({
      flows: 9,
      shown: 9,
      by_factors: { '2 of 2': 1, '1 of 2': 6, '0 of 2': 2 },
      opened_by_address_alone: 4,
      opened_by_certificate_alone: 2,
      findings: { 'identity-mismatch': 3, [PLAIN_TEXT]: 1, 'no-certificate-on-trusted-path': 1 },
      gaps: {},
    });
    expect([result.isIncomplete, result.gaps]).toEqual([false, []]);
    expect(result.records[5]!.findings[0]!.detail).toBe(
      'the certificate is of prod/api, the address is of prod/web, which runs as prod/web',
    );
    expect(result.records[7]!.findings[0]!.detail).toBe('the certificate is of prod/api, the address is of no pod');
  });

  test('asks about the ports and protocols that it names, and about nothing else', async () => {
    const rule = { ...allow({ names: ['api'] }), protocol: 'TCP', destination: { ports: [5432] } };
    const other = { action: 'Allow', protocol: 'TCP', destination: { ports: [80] } };
    const result = await analyze(
      [policy([rule, other])],
      [
        ...packets(API_IP, PLAIN),
        ...packets(API_IP, PLAIN, { dstPort: 80 }),
        ...packets(API_IP, PLAIN, { dst: WEB_IP }),
      ],
      { all: true },
    );
    expect(result.records.map(line)).toEqual([`allow deny deny 1 of 2 ${PLAIN_TEXT}`, 'allow - - -', 'allow - - -']);
    expect((await analyze([policy([rule, other])], packets(API_IP, PLAIN, { dstPort: 80 }))).totals).toMatchObject({
      flows: 1,
      shown: 0,
    });
  });

  test('what Calico never polices is let through by it, and still asked for a certificate', async () => {
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-1' },
      status: { addresses: [{ type: 'InternalIP', address: '192.168.56.11' }] },
    };
    const { records } = await analyze(
      [API_ONLY, node],
      [...packets('192.168.56.11', PLAIN), ...packets('192.168.56.11', (await session(API)).pieces)],
    );
    expect(records.map(line)).toEqual(['unpoliced deny deny 0 of 2', 'unpoliced allow deny 1 of 2 identity-mismatch']);
  });

  test('UDP is outside of mutual TLS', async () => {
    const [frame] = recordsOf(
      connection({ src: API_IP, srcPort: 9, dst: DB_IP, dstPort: 53 }, PLAIN)
        .slice(3, 4)
        .map((each) => ({ ...each, spec: { ...each.spec, protocol: 17 } })),
    );
    const { records } = await analyze([API_ONLY], [frame!]);
    expect(records.map(line)).toEqual([`allow deny deny 1 of 2 ${PLAIN_TEXT}`]);
    expect(records[0]!.findings[0]!.detail).toContain('udp is outside of mutual TLS');
  });
});

describe('which accounts a rule names', () => {
  const ofLab = makeCertificate({ names: [spiffe('lab', 'api')] });
  const [ofApi, ofLabApi] = [API_IP, '10.244.1.20'];
  const both = async () => [
    ...packets(ofApi, (await session(API)).pieces),
    ...packets(ofLabApi, (await session(ofLab)).pieces),
  ];
  const cases: [string, object, string, string][] = [
    ['names, in the namespace of the policy', API_ONLY, '2 of 2', '0 of 2'],
    ['a selector', policy([allow({ selector: 'tier == "gold"' })]), '2 of 2', '0 of 2'],
    ['names and a selector', policy([allow({ names: ['api'], selector: 'tier == "tin"' })]), '0 of 2', '0 of 2'],
    [
      'a namespaceSelector',
      policy([{ action: 'Allow', source: { serviceAccounts: { names: ['api'] }, namespaceSelector: 'env == "lab"' } }]),
      '0 of 2',
      '2 of 2',
    ],
    [
      'all() namespaces',
      policy([{ action: 'Allow', source: { serviceAccounts: { names: ['api'] }, namespaceSelector: 'all()' } }]),
      '2 of 2',
      '2 of 2',
    ],
    ['a global policy', policy([allow({ names: ['api'] })], {}, 'GlobalNetworkPolicy'), '2 of 2', '2 of 2'],
    [
      "the account's own name as a label",
      policy([allow({ selector: 'projectcalico.org/name == "api"' })], {}, 'GlobalNetworkPolicy'),
      '2 of 2',
      '2 of 2',
    ],
  ];

  test.each(cases)('%s', async (_name, object, first, second) => {
    const { records } = await analyze([object], await both());
    expect(records.map(({ factors }) => factors)).toEqual([first, second]);
  });

  test('an account that no object describes has its name and no labels', async () => {
    const ghost = makeCertificate({ names: [spiffe('prod', 'ghost')] });
    const { records } = await analyze(
      [policy([allow({ selector: 'projectcalico.org/name == "ghost"' })])],
      packets(API_IP, (await session(ghost)).pieces),
    );
    expect(records[0]!.rules).toMatchObject([
      { network: 'no', crypto: 'yes', accounts: 'projectcalico.org/name == "ghost" in prod' },
    ]);
  });
});

describe('many rules', () => {
  test('are all counted and asked, and the record has those that something speaks for', async () => {
    const rules = Array.from({ length: 60 }, (_, index) => allow({ names: [index === 47 ? 'api' : `other-${index}`] }));
    const result = await analyze([policy(rules)], packets(API_IP, (await session(API)).pieces));
    expect(result.records.map(line)).toEqual(['allow allow allow 2 of 2']);
    expect([result.records[0]!.rules.length, result.records[0]!.rules_left_out]).toEqual([20, 40]);
    expect(result.records[0]!.rules.find(({ index }) => index === 47)).toMatchObject({ network: 'yes', crypto: 'yes' });
    expect(result.matrix.map(({ cells }) => cells['yes/yes'] + cells['no/no'])).toEqual(new Array(60).fill(1));
  });

  test('whose nets, ports and destinations differ are told apart', async () => {
    const of = (more: object, source: object = {}) => ({
      action: 'Allow',
      protocol: 'TCP',
      source: { serviceAccounts: { names: ['api'] }, ...source },
      ...more,
    });
    const rules = [
      of({}, { nets: ['10.244.1.11/32'] }),
      of({}, { notNets: [`${API_IP}/32`] }),
      of({ destination: { selector: 'app == "web"' } }),
      of({ destination: { notSelector: 'app == "db"' } }),
      of({ destination: { ports: [1] } }),
      of({}, { notSelector: 'app == "api"' }),
      of({ notProtocol: 'TCP', protocol: undefined }),
      of({ destination: { selector: 'app == "db"', nets: ['10.244.2.0/24'] } }, { selector: 'app == "api"' }),
    ];
    const { records } = await analyze([policy(rules)], [...packets(API_IP, PLAIN), ...packets(WEB_IP, PLAIN)]);
    expect(records.map((each) => each.rules.map(({ index, network }) => `${index} ${network}`))).toEqual([
      // A notSelector is part of the set that the account is in: it says who the source is, as the account does.
      ['5 no', '7 yes'],
      ['0 no', '1 no', '5 no', '7 no'],
    ]);
  });
});

describe('other rules around it', () => {
  const deny = (serviceAccounts: object) => ({ action: 'Deny', source: { serviceAccounts } });
  const ANY = { action: 'Allow' };

  test('a denial is not escaped by leaving the certificate out, but by a factor that does not fit', async () => {
    const web = makeCertificate({ names: [spiffe('prod', 'web')] });
    const rules = policy([deny({ names: ['web'] }), ANY]);
    const { records } = await analyze(
      [rules],
      [
        ...packets(WEB_IP, PLAIN),
        ...packets(WEB_IP, (await session(web)).pieces),
        ...packets(API_IP, PLAIN),
        ...packets(API_IP, (await session(API)).pieces),
      ],
    );
    expect(records.map(line)).toEqual([
      'deny deny deny 1 of 2',
      'deny deny deny 2 of 2',
      // By certificate alone: a caller without one might be anybody, web too.
      'allow deny allow 0 of 2',
      'allow allow allow 0 of 2',
    ]);
  });

  test('the same in the next tier, after a Pass by account', async () => {
    const tier = { apiVersion: 'projectcalico.org/v3', kind: 'Tier', metadata: { name: 'first' }, spec: { order: 1 } };
    const first = {
      ...policy(
        [{ action: 'Pass', source: { serviceAccounts: { names: ['api'] } } }],
        { tier: 'first' },
        'GlobalNetworkPolicy',
      ),
      metadata: { name: 'first.db' },
    };
    const { records, matrix } = await analyze(
      [tier, first, policy([ANY])],
      [
        ...packets(API_IP, PLAIN),
        ...packets(API_IP, (await session(API)).pieces),
        ...packets(WEB_IP, (await session(API)).pieces),
      ],
    );
    expect(records.map(line)).toEqual([
      `allow deny deny 1 of 2 ${PLAIN_TEXT}`,
      'allow allow allow 2 of 2',
      'deny allow deny 1 of 2 identity-mismatch',
    ]);
    expect(matrix[0]).toMatchObject({ policy: 'gnp:first.db', action: 'pass', accounts: 'api in any namespace' });
  });

  test('a rule without accounts asks a certificate that is there for its namespace', async () => {
    const lab = makeCertificate({ names: [spiffe('lab', 'api')] });
    const rules = policy([allow({ names: ['web'] }), { action: 'Allow', source: { selector: 'app == "api"' } }]);
    const { records } = await analyze(
      [rules],
      [...packets(API_IP, PLAIN), ...packets(API_IP, (await session(lab)).pieces)],
    );
    expect(records.map(line)).toEqual(['allow allow allow 0 of 2', 'allow allow deny 0 of 2 identity-mismatch']);
  });

  test('staged policies name nobody', async () => {
    const staged = { ...API_ONLY, kind: 'StagedNetworkPolicy' };
    const { records, matrix } = await analyze([staged], packets(API_IP, PLAIN), { all: true });
    expect([records.map(line), matrix]).toEqual([['allow - - -'], []]);
  });

  test('log rules and source ports', async () => {
    const rules = policy([
      { action: 'Log', source: { serviceAccounts: { names: ['api'] } } },
      { action: 'Allow', protocol: 'TCP', source: { serviceAccounts: { names: ['api'] }, ports: [777] } },
    ]);
    const { records } = await analyze(
      [rules],
      [...packets(API_IP, PLAIN, { srcPort: 777 }), ...packets(API_IP, PLAIN, { srcPort: 778 })],
    );
    expect(records.map(line)).toEqual([`allow deny deny 1 of 2 ${PLAIN_TEXT}`, 'deny deny deny 1 of 2']);
  });
});

describe('a certificate that is not known', () => {
  test('leaves open what depends on it, and only that', async () => {
    const { pieces } = await session(API, 'TLSv1.3');
    const { records, isIncomplete, totals } = await analyze(
      [API_ONLY],
      [...packets(API_IP, pieces), ...packets(WEB_IP, pieces)],
    );
    expect(records.map(line)).toEqual(['allow uncertain uncertain 1 of 2', 'deny uncertain deny 0 of 2']);
    expect(records.map(({ crypto, gaps }) => [crypto, gaps.map(({ name }) => name)])).toEqual([
      ['unknown', ['no-keys']],
      ['unknown', ['no-keys']],
    ]);
    expect(records[0]!.gaps[0]!.place).toBe(`${join(folder, 'capture.pcapng')}, packet 1`);
    expect([isIncomplete, totals.gaps, totals.findings]).toEqual([true, { 'no-keys': 2 }, {}]);
  });

  test('several rules may lead to either end, though each alone would not', async () => {
    const deny = { action: 'Deny', source: { serviceAccounts: { names: ['api'] } } };
    const { pieces } = await session(API, 'TLSv1.3');
    const rules = policy([allow({ names: ['api'], selector: 'tier == "gold"' }), deny, { action: 'Allow' }]);
    const { records } = await analyze([rules], packets(API_IP, pieces));
    expect(records[0]!.verdicts).toEqual({ address: 'allow', certificate: 'uncertain', both: 'uncertain' });
  });

  test('does not matter where no rule asks', async () => {
    const { pieces } = await session(API, 'TLSv1.3');
    const { isIncomplete } = await analyze([policy([{ action: 'Allow' }])], packets(API_IP, pieces), { all: true });
    expect(isIncomplete).toBe(false);
  });

  test('with its keys is known', async () => {
    const { pieces, keyLog } = await session(API, 'TLSv1.3');
    const { records } = await analyze([API_ONLY], packets(API_IP, pieces), { keyLog });
    expect(records.map(line)).toEqual(['allow allow allow 2 of 2']);
    expect(records[0]!.certificate).toMatchObject({
      account: 'prod/api',
      trust_domain: 'cluster.local',
      proof: 'signature',
      from: 'capture',
    });
    expect(records[0]!.dest_certificate).toMatchObject({ account: 'prod/db' });
    expect(records[0]!.tls).toEqual({ version: 'TLS 1.3' });
  });
});

describe('a certificate that names nobody', () => {
  test.each([
    ['no-uri-name', [{ dns: 'api.prod.svc' }]],
    ['several-uri-names', [spiffe('prod', 'api'), spiffe('prod', 'web')]],
    ['not-a-spiffe-name', [{ uri: 'https://api.prod.svc' }]],
  ] as const)('%s', async (finding, names) => {
    const client = makeCertificate({ names });
    const { records } = await analyze([API_ONLY], packets(API_IP, (await session(client)).pieces));
    expect(records.map(line)).toEqual([`allow deny deny 1 of 2 ${finding}`]);
    expect([records[0]!.crypto, records[0]!.rules[0]!.crypto]).toEqual(['invalid', 'no']);
  });

  test('of another trust domain, if that is asked', async () => {
    const client = makeCertificate({ names: [spiffe('prod', 'api', 'other.example')] });
    const records = packets(API_IP, (await session(client)).pieces);
    expect((await analyze([API_ONLY], records)).records.map(line)).toEqual(['allow allow allow 2 of 2']);
    const asked = await analyze([API_ONLY], records, { trustDomain: 'cluster.local' });
    expect(asked.records.map(line)).toEqual(['allow deny deny 1 of 2 foreign-trust-domain']);
  });

  test('that no authority has signed, if one is given', async () => {
    const records = packets(API_IP, (await session(API)).pieces);
    const stranger = makeCertificate({ names: [spiffe('prod', 'ca')], keyType: 'rsa' });
    const of = (certificate: TestCertificate) => ({ authorities: [new X509Certificate(certificate.der)] });
    expect((await analyze([API_ONLY], records, of(API))).records.map(line)).toEqual(['allow allow allow 2 of 2']);
    expect((await analyze([API_ONLY], records, of(stranger))).records.map(line)).toEqual([
      'allow deny deny 1 of 2 untrusted-issuer',
    ]);
  });

  test('that an authority has signed by way of another', async () => {
    const root = makeCertificate({ subject: 'root', keyType: 'rsa', isAuthority: true });
    const chain = async (isAuthority: boolean, hasMiddle: boolean) => {
      const middle = makeCertificate({ subject: 'middle', keyType: 'p384', issuer: root, isAuthority });
      const leaf = makeCertificate({ names: [spiffe('prod', 'api')], issuer: middle });
      const client = hasMiddle ? { ...leaf, pem: leaf.pem + middle.pem } : leaf;
      const authorities = [new X509Certificate(root.der)];
      const result = await analyze([API_ONLY], packets(API_IP, (await session(client)).pieces), { authorities });
      return line(result.records[0]!);
    };
    expect(await chain(true, true)).toBe('allow allow allow 2 of 2');
    expect(await chain(false, true)).toBe('allow deny deny 1 of 2 untrusted-issuer');
    expect(await chain(true, false)).toBe('allow deny deny 1 of 2 untrusted-issuer');
  });

  test('that is not valid at that time is a finding, and still names its account', async () => {
    const client = makeCertificate({ names: [spiffe('prod', 'api')], notAfter: new Date('2026-02-01T00:00:00Z') });
    const { pieces } = await session(client);
    const result = await analyze(
      [API_ONLY],
      [
        ...packets(API_IP, pieces, {}, Date.UTC(2026, 0, 15) / 1000),
        ...packets(API_IP, pieces, {}, Date.UTC(2026, 2, 1) / 1000),
        ...packets(API_IP, pieces, {}, Date.UTC(2025, 2, 1) / 1000),
      ],
    );
    expect(result.records.map(line)).toEqual([
      'allow allow allow 2 of 2',
      'allow allow allow 2 of 2 certificate-not-valid-then',
      'allow allow allow 2 of 2 certificate-not-valid-then',
    ]);
    expect(result.records[1]!.findings[0]!.detail).toBe('valid from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z');
  });

  test('that was shown without its key', async () => {
    const recorded = await session(API);
    const at = recorded.pieces.findIndex(({ isClient, bytes }) => isClient && Buffer.from(bytes).includes(API.der));
    expect(at).toBeGreaterThan(0);
    const bytes = Buffer.from(recorded.pieces[at]!.bytes);
    // The same certificate but for its name: all lengths stay as they are.
    const changed = Buffer.from(API.der);
    changed.set(Buffer.from('/sa/ipa'), changed.indexOf('/sa/api'));
    changed.copy(bytes, bytes.indexOf(API.der));
    const pieces = recorded.pieces.map((piece, index) => (index === at ? { ...piece, bytes } : piece));
    const { records } = await analyze([policy([allow({ names: ['ipa'] })])], packets(WEB_IP, pieces));
    // The key is the same, but the messages that it signed are not.
    expect(records.map(line)).toEqual(['deny deny deny 0 of 2 unproven-certificate']);
    expect(records[0]!.certificate).toMatchObject({ account: 'prod/ipa', proof: 'wrong' });
  });

  test('that cannot be parsed is missing evidence, with its place', async () => {
    const recorded = await session(API);
    const pieces = recorded.pieces.map((piece) => {
      const at = Buffer.from(piece.bytes).indexOf(API.der);
      if (!piece.isClient || at < 0) return piece;
      const bytes = Uint8Array.from(piece.bytes);
      bytes[at + 4] = 0x31;
      return { ...piece, bytes };
    });
    const { records, isIncomplete } = await analyze([API_ONLY], packets(API_IP, pieces));
    expect(records[0]!.gaps).toMatchObject([
      { name: 'unparsable-certificate', place: expect.stringContaining('packet 1') },
    ]);
    expect([records[0]!.crypto, isIncomplete]).toEqual(['unknown', true]);
  });
});

describe('the other side', () => {
  test('with a certificate of another account than the address that was called', async () => {
    const server = makeCertificate({ names: [spiffe('prod', 'web')] });
    const recorded = await recordSession({ version: 'TLSv1.2', server, client: API });
    const { records } = await analyze([API_ONLY], packets(API_IP, recorded.pieces));
    expect(records.map(line)).toEqual(['allow allow allow 2 of 2 server-identity-mismatch']);
  });
});

describe('what logs say', () => {
  const uri = 'spiffe://cluster.local/ns/prod/sa/api';
  const START = 1_790_000_000;
  const time = (seconds: number): string => new Date(seconds * 1000).toISOString();
  const log = (srcPort: number, san: string | null, seconds = START): string =>
    JSON.stringify({
      start_time: time(seconds),
      downstream_remote_address: `${API_IP}:${srcPort}`,
      downstream_local_address: `${DB_IP}:5432`,
      downstream_peer_uri_san: san,
    });
  const withLog = async (lines: readonly string[], records: readonly CaptureRecord[]) => {
    const { statements, problems } = parseAccessLog('envoy.jsonl', lines);
    return analyze([API_ONLY], records, { statements, logProblems: problems });
  };

  test('stands in for keys that are missing', async () => {
    const { pieces } = await session(API, 'TLSv1.3');
    const result = await withLog([log(1000, uri)], packets(API_IP, pieces, { srcPort: 1000 }));
    expect(result.records.map(line)).toEqual(['allow allow allow 2 of 2']);
    expect(result.records[0]!.certificate).toEqual({
      account: 'prod/api',
      trust_domain: 'cluster.local',
      uris: [uri],
      from: 'envoy-log',
      place: 'envoy.jsonl:1',
    });
    expect([result.isIncomplete, result.unmatchedStatements]).toEqual([false, 0]);
    const none = await withLog([log(1000, null), log(7, uri)], packets(API_IP, pieces, { srcPort: 1000 }));
    expect(none.records.map(line)).toEqual(['allow deny deny 1 of 2 no-certificate-on-trusted-path']);
    expect(none.unmatchedStatements).toBe(1);
    const several = await withLog([log(1000, `${uri},${uri}`)], packets(API_IP, pieces, { srcPort: 1000 }));
    expect(several.records.map(line)).toEqual(['allow deny deny 1 of 2 several-uri-names']);
  });

  test('that fits two connections says nothing about either', async () => {
    const { pieces } = await session(API, 'TLSv1.3');
    const records = [
      ...packets(API_IP, pieces, { srcPort: 1000 }),
      ...packets(API_IP, pieces, { srcPort: 1000 }, START + 1),
    ];
    const { gaps, isIncomplete, records: found } = await withLog([log(1000, uri)], records);
    expect(gaps).toMatchObject([
      { name: 'ambiguous-log-line', place: 'envoy.jsonl:1', detail: expect.stringContaining('fits 2 connections') },
    ]);
    expect([isIncomplete, found.map(({ crypto }) => crypto)]).toEqual([true, ['unknown', 'unknown']]);
  });

  test('that contradicts another line, or the capture, is told', async () => {
    const web = 'spiffe://cluster.local/ns/prod/sa/web';
    const { pieces } = await session(API, 'TLSv1.3');
    const lines = await withLog([log(1000, uri), log(1000, web)], packets(API_IP, pieces, { srcPort: 1000 }));
    expect(lines.records[0]!.gaps.map(({ name, place }) => [name, place])).toEqual([
      ['no-keys', expect.anything()],
      ['conflicting-statements', 'envoy.jsonl:1'],
    ]);
    const old = await session(API);
    const capture = await withLog([log(1000, web)], packets(API_IP, old.pieces, { srcPort: 1000 }));
    expect(capture.records[0]!.gaps).toMatchObject([{ name: 'conflicting-statements', place: 'envoy.jsonl:1' }]);
    expect(capture.records[0]!.certificate?.account).toBe('prod/api');
    const agreed = await withLog([log(1000, uri)], packets(API_IP, old.pieces, { srcPort: 1000 }));
    expect(agreed.records[0]!.gaps).toEqual([]);
  });

  test('a line that cannot be read is a gap of the whole answer', async () => {
    const { gaps, isIncomplete } = await withLog(['{"start_time": 7}'], packets(API_IP, PLAIN));
    expect([gaps.map(({ name, place }) => [name, place]), isIncomplete]).toEqual([
      [['unreadable-line', 'envoy.jsonl:1']],
      true,
    ]);
  });

  test('a file of identities speaks for every connection of an address', async () => {
    const { pieces } = await session(API, 'TLSv1.3');
    const { statements } = parsePeers('peers.jsonl', [JSON.stringify({ src: API_IP, identity: uri })]);
    const { records, gaps } = await analyze([API_ONLY], [...packets(API_IP, pieces), ...packets(API_IP, pieces)], {
      statements,
    });
    expect(records.map(line)).toEqual(['allow allow allow 2 of 2', 'allow allow allow 2 of 2']);
    expect([records[0]!.certificate?.from, gaps]).toEqual(['peers-file', []]);
  });
});

describe('an address of two pods', () => {
  test('has the account of either, and says so', async () => {
    const twin = pod('twin', API_IP, 'web');
    const { records, isIncomplete } = await analyze([API_ONLY, twin], packets(API_IP, (await session(API)).pieces));
    expect(records[0]!.network).toBe('prod/api or prod/web');
    expect(records[0]!.findings).toEqual([]);
    expect([records[0]!.gaps.map(({ name }) => name), isIncomplete]).toEqual([['shared-address'], true]);
  });
});

describe('Istio', () => {
  const peerAuthentication = (spec: object, metadata: object = { name: 'p', namespace: 'prod' }) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata,
    spec,
  });

  test('STRICT would have refused plain text and one-sided TLS', async () => {
    const strict = peerAuthentication({ mtls: { mode: 'STRICT' } });
    const { records, totals } = await analyze(
      [API_ONLY, strict],
      [
        ...packets(API_IP, PLAIN),
        ...packets(API_IP, (await session(undefined)).pieces),
        ...packets(API_IP, (await session(API)).pieces),
      ],
    );
    expect(records.map(({ peer_authentication: peer }) => peer?.refuses)).toEqual([
      'STRICT refuses plain text',
      'STRICT refuses TLS without a certificate',
      undefined,
    ]);
    expect(records[0]!.peer_authentication).toMatchObject({ mode: 'STRICT', level: 'namespace', policy: 'prod/p' });
    expect(totals.refused_by_peer_authentication).toBe(2);
  });

  test('PERMISSIVE refuses nothing; without any PeerAuthentication nothing is said', async () => {
    const mesh = peerAuthentication({ mtls: { mode: 'STRICT' } }, { name: 'default', namespace: 'istio-system' });
    const port = peerAuthentication({
      selector: { matchLabels: { app: 'db' } },
      portLevelMtls: { 5432: { mode: 'PERMISSIVE' } },
    });
    const { records } = await analyze([API_ONLY, mesh, port], packets(API_IP, PLAIN));
    expect(records[0]!.peer_authentication).toMatchObject({ mode: 'PERMISSIVE', level: 'port' });
    expect(records[0]!.peer_authentication).not.toHaveProperty('refuses');
    expect((await analyze([API_ONLY], packets(API_IP, PLAIN))).records[0]).not.toHaveProperty('peer_authentication');
  });

  test('HBONE is recognised by its port', async () => {
    const { pieces } = await session(API);
    const { records, totals } = await analyze([API_ONLY], packets(API_IP, pieces, { dstPort: 15008 }));
    expect([records[0]!.hbone, totals.hbone, records.map(line)]).toEqual([true, 1, ['allow allow allow 2 of 2']]);
  });
});
