/** The service over real connections: what Envoy sends, what nobody should send, and that no answer is OK by accident. */

import { chmodSync, existsSync, lstatSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Authorizer } from '../../src/authz/authorizer.ts';
import { parseListen } from '../../src/authz/listen.ts';
import { serveMetrics } from '../../src/authz/metrics.ts';
import { MESSAGE_BYTES_MAX } from '../../src/authz/server.ts';
import { DB, DB6, OUTSIDE } from '../rows/cluster.ts';
import { type AuthzClient, account, message, peer } from './client.ts';
import { bytesField, mapEntry, textField, varintField } from './protobuf.ts';
import {
  API,
  API6,
  AUTHORIZER_TEXT,
  authorizerFor,
  type Service,
  scratchFolder,
  startService,
  until,
  WEB,
} from './service.ts';

const OK = 0;
const INVALID_ARGUMENT = 3;
const PERMISSION_DENIED = 7;
const INTERNAL = 13;
const UNAVAILABLE = 14;

const API_ID = account('app', 'api');
const WEB_ID = account('app', 'web');
const DB_PEER = peer(DB, 80, account('app', 'db'));

describe('requests as Envoy sends them', () => {
  let service: Service;
  let client: AuthzClient;
  beforeAll(async () => {
    service = await startService();
    client = service.client();
  });
  afterAll(() => service.close());

  test('TCP, with the right certificate, without one, with another’s, from another address', async () => {
    expect(await client.code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
    expect(await client.code(message(peer(API, 40_000), DB_PEER))).toBe(OK);
    expect(await client.code(message(peer(API, 40_000, WEB_ID), DB_PEER))).toBe(PERMISSION_DENIED);
    expect(await client.code(message(peer(WEB, 40_000, API_ID), DB_PEER))).toBe(PERMISSION_DENIED);
  });

  test('HTTP', async () => {
    const ask = (path: string): Promise<number> =>
      client.code(message(peer(API, 40_000, API_ID), DB_PEER, { id: 'r1', method: 'GET', path }));
    expect(await ask('/pub/x?y=1')).toBe(OK);
    expect(await ask('/admin')).toBe(PERMISSION_DENIED);
    expect(await ask('/pub/../admin')).toBe(PERMISSION_DENIED);
    expect(await ask('pub')).toBe(INVALID_ARGUMENT);
    expect(await ask('')).toBe(INVALID_ARGUMENT);
  });

  test('IPv6, in any spelling, mapped IPv4, and a zone', async () => {
    const to = peer(DB6, 80);
    for (const text of [API6, 'fd00:0:0:0:0:0:0:2', 'FD00::2', 'fd00::2%eth0']) {
      expect([text, await client.code(message(peer(text, 40_000, API_ID), to))]).toEqual([text, OK]);
    }
    expect(await client.code(message(peer('fd00::3', 40_000, API_ID), to))).toBe(PERMISSION_DENIED);
    expect(await client.code(message(peer(`::ffff:${API}`, 40_000, API_ID), DB_PEER))).toBe(OK);
  });

  test('a destination that is no pod', async () => {
    expect(await client.code(message(peer(API, 40_000, API_ID), peer(OUTSIDE, 80)))).toBe(PERMISSION_DENIED);
  });

  test('UDP, and a protocol that Envoy has not', async () => {
    const at = (protocol: number) => ({ address: { socket_address: { protocol, address: DB, port_value: 80 } } });
    expect(await client.code(message(peer(API, 40_000, API_ID), at(0)))).toBe(OK);
    expect(await client.code(message(peer(API, 40_000, API_ID), at(1)))).toBe(PERMISSION_DENIED);
    expect(await client.code(message(peer(API, 40_000, API_ID), at(7)))).toBe(INVALID_ARGUMENT);
  });

  test('without addresses, without attributes, with what is no address or port', async () => {
    const requests = [
      {},
      { attributes: {} },
      { attributes: { source: peer(API, 1) } },
      { attributes: { source: { address: {} }, destination: DB_PEER } },
      message(peer('10.0.0', 1), DB_PEER),
      message(peer('', 1), DB_PEER),
      message(peer('@abstract', 1), DB_PEER),
      message(peer(API, 70_000), DB_PEER),
      message(peer(API, 1), peer(DB, 65_536)),
    ];
    for (const request of requests) {
      expect([request, await client.code(request)]).toEqual([request, INVALID_ARGUMENT]);
    }
  });

  test('the answer names whose policy it was and what failed', async () => {
    const { status } = await client.check(message(peer(API, 40_000, WEB_ID), DB_PEER));
    expect(status).toEqual({ code: PERMISSION_DENIED, message: 'denied: end-of-tier at np:app/p, factor identity' });
  });

  test('each denial is one line of the log, with the factor', async () => {
    const before = service.lines.length;
    await client.check(message(peer(WEB, 40_000, API_ID), DB_PEER, { id: 'abc', method: 'GET', path: '/pub' }));
    expect(service.lines.slice(before)).toMatchObject([
      {
        msg: 'denied',
        code: 'PERMISSION_DENIED',
        factor: 'network',
        reason: 'end-of-tier',
        src: WEB,
        dst: DB,
        dst_port: 80,
        source_principal: API_ID,
        http_path: '/pub',
        request_id: 'abc',
        endpoint: 'app/db',
        policy: 'np:app/p',
        rule_index: -1,
      },
    ]);
    expect(service.lines.at(-1)!.rule).toMatch(/^cluster\.yaml:\d+$/);
  });

  /** Written by the field numbers of Envoy's own files, with all that a real message has beside what we read. */
  test('a message of Envoy, byte by byte', async () => {
    const socketAddress = (address: string, port: number): Buffer =>
      bytesField(1, Buffer.concat([textField(2, address), varintField(3, port), textField(5, 'resolver')]));
    const source = Buffer.concat([
      bytesField(1, socketAddress(API, 40_000)),
      textField(2, 'service'),
      mapEntry(3, 'app', 'web'),
      textField(4, API_ID),
      textField(5, 'PEM'),
    ]);
    const destination = Buffer.concat([bytesField(1, socketAddress(DB, 80)), textField(4, account('app', 'db'))]);
    const http = (path: string): Buffer =>
      Buffer.concat([
        textField(1, '17'),
        textField(2, 'GET'),
        mapEntry(3, ':path', '/pub'),
        mapEntry(3, 'user-agent', 'curl'),
        textField(4, path),
        textField(5, 'db.app'),
        textField(6, 'http'),
        varintField(9, 300),
        textField(10, 'HTTP/1.1'),
        textField(11, 'body'),
      ]);
    const attributes = (path: string): Buffer =>
      Buffer.concat([
        bytesField(1, source),
        bytesField(2, destination),
        bytesField(4, Buffer.concat([bytesField(1, varintField(1, 1_700_000_000)), bytesField(2, http(path))])),
        mapEntry(10, 'virtual_host', 'x'),
        bytesField(11, Buffer.alloc(0)),
        bytesField(12, textField(1, 'db.app')),
      ]);
    const ask = async (path: string): Promise<number> =>
      (await client.send(bytesField(1, attributes(path)))).status.code ?? 0;
    expect(await ask('/pub')).toBe(OK);
    expect(await ask('/admin')).toBe(PERMISSION_DENIED);
  });
});

describe('nothing is OK by accident', () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service.close());

  test('messages that are none', async () => {
    const client = service.client();
    const random = [0xff, 0x0a, 0x7f, 0x00, 0x12, 0x80, 0x0b, 0x0c];
    for (let round = 0; round < 200; round++) {
      const bytes = Buffer.from(Array.from({ length: 1 + (round % 40) }, (_, i) => random[(round * 7 + i * 3) % 8]!));
      const code = await client.send(bytes).then(
        ({ status }) => status.code ?? 0,
        (error: { code: number }) => error.code,
      );
      expect([bytes.toString('hex'), code]).not.toEqual([bytes.toString('hex'), OK]);
    }
    expect((await client.send(Buffer.from('ffffff', 'hex'))).status.code).toBe(INVALID_ARGUMENT);
  });

  test('a good message cut at every byte', async () => {
    const client = service.client();
    const peerBytes = (address: string, port: number, principal: string): Buffer =>
      Buffer.concat([
        bytesField(1, bytesField(1, Buffer.concat([textField(2, address), varintField(3, port)]))),
        textField(4, principal),
      ]);
    const whole = bytesField(
      1,
      Buffer.concat([bytesField(1, peerBytes(WEB, 1, WEB_ID)), bytesField(2, peerBytes(DB, 80, account('app', 'db')))]),
    );
    expect((await client.send(whole)).status.code).toBe(PERMISSION_DENIED);
    for (let length = 0; length < whole.length; length++) {
      const { status } = await client.send(whole.subarray(0, length));
      expect([length, status.code]).not.toEqual([length, OK]);
      expect(status.code).toBeDefined();
    }
  });

  test('an oversized message is refused before it is read', async () => {
    const client = service.client();
    const request = message(peer(API, 40_000, API_ID), DB_PEER, { path: '/pub', id: 'x'.repeat(MESSAGE_BYTES_MAX) });
    await expect(client.check(request)).rejects.toMatchObject({ code: 8 });
    // The connection goes on.
    expect(await client.code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
  });

  test('a method and a service that are not there', async () => {
    const client = service.client();
    const path = '/envoy.service.auth.v2.Authorization/Check';
    await expect(client.send(Buffer.alloc(0), path)).rejects.toMatchObject({ code: 12 });
  });

  test('no policies', async () => {
    const away = await startService();
    away.server.use(undefined);
    const client = away.client();
    const { status } = await client.check(message(peer(API, 40_000, API_ID), DB_PEER));
    expect(status.code).toBe(UNAVAILABLE);
    expect(await client.health()).toBe(2);
    away.server.use(authorizerFor(AUTHORIZER_TEXT));
    expect(await client.code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
    expect(await client.health()).toBe(1);
    await away.close();
  });

  test('a fault of ours', async () => {
    const broken = await startService();
    const authorizer = authorizerFor(AUTHORIZER_TEXT);
    authorizer.check = () => {
      throw new Error('made up');
    };
    broken.server.use(authorizer);
    const { status } = await broken.client().check(message(peer(API, 40_000, API_ID), DB_PEER));
    expect(status).toEqual({ code: INTERNAL, message: 'internal error' });
    expect(broken.lines).toMatchObject([
      { msg: 'a fault of margay: the request is denied', err: { message: 'made up' } },
    ]);
    await broken.close();
  });
});

test('200 streams at once, each answered for itself', async () => {
  const service = await startService();
  const clients = [service.client(), service.client()];
  const ports = Array.from({ length: 200 }, (_, i) => i);
  const codes = await Promise.all(
    ports.flatMap((port) =>
      Array.from({ length: 5 }, () =>
        clients[port % 2]!.code(message(peer(port % 3 === 0 ? WEB : API, port, API_ID), DB_PEER)),
      ),
    ),
  );
  expect(codes).toEqual(ports.flatMap((port) => Array(5).fill(port % 3 === 0 ? PERMISSION_DENIED : OK)));
  await service.close();
});

describe('the socket', () => {
  const folder = scratchFolder();
  let service: Service | undefined;
  afterEach(async () => {
    await service?.close();
    service = undefined;
  });
  afterAll(() => folder.remove());

  test('is for owner and group, and gone when the service stops', async () => {
    const path = folder.path('a.sock');
    const before = process.umask();
    service = await startService(parseListen(`unix:${path}`, '--listen'));
    expect(lstatSync(path).isSocket()).toBe(true);
    expect(lstatSync(path).mode & 0o777).toBe(0o660);
    expect(process.umask()).toBe(before);
    expect(service.server.address).toBe(`unix:${path}`);
    expect(await service.client().code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
    await service.close();
    service = undefined;
    expect(existsSync(path)).toBe(false);
  });

  test('of a process that is gone is replaced', async () => {
    const path = folder.path('stale.sock');
    await leaveSocket(path);
    service = await startService(parseListen(`unix:${path}`, '--listen'));
    expect(await service.client().code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
  });

  test('that somebody listens at is left alone', async () => {
    const path = folder.path('used.sock');
    const listen = parseListen(`unix:${path}`, '--listen');
    service = await startService(listen);
    await expect(startService(listen)).rejects.toThrow(`cannot listen on unix:${path}: another process`);
    expect(await service.client().code(message(peer(API, 40_000, API_ID), DB_PEER))).toBe(OK);
  });

  test('is never put in the place of another file', async () => {
    const path = folder.path('file');
    writeFileSync(path, 'mine');
    chmodSync(path, 0o600);
    await expect(startService(parseListen(`unix:${path}`, '--listen'))).rejects.toThrow('is there and is no socket');
    expect(lstatSync(path).size).toBe(4);
  });
});

/** A socket file that nobody listens at, as a killed process leaves it. */
async function leaveSocket(path: string): Promise<void> {
  const { renameSync } = await import('node:fs');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.live`, resolve));
  renameSync(`${path}.live`, path);
  await new Promise((resolve) => server.close(resolve));
  expect(lstatSync(path).isSocket()).toBe(true);
}

describe('health', () => {
  test('is watched through loss, return and end of the policies', async () => {
    const service = await startService();
    const seen: number[] = [];
    const client = service.client();
    const watching = (async () => {
      for await (const state of client.watch('envoy.service.auth.v3.Authorization')) seen.push(state);
    })();
    await until(() => seen.length === 1, 'the first state');
    service.server.use(undefined);
    await until(() => seen.length === 2, 'the second state');
    service.server.use(authorizerFor(AUTHORIZER_TEXT));
    await until(() => seen.length === 3, 'the third state');
    expect(await service.server.stop()).toBe(true);
    await watching;
    expect(seen).toEqual([1, 2, 1, 2]);
    client.close();
  });

  test('of a service that is not there', async () => {
    const service = await startService();
    const client = service.client();
    await expect(client.health('nobody')).rejects.toMatchObject({ code: 5 });
    expect(await client.health('envoy.service.auth.v3.Authorization')).toBe(1);
    await service.close();
  });
});

test('numbers for Prometheus', async () => {
  const service = await startService();
  const client = service.client();
  await client.check(message(peer(API, 40_000, API_ID), DB_PEER));
  await client.check(message(peer(API, 40_000), DB_PEER));
  await client.check(message(peer(API, 40_000, WEB_ID), DB_PEER));
  const page = await serveMetrics(service.metrics, '127.0.0.1', 0, () => service.server.isServing);
  const get = async (path: string, method = 'GET'): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://127.0.0.1:${page.port}${path}`, { method });
    return { status: response.status, text: await response.text() };
  };
  const { status, text } = await get('/metrics');
  expect(status).toBe(200);
  const lines = text.split('\n');
  for (const line of [
    'margay_authz_checks_total{code="OK"} 2',
    'margay_authz_checks_total{code="PERMISSION_DENIED"} 1',
    'margay_authz_denials_total{factor="identity"} 1',
    'margay_authz_allowed_on_one_factor_total{remark="plaintext"} 1',
    'margay_authz_check_seconds_count 3',
    'margay_authz_loaded{what="endpoints"} 3',
    'margay_authz_loaded{what="policies"} 1',
    'margay_authz_reloads_total{result="taken"} 0',
  ]) {
    expect(lines).toContain(line);
  }
  expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
  service.server.use(undefined);
  expect(await get('/healthz')).toEqual({ status: 503, text: 'not serving\n' });
  expect((await get('/x')).status).toBe(404);
  expect((await get('/metrics', 'POST')).status).toBe(405);
  await page.close();
  await service.close();
});

test('what the options add to Calico', async () => {
  const service = await startService();
  const client = service.client();
  const answers = async (options: Parameters<typeof authorizerFor>[1]): Promise<(string | undefined)[]> => {
    const authorizer: Authorizer = authorizerFor(AUTHORIZER_TEXT, options);
    service.server.use(authorizer);
    const principals = [API_ID, undefined, 'cn=api', account('app', 'api', 'other.domain')];
    return Promise.all(
      principals.map(async (principal) => {
        const { status } = await client.check(message(peer(API, 1, principal), DB_PEER));
        return (status.code ?? 0) === OK ? 'OK' : status.message;
      }),
    );
  };
  const required = 'denied: identity-required at np:app/p, factor identity';
  const foreign = 'denied: trust-domain at np:app/p, factor identity';
  expect(await answers({})).toEqual(['OK', 'OK', 'OK', 'OK']);
  expect(await answers({ requireIdentity: true })).toEqual(['OK', required, required, 'OK']);
  expect(await answers({ trustDomains: ['cluster.local'] })).toEqual(['OK', 'OK', 'OK', foreign]);
  expect(await answers({ trustDomains: ['cluster.local', 'other.domain'] })).toEqual(['OK', 'OK', 'OK', 'OK']);
  // A sidecar's view: whatever the destination address, the pod is known.
  service.server.use(authorizerFor(AUTHORIZER_TEXT, { endpoint: 'app/db' }));
  expect(await client.code(message(peer(API, 1, API_ID), peer('127.0.0.1', 80)))).toBe(OK);
  expect(await client.code(message(peer(WEB, 1, WEB_ID), peer('127.0.0.1', 80)))).toBe(PERMISSION_DENIED);
  await service.close();
});
