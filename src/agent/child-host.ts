/**
 * Who forks the capture children: this process itself, or the keeper (keeper.ts), which has the right to capture when this process has none.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { threadEntry } from '../base/thread-entry.ts';

/** A capture child that was started. */
export interface HostedChild {
  /** Its end of the link. */
  readonly stream: Duplex;
  /** Known once it runs. */
  readonly pid: number | undefined;
  kill(signal: NodeJS.Signals): void;
  /** Called with each line that it (or libpcap in it) prints. */
  onLine(listener: (line: string) => void): void;
  /** Called once, when it is gone: exit code or signal, in words. */
  onExit(listener: (how: string) => void): void;
}

export interface ChildHost {
  /** Starts a child; one that reads standard input gets that of the agent. */
  fork(hasStdin: boolean): HostedChild;
  /** Called once if no child can be forked any more. */
  onEnd(listener: () => void): void;
  close(): void;
}

const LINE_MAX = 1000;
/** Arguments of Node.js for a capture child: its heap holds records of flows, and little else. */
const NODE_ARGS: readonly string[] = ['--no-warnings', '--max-semi-space-size=4'];

/** Starts a capture child of this process, behind the words of `prefix`; descriptor 3 is its link. */
export function forkCaptureChild(hasStdin: boolean, prefix: readonly string[] = []): ChildProcess {
  const entry = fileURLToPath(threadEntry(import.meta.url, 'capture-child'));
  const [command = '', ...args] = [...prefix, process.execPath, ...NODE_ARGS, entry];
  return spawn(command, args, {
    stdio: [hasStdin ? 'inherit' : 'ignore', 'ignore', 'pipe', 'pipe'],
    // Ctrl-C in a terminal is for the main process.
    detached: true,
  });
}

/** Calls `listener` with each whole line of a stream, cut after LINE_MAX characters. */
export function readLines(stream: Readable, listener: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!.slice(0, LINE_MAX);
    for (const line of lines) if (line.trim() !== '') listener(line.slice(0, LINE_MAX));
  });
}

export function exitText(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `code ${code}` : `signal ${signal}`;
}

/** Forks in this process. */
export class LocalHost implements ChildHost {
  readonly #prefix: readonly string[];

  /** @param prefix  a command that starts what follows it: `ip netns exec NAME` */
  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
  }

  fork(hasStdin: boolean): HostedChild {
    const child = forkCaptureChild(hasStdin, this.#prefix);
    let hasFailed = false;
    return {
      stream: child.stdio[3] as Duplex,
      pid: child.pid,
      kill: (signal) => {
        child.kill(signal);
      },
      onLine: (listener) => readLines(child.stderr!, listener),
      onExit: (listener) => {
        child.on('error', (error) => {
          if (child.pid !== undefined || hasFailed) return;
          hasFailed = true;
          listener(error.message);
        });
        // As in the keeper: not before everything that it had written has been read.
        child.on('close', (code, signal) => listener(exitText(code, signal)));
      },
    };
  }

  onEnd(): void {}

  close(): void {}
}
