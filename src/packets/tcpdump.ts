/**
 * Live capture by tcpdump in a process of its own, whose capture file comes through a pipe.
 *
 * Gives what cap does not: the kernel's time stamps, lengths on the wire, and what the kernel dropped. tcpdump prints its counts when asked by SIGUSR1
 * and at its end:
 *
 *     1234 packets captured
 *     1240 packets received by filter
 *     6 packets dropped by kernel
 *
 * It may not be asked before it said that it listens: until then the signal would end it. Each packet is written at once (-U), or the last ones of
 * a quiet moment would wait in its buffer. (SIGUSR2, which empties the buffer on demand, does so inside its signal handler: one that comes
 * while a packet is being written spoils the file. Seen at 20 000 packets a second.)
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { StreamSource } from './byte-source.ts';
import { openSource } from './pcap-file.ts';
import type { CaptureReader } from './source.ts';

const COUNTS_MS = 1000;
/** Lines of its messages that are kept for when it fails. */
const MESSAGES_MAX = 5;

export interface TcpdumpOptions {
  readonly interfaceName: string;
  /** BPF; empty = everything. */
  readonly filter: string;
  readonly snapBytes: number;
  /** Of the kernel's buffer. */
  readonly captureBytes: number;
}

/** A tcpdump that runs. */
export class Tcpdump {
  readonly #process: ChildProcess;
  readonly #messages: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Drops of the kernel and of the interface, as last told. */
  kernelDrops = 0;
  /** Resolves with undefined when it ended as asked, else with what it said. */
  readonly ended: Promise<string | undefined>;
  #isStopped = false;

  constructor(options: TcpdumpOptions) {
    const { command, args } = tcpdumpCommand(options);
    // Messages must be in the language that they are looked for in.
    const env = { ...process.env, LC_ALL: 'C' };
    this.#process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let rest = '';
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.#read(line);
    });
    this.ended = new Promise((resolve) => {
      this.#process.on('error', (error) => this.#note(`cannot start tcpdump: ${error.message}; install tcpdump`));
      this.#process.on('close', (code) => {
        clearInterval(this.#timer);
        resolve(this.#isStopped && code === 0 ? undefined : this.#trouble(code));
      });
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** The capture that it writes; its first bytes come with the first packet or flush. */
  reader(name: string): Promise<CaptureReader> {
    return openSource(name, new StreamSource(name, this.#process.stdout!), undefined);
  }

  /** Ends it in good order: what it has comes through the pipe, then its counts. */
  stop(): void {
    this.#isStopped = true;
    this.#process.kill('SIGINT');
  }

  #read(line: string): void {
    const drops = /^(?:tcpdump: )?(?:.*, )?(\d+) packets? dropped by kernel/.exec(line);
    if (drops !== null) {
      this.kernelDrops = Number(drops[1]);
      return;
    }
    if (/^(?:tcpdump: )?\d+ packets? /.test(line)) return;
    if (!line.includes('listening on')) this.#note(line);
    else this.#timer ??= setInterval(() => this.#process.kill('SIGUSR1'), COUNTS_MS);
  }

  #note(line: string): void {
    if (line.trim() === '') return;
    if (this.#messages.length === MESSAGES_MAX) this.#messages.shift();
    this.#messages.push(line.trim());
  }

  #trouble(code: number | null): string {
    const said = this.#messages.join('; ');
    return said === '' ? `tcpdump ended by itself with code ${code}` : said;
  }
}

/**
 * tcpdump must not outlive the process that reads from it, which may be killed; util-linux's setpriv sees to that where it is there. Linux forgets
 * that wish when a process changes its user, so as root tcpdump stays root (the agent runs as an ordinary user).
 */
function tcpdumpCommand(options: TcpdumpOptions): { command: string; args: string[] } {
  const args = ['-i', options.interfaceName, '-n', '-U', '-w', '-', '-s', String(options.snapBytes)];
  args.push('-B', String(Math.max(1, options.captureBytes >> 10)));
  if (process.getuid?.() === 0) args.push('-Z', 'root');
  if (options.filter !== '') args.push(options.filter);
  return hasSetpriv()
    ? { command: 'setpriv', args: ['--pdeathsig', 'KILL', 'tcpdump', ...args] }
    : { command: 'tcpdump', args };
}

let setprivFound: boolean | undefined;

function hasSetpriv(): boolean {
  setprivFound ??= spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true'], { stdio: 'ignore' }).status === 0;
  return setprivFound;
}
