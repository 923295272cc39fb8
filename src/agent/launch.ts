/**
 * The agent's processes and what each may do: from whatever rights it was started with to as few as possible.
 *
 *   started as root            launcher (drops to the user) ─► keeper (user, CAP_NET_RAW) ─► main (user, nothing), capture children
 *   a user with CAP_NET_RAW                                    keeper                     ─► main (user, nothing), capture children
 *   no right to capture, or files only                                                       main, its own children
 *
 * The launcher is there because Node.js cannot become another program; it is root only until it has started the keeper. Root in a container that
 * has CAP_NET_RAW and may not change users stays what it is. Each process knows its place by _MARGAY_PLACE (MARGAY_* are settings).
 */
import { spawn } from 'node:child_process';
import { type ChildHost, LocalHost } from './child-host.ts';
import {
  captureOnly,
  findSetpriv,
  findUser,
  mayRead,
  type Standing,
  standing,
  type User,
  withoutRights,
} from './privilege.ts';

const PLACE = '_MARGAY_PLACE';

export interface LaunchOptions {
  /** `cap`, `tcpdump`; anything else is no live capture. */
  readonly source: string;
  /** Who to go on as when started as root; `root` = stay root. */
  readonly runAs: string;
}

/** `main`: go on, with `host` for the engine. `ended`: this process was another one's parent, and is to end with `code`. */
export type Launched =
  | { readonly kind: 'main'; readonly host: ChildHost; readonly notes: readonly string[] }
  | { readonly kind: 'ended'; readonly code: number };

/** The agent cannot be started like this; `message` is one line with the remedy. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
}

/** Puts this process into its place, starting the others. Throws a LaunchError. */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const place = process.env[PLACE];
  delete process.env[PLACE];
  if (place === 'main') {
    const { KeeperHost } = await import('./keeper-host.ts');
    return { kind: 'main', host: new KeeperHost(), notes: notesOf(standing()) };
  }
  const rights = standing();
  if (place === undefined) await checkCapture(options.source, rights);
  const isLive = options.source === 'cap' || options.source === 'tcpdump';
  if (place !== 'keeper' && (!isLive || !rights.canCapture)) return { kind: 'main', host: new LocalHost(), notes: [] };
  const setpriv = findSetpriv();
  if (place !== 'keeper' && rights.isRoot && rights.canChangeUser && options.runAs !== 'root') {
    const user = userOf(options.runAs);
    if (setpriv !== undefined) return { kind: 'ended', code: await launchAs(user, setpriv, rights) };
    return { kind: 'ended', code: await keepMain([], { uid: user.uid, gid: user.gid }) };
  }
  return {
    kind: 'ended',
    code: await keepMain(setpriv === undefined ? [] : withoutRights(setpriv, rights.canBound), {}),
  };
}

/** What is known to fail is said before anything starts. tcpdump may have a right of its own (setcap). */
async function checkCapture(source: string, { canCapture }: Standing): Promise<void> {
  if (source !== 'cap') return;
  const { liveCaptureMissing } = await import('../packets/live.ts');
  const missing = liveCaptureMissing();
  if (missing !== undefined) throw new LaunchError(missing);
  if (canCapture) return;
  throw new LaunchError(
    'no right to capture: start it as root, or as a user with CAP_NET_RAW (systemd: AmbientCapabilities=CAP_NET_RAW)',
  );
}

function userOf(name: string): User {
  const user = findUser(name);
  if (user === undefined)
    throw new LaunchError(`there is no user '${name}' to go on as; name another one with --run-as`);
  for (const path of [process.execPath, process.argv[1]!]) {
    if (mayRead(path, user)) continue;
    throw new LaunchError(
      `started as root, the agent goes on as '${user.name}', who may not read ${path}; install it where everybody may read it, or use --run-as USER`,
    );
  }
  return user;
}

async function launchAs(user: User, setpriv: string, rights: Standing): Promise<number> {
  const [command = '', ...args] = [...captureOnly(setpriv, user, rights.canBound), ...sameProgram()];
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, [PLACE]: 'keeper' }, detached: true });
  const { ending } = await import('./keeper.ts');
  const end = ending(child);
  process.setgroups?.([]);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
  return end;
}

async function keepMain(prefix: readonly string[], ids: { uid?: number; gid?: number }): Promise<number> {
  const { keep } = await import('./keeper.ts');
  const [command = '', ...args] = [...prefix, ...sameProgram()];
  return keep({ command, args, env: { ...process.env, [PLACE]: 'main' }, ...ids });
}

/** This program with its arguments, once more. */
function sameProgram(): string[] {
  return [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
}

/** What is not as it should be, for the log. */
function notesOf(rights: Standing): string[] {
  if (!rights.canCapture) return [];
  const why = rights.isRoot ? 'root may not change users here' : 'setpriv (util-linux) is not installed';
  return [`the main process has kept the right to capture, which it does not need: ${why}`];
}
