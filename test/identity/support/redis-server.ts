/**
 * A real Redis server of one test's own: a free port, a directory of its own, stopped by its pid.
 *
 * Where there is no `redis-server`, tests that need one skip themselves by name (`test.skipIf(!hasRedis)`).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

export const hasRedis = spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;

export interface ServerOptions {
  /** Further words of the configuration, each `name value`. */
  readonly config?: readonly string[];
  readonly port?: number;
  readonly directory?: string;
  /** The port without TLS is closed then; files in the directory: ca.crt, redis.crt, redis.key. */
  readonly tls?: boolean;
}

export class RedisServer {
  readonly port: number;
  readonly directory: string;
  readonly #options: ServerOptions;
  #process: ChildProcess | undefined;
  #admin: Redis | undefined;

  private constructor(port: number, directory: string, options: ServerOptions) {
    this.port = port;
    this.directory = directory;
    this.#options = options;
  }

  static async start(options: ServerOptions = {}): Promise<RedisServer> {
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'margay-redis-'));
    const server = new RedisServer(options.port ?? (await freePort()), directory, options);
    await server.start();
    return server;
  }

  get url(): string {
    return `${this.#options.tls === true ? 'rediss' : 'redis'}://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const port = this.#options.tls === true ? `port 0\ntls-port ${this.port}` : `port ${this.port}`;
    const lines = [
      'bind 127.0.0.1',
      port,
      'daemonize no',
      'save ""',
      'appendonly no',
      `dir ${this.directory}`,
      'loglevel warning',
    ];
    const file = join(this.directory, 'redis.conf');
    writeFileSync(file, [...lines, ...(this.#options.config ?? []), ''].join('\n'));
    const child = spawn('redis-server', [file], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout?.on('data', (data) => (said += data));
    child.stderr?.on('data', (data) => (said += data));
    this.#process = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended: ${said}`);
      return isListening(this.port);
    });
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  /** A connection for what only a test does; without TLS and as the default user. */
  get admin(): Redis {
    this.#admin ??= this.client();
    return this.#admin;
  }

  client(): Redis {
    const redis = new Redis({
      port: this.port,
      host: '127.0.0.1',
      protocol: 2,
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
    });
    redis.on('error', () => {});
    return redis;
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  /** Ends the process at once, as a power cut would; its files stay. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    process.kill(child.pid!, 'SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    this.#admin?.disconnect();
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function isListening(port: number): Promise<boolean> {
  const { connect } = await import('node:net');
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Polls until `condition` holds; fails after `withinMs`, with what `state` then says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs = 15_000,
  state: () => string = () => '',
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${condition} ${state()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
