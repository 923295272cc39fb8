/**
 * The agent as its users start it, in a network namespace: its status, its processes, its end.
 *
 * A small process of the namespace asks for the status, four times a second, and tells how long the answer took.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { AgentStatus } from '../src/agent/api.ts';
import type { Cable } from '../test/support/cable.ts';
import { MARGAY } from './paths.ts';

const READY_MS = 120_000;
/** Words of env(1): variables of the bench are no settings of the agent. */
export const WITHOUT_BENCH: readonly string[] = ['-u', 'MARGAY_BENCH_ROOT', '-u', 'MARGAY_BENCH_DIR'];
/** USER_HZ: `/proc/PID/stat` counts in these. */
const TICKS_PER_SECOND = 100;

const ASK = `
  const ask = async () => {
    const start = performance.now();
    try {
      const text = await (await fetch('http://127.0.0.1:9099/api/v1/status')).text();
      console.log((performance.now() - start).toFixed(1) + ' ' + text);
    } catch {}
  };
  setInterval(ask, 250);
`;

/** What all processes of the agent use, by what they are. */
export interface Usage {
  /** Seconds of processor so far. */
  readonly captureCpu: number;
  readonly otherCpu: number;
  /** Proportional set size: pages that several processes share are counted once. */
  readonly memoryMb: number;
  readonly descriptors: number;
}

export class AgentProcess {
  status: AgentStatus | undefined;
  /** Longest answer to a question for the status, in milliseconds. */
  slowestMs = 0;
  /** Longest gap of the main process's event loop, as it says itself. */
  lagMs = 0;
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #asker: ChildProcess;
  #said = '';

  constructor(cable: Cable, args: readonly string[]) {
    const node = [...cable.prefix, process.execPath];
    // As root: the repository need not be readable for others. The rights of the processes are not what is measured.
    const all = [...node, MARGAY, 'agent', '--log-format', 'json', '--run-as', 'root', ...args];
    this.#child = spawn('env', [...WITHOUT_BENCH, ...all], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-20_000);
      });
    }
    this.ended = new Promise((resolve) => this.#child.on('close', (code) => resolve(code)));
    this.#asker = spawn(node[0]!, [...node.slice(1), '-e', ASK], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface(this.#asker.stdout!).on('line', (line) => {
      const space = line.indexOf(' ');
      this.slowestMs = Math.max(this.slowestMs, Number(line.slice(0, space)));
      this.status = JSON.parse(line.slice(space + 1)) as AgentStatus;
      this.lagMs = Math.max(this.lagMs, this.status.eventLoopLagMs);
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The last that it printed. */
  get said(): string {
    return this.#said;
  }

  /** Waits for a status that `isIt`. */
  async until(what: string, isIt: (status: AgentStatus) => boolean, limitMs = READY_MS): Promise<AgentStatus> {
    const start = performance.now();
    for (;;) {
      if (this.status !== undefined && isIt(this.status)) return this.status;
      if (this.#child.exitCode !== null) throw new Error(`the agent ended: ${this.#said.slice(-1000)}`);
      if (performance.now() - start > limitMs) throw new Error(`not within ${limitMs / 1000} s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  ready(): Promise<AgentStatus> {
    return this.until(
      'the agent captures',
      ({ isReady, sources }) => isReady && sources.every(({ state }) => state === 'running'),
    );
  }

  usage(): Usage {
    let [captureCpu, otherCpu, memoryMb, descriptors] = [0, 0, 0, 0];
    for (const pid of family(this.pid)) {
      const of = processUsage(pid);
      if (of === undefined) continue;
      if (of.isCapture) captureCpu += of.cpu;
      else otherCpu += of.cpu;
      memoryMb += of.memoryMb;
      descriptors += of.descriptors;
    }
    return { captureCpu, otherCpu, memoryMb, descriptors };
  }

  /** Capture children. */
  captures(): number[] {
    return family(this.pid).filter((pid) => processUsage(pid)?.isCapture === true);
  }

  /** Ends it whatever it is doing, if it has not ended. */
  kill(): void {
    this.#asker.kill();
    this.#child.kill('SIGKILL');
  }

  /** Ends it in good order; what it printed last is its accounting. */
  async stop(): Promise<string> {
    this.#asker.kill();
    this.#child.kill('SIGTERM');
    await this.ended;
    return this.#said;
  }
}

/** A process and all below it. */
function family(pid: number): number[] {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
    );
    return [pid, ...children.flatMap(family)];
  } catch {
    return [];
  }
}

function processUsage(
  pid: number,
): { isCapture: boolean; cpu: number; memoryMb: number; descriptors: number } | undefined {
  try {
    const text = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
    const stat = text('stat');
    // Behind the name, which may hold anything, from the third column on.
    const columns = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const command = text('cmdline');
    return {
      isCapture: command.includes('capture-child') || command.startsWith('tcpdump'),
      cpu: (Number(columns[11]) + Number(columns[12])) / TICKS_PER_SECOND,
      memoryMb: Number(/^Pss:\s+(\d+)/m.exec(text('smaps_rollup'))?.[1] ?? 0) / 1024,
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
  } catch {
    return undefined;
  }
}
