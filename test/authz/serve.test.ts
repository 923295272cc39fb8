/** `margay authz --listen`: files that change under load, broken ones, and the end of the service. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuthzServer } from '../../src/authz/server.ts';
import { useThreadEntries } from '../../src/base/thread-entry.ts';
import { serveAuthz } from '../../src/cli/authz-serve.ts';
import type { AuthzOptions } from '../../src/cli/commands/authz.ts';
import type { Output } from '../../src/cli/output.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { DB } from '../rows/cluster.ts';
import { AuthzClient, account, message, peer } from './client.ts';
import { API, CLUSTER_TEXT, OTHER_POLICY_TEXT, POLICY_TEXT, scratchFolder, until, WEB } from './service.ts';

const OK = 0;
const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;
const NOT_SERVING = 2;
const DB_PEER = peer(DB, 80, account('app', 'db'));
const FROM_API = message(peer(API, 1, account('app', 'api')), DB_PEER);
const FROM_WEB = message(peer(WEB, 1, account('app', 'web')), DB_PEER);

type Line = Readonly<Record<string, unknown>>;

const REPOSITORY = join(import.meta.dirname, '..', '..');

/** The program, and the thread that it loads in, as src/cli/bundle.mjs bundles them. */
async function bundleTo(outdir: string): Promise<void> {
  const banner = "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);";
  await build({
    absWorkingDir: REPOSITORY,
    entryPoints: { main: 'src/cli/main.ts', 'authz-load-worker': 'src/cli/authz-load-worker.ts' },
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outExtension: { '.js': '.mjs' },
    banner: { js: banner },
  });
}

describe('the input changes', () => {
  const threads = scratchFolder();
  beforeAll(async () => {
    await bundleTo(threads.path('cli'));
    useThreadEntries(`${pathToFileURL(threads.path('cli')).href}/`);
  });
  afterAll(() => {
    useThreadEntries(undefined);
    threads.remove();
  });
  let folder: ReturnType<typeof scratchFolder>;
  let lines: Line[];
  let client: AuthzClient;
  let stop: AbortController;
  let ended: Promise<number>;
  let reload: () => void;
  let metricsPort: number | undefined;

  beforeEach(async () => {
    folder = scratchFolder();
    writeFileSync(folder.path('cluster.yaml'), CLUSTER_TEXT);
    writeFileSync(folder.path('policy.yaml'), POLICY_TEXT);
    lines = [];
    stop = new AbortController();
    const options: AuthzOptions = {
      filename: [folder.path('.')],
      output: 'table',
      metrics: '127.0.0.1:0',
      identityDeadAfter: 300,
    };
    const server = await new Promise<AuthzServer>((resolve, reject) => {
      ended = serveAuthz(options, `unix:${folder.path('s.sock')}`, outputTo(lines), {
        stop: stop.signal,
        onReload: (load) => {
          reload = load;
          return () => {};
        },
        onReady: (ready, port) => {
          metricsPort = port;
          resolve(ready);
        },
      });
      ended.catch(reject);
    });
    client = new AuthzClient(server.address);
  });
  afterEach(async () => {
    client.close();
    stop.abort();
    expect(await ended).toBe(0);
    folder.remove();
  });

  const messagesOf = (): unknown[] => lines.map(({ msg }) => msg);
  const metric = async (name: string): Promise<string | undefined> => {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    return text.split('\n').find((line) => line.startsWith(name));
  };

  test('and is taken by itself, while requests go on', async () => {
    let isChanged = false;
    const codes: [number, number][] = [];
    const asking = (async () => {
      while (!isChanged) {
        const [api, web] = await Promise.all([client.code(FROM_API), client.code(FROM_WEB)]);
        codes.push([api, web]);
        isChanged = api !== OK && web === OK;
      }
    })();
    await until(() => codes.length > 5, 'requests are answered');
    // Beside and then in its place, as careful writers do.
    writeFileSync(folder.path('next'), OTHER_POLICY_TEXT);
    renameSync(folder.path('next'), folder.path('policy.yaml'));
    await until(() => isChanged, 'the new policy is in force');
    await asking;
    // Each answer is that of the old policy or of the new one.
    for (const [api, web] of codes) {
      expect([OK, PERMISSION_DENIED]).toContain(api);
      expect([OK, PERMISSION_DENIED]).toContain(web);
    }
    expect(codes[0]).toEqual([OK, PERMISSION_DENIED]);
    expect(messagesOf()).toContain('reloaded');
    expect(await metric('margay_authz_reloads_total{result="taken"}')).toMatch(/ 1$/);
  });

  test('and is refused when it is broken: the last good policies stay, until it is mended', async () => {
    writeFileSync(folder.path('policy.yaml'), POLICY_TEXT.replace('"Allow"', '"Permit"'));
    reload();
    const refused = 'the changed input is refused; the last good policies stay';
    await until(() => messagesOf().includes(refused), 'the refusal');
    const detail = lines.find(({ msg }) => msg === 'input')!.detail as string;
    expect(detail).toContain('policy.yaml:');
    expect(detail).toContain('Permit');
    expect([await client.code(FROM_API), await client.code(FROM_WEB)]).toEqual([OK, PERMISSION_DENIED]);
    expect(await metric('margay_authz_reloads_total{result="refused"}')).toMatch(/ 1$/);
    expect(await client.health()).toBe(1);

    writeFileSync(folder.path('policy.yaml'), OTHER_POLICY_TEXT);
    reload();
    await until(() => messagesOf().includes('reloaded'), 'the reload');
    expect([await client.code(FROM_API), await client.code(FROM_WEB)]).toEqual([PERMISSION_DENIED, OK]);
  });

  test('and is refused when it is gone', async () => {
    rmSync(folder.path('policy.yaml'));
    rmSync(folder.path('cluster.yaml'));
    reload();
    await until(() => lines.some(({ level }) => level === 'error'), 'the refusal');
    expect([await client.code(FROM_API), await client.code(FROM_WEB)]).toEqual([OK, PERMISSION_DENIED]);
  });

  test('and what the service says of itself when it starts', () => {
    expect(lines[0]).toMatchObject({
      level: 'info',
      msg: 'listening',
      listen: `unix:${folder.path('s.sock')}`,
      metrics: `127.0.0.1:${metricsPort}`,
      endpoints: 3,
      policies: 1,
      require_identity: false,
      trust_domains: [],
    });
  });
});

/** Standard error of a service, its JSON lines parsed. */
function outputTo(lines: Line[]): Output {
  const stream = { write: () => {}, isTerminal: false, columns: undefined };
  return {
    stdout: stream,
    stderr: {
      ...stream,
      write: (text) => {
        if (text.startsWith('{')) lines.push(JSON.parse(text) as Line);
      },
    },
    hasColor: false,
    isClosed: () => false,
    interruptible: () => new AbortController().signal,
    flush: () => {},
  };
}

describe('as a process', () => {
  const folder = scratchFolder();
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    for (const name of ['package.json', 'src']) symlinkSync(join(REPOSITORY, name), folder.path(name));
    await bundleTo(folder.path('dist/cli'));
    writeFileSync(folder.path('cluster.yaml'), `${CLUSTER_TEXT}\n---\n${POLICY_TEXT}`);
  });
  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    children.length = 0;
  });
  afterAll(() => folder.remove());

  async function start(listen: string, more: readonly string[] = []) {
    const input = ['-f', folder.path('cluster.yaml'), ...more];
    const args = [folder.path('dist/cli/main.mjs'), 'authz', ...input, '--listen', listen];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    const text = { stdout: '', stderr: '' };
    child.stdout.on('data', (piece: Buffer) => {
      text.stdout += piece.toString();
    });
    child.stderr.on('data', (piece: Buffer) => {
      text.stderr += piece.toString();
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const lines = (): Line[] =>
      text.stderr
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Line);
    await until(() => lines().some(({ msg }) => msg === 'listening'), `the service listens: ${text.stderr}`);
    return { child, ended, lines, text };
  }

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s with requests under way: each gets its answer or an error',
    async (signal) => {
      const path = folder.path(`${signal}.sock`);
      const { child, ended, lines, text } = await start(`unix:${path}`);
      const client = new AuthzClient(`unix:${path}`);
      expect(await client.code(FROM_API)).toBe(OK);
      let isEnded = false;
      const codes: (number | string)[] = [];
      const ask = async (request: typeof FROM_API): Promise<void> => {
        while (!isEnded) {
          const code = await client.code(request).catch((error: { code: number }) => `error ${error.code}`);
          codes.push(code);
          isEnded ||= typeof code === 'string';
        }
      };
      const asking = Array.from({ length: 20 }, () => ask(FROM_WEB));
      await until(() => codes.length > 100, 'requests are under way');
      child.kill(signal);
      expect(await ended).toBe(0);
      await Promise.all(asking);
      // Denied, or unavailable; nothing else, and never a yes.
      expect([...new Set(codes)].filter((code) => code !== PERMISSION_DENIED && code !== 'error 14')).toEqual([]);
      expect(
        lines()
          .slice(-2)
          .map(({ msg }) => msg),
      ).toEqual(['stopping', 'stopped']);
      expect(text.stdout).toBe('');
      expect(existsSync(path)).toBe(false);
      client.close();
    },
  );

  test('a killed one leaves its socket, which the next one takes', async () => {
    const path = folder.path('again.sock');
    const first = await start(`unix:${path}`);
    first.child.kill('SIGKILL');
    await first.ended;
    expect(existsSync(path)).toBe(true);
    const second = await start(`unix:${path}`);
    const client = new AuthzClient(`unix:${path}`);
    expect(await client.code(FROM_API)).toBe(OK);
    client.close();
    second.child.kill('SIGTERM');
    expect(await second.ended).toBe(0);
  });

  test('of which a second one is turned away with one line', async () => {
    const path = folder.path('twice.sock');
    await start(`unix:${path}`);
    const args = ['authz', '-q', '-f', folder.path('cluster.yaml'), '--listen', `unix:${path}`];
    const second = spawnSync(process.execPath, [folder.path('dist/cli/main.mjs'), ...args], { encoding: 'utf8' });
    expect(second.status).toBe(4);
    const problem = 'another process listens there; stop it or choose another path';
    expect(second.stderr).toBe(`margay: cannot listen on unix:${path}: ${problem}\n`);
  });

  test('a port that is taken, and a folder that is not there, are one line each', async () => {
    const taken = await start('127.0.0.1:0');
    const address = taken.lines().find(({ msg }) => msg === 'listening')!.listen as string;
    for (const listen of [address, `unix:${folder.path('none/x.sock')}`]) {
      const args = ['authz', '-q', '-f', folder.path('cluster.yaml'), '--listen', listen];
      const second = spawnSync(process.execPath, [folder.path('dist/cli/main.mjs'), ...args], { encoding: 'utf8' });
      expect(second.status).toBe(4);
      expect(second.stderr).toMatch(/^margay: cannot listen on [^\n]*\n$/);
    }
  });

  test('SIGHUP loads the input again', async () => {
    writeFileSync(folder.path('cluster.yaml'), `${CLUSTER_TEXT}\n---\n${POLICY_TEXT}`);
    const { child, lines } = await start('127.0.0.1:0');
    const client = new AuthzClient(lines().find(({ msg }) => msg === 'listening')!.listen as string);
    expect(await client.code(FROM_WEB)).toBe(PERMISSION_DENIED);
    writeFileSync(folder.path('cluster.yaml'), `${CLUSTER_TEXT}\n---\n${OTHER_POLICY_TEXT}`);
    child.kill('SIGHUP');
    await until(async () => (await client.code(FROM_WEB)) === OK, 'the new policy is in force');
    client.close();
  });

  test.skipIf(!hasRedis)('a store that is away for too long: everything is denied', { timeout: 60_000 }, async () => {
    const redis = await RedisServer.start();
    const url = redis.url;
    writeFileSync(folder.path('cluster.yaml'), `${CLUSTER_TEXT}\n---\n${POLICY_TEXT}`);
    const store = ['--redis', url, '--cluster', 'c'];
    const program = [process.execPath, folder.path('dist/cli/main.mjs')] as const;
    const publish = ['identities', 'publish', '-f', folder.path('cluster.yaml'), ...store, '--once', '-q'];
    expect(spawnSync(program[0], [program[1], ...publish], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
    const path = folder.path('store.sock');
    const { child, ended, lines } = await start(`unix:${path}`, [...store, '--identity-dead-after', '3']);
    const client = new AuthzClient(`unix:${path}`);
    expect(await client.code(FROM_API)).toBe(OK);
    await redis.stop();
    await until(async () => (await client.code(FROM_API)) === UNAVAILABLE, 'the store counts as away');
    expect(await client.health()).toBe(NOT_SERVING);
    expect(lines().map(({ msg }) => msg)).toContain('the store is away: every request is denied');
    client.close();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});
