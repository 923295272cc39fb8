/** The program as a process: its own build, standard input, pipes that close, Ctrl-C. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capture, lesson } from './support.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');

let folder: string;
let main: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-process-'));
  main = join(folder, 'dist/cli/main.js');
  for (const name of ['package.json', 'node_modules']) symlinkSync(join(REPOSITORY, name), join(folder, name));
  const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
  const args = [tsc, '-p', join(REPOSITORY, 'tsconfig.json'), '--outDir', join(folder, 'dist')];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true }));

function margay(args: readonly string[], input?: string | Buffer, env: NodeJS.ProcessEnv = {}) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: REPOSITORY,
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
  });
  return { status, signal, stdout, stderr };
}

test('prints the version of package.json', () => {
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8'));
  expect(margay(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
});

test('a capture from standard input gives what the file gives', () => {
  const [, path] = capture('sa-names').slice(-2) as [string, string];
  const piped = margay(['replay', ...lesson('sa-names'), '-r', '-', '--packets', '-o', 'jsonl'], readFileSync(path));
  const read = margay(['replay', ...capture('sa-names'), '--packets', '-o', 'jsonl']);
  expect(piped.stdout).toBe(read.stdout);
  expect(piped.stdout.split('\n')).toHaveLength(223);
  expect(piped.status).toBe(0);
});

test('a slow reader of a long answer fills no memory', () => {
  const output = join(folder, 'dist/cli/output.js');
  const script = `
    import { processOutput } from ${JSON.stringify(output)};
    const { stdout } = processOutput();
    let queued = 0;
    for (let i = 0; i < 64; i++) {
      stdout.write('x'.repeat(1 << 20));
      queued = Math.max(queued, process.stdout.writableLength);
    }
    process.stderr.write(String(queued));`;
  const args = ['--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  expect(stdout).toHaveLength(64 << 20);
  expect(stderr).toBe('0');
});

test('manifests and flows come from standard input', () => {
  const manifests = ['cluster', 'policies']
    .map((name) => readFileSync(`pcaps/sa-names/${name}.yaml`, 'utf8'))
    .join('---\n');
  expect(margay(['validate', '-f', '-'], manifests)).toMatchObject({
    status: 0,
    stdout: '21 objects valid, 0 errors, 0 warnings\n',
  });
  const line = '{"id":1,"src":"10.244.1.10","dst":"10.244.2.10","dst_port":5432}\n';
  const { stdout } = margay(['eval', ...lesson('sa-names'), '--flows', '-', '-o', 'jsonl'], line.repeat(2000));
  const records = stdout
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text));
  expect(records).toHaveLength(2000);
  expect(new Set(records.map(({ action }) => action))).toEqual(new Set(['allow']));
});

test('explains a packet of standard input', () => {
  const bytes = readFileSync('pcaps/sa-names/capture.pcapng');
  const { stdout, status } = margay(['explain', ...lesson('sa-names'), '-r', '-', '--packet', '2'], bytes);
  expect(stdout).toMatch(/^Packet 2 \(.*\) is allowed\.\n\ntcp 10\.244\.1\.10:40001 -> 10\.244\.2\.10:5432 is allowed/);
  expect(status).toBe(0);
});

describe('a reader that has seen enough', () => {
  test.each([
    ['replay', ...capture('sa-names'), '--packets', '-o', 'jsonl'],
    ['eval', ...lesson('sa-names'), '--flows', 'flows', '-o', 'jsonl'],
  ])('is no error of %s', async (...words) => {
    const flows = join(folder, 'flows.jsonl');
    const line = '{"src":"10.244.1.10","dst":"10.244.2.10","dst_port":5432}\n';
    const { writeFileSync } = await import('node:fs');
    writeFileSync(flows, line.repeat(20_000));
    const args = words.map((word) => (word === 'flows' ? flows : word));
    const child = spawn(process.execPath, [main, ...args], { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (piece) => {
      stderr += piece;
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
      child.on('close', (...result) => resolve(result));
    });
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  });
});

test('Ctrl-C prints the totals so far and exits 130', async () => {
  const args = [main, 'replay', ...lesson('sa-names'), '-r', '-', '--packets', '-o', 'json'];
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (piece) => {
    stdout += piece;
  });
  child.stderr.on('data', (piece) => {
    stderr += piece;
  });
  const closed = new Promise<number | null>((resolve) => {
    child.on('close', (code) => resolve(code));
  });
  // A capture that never ends: sections of one, again and again.
  const bytes = readFileSync('pcaps/sa-names/capture.pcapng');
  const feed = (): void => {
    if (child.exitCode === null && child.stdin.writable) child.stdin.write(bytes, () => setImmediate(feed));
  };
  child.stdin.on('error', () => {});
  feed();
  child.stdout.once('data', () => child.kill('SIGINT'));
  expect(await closed).toBe(130);
  const { totals, packets } = JSON.parse(stdout);
  expect(totals.allow + totals.deny + totals.unpoliced + totals.uncertain + totals.undecoded).toBe(totals.packets);
  expect(packets).toHaveLength(totals.packets);
  expect(stderr).toContain('interrupted: the answer covers what was read up to here');
});

test('Ctrl-C ends a replay whose input has gone quiet', async () => {
  const args = [main, 'replay', ...lesson('sa-names'), '-r', '-', '--packets', '-o', 'jsonl'];
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  const closed = new Promise<number | null>((resolve) => {
    child.on('close', (code) => resolve(code));
  });
  child.stdout.on('data', (piece) => {
    stdout += piece;
    // Every packet that was written has been answered, without waiting for more.
    if (stdout.split('\n').length > 222) child.kill('SIGINT');
  });
  child.stdin.write(readFileSync('pcaps/sa-names/capture.pcapng'));
  expect(await closed).toBe(130);
});

test('a full disk is trouble at run time, not success', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [main, 'replay', ...capture('sa-names'), '-o', 'json'], {
    cwd: REPOSITORY,
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  expect(stderr).toContain('ENOSPC');
  expect(status).toBe(4);
});

test('NO_COLOR or no terminal: no colour', () => {
  expect(margay(['replay', ...capture('sa-names')]).stdout).not.toContain('\u001b');
});
