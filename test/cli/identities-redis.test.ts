/** The command line over a real Redis: publish and load, judge, dump, show, watch; TLS, users, passwords, ACLs, signatures. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { capture, LESSONS, lesson, margay } from './support.ts';

describe.skipIf(!hasRedis)('identities through Redis', () => {
  let redis: RedisServer;
  let folder: string;
  beforeAll(async () => {
    redis = await RedisServer.start();
    folder = mkdtempSync(join(tmpdir(), 'margay-identities-'));
  });
  afterAll(async () => {
    await redis.stop();
    rmSync(folder, { recursive: true });
  });

  /** The policies of a lesson alone: no pod, no account, no namespace. */
  function policiesOf(name: string): string {
    const documents = readFileSync(`pcaps/${name}/cluster.yaml`, 'utf8').split(/^---$/m);
    const kept = documents.filter((text) => !/^kind: (Pod|ServiceAccount|Namespace)$/m.test(text));
    const path = join(folder, `${name}.yaml`);
    writeFileSync(path, kept.join('---\n'));
    return path;
  }

  test.each(LESSONS)(
    '%s: a capture has the same bytes through Redis, through a file and by the manifests',
    async (name) => {
      const from = ['--redis', redis.url, '--cluster', name];
      const published = await margay(['identities', 'publish', ...lesson(name), ...from, '--once', '-q']);
      expect(published).toEqual({ code: 0, stdout: '', stderr: '' });
      for (const verb of [
        ['replay', '-o', 'json'],
        ['replay', '--packets', '-o', 'jsonl'],
      ]) {
        const alone = await margay([...verb, ...capture(name), '-q']);
        expect(await margay([...verb, ...capture(name), ...from, '-q'])).toEqual(alone);
        const read = [
          '-f',
          policiesOf(name),
          '-f',
          `pcaps/${name}/policies.yaml`,
          '-r',
          `pcaps/${name}/capture.pcapng`,
        ];
        const bare = await margay([...verb, ...read, ...from, '-q']);
        // Where a namespace was written is all that Redis does not know.
        expect(bare.stdout.replaceAll('"(redis):0"', '"?"')).toBe(
          alone.stdout.replace(/"[^"]*cluster\.yaml:\d+"/g, '"?"'),
        );
      }
      const explain = ['explain', ...capture(name), '--packet', '1', '-q'];
      expect(await margay([...explain, ...from])).toEqual(await margay(explain));
      const dumped = await margay(['identities', 'dump', ...from, '-q']);
      expect(dumped).toEqual(await margay(['identities', 'dump', ...lesson(name), '-q']));
    },
  );

  test('an identities file is loaded as at a moment', async () => {
    const file = join(folder, 'ids.jsonl');
    const line = { ip: '10.0.0.5', namespace: 'a', node: 'n' };
    writeFileSync(
      file,
      [
        { ...line, pod: 'old', to: '2026-01-01T00:00:00Z' },
        { ...line, pod: 'new', from: '2026-01-01T00:00:00Z' },
      ]
        .map((each) => JSON.stringify(each))
        .join('\n'),
    );
    const to = ['--redis', redis.url, '--cluster', 'loaded'];
    for (const [at, pod] of [
      ['2025-12-31T00:00:00Z', 'old'],
      ['2026-01-02T00:00:00Z', 'new'],
    ] as const) {
      const { code, stderr } = await margay(['identities', 'load', file, ...to, '--at', at]);
      expect(code).toBe(0);
      expect(stderr).toMatch(/published: revision \d+ of epoch/);
      const shown = await margay(['identities', 'show', '10.0.0.5', ...to, '-o', 'jsonl']);
      expect(JSON.parse(shown.stdout)).toMatchObject({ ip: '10.0.0.5', pod });
    }
  });

  test('what is not there is said, with exit code 4', async () => {
    const empty = await margay(['identities', 'show', '--redis', redis.url, '--cluster', 'nobody']);
    expect(empty.code).toBe(4);
    expect(empty.stderr).toContain('holds no identities of this cluster');
    const bad = await margay(['identities', 'show', '--redis', redis.url, '--cluster', 'a b']);
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain('--cluster');
  });

  test('what is signed is checked', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const [sign, verify, other] = ['sign.pem', 'verify.pem', 'other.pem'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(sign, privateKey.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(verify, publicKey.export({ format: 'pem', type: 'spki' }));
    writeFileSync(other, generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }));
    const to = ['--redis', redis.url, '--cluster', 'signed'];
    const publish = ['identities', 'publish', ...lesson('sa-names'), ...to, '--once', '-q'];
    expect((await margay([...publish, '--sign-key', sign])).code).toBe(0);
    const dump = ['identities', 'dump', ...to, '-q'];
    expect(await margay([...dump, '--verify-key', verify])).toEqual(await margay(dump));
    const wrong = await margay([...dump, '--verify-key', other]);
    expect(wrong.code).toBe(4);
    expect(wrong.stderr).toContain('no signature that fits');
    // Someone who may write gives an address to another pod.
    const bucket = (await redis.admin.keys('margay:{signed}:ep:*'))[0]!;
    const [address, value] = Object.entries(await redis.admin.hgetall(bucket))[0]!;
    await redis.admin.hset(bucket, address, value.replace(/\|[^/|]+\//, '|evil/'));
    expect((await margay([...dump, '--verify-key', verify])).code).toBe(4);
    expect((await margay(dump)).code).toBe(0);
    expect((await margay([...dump, '--verify-key', sign.replace('sign.pem', 'nowhere')])).code).toBe(2);
  });
});

/** ACLs as the README gives them. */
const ACLS = /```acl\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))?.[1] ?? '';

describe.skipIf(!hasRedis)('identities through a Redis with TLS and users of the README', () => {
  let redis: RedisServer;
  let folder: string;
  const saved = { ...process.env };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'margay-tls-'));
    certificates(folder);
    writeFileSync(
      join(folder, 'users.acl'),
      ACLS.replaceAll('{C}', '{test}').replace(/#[0-9a-f]+|>[\w-]+/g, (word) => word),
    );
    const tls = [
      'tls-cert-file redis.crt',
      'tls-key-file redis.key',
      'tls-ca-cert-file ca.crt',
      'tls-auth-clients no',
      'aclfile users.acl',
    ];
    redis = await RedisServer.start({ tls: true, directory: folder, config: tls });
    process.env.MARGAY_REDIS_CA_FILE = join(folder, 'ca.crt');
  });
  afterAll(async () => {
    process.env = saved;
    await redis.stop();
  });

  function as(user: string, password = `${user}-password`): string[] {
    const file = join(folder, `${user}.secret`);
    writeFileSync(file, `${password}\n`);
    process.env.MARGAY_REDIS_PASSWORD_FILE = file;
    return ['--redis', redis.url.replace('//', `//${user}@`), '--cluster', 'test'];
  }

  test('the publisher may publish, the reader may read and not write', async () => {
    expect(ACLS).toContain('user margay-reader');
    const published = await margay([
      'identities',
      'publish',
      ...lesson('sa-names'),
      ...as('margay-publisher'),
      '--once',
    ]);
    expect(published.stderr).toContain('published');
    expect(published.code).toBe(0);
    const dumped = await margay(['identities', 'dump', ...as('margay-reader'), '-q']);
    expect(dumped).toEqual(await margay(['identities', 'dump', ...lesson('sa-names'), '-q']));
    const refused = await margay(['identities', 'load', join(folder, 'none.jsonl'), ...as('margay-reader')]);
    expect(refused.code).toBe(2);
  });

  test('a wrong password, no password and a foreign certificate are told apart, and the password never', async () => {
    const wrong = await margay(['identities', 'show', ...as('margay-reader', 'not-my-s3cret')]);
    expect(wrong.code).toBe(4);
    expect(wrong.stderr).toContain('WRONGPASS');
    expect(wrong.stderr).not.toContain('s3cret');
    as('margay-reader');
    delete process.env.MARGAY_REDIS_CA_FILE;
    const untrusted = await margay(['identities', 'show', ...as('margay-reader')]);
    process.env.MARGAY_REDIS_CA_FILE = join(folder, 'ca.crt');
    expect(untrusted.code).toBe(4);
    expect(untrusted.stderr).toMatch(/certificate|self-signed/);
  });
});

function certificates(folder: string): void {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-subj',
    '/CN=test-ca',
    '-days',
    '2',
  );
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'redis.key',
    '-out',
    'redis.csr',
    '-subj',
    '/CN=redis',
  );
  writeFileSync(join(folder, 'ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost');
  openssl(
    'x509',
    '-req',
    '-in',
    'redis.csr',
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-out',
    'redis.crt',
    '-days',
    '2',
    '-extfile',
    'ext',
  );
}
