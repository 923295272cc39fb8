/** A network namespace with a cable in it, and who sends on it. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../bench/paths.ts';

/** Why there can be no namespaces here; undefined: there can. */
export function namespaceTrouble(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) return 'no network namespaces';
  if (spawnSync('ip', ['-V']).status !== 0) return 'no ip command (iproute2)';
  return undefined;
}

/** The sender's source. */
const SENDER = join(ROOT, 'test/support/send.c');

/** Both ends, `left` and `right`, lie in one namespace; no packet is on the cable but those that are sent on purpose. */
export class Cable {
  readonly name: string;
  readonly prefix: readonly string[];
  /** Who sends on it; they end with it. */
  readonly senders = new Set<ChildProcess>();

  constructor() {
    this.name = `margay-agent-${process.pid}-${Math.floor(Math.random() * 1e6)}`;
    this.prefix = ['ip', 'netns', 'exec', this.name];
    execFileSync('ip', ['netns', 'add', this.name]);
    this.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
    this.add();
  }

  run(...command: string[]): string {
    const [first = '', ...rest] = [...this.prefix, ...command];
    return execFileSync(first, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  add(): void {
    this.run('ip', 'link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
    for (const end of ['left', 'right']) this.run('ip', 'link', 'set', end, 'arp', 'off', 'up');
  }

  /** Packets that came in at `right`. */
  arrived(): number {
    const line = this.run('cat', '/proc/net/dev')
      .split('\n')
      .find((one) => one.trim().startsWith('right:'));
    return Number(line!.split(':')[1]!.trim().split(/\s+/)[1]);
  }

  close(): void {
    for (const sender of this.senders) sender.kill();
    spawnSync('ip', ['netns', 'del', this.name]);
  }
}

let program: string | undefined;
let folder: string | undefined;

/** Compiles the sender; undefined where there is no compiler. */
export function buildSender(): string | undefined {
  if (program !== undefined) return program;
  folder = mkdtempSync(join(tmpdir(), 'margay-send-'));
  const path = join(folder, 'send');
  const built = spawnSync('cc', ['-O2', '-o', path, SENDER], { encoding: 'utf8' });
  if (built.error !== undefined) return undefined;
  if (built.status !== 0) throw new Error(built.stderr);
  program = path;
  return path;
}

export function removeSender(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  program = undefined;
}

export interface Sending {
  readonly process: ChildProcess;
  /** Packets that the kernel took. */
  readonly sent: Promise<number>;
}

/** Sends on `left`: see send.c. `packets` may be cut short by ending the process. */
export function send(cable: Cable, packets: number, perSecond: number, flows = 100, bytes = 100): Sending {
  const command = [...cable.prefix, buildSender()!, 'left', packets, perSecond, flows, bytes].map(String);
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  cable.senders.add(child);
  child.on('close', () => cable.senders.delete(child));
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const sent = new Promise<number>((resolve, reject) => {
    child.on('close', (code) => {
      if (code === 0) resolve(Number(text.split(' ')[0]));
      else reject(new Error(`the sender ended with ${code}`));
    });
  });
  return { process: child, sent };
}
