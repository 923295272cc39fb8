// @ts-check
// What `npm start` and `npm test` have in common: a new enough Node.js, the dependencies, the build.
// Plain Node without dependencies, since node_modules may be absent. Each step says what it does, does nothing
// when nothing is to be done, and fails with one line that names what is missing and what to do.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's top level. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Trouble with the surroundings, told in one line: what is wrong, and what to do. */
export class SetupError extends Error {
  /**
   * @param {string} wrong
   * @param {string} remedy
   */
  constructor(wrong, remedy) {
    super(`${wrong}; ${remedy}`);
    this.name = 'SetupError';
  }
}

export function say(text = '') {
  process.stdout.write(`${text}\n`);
}

/**
 * Runs a script's body; a SetupError becomes one line on standard error and exit code 1.
 * @param {() => void | Promise<void>} body
 */
export async function main(body) {
  // A reader that has seen enough (`npm start | head`) is no error.
  process.stdout.on('error', (error) => {
    if (!('code' in error) || error.code !== 'EPIPE') throw error;
    process.exit();
  });
  try {
    await body();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`margay: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/** Refuses a Node.js older than package.json's `engines` (form `>=MAJOR.MINOR`). */
export function ensureNode(version = process.versions.node) {
  const range = String(readJson(join(ROOT, 'package.json')).engines.node);
  const [major = 0, minor = 0] = range.replace('>=', '').split('.').map(Number);
  const [isMajor = 0, isMinor = 0] = version.split('.').map(Number);
  if (isMajor < major || (isMajor === major && isMinor < minor)) {
    throw new SetupError(`Node.js ${version} is too old`, `install Node.js ${major}.${minor} or newer`);
  }
}

/** `npm ci`, unless node_modules already holds what package-lock.json asks for. */
export function ensureDependencies() {
  const lockPath = join(ROOT, 'package-lock.json');
  if (!existsSync(lockPath)) {
    throw new SetupError('package-lock.json is missing', 'restore it with: git checkout -- package-lock.json');
  }
  if (isInstalled(readJson(lockPath), readJson(join(ROOT, 'node_modules/.package-lock.json'))) && !isCapWorthATry()) {
    say('dependencies: up to date');
    return;
  }
  say('dependencies: installing from package-lock.json (npm ci; up to a minute the first time)');
  const startedMs = Date.now();
  const { status, output } = npm([
    'ci',
    // The compiler and the platform binaries of the tools are dev and optional dependencies: never leave them out.
    '--include=dev',
    '--include=optional',
    '--loglevel=error',
    '--no-audit',
    '--no-fund',
    '--no-progress',
    // npm's own waits between tries add up to minutes without a network.
    '--fetch-retries=2',
    '--fetch-retry-mintimeout=1000',
    '--fetch-retry-maxtimeout=5000',
  ]);
  if (status !== 0) throw explainNpmFailure(output);
  writeFileSync(capStampPath(), missingForCap());
  const seconds = Math.round((Date.now() - startedMs) / 1000);
  const lacking = missingForCap();
  const capture = isCapBuilt()
    ? 'with live capture'
    : `without live capture (${lacking === '' ? 'the cap package could not be built' : `it needs ${lacking}`}); all else works`;
  say(`dependencies: installed in ${seconds} s, ${capture}`);
}

/**
 * Whether what npm installed satisfies the lock. Absent optional packages are no fault: they belong to another
 * platform, or could not be built here.
 *
 * @param {{packages?: Record<string, {version?: string, optional?: boolean}>} | undefined} lock package-lock.json
 * @param {{packages?: Record<string, {version?: string}>} | undefined} installed node_modules/.package-lock.json,
 *   which npm writes last, so that an interrupted install has none
 */
export function isInstalled(lock, installed) {
  if (!lock?.packages || !installed?.packages) return false;
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (path === '') continue;
    const found = installed.packages[path];
    if (found ? found.version !== wanted.version : !wanted.optional) return false;
  }
  return true;
}

/** True when `cap` was not built, everything that it needs is here, and the last try was without some of it. */
function isCapWorthATry() {
  if (isCapBuilt() || missingForCap() !== '') return false;
  return !existsSync(capStampPath()) || readFileSync(capStampPath(), 'utf8') !== '';
}

function isCapBuilt() {
  return existsSync(join(ROOT, 'node_modules/cap/build/Release/cap.node'));
}

/** What building `cap` lacks on this machine, as text; '' when nothing. */
function missingForCap() {
  const missing = ['python3', 'make', 'g++'].filter((name) => !findCommand(name));
  if (!hasPcapHeader()) missing.unshift('libpcap-dev');
  return missing.join(', ');
}

export function hasPcapHeader() {
  return ['/usr/include', '/usr/local/include'].some((folder) => existsSync(join(folder, 'pcap.h')));
}

/** Holds what the last install lacked for `cap`, so that a failed build is not tried at every run. */
function capStampPath() {
  return join(ROOT, 'node_modules/.margay-cap');
}

/**
 * Path of a command, or undefined. Looks where root's commands are too, since an ordinary user's PATH leaves them out.
 * @param {string} name
 */
export function findCommand(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path) && statSync(path).isFile());
}

/** `npm run build`, unless every source file has a newer output. */
export function ensureBuild() {
  removeOrphans();
  if (isBuilt() && isPageBuilt()) {
    say('build: up to date');
    return;
  }
  say('build: compiling src/ into dist/ (npm run build)');
  const { status, output } = npm(['run', 'build', '--silent']);
  if (status !== 0) {
    process.stderr.write(output);
    throw new SetupError('the build failed', 'see the messages of tsc above');
  }
}

/** tsc writes all outputs anew, and none when there is an error: an older or absent output means a build is due. */
function isBuilt() {
  const settingsMs = Math.max(...['tsconfig.json', 'package-lock.json'].map((name) => mtimeMs(join(ROOT, name))));
  const sources = listFiles(join(ROOT, 'src')).filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'));
  if (sources.length === 0) throw new SetupError('src/ holds no source', 'restore it with: git checkout -- src');
  const page = join(ROOT, 'src/web/');
  return sources.every((path) => {
    if (path.startsWith(page)) return true;
    const output = join(ROOT, 'dist', `${relative(join(ROOT, 'src'), path).slice(0, -3)}.js`);
    return existsSync(output) && mtimeMs(output) >= Math.max(mtimeMs(path), settingsMs);
  });
}

/** The page is built by another tool, all of it at once. Its template of the report is what is written last. */
function isPageBuilt() {
  const sources = listFiles(join(ROOT, 'src/web'));
  const report = join(ROOT, 'dist/web/report.html');
  return sources.length === 0 || (existsSync(report) && sources.every((path) => mtimeMs(report) >= mtimeMs(path)));
}

/** Removes outputs whose source is gone, which tsc leaves behind. dist/web is made by another tool. */
function removeOrphans() {
  const dist = join(ROOT, 'dist');
  for (const path of listFiles(dist)) {
    const inside = relative(dist, path);
    const source = inside.replace(/(\.d\.ts|\.js)$/, '.ts');
    if (source === inside || inside.startsWith('web/')) continue;
    if (!existsSync(join(ROOT, 'src', source))) rmSync(path);
  }
}

/**
 * Runs npm at the top level and captures what it prints.
 * @param {string[]} args
 */
function npm(args) {
  const cli = process.env.npm_execpath;
  const [command, ...first] = cli?.endsWith('npm-cli.js') && existsSync(cli) ? [process.execPath, cli] : ['npm'];
  const { status, error, stdout, stderr } = spawnSync(command, [...first, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
    env: { ...process.env, ...nodeHeaders() },
  });
  if (error && 'code' in error && error.code === 'ENOENT') {
    throw new SetupError('npm is missing', 'install it beside Node.js (Debian: apt-get install npm)');
  }
  if (error) throw new SetupError(`cannot run npm: ${error.message}`, 'check the Node.js installation');
  return { status, output: `${stdout}${stderr}` };
}

/** Lets node-gyp build `cap` against the headers beside this Node.js instead of downloading them. */
function nodeHeaders() {
  const prefix = dirname(dirname(process.execPath));
  const isNeeded = process.env.npm_config_nodedir === undefined && existsSync(join(prefix, 'include/node/node.h'));
  return isNeeded ? { npm_config_nodedir: prefix } : {};
}

/**
 * The one line that tells why `npm ci` failed.
 * @param {string} output what npm printed with --loglevel=error
 */
export function explainNpmFailure(output) {
  const lines = output
    .split('\n')
    .filter((line) => /^npm (error|ERR!)/.test(line))
    .map((line) => line.replace(/^npm (error|ERR!) ?/, '').trim())
    .filter((line) => line !== '');
  const code = lines.find((line) => line.startsWith('code '))?.slice('code '.length) ?? '';
  const text = lines.find((line) => !/^(code|errno|syscall|path) /.test(line)) ?? 'npm ci failed without a message';
  if (
    /^(ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT)$/.test(code)
  ) {
    const remedy = 'connect to the network (or set its proxy: npm config set https-proxy URL) and run again';
    return new SetupError(`npm cannot reach the package registry (${code}: ${text})`, remedy);
  }
  if (code === 'ENOSPC') return new SetupError('no space is left on the disk for node_modules', 'free about 300 MB');
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new SetupError(`npm may not write here (${code}: ${text})`, 'use a clone that belongs to you');
  }
  if (code === 'EUSAGE') {
    return new SetupError('package-lock.json does not fit package.json', 'run npm install and commit both');
  }
  if (code === 'EBADENGINE') {
    return new SetupError(`a dependency refuses Node.js ${process.version}`, 'install a newer Node.js 20');
  }
  return new SetupError(`npm ci failed (${code ? `${code}: ` : ''}${text})`, 'run npm ci to see all of it');
}

/** @param {string} path */
function mtimeMs(path) {
  return statSync(path).mtimeMs;
}

/**
 * All files below a folder; none when it does not exist.
 * @param {string} folder
 * @returns {string[]}
 */
function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? listFiles(path) : [path];
  });
}

/**
 * A JSON file's content, or undefined when it is absent or no JSON.
 * @param {string} path
 */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
