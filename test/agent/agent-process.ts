/** The agent as its users start it, bundled from the sources as they are now, for tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { AgentStatus } from '../../src/agent/api.ts';
import { type Bundled, bundleCommandLine } from '../support/bundled.ts';
import { until } from './engine-support.ts';

export const CAPTURE = 'pcaps/sa-names/capture.pcapng';

/** Settings of whoever runs the tests are none of the agent's. */
export const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?MARGAY_/.test(name)));

/** The bundle, a folder for files, and the agents that were started: one for a test file. */
export class AgentBench {
  readonly bundled: Bundled = bundleCommandLine();
  readonly folder = mkdtempSync(join(tmpdir(), 'margay-agents-'));
  readonly #agents: Agent[] = [];
  readonly #cleanUp: (() => unknown)[] = [];

  start(args: readonly string[], options: AgentOptions = {}): Agent {
    const agent = new Agent(this.bundled.main, args, options);
    this.#agents.push(agent);
    return agent;
  }

  /** Called after the test. */
  later(end: () => unknown): void {
    this.#cleanUp.push(end);
  }

  /** A copy of a lesson's manifests that may be changed. */
  manifests(): string {
    const copy = mkdtempSync(join(this.folder, 'manifests-'));
    for (const name of ['cluster.yaml', 'policies.yaml']) cpSync(`pcaps/sa-names/${name}`, join(copy, name));
    return copy;
  }

  async afterEach(): Promise<void> {
    for (const agent of this.#agents.splice(0)) await agent.kill();
    for (const each of this.#cleanUp.splice(0).reverse()) await each();
  }

  remove(): void {
    this.bundled.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface AgentOptions {
  /** Whether its output is read; default true. */
  readonly isRead?: boolean;
}

export class Agent {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  code: number | null | undefined;

  constructor(main: string, args: readonly string[], { isRead = true }: AgentOptions) {
    this.process = spawn(process.execPath, [main, 'agent', '--listen', '127.0.0.1:0', ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: ENV,
    });
    this.process.stdin!.on('error', () => {});
    if (isRead) this.process.stdout!.on('data', (part) => (this.stdout += part));
    if (isRead) this.process.stderr!.on('data', (part) => (this.stderr += part));
    this.process.on('exit', (code) => {
      this.code = code;
    });
    this.process.setMaxListeners(0);
  }

  async ready(): Promise<this> {
    await until(`it listens\n${this.stderr}`, () => this.url !== '' || this.code !== undefined);
    expect(this.code, this.stderr).toBeUndefined();
    return this;
  }

  /** Standard input is a capture that has no packets yet: without its head the source is none. */
  head(): void {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(65_535, 16);
    header.writeUInt32LE(1, 20);
    this.process.stdin!.write(header);
  }

  get url(): string {
    return /http:\/\/[\d.:]+\//.exec(this.stdout + this.stderr)?.[0] ?? '';
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}${path}`)).json()) as T;
  }

  status(): Promise<AgentStatus> {
    return this.get('api/v1/status');
  }

  /** Asks for the status until it is as wanted. */
  async waitFor(what: string, isTrue: (status: AgentStatus) => boolean): Promise<AgentStatus> {
    let status: AgentStatus | undefined;
    let isAsking = false;
    await until(what, () => {
      if (status !== undefined && isTrue(status)) return true;
      if (!isAsking) {
        isAsking = true;
        void this.status()
          .then((answer) => {
            status = answer;
          })
          .catch(() => {})
          .finally(() => {
            isAsking = false;
          });
      }
      return false;
    });
    return status!;
  }

  logs(): Record<string, unknown>[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.code === undefined) {
      this.process.kill(signal);
      await once(this.process, 'exit');
    }
    return this.code ?? null;
  }

  async kill(): Promise<void> {
    if (this.code !== undefined) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}
