/** The HTTP side of the agent: what it answers, and what it refuses, over real sockets. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, type Socket } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentStatus, FlowEntry, RateStep } from '../../src/agent/api.ts';
import { readAssets } from '../../src/agent/assets.ts';
import { FlowStore } from '../../src/agent/flow-store.ts';
import { AgentHttp, type AgentView, type HttpOptions } from '../../src/agent/http.ts';
import { until } from './engine-support.ts';

const TOKEN = 'a-token-of-some-length';
const folder = mkdtempSync(join(tmpdir(), 'margay-http-'));
const open: AgentHttp[] = [];

beforeAll(() => {
  mkdirSync(join(folder, 'page/assets'), { recursive: true });
  writeFileSync(join(folder, 'page/index.html'), '<!doctype html><p>page');
  writeFileSync(join(folder, 'page/assets/index-AbCdEf12.js'), 'export {}');
  writeFileSync(join(folder, 'secret.txt'), 'not for anybody');
  symlinkSync(join(folder, 'secret.txt'), join(folder, 'page/link.txt'));
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const STATUS = { version: '1', banners: [] } as unknown as AgentStatus;
const flows = new FlowStore(10);

const VIEW: AgentView = {
  status: () => STATUS,
  rates: () => ({ steps: [] }),
  flows: (filter, limit, before) => flows.page(filter, limit, before),
  flow: async (id) => (id === 'known' ? { ...({} as FlowEntry), id, steps: [], text: '<img onerror=x>' } : undefined),
  policies: async () => new TextEncoder().encode('{"generation":1,"tiers":[]}'),
  graph: () => ({ nodes: [], edges: [] }),
  findings: () => ({ findings: [], total: 0 }),
  findingsCapture: async () => new Uint8Array([1, 2, 3]),
  config: () => [],
  metrics: async () => 'margay_build_info 1\n',
  health: () => ({ isHealthy: true, reasons: [] }),
  readiness: () => ({ isReady: false, reasons: [{ kind: 'stale-policy', text: 'policies.yaml:3: broken' }] }),
};

async function serve(options: Partial<HttpOptions> = {}, view: Partial<AgentView> = {}): Promise<AgentHttp> {
  const all: HttpOptions = {
    host: '127.0.0.1',
    port: 0,
    token: undefined,
    tls: undefined,
    allowedHosts: [],
    assets: readAssets(join(folder, 'page')),
    ...options,
  };
  const http = new AgentHttp({ ...VIEW, ...view }, all);
  await http.listen(all);
  open.push(http);
  return http;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** A request as it is: no path is put in order on the way. */
function ask(
  http: AgentHttp,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { port, protocol } = new URL(http.url);
  const send = protocol === 'https:' ? requestTls : request;
  return new Promise((resolve, reject) => {
    const asked = send(
      { host: '127.0.0.1', port, path, method, headers, agent: false, rejectUnauthorized: false },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts).toString('utf8'),
          }),
        );
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

function socketTo(http: AgentHttp): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(http.url).port), '127.0.0.1', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Resolves with what came when the other side has closed. */
function closed(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (part: Buffer) => {
    text += part.toString('latin1');
  });
  socket.on('error', () => {});
  return new Promise((resolve) => socket.once('close', () => resolve(text)));
}

describe('what is answered', () => {
  test('API, metrics, health, page, each with the headers that browsers obey', async () => {
    const http = await serve();
    const paths: readonly (readonly [string, number, RegExp])[] = [
      ['/api/v1/status', 200, /json/],
      ['/api/v1/rates', 200, /json/],
      ['/api/v1/flows', 200, /json/],
      ['/api/v1/flows/known', 200, /json/],
      ['/api/v1/flows/gone', 404, /json/],
      ['/api/v1/policies', 200, /json/],
      ['/api/v1/graph', 200, /json/],
      ['/api/v1/findings', 200, /json/],
      ['/api/v1/findings.pcapng', 200, /pcapng/],
      ['/api/v1/config', 200, /json/],
      ['/api/v1/nothing', 404, /json/],
      ['/metrics', 200, /text\/plain; version=0\.0\.4/],
      ['/healthz', 200, /json/],
      ['/readyz', 503, /json/],
      ['/', 200, /html/],
      ['/assets/index-AbCdEf12.js', 200, /javascript/],
      ['/nothing', 404, /text/],
    ];
    for (const [path, status, type] of paths) {
      const answer = await ask(http, path);
      expect(answer, path).toMatchObject({ status });
      expect(answer.headers['content-type'], path).toMatch(type);
      expect(answer.headers['content-security-policy'], path).toMatch(/^default-src 'self';/);
      expect(answer.headers['x-content-type-options'], path).toBe('nosniff');
      expect(answer.headers['access-control-allow-origin'], path).toBeUndefined();
    }
    const ready = JSON.parse((await ask(http, '/readyz')).body);
    expect(ready).toEqual({ isReady: false, reasons: [{ kind: 'stale-policy', text: 'policies.yaml:3: broken' }] });
  });

  test('what attackers wrote stays text of JSON', async () => {
    const http = await serve();
    const answer = await ask(http, '/api/v1/flows/known');
    expect(JSON.parse(answer.body).text).toBe('<img onerror=x>');
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
  });

  test('numbers of a query are checked', async () => {
    const http = await serve();
    for (const query of ['limit=x', 'limit=0', 'limit=-1', 'before=1.5', 'port=http', 'limit=99999999999999999999']) {
      expect((await ask(http, `/api/v1/flows?${query}`)).status, query).toBe(400);
    }
    expect((await ask(http, '/api/v1/flows?limit=999999&port=443&verdict=deny')).status).toBe(200);
  });

  test('an asset that is known is not sent again', async () => {
    const http = await serve();
    const { headers } = await ask(http, '/');
    const again = await ask(http, '/', { headers: { 'if-none-match': String(headers.etag) } });
    expect([again.status, again.body]).toEqual([304, '']);
    expect((await ask(http, '/assets/index-AbCdEf12.js')).headers['cache-control']).toContain('immutable');
  });

  test('without a built page a hint stands there', async () => {
    const http = await serve({ assets: readAssets(join(folder, 'no-such-folder')) });
    const answer = await ask(http, '/');
    expect(answer.body).toContain('npm run build');
    expect(answer.headers['content-security-policy']).toMatch(/^default-src 'self'/);
  });

  test('a fault of ours is a 500 that says so, and the next question is answered', async () => {
    const http = await serve(
      {},
      {
        graph: () => {
          throw new Error('a broken edge');
        },
      },
    );
    const answer = await ask(http, '/api/v1/graph');
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      500,
      { error: "a fault of margay's own: a broken edge" },
    ]);
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
  });
});

describe('events', () => {
  const STEP: RateStep = { time: 1, allow: 1, deny: 0, unpoliced: 0, uncertain: 0, undecoded: 0, lost: 0 };

  test('come to everyone who listens, up to a bound; one that goes away makes room', async () => {
    const http = await serve();
    const sockets: Socket[] = [];
    for (let i = 0; i < 32; i++) {
      const socket = await socketTo(http);
      socket.on('error', () => {});
      socket.write('GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
      sockets.push(socket);
    }
    await until('32 listen', () => http.listeners === 32);
    expect((await ask(http, '/api/v1/events')).status).toBe(503);
    let text = '';
    sockets[0]!.on('data', (part: Buffer) => {
      text += part.toString('utf8');
    });
    http.tick(STATUS, STEP);
    await until(
      'both events',
      () => text.includes('event: status\n') && text.includes(`data: ${JSON.stringify(STEP)}\n`),
    );
    sockets[1]!.destroy();
    await until('one went', () => http.listeners === 31);
    for (const socket of sockets) socket.destroy();
    await until('all went', () => http.listeners === 0);
  });

  test('are none for who asks for the headers alone', async () => {
    const http = await serve();
    const socket = await socketTo(http);
    let text = '';
    socket.on('data', (part: Buffer) => {
      text += part.toString('utf8');
    });
    for (let i = 1; i <= 40; i++) {
      socket.write('HEAD /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await until('an answer', () => text.split('HTTP/1.1 200 OK').length === i + 1);
    }
    expect(http.listeners).toBe(0);
    socket.destroy();
  });

  // A page that is open in a tab that sleeps must not fill the memory.
  test('are left out for a listener that does not read', async () => {
    const http = await serve();
    const socket = await socketTo(http);
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until('it listens', () => http.listeners === 1);
    const large = { ...STATUS, version: 'x'.repeat(1 << 20) };
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 200 && http.listeners > 0; i++) {
      http.tick(large, STEP);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(120 * 2 ** 20);
    socket.destroy();
  });
});

describe('what is refused', () => {
  test('every path that is not exactly one of ours, whatever is written for a dot or a slash', async () => {
    const http = await serve();
    const paths = [
      '/../secret.txt',
      '/../../../../etc/passwd',
      '/%2e%2e/secret.txt',
      '/%2e%2e%2fsecret.txt',
      '/..%2fsecret.txt',
      '/..%5csecret.txt',
      '/assets/../../secret.txt',
      '/assets/%2e%2e/%2e%2e/secret.txt',
      '/assets//index-AbCdEf12.js',
      '//etc/passwd',
      '/%00',
      '/index.html%00.js',
      '/%c0%ae%c0%ae/secret.txt',
      '/link.txt',
      '/assets',
      '/assets/',
      '/api/v1/flows/..%2f..%2fsecret.txt',
      'http://localhost/../secret.txt',
    ];
    for (const path of paths) {
      const answer = await ask(http, path);
      expect([400, 404], path).toContain(answer.status);
      expect(answer.body, path).not.toContain('not for anybody');
      expect(answer.body, path).not.toContain('root:');
    }
  });

  test('methods that would change something', async () => {
    const http = await serve();
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const answer = await ask(http, '/api/v1/status', { method });
      expect([answer.status, answer.headers.allow], method).toEqual([405, 'GET, HEAD']);
    }
    const { status, body } = await ask(http, '/api/v1/status', { method: 'HEAD' });
    expect([status, body]).toEqual([200, '']);
  });

  test('a name that is none of ours: a page elsewhere made its name lead here', async () => {
    const http = await serve({ allowedHosts: ['margay.example'] });
    const statusOf = async (host: string): Promise<number> =>
      (await ask(http, '/api/v1/status', { headers: { host } })).status;
    for (const host of ['localhost', 'localhost:9099', '127.0.0.1:80', '[::1]:80', 'LOCALHOST', 'margay.example:1']) {
      expect(await statusOf(host), host).toBe(200);
    }
    const foreign = [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '10.0.0.1',
      'evil@localhost',
      'a:b:c',
      hostname(),
    ];
    for (const host of foreign) expect([400, 421], host).toContain(await statusOf(host));
    expect(await statusOf('evil.example')).toBe(421);
    const socket = await socketTo(http);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    expect(await closed(socket)).toMatch(/^HTTP\/1\.[01] 4\d\d /);
  });

  test('whoever has no token, but for whether it lives', async () => {
    const http = await serve({ token: TOKEN, host: '0.0.0.0' });
    const bearer = (token: string): { headers: Record<string, string> } => ({
      headers: { authorization: `Bearer ${token}` },
    });
    const refused = await ask(http, '/api/v1/status');
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm="margay", charset="UTF-8"',
    ]);
    for (const path of ['/', '/metrics', '/api/v1/events', '/assets/index-AbCdEf12.js', '/nothing']) {
      expect((await ask(http, path)).status, path).toBe(401);
    }
    for (const token of ['', 'x', TOKEN.slice(1), `${TOKEN}x`]) {
      expect((await ask(http, '/api/v1/status', bearer(token))).status, token).toBe(401);
    }
    expect((await ask(http, '/api/v1/status', bearer(TOKEN))).status).toBe(200);
    const basic = `Basic ${Buffer.from(`anyone:${TOKEN}`).toString('base64')}`;
    expect((await ask(http, '/', { headers: { authorization: basic } })).status).toBe(200);
    // Probes have no token; reasons have names in them.
    expect(JSON.parse((await ask(http, '/readyz')).body)).toEqual({ isReady: false });
    expect(JSON.parse((await ask(http, '/readyz', bearer(TOKEN))).body).reasons).toHaveLength(1);
    expect((await ask(http, '/healthz')).status).toBe(200);
  });

  test('headers that are too long or too many', async () => {
    const http = await serve();
    expect((await ask(http, '/api/v1/status', { headers: { 'x-long': 'x'.repeat(64 << 10) } })).status).toBe(431);
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`x-${i}`, 'y']));
    expect([400, 431]).toContain((await ask(http, '/api/v1/status', { headers: many })).status);
    expect((await ask(http, `/${'x'.repeat(64 << 10)}`)).status).toBe(431);
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
  });

  test('headers that come a byte at a time', async () => {
    const limits = { headersTimeoutMs: 300, requestTimeoutMs: 400, checkMs: 50 };
    const http = await serve({ limits });
    const sockets = await Promise.all(Array.from({ length: 20 }, () => socketTo(http)));
    const ends = sockets.map(closed);
    for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n');
    const drip = setInterval(() => {
      for (const socket of sockets) if (!socket.destroyed) socket.write('X');
    }, 20);
    // Answered while they drip.
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
    const texts = await Promise.all(ends);
    clearInterval(drip);
    for (const text of texts) expect(text).toMatch(/^(HTTP\/1\.1 408|$)/);
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
  });

  test('connections that say nothing', async () => {
    const http = await serve({
      limits: { requestTimeoutMs: 200, keepAliveMs: 100, headersTimeoutMs: 200, checkMs: 50 },
    });
    const socket = await socketTo(http);
    await closed(socket);
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
  });

  test('a thousand connections: those beyond the bound are dropped, and there is room again when they are gone', async () => {
    const http = await serve();
    const sockets: Socket[] = [];
    let ended = 0;
    for (let i = 0; i < 1_000; i++) {
      const socket = await socketTo(http);
      socket.on('error', () => {});
      socket.on('close', () => ended++);
      socket.resume();
      sockets.push(socket);
    }
    await until('the rest is dropped', () => ended >= 1_000 - 128);
    expect(ended).toBeLessThan(1_000);
    for (const socket of sockets) socket.destroy();
    await until('there is room', () => sockets.every((socket) => socket.destroyed));
    let status = 0;
    await until('it answers', () => {
      void ask(http, '/api/v1/status').then(
        (answer) => {
          status = answer.status;
        },
        () => {},
      );
      return status === 200;
    });
  });

  test('what is no HTTP', async () => {
    const http = await serve();
    for (const text of [
      '\u0016\u0003\u0001\u0002\u0000',
      'GET\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
    ]) {
      const socket = await socketTo(http);
      const end = closed(socket);
      socket.write(text, 'latin1');
      socket.end();
      expect(await end).not.toMatch(/^HTTP\/1\.1 200/);
    }
    expect((await ask(http, '/api/v1/status')).status).toBe(200);
  });
});

test('TLS, where a certificate is given; plain text is then no HTTP', async ({ skip }) => {
  try {
    execFileSync(
      'openssl',
      `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost -keyout key.pem -out cert.pem`.split(
        ' ',
      ),
      { cwd: folder, stdio: 'pipe' },
    );
  } catch {
    skip('openssl is not installed');
  }
  const tls = {
    cert: readFileSync(join(folder, 'cert.pem'), 'utf8'),
    key: readFileSync(join(folder, 'key.pem'), 'utf8'),
  };
  const http = await serve({ tls });
  expect(http.url).toMatch(/^https:/);
  expect((await ask(http, '/api/v1/status')).status).toBe(200);
  const socket = await socketTo(http);
  const end = closed(socket);
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(await end).not.toMatch(/200 OK/);
});
