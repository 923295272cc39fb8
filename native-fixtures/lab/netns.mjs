/**
 * Network namespaces and the processes in them: the part of the lab that knows nothing of pods, policies or captures.
 *
 * A `Lab` owns everything it makes. `cleanup()` ends the processes it started, by their pid, and then deletes the
 * namespaces it added, which takes their interfaces along; it is safe to call twice and after a failure half-way.
 * Namespace names carry the pid of this process, so two labs can run side by side.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COMMAND_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 5_000;

/**
 * Runs a command to its end; never through a shell.
 *
 * @param {string[]} argv  program and arguments
 * @param {{ input?: string, allowFailure?: boolean, timeoutMs?: number, env?: Record<string, string> }} [options]
 * @returns {Promise<{ status: number, stdout: string, stderr: string }>}  status -1 when it ran into the timeout
 * @throws Error with the command and its standard error, unless `allowFailure`
 */
export function run(argv, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { env: { ...process.env, LC_ALL: 'C', ...options.env } });
    let stdout = '';
    let stderr = '';
    let isTimedOut = false;
    const timer = setTimeout(() => {
      isTimedOut = true;
      child.kill('SIGKILL');
    }, options.timeoutMs ?? COMMAND_TIMEOUT_MS);
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.stdin.on('error', () => {}); // a program that exits without reading its input is judged by its status
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`cannot run ${argv[0]}: ${error.message}`));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      const status = isTimedOut || code === null ? -1 : code;
      if (status !== 0 && !options.allowFailure) {
        reject(new Error(`${argv.join(' ')}: exit status ${status}\n${stderr || stdout}`));
      } else {
        resolve({ status, stdout, stderr });
      }
    });
    child.stdin.end(options.input ?? '');
  });
}

export class Lab {
  #namespaces = new Set();
  #processes = new Set();
  /** Namespaces and processes on their way; clean-up lets them arrive before it takes them down. */
  #pending = new Set();
  #cleanupDone = null;

  constructor() {
    this.prefix = `margay${process.pid}-`;
    /** A directory that goes away with the lab. World-readable, because servers in it run as other users. */
    this.directory = mkdtempSync(join(tmpdir(), 'margay-lab-'));
  }

  /** The name under which the kernel knows namespace `name` of this lab. */
  netns(name) {
    return this.prefix + name;
  }

  /**
   * Adds a namespace with loopback up and none of the chatter that would end up in a capture: no IPv6 duplicate address
   * detection, no link-local addresses, no router solicitations, no ICMP redirects.
   */
  async addNamespace(name) {
    const netns = this.netns(name);
    this.#namespaces.add(netns);
    await this.#track(() => run(['ip', 'netns', 'add', netns]));
    await this.sysctl(name, {
      'net/ipv6/conf/default/accept_dad': 0,
      'net/ipv6/conf/default/addr_gen_mode': 1,
      'net/ipv6/conf/default/router_solicitations': 0,
      'net/ipv6/conf/default/accept_ra': 0,
      'net/ipv4/conf/all/send_redirects': 0,
      'net/ipv4/conf/default/send_redirects': 0,
      'net/ipv4/conf/all/rp_filter': 0,
      'net/ipv4/conf/default/rp_filter': 0,
    });
    await this.ip(name, ['link set lo up']);
  }

  /** Runs `ip` commands in a namespace, one process for all of them. */
  async ip(name, commands) {
    await run(['ip', '-n', this.netns(name), '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Writes kernel settings of a namespace. Keys are paths under /proc/sys. */
  async sysctl(name, settings) {
    const script = Object.entries(settings)
      .map(([path, value]) => `echo '${value}' > /proc/sys/${path}`)
      .join('\n');
    await this.run(name, ['sh', '-e', '-c', script]);
  }

  /**
   * A cable between two namespaces. Checksum and segmentation offloads are off at both ends, so that what a capture shows
   * is what a wire would carry.
   *
   * @param {{ netns: string, name: string, mac?: string }} a
   * @param {{ netns: string, name: string, mac?: string }} b
   */
  async addCable(a, b) {
    const end = (side) => `${side.name} netns ${this.netns(side.netns)}${side.mac ? ` address ${side.mac}` : ''}`;
    await run(['ip', ...`link add ${end(a)} type veth peer name ${end(b)}`.split(' ')]);
    for (const side of [a, b]) {
      await this.disableOffloads(side.netns, side.name);
      await this.ip(side.netns, [`link set ${side.name} up`]);
    }
  }

  async disableOffloads(netns, device) {
    const features = ['tx', 'rx', 'sg', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
    await this.run(netns, ['ethtool', '-K', device, ...features], { allowFailure: true });
  }

  /** Runs a command inside a namespace to its end; options and result as `run`. */
  run(name, argv, options) {
    return run(['ip', 'netns', 'exec', this.netns(name), ...argv], options);
  }

  /**
   * Starts a program inside a namespace and waits until it is ready.
   *
   * @param {RegExp} readyPattern  searched in what the program prints on either stream
   * @returns {Promise<{ output: () => string, stop: (signal?: NodeJS.Signals) => Promise<void> }>}
   */
  start(name, argv, readyPattern, options = {}) {
    return this.#track(() => this.#start(name, argv, readyPattern, options));
  }

  async #start(name, argv, readyPattern, options) {
    const child = spawn('ip', ['netns', 'exec', this.netns(name), ...argv], {
      cwd: options.cwd ?? this.directory,
      env: { ...process.env, LC_ALL: 'C', PYTHONUNBUFFERED: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const ended = new Promise((resolve) => child.on('close', resolve));
    const process_ = {
      output: () => output,
      stop: async (signal = 'SIGTERM') => {
        if (!this.#processes.delete(process_)) return;
        child.kill(signal);
        const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
        await ended;
        clearTimeout(timer);
      },
    };
    this.#processes.add(process_);
    await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`${argv.join(' ')} in ${name}: ${why}\n${output}`));
      const timer = setTimeout(() => fail('not ready in time'), COMMAND_TIMEOUT_MS);
      const settle = (action) => {
        clearTimeout(timer);
        action();
      };
      const onData = (chunk) => {
        output += chunk;
        if (readyPattern.test(output)) settle(resolve);
      };
      child.stdout.on('data', onData);
      child.stderr.on('data', onData);
      child.on('error', (error) => settle(() => fail(error.message)));
      child.on('close', (code) => settle(() => fail(`ended with status ${code} before it was ready`)));
    });
    return process_;
  }

  /** Ends every process, deletes every namespace and the directory. Later calls wait for the first. */
  cleanup() {
    this.#cleanupDone ??= this.#cleanup();
    return this.#cleanupDone;
  }

  /** Refuses to begin anything once clean-up has begun, and lets clean-up wait for what had. */
  #track(begin) {
    if (this.#cleanupDone) return Promise.reject(new Error('the lab is being taken down'));
    const pending = begin();
    this.#pending.add(pending);
    const forget = () => this.#pending.delete(pending);
    pending.then(forget, forget);
    return pending;
  }

  async #cleanup() {
    await Promise.allSettled([...this.#pending]);
    await Promise.all([...this.#processes].map((each) => each.stop()));
    for (const netns of this.#namespaces) {
      await run(['ip', 'netns', 'delete', netns], { allowFailure: true });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
