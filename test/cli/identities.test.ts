/** Identities files on the command line: what `dump` writes, `--identities` reads back, with the answers of the manifests byte for byte. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capture, LESSONS, lesson, margay } from './support.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-identities-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function dumped(name: string): Promise<string> {
  const { stdout, code } = await margay(['identities', 'dump', ...lesson(name), '-q']);
  expect(code).toBe(0);
  expect(stdout).not.toBe('');
  return write(`${name}.jsonl`, stdout);
}

describe.each(LESSONS)('%s through an identities file', (name) => {
  test.each([
    ['replay', '-o', 'json'],
    ['replay', '--packets', '-o', 'jsonl'],
    ['replay', '--summary', '--stateless'],
  ])('%s %s %s %s gives the same bytes as the manifests', async (...verb) => {
    const file = await dumped(name);
    const alone = await margay([...verb.filter(Boolean), ...capture(name)]);
    const withFile = await margay([...verb.filter(Boolean), ...capture(name), '--identities', file]);
    expect(withFile).toEqual(alone);
    expect(alone.stdout.length).toBeGreaterThan(100);
  });

  test('explain gives the same, and dump of the file is the file', async () => {
    const file = await dumped(name);
    const packet = ['explain', ...capture(name), '--packet', '1'];
    expect(await margay([...packet, '--identities', file])).toEqual(await margay(packet));
    const again = await margay(['identities', 'dump', '--identities', file]);
    expect(again.stdout).toBe((await margay(['identities', 'dump', ...lesson(name), '-q'])).stdout);
  });
});

describe('an identities file', () => {
  const LINE = { ip: '10.0.0.5', namespace: 'a', pod: 'p', node: 'n' };

  test.each([
    ['no JSON', '{', 'ids.jsonl:1: no JSON'],
    ['no address', JSON.stringify({ ...LINE, ip: '010.0.0.5' }), "'ip' is no IP address"],
    [
      'bounds the wrong way',
      JSON.stringify({ ...LINE, from: '2026-01-02T00:00:00Z', to: '2026-01-01T00:00:00Z' }),
      "'to' is not after 'from'",
    ],
    ['a time that is none', JSON.stringify({ ...LINE, from: '2026-02-30T00:00:00Z' }), "'from' is no time"],
    ['a label that is no text', JSON.stringify({ ...LINE, labels: { a: 1 } }), 'a value that is no text'],
    ['no pod', JSON.stringify({ ...LINE, pod: '' }), "'pod' is missing"],
  ])('with %s is refused with its line', async (_what, text, message) => {
    const path = write('ids.jsonl', `${text}\n`);
    const { code, stderr } = await margay([
      'eval',
      ...lesson('sa-names'),
      '--identities',
      path,
      '--src',
      '10.0.0.5',
      '--dst',
      '10.0.0.6',
      '--port',
      '1',
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  test('that is not there is named', async () => {
    const { code, stderr } = await margay([
      'eval',
      ...lesson('sa-names'),
      '--identities',
      'nowhere.jsonl',
      '--src',
      '10.0.0.5',
      '--dst',
      '10.0.0.6',
      '--port',
      '1',
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain("'nowhere.jsonl' does not exist");
  });

  test('decides by --at who owned an address', async () => {
    const path = write(
      'at.jsonl',
      [
        { ...LINE, pod: 'old', to: '2026-01-01T00:00:10Z' },
        { ...LINE, pod: 'new', from: '2026-01-01T00:00:10Z' },
      ]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    );
    const ownerAt = async (at: string): Promise<unknown> => {
      const { stdout } = await margay([
        'eval',
        ...lesson('sa-names'),
        '-q',
        '--identities',
        path,
        '--at',
        at,
        '--src',
        '10.0.0.5',
        '--dst',
        '192.0.2.1',
        '--port',
        '1',
        '-o',
        'json',
      ]);
      return (JSON.parse(stdout) as { source_name: unknown }).source_name;
    };
    expect(await ownerAt('2026-01-01T00:00:09.999999Z')).toBe('old');
    expect(await ownerAt('2026-01-01T00:00:10Z')).toBe('new');
    const { stdout } = await margay(['identities', 'show', '10.0.0.0/24', '--identities', path]);
    expect(stdout).toContain('a/old');
    expect(stdout).toContain('a/new');
    const shown = await margay([
      'identities',
      'show',
      '10.0.0.5',
      '--identities',
      path,
      '--at',
      '2026-01-01T00:00:00Z',
      '-o',
      'json',
    ]);
    expect((JSON.parse(shown.stdout) as { pod: string }[]).map(({ pod }) => pod)).toEqual(['old']);
  });

  test('beside --redis is a contradiction', async () => {
    const { code, stderr } = await margay([
      'eval',
      ...lesson('sa-names'),
      '--identities',
      'x',
      '--redis',
      'redis://h',
      '--src',
      '10.0.0.5',
      '--dst',
      '10.0.0.6',
      '--port',
      '1',
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain('exclude each other');
  });
});

test('a password in the URL is refused, and not repeated', async () => {
  const { code, stderr } = await margay(['identities', 'show', '--redis', 'redis://u:s3cret@127.0.0.1:1']);
  expect(code).toBe(2);
  expect(stderr).toContain('MARGAY_REDIS_PASSWORD_FILE');
  expect(stderr).not.toContain('s3cret');
});
