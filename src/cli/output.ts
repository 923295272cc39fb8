/**
 * Where a command's answer goes: an interface, so that tests can run commands in their own process.
 *
 * Standard output is the answer, standard error everything else. Nothing here knows what a verb is.
 */

import { EXIT_TROUBLE } from './exit.ts';

export interface Stream {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Columns of the terminal, undefined when it is none. */
  readonly columns: number | undefined;
}

export interface Output {
  readonly stdout: Stream;
  readonly stderr: Stream;
  /** Whether `stdout` may hold colour. */
  readonly hasColor: boolean;
  /** True once nobody reads the answer any more (`| head`): work may stop, and it is no error. */
  isClosed(): boolean;
  /**
   * Takes Ctrl-C over: the first one aborts the signal, so that the command can print what it has; a second one ends the
   * process. To be asked for only by commands that look at the signal.
   */
  interruptible(): AbortSignal;
  /** Puts what was written out; a command that streams calls it where the reader should not wait. */
  flush(): void;
}

/** Text in pieces of this many characters costs a tenth of what a line at a time does. */
const PIECE_LENGTH = 1 << 16;

/** Collects small writes into large ones. */
class BufferedStream implements Stream {
  private readonly target: NodeJS.WriteStream;
  private readonly waits: boolean;
  private pending = '';
  isClosed = false;

  /** With `waits`, a write to a pipe lasts until its reader has made room, so that a slow reader slows the work down and fills no memory. */
  constructor(target: NodeJS.WriteStream, waits: boolean) {
    this.target = target;
    this.waits = waits;
    target.on('error', (error: NodeJS.ErrnoException) => {
      this.isClosed = true;
      if (error.code === 'EPIPE') return;
      // A full disk: half an answer must not look like one.
      process.stderr.write(`margay: the answer could not be written: ${error.message}\n`);
      process.exit(EXIT_TROUBLE);
    });
  }

  get isTerminal(): boolean {
    return this.target.isTTY === true;
  }

  get columns(): number | undefined {
    return this.isTerminal ? this.target.columns : undefined;
  }

  write(text: string): void {
    this.pending += text;
    if (this.pending.length >= PIECE_LENGTH) this.flush();
  }

  flush(): void {
    const text = this.pending;
    this.pending = '';
    if (text === '' || this.isClosed || !this.target.writable) return;
    if (this.waits) setBlocking(this.target);
    this.target.write(text);
  }
}

/** Of a pipe; what is written to files and terminals waits by itself. Node.js has no public name for it. */
function setBlocking(target: NodeJS.WriteStream): void {
  const { _handle: handle } = target as { _handle?: { setBlocking?(isBlocking: boolean): number } };
  // What is queued already was queued to go on by itself.
  if (target.writableLength === 0) handle?.setBlocking?.(true);
}

/** The output of this process. */
export function processOutput(): Output {
  const stdout = new BufferedStream(process.stdout, true);
  const stderr = new BufferedStream(process.stderr, false);
  const unbuffered: Stream = {
    write: (text) => {
      // What was answered so far comes first where both go to one terminal.
      stdout.flush();
      stderr.write(text);
      stderr.flush();
    },
    get isTerminal() {
      return stderr.isTerminal;
    },
    get columns() {
      return stderr.columns;
    },
  };
  const { NO_COLOR, TERM } = process.env;
  return {
    stdout,
    stderr: unbuffered,
    hasColor: stdout.isTerminal && (NO_COLOR ?? '') === '' && TERM !== 'dumb',
    isClosed: () => stdout.isClosed || !process.stdout.writable,
    interruptible,
    flush: () => stdout.flush(),
  };
}

function interruptible(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    // The handler is gone after its first call, so that a second Ctrl-C ends the process at once.
    controller.abort();
  });
  return controller.signal;
}
