/** The parts of the authorization service by themselves: paths, identities, addresses to listen at, the log of denials. */
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { Authorizer, type AuthzRequest } from '../../src/authz/authorizer.ts';
import { codeName } from '../../src/authz/codes.ts';
import { DenialLog } from '../../src/authz/denial-log.ts';
import { compilePaths, matchesPath, normalisePath } from '../../src/authz/http-path.ts';
import { IdentityMatches, parsePrincipal } from '../../src/authz/identities.ts';
import { listenText, parseListen } from '../../src/authz/listen.ts';
import { parseAuthzRequest } from '../../src/authz/request.ts';
import { authorizationForm } from '../../src/compile/authorization.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { AuthzReference } from '../../src/reference/authz.ts';
import { CLUSTER, DB, dbAllowsFrom, NODES } from '../rows/cluster.ts';
import { documents, endpointSlice, networkPolicy, pod, profile } from '../rows/objects.ts';
import { AUTHORIZER_TEXT, authorizerFor, WEB } from './service.ts';

describe('paths', () => {
  test.each([
    ['/', '/'],
    ['//', '/'],
    ['/a', '/a'],
    ['/a/', '/a'],
    ['/a//b/./c/', '/a/b/c'],
    ['/a/../b', '/b'],
    ['/../../a', '/a'],
    ['/a/..', '/'],
    ['/a?b/../c', '/a'],
    ['/a#b', '/a'],
    ['/a?b#c', '/a'],
    ['/a;x=1/b;y', '/a/b'],
    ['/;x/a', '/a'],
    ['/..;x/a', '/a'],
    ['/a\\b', '/a/b'],
    ['/a%5Cb', '/a/b'],
    ['/a%2fb', '/a/b'],
    ['/%61', '/a'],
    ['/a%20b', '/a b'],
    ['/a%3Fb', '/a?b'],
    ['/a%3bb', '/a'],
    ['/%2e%2E/a', '/a'],
    ['/a...', '/a...'],
    ['/.a', '/.a'],
    ['/ä', '/\u00c3\u00a4'],
    ['/%C3%A4', '/\u00c3\u00a4'],
    ['/%ff', '/\u00ff'],
  ])('%s is %s', (text, normal) => {
    expect(normalisePath(text)).toBe(normal);
  });

  test.each(['/%', '/%4', '/%zz', '/a%2', '/%252e', '/%252F', '/%255c', '/%255C', '/a%00', '/a\0'])(
    '%s matches nothing',
    (text) => {
      expect(normalisePath(text)).toBeUndefined();
    },
  );

  test('a path of a rule that has no normal form matches nothing, the others beside it do', () => {
    const match = compilePaths([{ exact: '/%zz' }, { prefix: 'pub' }, { prefix: '' }, { exact: '/a' }])!;
    for (const path of ['/%zz', '/pub', '/', '']) expect([path, matchesPath(match, path)]).toEqual([path, false]);
    expect(matchesPath(match, '/a')).toBe(true);
    expect(compilePaths([])).toBeUndefined();
  });

  test('the prefix / matches every path', () => {
    const match = compilePaths([{ prefix: '//' }])!;
    for (const path of ['/', '/a', '/a/b']) expect(matchesPath(match, path)).toBe(true);
  });
});

test('principals', () => {
  expect(parsePrincipal('spiffe://d/ns/app/sa/api')).toEqual({ trustDomain: 'd', namespace: 'app', account: 'api' });
  expect(parsePrincipal('spiffe://d/ns/a,b/sa/a b')).toMatchObject({ namespace: 'a,b', account: 'a b' });
  for (const text of [
    '',
    'spiffe://d/ns/app/sa/',
    'spiffe://d/ns//sa/api',
    'spiffe://d/ns/app/sa/api/',
    'spiffe://d/x/ns/app/sa/api',
    ' spiffe://d/ns/app/sa/api',
    'https://d/ns/app/sa/api',
  ]) {
    expect([text, parsePrincipal(text)]).toEqual([text, undefined]);
  }
});

test('labels of the object win over those of the request, also such as __proto__', () => {
  const matches = new IdentityMatches([{ namespace: 'app', account: 'api', labels: [['team', 'red']] }]);
  const asks = (accountSelector: string): number =>
    matches.add({ names: [], accountSelector, namespaceSelector: '', namespace: '' });
  const [red, blue, proto, other] = ['team == "red"', 'team == "blue"', 'has(__proto__)', 'x == "1"'].map(asks);
  expect(asks('team == "red"')).toBe(red);
  const given = JSON.parse('{"team":"blue","x":"1","__proto__":"p"}') as Record<string, string>;
  const identity = matches.identity(0, 'spiffe://d/ns/app/sa/api', given);
  expect([red!, blue!, proto!, other!].map((match) => matches.holds(match, identity))).toEqual([
    true,
    false,
    true,
    true,
  ]);
});

describe('where to listen', () => {
  test.each([
    ['unix:/run/a.sock', 'unix:/run/a.sock'],
    ['unix:///run/a.sock', 'unix:/run/a.sock'],
    ['unix:a.sock', 'unix:a.sock'],
    ['127.0.0.1:9001', '127.0.0.1:9001'],
    ['127.9.9.9:0', '127.9.9.9:0'],
    ['localhost:9001', 'localhost:9001'],
    ['[::1]:9001', '[::1]:9001'],
  ])('%s', (text, canonical) => {
    expect(listenText(parseListen(text, '--listen'))).toBe(canonical);
  });

  test.each([
    ['0.0.0.0:9001', "--listen '0.0.0.0:9001' is not on the loopback interface"],
    ['[::]:9001', 'is not on the loopback interface'],
    ['10.0.0.1:9001', 'is not on the loopback interface'],
    ['example.com:9001', 'is not on the loopback interface'],
    ['127.0.0.1', "--listen '127.0.0.1' is no address; give unix:PATH, HOST:PORT or [IPV6]:PORT"],
    ['127.0.0.1:65536', 'is no address'],
    ['::1:9001', 'is no address'],
    ['unix:', 'is no path of a socket'],
    [`unix:/${'x'.repeat(107)}`, 'which has 1 to 107 bytes'],
  ])('not %s', (text, problem) => {
    expect(() => parseListen(text, '--listen')).toThrow(problem);
  });

  test('with a flag anywhere', () => {
    expect(listenText(parseListen('0.0.0.0:9001', '--listen', true))).toBe('0.0.0.0:9001');
  });
});

test('a flood of denials is counted, not written', () => {
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    { base: null },
    { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  let nowMs = 0;
  const log = new DenialLog(logger, () => nowMs);
  const authorizer = authorizerFor(AUTHORIZER_TEXT);
  const request = parseAuthzRequest({
    src: WEB,
    dst: DB,
    dst_port: 80,
    http_method: 'GET',
    http_path: `/${'x'.repeat(999)}`,
  });
  const deny = (): string => log.denied(authorizer, request, authorizer.check(request), undefined);
  for (let i = 0; i < 1000; i++) expect(deny()).toBe('network+request');
  expect(lines).toHaveLength(50);
  expect(log.suppressedCount).toBe(950);
  // The texts are cut.
  expect(lines[0]!.http_path).toBe(`/${'x'.repeat(255)}…`);
  nowMs = 100;
  for (let i = 0; i < 10; i++) deny();
  expect(lines).toHaveLength(55);
  expect(lines[50]).toMatchObject({ suppressed: 950, msg: 'denied' });
  expect(lines[51]).not.toHaveProperty('suppressed');
  expect(log.suppressedCount).toBe(5);
});

test('requests that are none, each with its field', () => {
  const good = { src: WEB, dst: DB, dst_port: 80 };
  const problemOf = (value: unknown): string => {
    try {
      parseAuthzRequest(value);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(problemOf(good)).toBe('');
  expect(problemOf({ ...good, protocol: null, source_principal: null, http_path: null })).toBe('');
  for (const [value, problem] of [
    [[], 'not a JSON object'],
    [7, 'not a JSON object'],
    [{ dst: DB, dst_port: 80 }, 'src is missing'],
    [{ ...good, src: '10.0.0' }, "src '10.0.0' is not an IP address"],
    [{ ...good, dst: 7 }, "dst is '7', which is no text"],
    [{ src: WEB, dst: DB }, 'dst_port is missing'],
    [{ ...good, dst_port: '80' }, 'is no port'],
    [{ ...good, src_port: 65_536 }, "src_port '65536' is no port"],
    [{ ...good, protocol: 'quic' }, "unknown protocol 'quic'"],
    [{ ...good, protocol: 256 }, "unknown protocol '256'"],
    [{ ...good, protocol: {} }, 'unknown protocol'],
    [{ ...good, source_principal: 1 }, 'source_principal is'],
    [{ ...good, http_method: [] }, 'http_method is'],
    [{ ...good, source_labels: [] }, 'source_labels is no object of texts'],
    [{ ...good, dest_labels: { a: 1 } }, 'dest_labels is no object of texts'],
  ] as const) {
    expect([value, problemOf(value)]).toEqual([value, expect.stringContaining(problem)]);
  }
  expect(parseAuthzRequest({ ...good, protocol: 'UDP' }).protocol).toBe(17);
  expect(parseAuthzRequest({ ...good, http_method: 'GET' }).http).toEqual({ method: 'GET', path: '' });
  expect(parseAuthzRequest(good).http).toBeUndefined();
});

test('what is remembered is forgotten when it becomes too much, and the answers stay', () => {
  const authorizer = authorizerFor(AUTHORIZER_TEXT, {}, 1000);
  const ask = (src: string, principal: string): number =>
    authorizer.check({
      src,
      dst: DB,
      srcPort: 1,
      dstPort: 80,
      protocol: 6,
      sourcePrincipal: principal,
      destinationPrincipal: '',
    }).code;
  const right = (): number => ask('10.0.0.2', 'spiffe://cluster.local/ns/app/sa/api');
  expect(right()).toBe(0);
  for (let i = 0; i < 20_000; i++) {
    const src = `100.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    if (ask(src, i % 64 === 0 ? `spiffe://d/ns/app/sa/a${i}` : '') === 0) throw new Error(src);
  }
  expect(right()).toBe(0);
  expect(ask('10.0.0.3', '')).toBe(7);
});

describe('what only plain CRD writes can hold, and Calico’s reference answers', () => {
  const answersOf = (text: string, requests: readonly Partial<AuthzRequest>[]): string[] => {
    const { resources, errors } = loadResources([{ name: 'world.yaml', text }], { permissive: true });
    expect(errors).toEqual([]);
    const authorizer = new Authorizer(authorizationForm(planCluster(resources)));
    const reference = new AuthzReference(resources);
    return requests.map((fields) => {
      const base = {
        src: WEB,
        dst: DB,
        srcPort: 1,
        dstPort: 80,
        protocol: 6,
        sourcePrincipal: '',
        destinationPrincipal: '',
      };
      const request = { ...base, ...fields };
      const answer = codeName(authorizer.check(request).code);
      expect(reference.check(request)).toBe(answer);
      return answer;
    });
  };

  test('a services match on the destination: its tuples, but never for SCTP', () => {
    const text = documents(
      ...CLUSTER,
      dbAllowsFrom({}, { destination: { services: { name: 'db', namespace: 'app' } } }),
      endpointSlice('app/db', [{ addresses: [DB] }], [{ port: 80 }, { port: 81, protocol: 'SCTP' }]),
    );
    expect(answersOf(text, [{}, { dstPort: 81 }, { dstPort: 81, protocol: 132 }, { protocol: 17 }])).toEqual([
      'OK',
      'PERMISSION_DENIED',
      'PERMISSION_DENIED',
      'PERMISSION_DENIED',
    ]);
  });

  test('HTTP parts of Deny, Pass and Log rules: a bad path ends the check at each of them', () => {
    const rule = (action: string): object => ({ action, protocol: 'TCP', http: { paths: [{ prefix: '/x' }] } });
    for (const action of ['Deny', 'Pass', 'Log']) {
      const text = documents(
        ...CLUSTER,
        networkPolicy('app/p', {
          selector: 'app == "db"',
          types: ['Ingress'],
          ingress: [rule(action), { action: 'Allow' }],
        }),
      );
      const http = (path: string) => ({ http: { method: 'GET', path } });
      const hit = action === 'Deny' ? 'PERMISSION_DENIED' : 'OK';
      expect(answersOf(text, [http('/x'), http('/y'), http('x')])).toEqual([hit, 'OK', 'INVALID_ARGUMENT']);
    }
  });

  test('an address of two pods: both must allow', () => {
    const policies = (second: string): string =>
      documents(
        ...CLUSTER,
        pod('app/twin', { ip: DB, labels: { app: 'twin' }, account: 'db' }),
        dbAllowsFrom({}, {}),
        networkPolicy('app/twin', { selector: 'app == "twin"', types: ['Ingress'], ingress: [{ action: second }] }),
      );
    expect(answersOf(policies('Allow'), [{}])).toEqual(['OK']);
    expect(answersOf(policies('Deny'), [{}])).toEqual(['PERMISSION_DENIED']);
  });

  test('Pass in a profile denies, and a profile that is missing is passed over', () => {
    const host = (action: string): string =>
      documents(
        ...NODES,
        { ...pod('gone/db', { ip: DB, account: 'db' }) },
        profile('ksa.gone.db', { ingress: [{ action }, { action: 'Allow' }] }),
      );
    const asIs = (text: string): string => {
      const { resources } = loadResources([{ name: 'w.yaml', text }], { permissive: true, asIs: true });
      const authorizer = new Authorizer(authorizationForm(planCluster(resources)));
      const request = {
        src: WEB,
        dst: DB,
        srcPort: 1,
        dstPort: 80,
        protocol: 6,
        sourcePrincipal: '',
        destinationPrincipal: '',
      };
      expect(new AuthzReference(resources).check(request)).toBe(codeName(authorizer.check(request).code));
      return codeName(authorizer.check(request).code);
    };
    expect(asIs(host('Allow'))).toBe('OK');
    expect(asIs(host('Pass'))).toBe('PERMISSION_DENIED');
    expect(asIs(host('Log'))).toBe('OK');
  });
});
