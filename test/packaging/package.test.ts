/**
 * The package as a stranger gets it: packed by npm, installed from the tarball into an empty project elsewhere, then
 * imported, type-checked and run there, with nothing of this repository in reach.
 */

import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const REPOSITORY = join(import.meta.dirname, '..', '..');
const TSC = join(REPOSITORY, 'node_modules/typescript/bin/tsc');

let folder: string;
let packed: string[];
let project: string;
let installOutput: string;
let isInstalled = false;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-package-'));
  project = join(folder, 'stranger');
  const copy = copyForPacking();
  run('node', [TSC, '-p', 'tsconfig.json'], copy);
  const [report] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], copy));
  packed = report.files.map((file: { path: string }) => file.path);
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{"name": "stranger", "private": true, "type": "module"}');
  // The optional cap is left out: what a stranger without a compiler gets.
  const flags = ['--omit=optional', '--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=1'];
  const install = spawnSync('npm', ['install', ...flags, join(folder, report.filename)], {
    cwd: project,
    encoding: 'utf8',
  });
  installOutput = `${install.stdout}${install.stderr}`;
  isInstalled = install.status === 0;
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the packed tarball', () => {
  test('holds the program, its types, the lessons and the papers, and nothing else', () => {
    for (const path of [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/cli/main.js',
      'src/authz/authz.proto',
      'src/authz/health.proto',
      'src/agent/deploy/daemonset.yaml',
      'src/agent/deploy/Dockerfile',
      'src/agent/deploy/margay-agent.service',
      'LICENSE',
      'CHANGELOG.md',
      'README.md',
    ]) {
      expect(packed, path).toContain(path);
    }
    expect(packed).toContain('pcaps/sa-names/capture.pcapng');
    const isExpected =
      /^(dist\/|pcaps\/[\w-]+\/|src\/authz\/[\w-]+\.proto$|src\/agent\/deploy\/[\w.-]+$|package\.json$|LICENSE$|CHANGELOG\.md$|README\.md$)/;
    expect(packed.filter((path) => !isExpected.test(path))).toEqual([]);
  });

  test('runs as a command', ({ skip }) => {
    skipWithoutRegistry(skip);
    const version = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')).version;
    expect(run(join(project, 'node_modules/.bin/margay'), ['--version'], project).trim()).toBe(version);
    const lesson = join(project, 'node_modules/margay/pcaps/sa-names');
    const args = ['replay', '-f', lesson, '-r', join(lesson, 'capture.pcapng'), '-o', 'json'];
    const { totals } = JSON.parse(run(join(project, 'node_modules/.bin/margay'), args, project));
    expect(totals.packets).toBeGreaterThan(0);
    expect(totals.allow + totals.deny + totals.unpoliced + totals.uncertain + totals.undecoded).toBe(totals.packets);
  });

  test('serves authorization requests', async ({ skip }) => {
    skipWithoutRegistry(skip);
    const lesson = join(project, 'node_modules/margay/pcaps/sa-names');
    const args = ['authz', '-f', lesson, '--listen', `unix:${join(folder, 'authz.sock')}`];
    const child = spawn(join(project, 'node_modules/.bin/margay'), args, { cwd: project });
    const ended = new Promise((resolve) => child.once('close', resolve));
    const text = await new Promise<string>((resolve) => {
      let all = '';
      child.stderr.on('data', (piece: Buffer) => {
        all += piece.toString();
        if (all.includes('"msg":"listening"')) resolve(all);
      });
      child.once('close', () => resolve(all));
    });
    expect(text).toContain('"msg":"listening"');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  test('works as a library, and its types hold under a strict compiler', ({ skip }) => {
    skipWithoutRegistry(skip);
    writeFileSync(join(project, 'use.ts'), STRANGERS_PROGRAM);
    const flags = ['--strict', '--noEmit', 'false', '--module', 'nodenext', '--target', 'es2022', '--types', ''];
    run('node', [TSC, ...flags, 'use.ts'], project);
    expect(JSON.parse(run('node', ['use.js'], project))).toEqual({
      allowed: 'allow',
      denied: 'deny',
      matches: true,
      column: true,
    });
  });

  test('gives no way to the files inside it', ({ skip }) => {
    skipWithoutRegistry(skip);
    const script = `import('margay/dist/base/ip.js').catch((error) => console.log(error.code))`;
    expect(run('node', ['--input-type=module', '-e', script], project).trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });
});

/** One pod that admits one account, asked about two callers, through the public entry alone. */
const STRANGERS_PROGRAM = `
import { compile, evaluateFlow, loadResources, openTables, parseSelector, PolicyError } from 'margay';

const pod = (name: string, ip: string, account: string): string => \`
apiVersion: v1
kind: Pod
metadata: { name: \${name}, namespace: shop, labels: { app: \${name} } }
spec: { nodeName: n1, serviceAccountName: \${account}, containers: [] }
status: { podIP: \${ip}, podIPs: [{ ip: \${ip} }], phase: Running }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: \${account}, namespace: shop }
---\`;
const text = \`\${pod('db', '10.0.0.1', 'db')}\${pod('api', '10.0.0.2', 'api')}\${pod('web', '10.0.0.3', 'web')}
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - { action: Allow, source: { serviceAccounts: { names: [api] } } }
\`;

const { resources, errors } = loadResources([{ name: 'shop.yaml', text }]);
if (errors.length > 0) throw new Error(JSON.stringify(errors));
const tables = openTables(compile(resources));
const ask = (src: string) => evaluateFlow(tables, { src, dst: '10.0.0.1', protocol: 'tcp', dst_port: 5432 }).action;
const parsed = parseSelector("app in { 'a', 'b' }");
let column = false;
try {
  parseSelector('app =~ 1');
} catch (error) {
  column = error instanceof PolicyError && /column/.test(error.message);
}
const answer = { allowed: ask('10.0.0.2'), denied: ask('10.0.0.3'), matches: parsed.matches({ app: 'b' }), column };
console.log(JSON.stringify(answer));
`;

/** Packing must not meet another test's half-written dist/, so it happens in a copy with a build of its own. */
function copyForPacking(): string {
  const copy = join(folder, 'copy');
  mkdirSync(copy);
  for (const name of ['package.json', 'tsconfig.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'src', 'pcaps']) {
    const path = join(REPOSITORY, name);
    if (existsSync(path)) cpSync(path, join(copy, name), { recursive: true });
  }
  symlinkSync(join(REPOSITORY, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

function skipWithoutRegistry(skip: (note: string) => void): void {
  if (isInstalled) return;
  if (/ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH/.test(installOutput))
    skip('the package registry cannot be reached');
  expect(installOutput).toBe('installed');
}

/** Standard output of a command that must succeed. */
function run(command: string, args: readonly string[], cwd: string): string {
  const path = command === 'node' ? process.execPath : command;
  const { status, error, stdout, stderr } = spawnSync(path, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}
