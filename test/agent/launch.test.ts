/** The agent's processes: who may do what, who forks whom, and that all of them end. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { captureOnly, findUser, mayRead, standing, withoutRights } from '../../src/agent/privilege.ts';
import { buildSender, Cable, namespaceTrouble, removeSender } from '../support/cable.ts';
import { until } from './engine-support.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NET_RAW = 1 << 13;
const NOBODY = 65_534;

describe('rights', () => {
  const status = (uid: number, effective: string): string =>
    `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nCapEff:\t${effective}\n`;

  test('are read from the process status', () => {
    expect(standing(status(0, '000001ffffffffff'))).toEqual({
      isRoot: true,
      canCapture: true,
      canChangeUser: true,
      canBound: true,
    });
    const raw = { isRoot: true, canCapture: true, canChangeUser: false, canBound: false };
    expect(standing(status(0, '0000000000002000'))).toEqual(raw);
    expect(standing(status(1000, '0000000000000000'))).toMatchObject({ isRoot: false, canCapture: false });
  });

  test('are given up by setpriv, as far as they may be', () => {
    const user = { name: 'nobody', uid: 65_534, gid: 65_534 };
    expect(captureOnly('/usr/bin/setpriv', user, true).join(' ')).toBe(
      '/usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all,+net_raw --inh-caps -all,+net_raw ' +
        '--ambient-caps -all,+net_raw --no-new-privs --pdeathsig TERM',
    );
    expect(withoutRights('setpriv', false)).not.toContain('--bounding-set');
  });

  test('of users come from passwd, and nobody is there without it', () => {
    const passwd = 'root:x:0:0:root:/root:/bin/bash\nmargay:x:990:991::/:/bin/false\n';
    expect(findUser('margay', passwd)).toEqual({ name: 'margay', uid: 990, gid: 991 });
    expect(findUser('990', passwd)).toEqual({ name: 'margay', uid: 990, gid: 991 });
    expect(findUser('nobody', '')).toMatchObject({ uid: 65_534 });
    expect(findUser('absent', passwd)).toBeUndefined();
  });

  test('to read a program need all folders above it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'margay-may-'));
    writeFileSync(join(folder, 'x'), '');
    const nobody = { name: 'nobody', uid: 65_534, gid: 65_534 };
    expect(mayRead(join(folder, 'x'), nobody)).toBe(false);
    chmodSync(folder, 0o711);
    expect(mayRead(join(folder, 'x'), nobody)).toBe(true);
    chmodSync(join(folder, 'x'), 0o600);
    expect(mayRead(join(folder, 'x'), nobody)).toBe(false);
    rmSync(folder, { recursive: true });
  });
});

interface Process {
  readonly pid: number;
  readonly uid: number;
  readonly effective: number;
  readonly isCapture: boolean;
}

/** A process and all below it, parents first. */
function processes(pid: number): Process[] {
  const text = (path: string): string => readFileSync(`/proc/${pid}/${path}`, 'utf8');
  try {
    const status = text('status');
    const own: Process = {
      pid,
      uid: Number(/^Uid:\s+(\d+)/m.exec(status)![1]),
      effective: Number.parseInt(/^CapEff:\s+(\w+)/m.exec(status)![1]!, 16),
      isCapture: text('cmdline').includes('capture-child'),
    };
    const tasks = readdirSync(`/proc/${pid}/task`);
    const children = tasks.flatMap((task) => text(`task/${task}/children`).trim().split(' ').filter(Boolean));
    return [own, ...children.flatMap((child) => processes(Number(child)))];
  } catch {
    return [];
  }
}

const trouble =
  namespaceTrouble() ??
  (buildSender() === undefined ? 'no C compiler (build-essential)' : undefined) ??
  (spawnSync('setpriv', ['--version']).status === 0 ? undefined : 'no setpriv (util-linux)');

describe.skipIf(trouble !== undefined)(`the agent${trouble === undefined ? '' : ` (${trouble})`}`, () => {
  let folder = '';
  let entry = '';
  beforeAll(async () => {
    // Where nobody may read it.
    folder = mkdtempSync(join(tmpdir(), 'margay-launch-'));
    chmodSync(folder, 0o755);
    entry = join(folder, 'dist/cli/main.mjs');
    await build({
      absWorkingDir: ROOT,
      entryPoints: ['main', 'plane-worker', 'capture-child', 'judge-worker'].map((name) =>
        name === 'main' ? 'src/cli/main.ts' : `src/agent/${name}.ts`,
      ),
      entryNames: '[name]',
      outdir: join(folder, 'dist/cli'),
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      external: ['cap'],
      banner: {
        js: "import { createRequire as makeRequire } from 'node:module';\nconst require = makeRequire(import.meta.url);",
      },
      logLevel: 'warning',
    });
    cpSync(join(ROOT, 'node_modules/cap'), join(folder, 'node_modules/cap'), { recursive: true, dereference: true });
    cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
    mkdirSync(join(folder, 'policies'));
    writeFileSync(join(folder, 'policies/pod.yaml'), 'apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n');
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
    removeSender();
  });

  function agent(
    cable: Cable,
    prefix: readonly string[],
    more: readonly string[] = [],
  ): { child: ChildProcess; text: () => string } {
    const args = ['agent', '-f', join(folder, 'policies'), '-i', 'right', '--log-format', 'json', ...more];
    const [command = '', ...rest] = [...cable.prefix, ...prefix, process.execPath, entry, ...args];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    let text = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
    }
    return { child, text: () => text };
  }

  const exit = (child: ChildProcess): Promise<number | null> =>
    new Promise((resolve) => child.on('close', (code) => resolve(code)));
  const captures = (pid: number): Process[] => processes(pid).filter(({ isCapture }) => isCapture);

  /** Sends, replaces a killed child, stops; what every way of starting must give. */
  async function exercise(cable: Cable, child: ChildProcess, text: () => string, isDown: boolean): Promise<void> {
    const ended = exit(child);
    child.on('exit', (code) => code !== 0 && process.stderr.write(text()));
    await until(
      `it captures: ${text()}`,
      () => captures(child.pid!).length === 1 && text().includes('policies in use'),
      60_000,
    );
    const [main] = processes(child.pid!)
      .filter(({ isCapture, effective }) => !isCapture && (effective & NET_RAW) === 0)
      .slice(-1);
    if (isDown) {
      for (const one of processes(child.pid!)) expect(one).toMatchObject({ uid: NOBODY });
      expect(captures(child.pid!)[0]!.effective).toBe(NET_RAW);
      expect(main!.effective).toBe(0);
    }
    const first = captures(child.pid!)[0]!.pid;
    process.kill(first, 'SIGKILL');
    await until('the child is replaced', () => captures(child.pid!).some(({ pid }) => pid !== first));
    let sent = 0;
    const seen = (): number => {
      sent += Number(
        spawnSync(cable.prefix[0]!, [...cable.prefix.slice(1), buildSender()!, 'left', '50', '0', '10', '100'], {
          encoding: 'utf8',
        }).stdout.split(' ')[0],
      );
      const answer = spawnSync(cable.prefix[0]!, [...cable.prefix.slice(1), process.execPath, '-e', STATUS], {
        encoding: 'utf8',
      });
      return Number(answer.stdout);
    };
    await until('packets are judged', () => seen() > 0, 60_000);
    child.kill('SIGTERM');
    const below = processes(child.pid!).map(({ pid }) => pid);
    expect(await ended, text()).toBe(0);
    expect(text()).toMatch(/seen \d+ = judged \d+ \+ duplicate 0 \+ undecoded 0 \+ lost 0/);
    await until('all processes are gone', () => below.every((pid) => processes(pid).length === 0));
    expect(sent).toBeGreaterThan(0);
  }

  test('started as root goes on as nobody, captures with CAP_NET_RAW alone, and answers without it', async () => {
    const cable = new Cable();
    cable.run('ip', 'link', 'set', 'lo', 'up');
    try {
      const { child, text } = agent(cable, []);
      await exercise(cable, child, text, true);
    } finally {
      cable.close();
    }
  });

  test('runs as an ordinary user with CAP_NET_RAW only, on a root that is read-only', async () => {
    const cable = new Cable();
    cable.run('ip', 'link', 'set', 'lo', 'up');
    try {
      const only = [
        '--bounding-set',
        '-all,+net_raw',
        '--inh-caps',
        '-all,+net_raw',
        '--ambient-caps',
        '-all,+net_raw',
      ];
      const user = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', ...only, '--no-new-privs'];
      const readOnly = [
        'unshare',
        '--mount',
        'sh',
        '-c',
        'mount -o remount,bind,ro / && ! touch /x 2>/dev/null && exec "$0" "$@"',
      ];
      const { child, text } = agent(cable, [...readOnly, ...user]);
      await exercise(cable, child, text, true);
    } finally {
      cable.close();
    }
  });

  test('runs as a root that may capture and nothing else, as in a container, and says what it could not give up', async () => {
    const cable = new Cable();
    cable.run('ip', 'link', 'set', 'lo', 'up');
    try {
      const only = ['setpriv', '--bounding-set', '-all,+net_raw', '--inh-caps', '-all', '--no-new-privs'];
      const { child, text } = agent(cable, only);
      await exercise(cable, child, text, false);
      expect(text()).toContain('root may not change users here');
    } finally {
      cable.close();
    }
  });

  test('ends whole when its keeper is killed', async () => {
    const cable = new Cable();
    cable.run('ip', 'link', 'set', 'lo', 'up');
    try {
      const { child } = agent(cable, []);
      const ended = exit(child);
      await until('it captures', () => child.exitCode === null && captures(child.pid!).length === 1, 60_000);
      const all = processes(child.pid!);
      const keeper = all.find(({ effective, isCapture }) => effective === NET_RAW && !isCapture)!;
      process.kill(keeper.pid, 'SIGKILL');
      await ended;
      await until('all processes are gone', () => all.every(({ pid }) => processes(pid).length === 0));
    } finally {
      cable.close();
    }
  });

  test('does not start as root for a user who may not read it', async () => {
    const cable = new Cable();
    chmodSync(folder, 0o700);
    try {
      const { child, text } = agent(cable, []);
      expect(await exit(child)).toBe(4);
      expect(text()).toMatch(
        /^margay: started as root, the agent goes on as 'nobody', who may not read .*--run-as USER\n$/,
      );
    } finally {
      chmodSync(folder, 0o755);
      cable.close();
    }
  });

  test('says in one line that cap is not built, or that it may not capture', async () => {
    const cable = new Cable();
    try {
      const module = join(folder, 'node_modules/cap/build');
      renameSync(module, `${module}.away`);
      const missing = agent(cable, []);
      expect(await exit(missing.child)).toBe(4);
      expect(missing.text()).toMatch(
        /^margay: live capture needs the package 'cap'.*npm rebuild cap.*--source tcpdump\n$/,
      );
      renameSync(`${module}.away`, module);
      const ordinary = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--bounding-set', '-all'];
      const denied = agent(cable, ordinary);
      expect(await exit(denied.child)).toBe(4);
      expect(denied.text()).toMatch(/^margay: no right to capture: .*CAP_NET_RAW.*\n$/);
    } finally {
      cable.close();
    }
  });
});

/** Prints what the agent has judged so far. */
const STATUS =
  "fetch('http://127.0.0.1:9099/api/v1/status').then((r) => r.json()).then((s) => console.log(s.accounting.judged), () => console.log(0))";
