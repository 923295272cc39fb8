import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureNode, explainNpmFailure, isInstalled } from '../../pcaps/setup.mjs';

const REPOSITORY = join(import.meta.dirname, '..', '..');

describe('whether node_modules satisfies the lock', () => {
  const lock = { packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } };
  const withOptional = { packages: { ...lock.packages, 'node_modules/cap': { version: '0.2.1', optional: true } } };

  test('yes when every version is there', () => {
    expect(isInstalled(lock, { packages: { 'node_modules/a': { version: '1.0.0' } } })).toBe(true);
  });
  test('no when one is missing or differs', () => {
    expect(isInstalled(lock, { packages: {} })).toBe(false);
    expect(isInstalled(lock, { packages: { 'node_modules/a': { version: '1.0.1' } } })).toBe(false);
  });
  test('no when nothing was installed, or an install was interrupted', () => {
    expect(isInstalled(lock, undefined)).toBe(false);
  });
  test('an optional package may be missing, but not differ', () => {
    const a = { 'node_modules/a': { version: '1.0.0' } };
    expect(isInstalled(withOptional, { packages: a })).toBe(true);
    expect(isInstalled(withOptional, { packages: { ...a, 'node_modules/cap': { version: '0.2.0' } } })).toBe(false);
  });
});

describe('one clear line', () => {
  test.each(['18.20.4', '20.18.9', '12.0.0'])('refuses Node.js %s', (version) => {
    expect(() => ensureNode(version)).toThrow(`Node.js ${version} is too old; install Node.js 20.19 or newer`);
  });
  test.each(['20.19.0', '22.0.0'])('accepts Node.js %s', (version) => {
    expect(() => ensureNode(version)).not.toThrow();
  });

  test.each([
    [
      'npm error code EAI_AGAIN\nnpm error syscall getaddrinfo\nnpm error request to https://r/yaml failed',
      'npm cannot reach the package registry (EAI_AGAIN: request to https://r/yaml failed); connect to the network (or set its proxy: npm config set https-proxy URL) and run again',
    ],
    ['npm ERR! code ENOSPC\nnpm ERR! write', 'no space is left on the disk for node_modules; free about 300 MB'],
    [
      'npm error code EACCES\nnpm error path /x\nnpm error mkdir /x',
      'npm may not write here (EACCES: mkdir /x); use a clone that belongs to you',
    ],
    [
      'npm error code EUSAGE\nnpm error',
      'package-lock.json does not fit package.json; run npm install and commit both',
    ],
    ['npm error code EODD\nnpm error odd', 'npm ci failed (EODD: odd); run npm ci to see all of it'],
    ['Killed', 'npm ci failed (npm ci failed without a message); run npm ci to see all of it'],
  ])('explains %j', (output, line) => {
    expect(explainNpmFailure(output).message).toBe(line);
  });
});

// The script itself, in a made-up clone: an `npm` that installs and builds by writing two files, a CLI that prints its
// arguments, and nothing else on the PATH.
describe('npm start', () => {
  const LESSONS = ['sa-names', 'sa-labels', 'sa-selector', 'tiers', 'two-factor'];
  const INSTALL = `write('node_modules/.package-lock.json', { packages: { 'node_modules/a': { version: '1.0.0' } } });`;
  const BUILD = `fs.mkdirSync('dist/cli', { recursive: true });
    fs.writeFileSync('dist/cli/main.js', "console.log('cli', process.argv.slice(2).join(' '))");`;
  let clone: string;

  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(clone, path)), { recursive: true });
    writeFileSync(join(clone, path), text);
  };
  /** Gives the clone an npm whose `ci` and `run build` do as told; each call is kept in npm.log. */
  const provideNpm = (ci: string, build: string): void => {
    write(
      'bin/npm',
      `#!${process.execPath}
const fs = require('node:fs');
const write = (path, data) => {
  fs.mkdirSync('node_modules', { recursive: true });
  fs.writeFileSync(path, JSON.stringify(data));
};
fs.appendFileSync('npm.log', process.argv[2] + '\\n');
if (process.argv[2] === 'ci') { ${ci} } else { ${build} }
`,
    );
    write('bin/package.json', '{"type": "commonjs"}');
    chmodSync(join(clone, 'bin/npm'), 0o755);
  };
  const start = (): { status: number | null; stdout: string; stderr: string } => {
    const { npm_execpath: _, ...rest } = process.env;
    const env = { ...rest, PATH: join(clone, 'bin') };
    return spawnSync(process.execPath, ['pcaps/start.mjs'], { cwd: clone, encoding: 'utf8', env });
  };
  const npmCalls = (): string => readFileSync(join(clone, 'npm.log'), 'utf8').trim().replaceAll('\n', ' ');

  beforeEach(() => {
    clone = mkdtempSync(join(tmpdir(), 'margay-start-'));
    write('package.json', JSON.stringify({ type: 'module', engines: { node: '>=20.19' } }));
    write('package-lock.json', JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } }));
    write('tsconfig.json', '{}');
    write('src/cli/main.ts', '');
    for (const name of LESSONS) write(`pcaps/${name}/capture.pcapng`, '');
    for (const name of ['setup.mjs', 'start.mjs']) {
      copyFileSync(join(REPOSITORY, 'pcaps', name), join(clone, 'pcaps', name));
    }
    provideNpm(INSTALL, BUILD);
  });
  afterEach(() => rmSync(clone, { recursive: true }));

  test('installs, builds and replays every lesson in order', () => {
    write('pcaps/another/capture.pcapng', '');
    const { status, stdout, stderr } = start();
    expect(stderr).toBe('');
    const shown = (verb: string, name: string) => `cli ${verb} -f pcaps/${name} -r pcaps/${name}/capture.pcapng`;
    expect(stdout.match(/^cli .*/gm)).toEqual([
      ...LESSONS.map((name) => shown('replay', name)),
      `${shown('factors', 'two-factor')} --exit-zero`,
      shown('replay', 'another'),
    ]);
    expect(npmCalls()).toBe('ci run');
    expect(status).toBe(0);
  });

  test('does nothing twice', () => {
    start();
    const { status, stdout } = start();
    expect(stdout).toContain('dependencies: up to date\nbuild: up to date\n');
    expect(npmCalls()).toBe('ci run');
    expect(status).toBe(0);
  });

  test('builds the page again after one of its sources changed, of whatever kind', () => {
    write('src/web/page.css', '');
    provideNpm(
      INSTALL,
      `${BUILD} fs.mkdirSync('dist/web', { recursive: true }); fs.writeFileSync('dist/web/report.html', '');`,
    );
    start();
    expect(start().stdout).toContain('build: up to date');
    const later = Date.now() / 1000 + 60;
    utimesSync(join(clone, 'src/web/page.css'), later, later);
    start();
    expect(npmCalls()).toBe('ci run run');
  });

  test('installs again after the lock changed, builds again after a source changed', () => {
    start();
    write('package-lock.json', JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1.0.1' } } }));
    start();
    expect(npmCalls()).toBe('ci run ci run');
    const later = Date.now() / 1000 + 60;
    utimesSync(join(clone, 'src/cli/main.ts'), later, later);
    start();
    expect(npmCalls()).toBe('ci run ci run ci run');
  });

  test('removes outputs whose source is gone, and leaves the web page', () => {
    start();
    for (const path of ['dist/old/gone.js', 'dist/old/gone.d.ts', 'dist/web/page.js']) write(path, '');
    start();
    expect(['dist/old/gone.js', 'dist/old/gone.d.ts'].some((path) => existsSync(join(clone, path)))).toBe(false);
    expect(existsSync(join(clone, 'dist/web/page.js'))).toBe(true);
  });

  test.each<[string, () => void, string]>([
    [
      'npm is missing',
      () => rmSync(join(clone, 'bin/npm')),
      'npm is missing; install it beside Node.js (Debian: apt-get install npm)',
    ],
    [
      'npm cannot install',
      () => provideNpm(`console.error('npm error code ENOSPC'); process.exit(1);`, BUILD),
      'no space is left on the disk for node_modules; free about 300 MB',
    ],
    [
      'the build fails',
      () => provideNpm(INSTALL, 'process.exit(2);'),
      'the build failed; see the messages of tsc above',
    ],
    [
      'a capture is missing',
      () => rmSync(join(clone, 'pcaps/tiers/capture.pcapng')),
      'pcaps/tiers/capture.pcapng is missing; restore it with: git checkout -- pcaps/tiers',
    ],
    [
      'the lock is missing',
      () => rmSync(join(clone, 'package-lock.json')),
      'package-lock.json is missing; restore it with: git checkout -- package-lock.json',
    ],
    [
      'a replay fails',
      () => provideNpm(INSTALL, BUILD.replace('console.log(', 'process.exit(3, ')),
      'the replay of sa-names ended with exit code 3; see the message above',
    ],
  ])('says in one line that %s', (_name, damage, line) => {
    damage();
    const { status, stderr } = start();
    expect(stderr).toBe(`margay: ${line}\n`);
    expect(status).toBe(1);
  });
});
