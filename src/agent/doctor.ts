/**
 * What a host lacks for the agent. Each check looks at one thing, changes nothing, and says what to do where something is missing.
 *
 * `missing` keeps the agent from what its options ask for; `note` does not, and is worth knowing.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { parseListen } from '../authz/listen.ts';
import { PolicyError } from '../base/errors.ts';
import { RedisStore } from '../identity/redis.ts';
import { redisConfig } from '../identity/redis-config.ts';
import { pageFolder, readAssets } from './assets.ts';
import type { AgentConfig } from './config.ts';
import { checkPaths } from './preflight.ts';

export interface Check {
  readonly name: string;
  readonly result: 'fine' | 'note' | 'missing';
  /** What was found. */
  readonly found: string;
  /** What to do; empty where nothing has to be done. */
  readonly todo: string;
}

const run = promisify(execFile);
const NODE_MIN = [20, 19] as const;
const TIMEOUT_MS = 5_000;
/** Bit of CAP_NET_RAW in the masks of /proc/self/status. */
const CAP_NET_RAW = 13n;

type CheckResult = Omit<Check, 'name'>;

/** All checks that `config` calls for, in the order that one would mend things. */
export async function diagnose(config: AgentConfig): Promise<readonly Check[]> {
  const isLive = config.source === 'cap' || config.source === 'tcpdump';
  const checks: readonly (readonly [string, () => CheckResult | Promise<CheckResult>])[] = [
    ['node', checkNode],
    ...(config.source === 'cap' ? ([['libpcap', checkLibpcap]] as const) : []),
    ...(isLive
      ? ([
          ['capability', checkCapability],
          ['setpriv', () => checkSetpriv()],
          ['interface', () => checkInterfaces(config.interface)],
          ['tcpdump', () => checkTcpdump(config.source === 'tcpdump')],
        ] as const)
      : []),
    ...(config.source.startsWith('file:') ? ([['capture', () => checkFile(config.source.slice(5))]] as const) : []),
    ['policies', () => checkPolicies(config)],
    ...(config.redis === undefined ? [] : ([['redis', () => checkRedis(config)]] as const)),
    ...(config.kubernetes ? ([['kubernetes', () => checkKubernetes(config)]] as const) : []),
    ['listen', () => checkListen(config)],
    ['page', checkPage],
    ...(config.flowLog === undefined ? [] : ([['flow-log', () => checkFlowLog(config.flowLog!)]] as const)),
  ];
  const results: Check[] = [];
  for (const [name, check] of checks) {
    try {
      results.push({ name, ...(await check()) });
    } catch (error) {
      results.push({ name, result: 'missing', found: (error as Error).message, todo: 'see the message' });
    }
  }
  return results;
}

const fine = (found: string): CheckResult => ({ result: 'fine', found, todo: '' });
const note = (found: string, todo: string): CheckResult => ({ result: 'note', found, todo });
const missing = (found: string, todo: string): CheckResult => ({ result: 'missing', found, todo });

function checkNode(): CheckResult {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isEnough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  const found = `Node.js ${process.versions.node}`;
  return isEnough ? fine(found) : missing(found, `install Node.js ${NODE_MIN.join('.')} or newer`);
}

/** The binding needs the library to load, and its headers to be built. */
async function checkLibpcap(): Promise<CheckResult> {
  const { liveCaptureTrouble } = await import('../packets/live.ts');
  const trouble = liveCaptureTrouble();
  return trouble === undefined
    ? fine('cap is built, libpcap is there')
    : missing('cap cannot be loaded', trouble.replace(/^.*?: /, ''));
}

function checkCapability(): CheckResult {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\s+([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '0'}`);
  const has = (name: string): boolean => ((mask(name) >> CAP_NET_RAW) & 1n) === 1n;
  const isRoot = process.getuid?.() === 0;
  if (has('CapEff')) return isRoot ? fine('root with CAP_NET_RAW; the agent gives the rest up') : fine('CAP_NET_RAW');
  if (!has('CapBnd')) return missing('CAP_NET_RAW is not to be had here', 'add NET_RAW to the container or unit');
  const command =
    'start it as root, by systemd with AmbientCapabilities=CAP_NET_RAW, or in Kubernetes with add: [NET_RAW]';
  return missing('no CAP_NET_RAW', command);
}

function checkSetpriv(): CheckResult {
  const isRoot = process.getuid?.() === 0;
  const path = pathOf('setpriv');
  if (path !== undefined) return fine(path);
  if (!isRoot) return fine('not needed: this is an ordinary user');
  return missing(
    'no setpriv: root could not become an ordinary user',
    'install util-linux, or start as an ordinary user',
  );
}

function checkInterfaces(names: readonly string[]): CheckResult {
  const folder = '/sys/class/net';
  const known = existsSync(folder) ? readdirSync(folder) : [];
  const absent = names.filter((name) => name !== 'any' && !known.includes(name));
  if (absent.length > 0) {
    const todo = `give -i one of ${known.join(', ')}, or any; the agent waits for an interface that comes later`;
    return missing(`no interface ${absent.join(', ')}`, todo);
  }
  const down = names.filter((name) => name !== 'any' && !isUp(`${folder}/${name}/flags`));
  if (down.length > 0) return note(`${down.join(', ')} is down`, 'packets come when it is up');
  return fine(names.includes('any') ? `any, of ${known.length}` : names.join(', '));
}

function isUp(path: string): boolean {
  return (Number(readFileSync(path, 'utf8')) & 1) === 1;
}

async function checkTcpdump(isNeeded: boolean): Promise<CheckResult> {
  const path = pathOf('tcpdump');
  if (path === undefined) {
    const todo = 'install it (Debian: apt install tcpdump)';
    return isNeeded
      ? missing('no tcpdump', todo)
      : note('no tcpdump', `not needed for --source cap; ${todo} for --source tcpdump`);
  }
  const { stdout, stderr } = await run(path, ['--version'], { timeout: TIMEOUT_MS });
  return fine(`${path}, ${(stdout + stderr).split('\n')[0]}`);
}

function pathOf(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => `${folder}/${program}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}

function checkFile(path: string): CheckResult {
  try {
    accessSync(path, constants.R_OK);
    return fine(path);
  } catch (error) {
    return missing(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`, 'correct --source file:PATH');
  }
}

async function checkPolicies({
  filename,
  recursive,
  kubernetes,
  strict,
  permissive,
  asIs,
}: AgentConfig): Promise<CheckResult> {
  if (kubernetes) return fine('from the Kubernetes API');
  if (filename.length === 0) return note('no -f and no --kubernetes', 'give one of them to have the policies checked');
  const [{ expandFiles }, { loadResources }] = await Promise.all([
    import('../load/files.ts'),
    import('../load/load.ts'),
  ]);
  const { errors } = loadResources(expandFiles(filename, recursive), { strict, permissive, asIs });
  if (errors.length === 0) return fine(filename.join(', '));
  return missing(`${errors.length} errors in ${filename.join(', ')}`, 'margay validate lists them');
}

async function checkRedis({ redis, cluster }: AgentConfig): Promise<CheckResult> {
  const config = redisConfig(redis!);
  const store = new RedisStore({ config, cluster });
  try {
    const { fields } = await withTimeout(store.meta(), `${config.name} does not answer`);
    if (fields.state === 'ready')
      return fine(`${config.name}, cluster ${cluster}: revision ${fields.rev}, ${fields.count} addresses`);
    return missing(
      `${config.name} answers and has no identities of cluster ${cluster}`,
      'run margay identities publish, or correct --cluster',
    );
  } catch (error) {
    return missing((error as Error).message, 'correct --redis, MARGAY_REDIS_PASSWORD_FILE or the ACL; see the README');
  } finally {
    await store.close();
  }
}

async function checkKubernetes(config: AgentConfig): Promise<CheckResult> {
  const { kubeconfig, context } = config;
  try {
    checkPaths(config);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return missing(error.problem, error.fix ?? '');
  }
  const { openKubernetesApi } = await import('../identity/kubernetes.ts');
  const api = openKubernetesApi({ kubeconfig, context });
  const todo = 'the service account needs the role of deploy/daemonset.yaml: get, list and watch';
  const { status, body } = await api.get('/api/v1/namespaces', { limit: '1' }, AbortSignal.timeout(TIMEOUT_MS));
  if (status === 200) return fine('the API answers, namespaces may be listed');
  const message = (body as { readonly message?: string } | undefined)?.message;
  return missing(`the API answers ${status}${message === undefined ? '' : `: ${message}`}`, todo);
}

async function checkListen({ listen, tokenFile, tlsCert, tlsKey }: AgentConfig): Promise<CheckResult> {
  for (const path of [tokenFile, tlsCert, tlsKey]) if (path !== undefined) accessSync(path, constants.R_OK);
  const address = parseListen(listen, '--listen', true);
  if (address.kind === 'unix') return missing(listen, 'give HOST:PORT');
  const { createServer } = await import('node:net');
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      resolve(
        missing(
          `${listen}: ${error.code}`,
          'another process listens there, or the address is none of this host: change --listen',
        ),
      ),
    );
    server.listen(address.port, address.host, () => server.close(() => resolve(fine(listen))));
  });
}

function checkPage(): CheckResult {
  const folder = pageFolder();
  const count = readAssets(folder).size;
  if (count > 0) return fine(`${folder}, ${count} files`);
  return note('the page is not built', 'npm run build; the API and the metrics work without it');
}

/** Whether a file could be written there; nothing is written. */
function checkFlowLog(path: string): CheckResult {
  if (path === '-') return fine('standard output');
  try {
    if (existsSync(path)) accessSync(path, constants.W_OK);
    else accessSync(dirname(path), constants.W_OK);
    return fine(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return missing(
      `${path} can't be written (${code})`,
      `make ${dirname(path)} writable for the user that the agent runs as`,
    );
  }
}

async function withTimeout<T>(promise: Promise<T>, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), TIMEOUT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
