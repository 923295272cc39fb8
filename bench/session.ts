/**
 * A process that stays: it gets ready once (compiles rules, loads maps, draws packets), then runs when told to, so that long
 * preparations do not come between alternating runs.
 *
 * The protocol is a line each way. The process prints one line of JSON when it is ready; for each line that it reads (`run`, and
 * words that the program gives a meaning) it prints one line of JSON with what it measured. It ends when its standard input does.
 * Only one session runs at a time; the others wait in a read.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

const READY_MS = 240_000;
const ANSWER_MS = 120_000;
const WORDS_KEPT = 600;

const open = new Set<{ close(): void }>();

/** Ends the sessions that an error has left behind: the bench would wait for them for ever. */
export function closeSessions(): void {
  for (const session of open) session.close();
}

export class Session<Ready extends object, Answer extends object> {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  readonly #unread: string[] = [];
  #words = '';
  #hasEnded = false;
  #ready: Ready | undefined;

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! });
    this.#lines.on('line', (line) => {
      // Libraries may talk on standard output as well; answers are objects.
      if (!line.startsWith('{')) return;
      const waiter = this.#waiting.shift();
      if (waiter === undefined) this.#unread.push(line);
      else waiter(line);
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#words = (this.#words + text).slice(-WORDS_KEPT);
    });
    // A program that cannot be started says so by an error, and may never close.
    child.on('error', (error) => {
      this.#words += error.message;
      this.#end();
    });
    child.on('close', () => this.#end());
  }

  /** Starts the process and waits until it is ready; rejects with its last words if it ends before. */
  static async start<Ready extends object, Answer extends object>(
    name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Session<Ready, Answer>> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const session = new Session<Ready, Answer>(name, child);
    open.add(session);
    try {
      session.#ready = JSON.parse(await session.#line(READY_MS)) as Ready;
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  get ready(): Ready {
    return this.#ready!;
  }

  async run(command = 'run'): Promise<Answer> {
    this.#child.stdin!.write(`${command}\n`);
    return JSON.parse(await this.#line(ANSWER_MS)) as Answer;
  }

  close(): void {
    open.delete(this);
    // A program that has ended does not read any more.
    this.#child.stdin!.on('error', () => {});
    this.#child.stdin!.end();
    if (this.#child.exitCode === null) this.#child.kill();
  }

  #end(): void {
    this.#hasEnded = true;
    for (const waiter of this.#waiting.splice(0)) waiter(undefined);
  }

  #line(timeoutMs: number): Promise<string> {
    const unread = this.#unread.shift();
    if (unread !== undefined) return Promise.resolve(unread);
    if (this.#hasEnded) return Promise.reject(this.#failure('ended'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(this.#failure(`said nothing for ${timeoutMs / 1000} s`)), timeoutMs);
      this.#waiting.push((line) => {
        clearTimeout(timer);
        if (line === undefined) reject(this.#failure('ended'));
        else resolve(line);
      });
    });
  }

  #failure(what: string): Error {
    return new Error(`${this.name} ${what}: ${this.#words.trim() || 'it left no word'}`);
  }
}

/** The other side: says that it is ready, then answers each line. Returns when standard input ends. */
export async function serveSession(ready: object, answer: (words: readonly string[]) => object): Promise<void> {
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(answer(line.trim().split(' ')))}\n`);
  }
}
