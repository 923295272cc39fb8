/** `identities publish` and `watch` as processes: files that change, Ctrl-C, and nothing secret in the process list. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hasRedis, RedisServer, until } from '../identity/support/redis-server.ts';
import { builtSources, removeBuiltSources } from '../support/built.ts';
import { margay } from './support.ts';

describe.skipIf(!hasRedis)('identities as processes', () => {
  let redis: RedisServer;
  let folder: string;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    redis = await RedisServer.start({ config: ['requirepass very-s3cret'] });
    folder = mkdtempSync(join(tmpdir(), 'margay-identities-'));
    builtSources();
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  afterAll(async () => {
    await redis.stop();
    rmSync(folder, { recursive: true });
    removeBuiltSources();
  });

  function start(...args: string[]): {
    child: ChildProcess;
    out: () => string;
    err: () => string;
    ended: Promise<number | null>;
  } {
    const file = join(folder, 'secret');
    writeFileSync(file, 'very-s3cret\n');
    const child = spawn(
      process.execPath,
      [join(builtSources(), 'cli', 'main.js'), ...args, '--redis', redis.url, '--cluster', 'files'],
      {
        env: { ...process.env, MARGAY_REDIS_PASSWORD_FILE: file },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    children.push(child);
    const text = { out: '', err: '' };
    child.stdout!.on('data', (data) => {
      text.out += data;
    });
    child.stderr!.on('data', (data) => {
      text.err += data;
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { child, out: () => text.out, err: () => text.err, ended };
  }

  test('what changes in a file is published and seen, and Ctrl-C ends both', async () => {
    const file = join(folder, 'cluster.yaml');
    copyFileSync('pcaps/sa-names/cluster.yaml', file);
    const publish = start('identities', 'publish', '-f', file);
    const watch = start('identities', 'watch', '-o', 'jsonl');
    const said = (): string => `${publish.err()}\n${watch.err()}\n${watch.out()}`;
    await until(() => watch.out().includes('"op":"snapshot"'), 60_000, said);
    writeFileSync(file, readFileSync(file, 'utf8').replaceAll('10.244.1.11', '10.244.1.99'));
    await until(() => watch.out().includes('"key":"10.244.1.99"') && watch.out().includes('"op":"del"'), 60_000, said);
    // A file that does not load: the last good stays published.
    writeFileSync(file, 'kind: [');
    await until(() => publish.err().includes('what is published stays'), 60_000, said);
    for (const { child } of [publish, watch]) {
      expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).not.toContain('s3cret');
    }
    expect(said()).not.toContain('s3cret');
    publish.child.kill('SIGINT');
    watch.child.kill('SIGINT');
    expect(await publish.ended).toBe(0);
    expect(await watch.ended).toBe(0);
    process.env.MARGAY_REDIS_PASSWORD = 'very-s3cret';
    const shown = await margay(['identities', 'show', '10.244.1.99', '--redis', redis.url, '--cluster', 'files']);
    delete process.env.MARGAY_REDIS_PASSWORD;
    expect(shown.stdout).toContain('prod-engineering/web-0');
  });
});
