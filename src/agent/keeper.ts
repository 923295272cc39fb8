/**
 * The keeper: the parent of all, which keeps the right to capture (CAP_NET_RAW) and does nothing with it but fork.
 *
 *   keeper ─ CAP_NET_RAW ──┬── main process, no capability ── policies, HTTP, everything that outsiders can talk to
 *                          └── capture children, CAP_NET_RAW
 *
 * A child that died can be replaced only by someone who has the right, and the main process shall not. So the keeper forks what the main process
 * asks for, always the same program, and passes on the bytes of the children's links unread. It ends when the main process ends,
 * with its exit code; when the keeper is killed, the others notice by their streams and end too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { exitText, forkCaptureChild, readLines } from './child-host.ts';
import { type KeeperNews, type KeeperOrder, KeeperStream } from './keeper-frames.ts';

/** Children at one time; splits are at most 8, and one that was killed may take a moment to go. */
const CHILDREN_MAX = 64;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;

/** How the main process is started. */
export interface MainCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Where the right to change users is there, but no setpriv. */
  readonly uid?: number;
  readonly gid?: number;
}

/** Starts the main process and serves it until it ends; resolves with its exit code, 128 + n after a signal. */
export function keep(main: MainCommand): Promise<number> {
  const { command, args, env, uid, gid } = main;
  const child = spawn(command, args, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env,
    // Ctrl-C comes to the keeper alone, which passes it on: once.
    detached: true,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const children = new Map<number, ChildProcess>();
  const stream = new KeeperStream<KeeperNews, KeeperOrder>(child.stdio[3] as Duplex, {
    message: (order) => obey(order),
    bytes: (number, bytes) => {
      const link = children.get(number)?.stdio[3] as Duplex | undefined;
      const { length } = bytes;
      if (link?.writable === true)
        link.write(bytes, () => stream.tell({ kind: 'taken', child: number, bytes: length }));
    },
    end: () => {
      for (const one of children.values()) one.kill('SIGKILL');
    },
  });
  const obey = (order: KeeperOrder): void => {
    const one = children.get(order.child);
    if (order.kind === 'kill') one?.kill('SIGKILL');
    else if (order.kind === 'end') (one?.stdio[3] as Duplex | undefined)?.end();
    else if (one === undefined && children.size < CHILDREN_MAX) fork(order.child, order.hasStdin, children, stream);
  };
  return ending(child);
}

function fork(
  number: number,
  hasStdin: boolean,
  children: Map<number, ChildProcess>,
  stream: KeeperStream<KeeperNews, KeeperOrder>,
): void {
  const child = forkCaptureChild(hasStdin);
  const link = child.stdio[3] as Duplex;
  children.set(number, child);
  stream.tell({ kind: 'forked', child: number, pid: child.pid });
  link.on('data', (bytes: Buffer) => {
    if (!stream.send(number, bytes, () => link.resume())) link.pause();
  });
  // The end of the child is what counts.
  link.on('error', () => {});
  readLines(child.stderr!, (line) => stream.tell({ kind: 'line', child: number, line }));
  child.on('error', (error) => {
    if (child.pid === undefined) gone(error.message);
  });
  // Not before everything that it had written has been passed on.
  child.on('close', (code, signal) => gone(exitText(code, signal)));
  const gone = (how: string): void => {
    if (children.delete(number)) stream.tell({ kind: 'exit', child: number, how });
  };
}

/** Passes signals on to `child` until it ends; resolves with its exit code. */
export function ending(child: ChildProcess): Promise<number> {
  const passers = SIGNALS.map((signal) => {
    const pass = (): void => {
      child.kill(signal);
    };
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return new Promise((resolve) => {
    const end = (code: number): void => {
      for (const stop of passers) stop();
      resolve(code);
    };
    child.on('error', (error) => {
      process.stderr.write(`margay: cannot start the agent's main process: ${error.message}\n`);
      end(4);
    });
    child.on('exit', (code, signal) => end(code ?? 128 + signalNumber(signal)));
  });
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : (constants.signals[signal] ?? 0);
}
