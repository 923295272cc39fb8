/**
 * Loading the same policy into the kernel: `ipset restore` and `iptables-restore`, `nft -f`, and one element more. All in a network
 * namespace of our own, which is gone afterwards.
 *
 * Sets are `hash:net` as Calico's are; endpoints reach the rules of their account by a chain each. Only the ingress policies are loaded, as
 * into the other classifiers.
 */
import { writeFileSync } from 'node:fs';
import { kept } from '../paths.ts';
import { runProcess } from '../process.ts';
import { rulesOf, type Workload } from '../workload.ts';
import { need, needRoot, PeerMissing } from './build.ts';

export interface LoadTimes {
  readonly ipsetMs: number;
  readonly iptablesMs: number;
}

const PEER = 'iptables and ipset';
const UPDATES = 20_000;

/** Runs `body` with the name of a fresh network namespace. */
export function inNamespace<T>(body: (name: string) => T): T {
  needRoot(PEER);
  need(PEER, 'ip');
  const name = `margay-bench-${process.pid}`;
  try {
    runProcess('ip', ['netns', 'add', name]);
  } catch (error) {
    throw new PeerMissing(`${PEER}: no network namespace: ${String(error).slice(-200)}`);
  }
  try {
    return body(name);
  } finally {
    runProcess('ip', ['netns', 'delete', name]);
  }
}

/** Sets, then rules, into an empty namespace. */
export function loadIptables(workload: Workload, namespace: string): LoadTimes {
  need(PEER, 'ipset', 'iptables-restore');
  const { name } = workload.shape;
  const sets = kept(`${name}.ipset`, (path) => writeFileSync(path, ipsetText(workload)));
  const rules = kept(`${name}.iptables`, (path) => writeFileSync(path, iptablesText(workload)));
  return {
    ipsetMs: inside(namespace, `ipset restore < ${sets}`),
    iptablesMs: inside(namespace, `${restoreProgram(namespace)} < ${rules}`),
  };
}

/** One element of a loaded set, in a restore of many: added, then taken away again. Needs `loadIptables` before. */
export function updateIpset(workload: Workload, namespace: string): number {
  const { name } = workload.shape;
  const changes = (verb: string): string =>
    kept(`${name}-${verb}.ipset`, (path) => {
      const lines = Array.from(
        { length: UPDATES },
        (_, i) => `${verb} s${i % workload.sets.length} 11.0.${i >>> 8}.${i & 255}`,
      );
      writeFileSync(path, `${lines.join('\n')}\n`);
    });
  const none = kept('none.ipset', (path) => writeFileSync(path, ''));
  const start = inside(namespace, `ipset restore < ${none}`);
  const added = inside(namespace, `ipset restore < ${changes('add')}`);
  inside(namespace, `ipset restore < ${changes('del')}`);
  return ((added - start) * 1e6) / UPDATES;
}

export function loadNftables(workload: Workload, namespace: string): number {
  need('nftables', 'nft');
  const rules = kept(`${workload.shape.name}.nft`, (path) => writeFileSync(path, nftText(workload)));
  return inside(namespace, `nft -f ${rules}`);
}

/** Milliseconds of a shell command inside the namespace. */
function inside(namespace: string, command: string): number {
  try {
    return runProcess('ip', ['netns', 'exec', namespace, 'sh', '-c', command]).seconds * 1000;
  } catch (error) {
    throw new PeerMissing(`${PEER}: the kernel refuses: ${String(error).slice(-300)}`);
  }
}

/** Calico's own choice is the old interface where the kernel has it. */
function restoreProgram(namespace: string): string {
  for (const program of ['iptables-legacy', 'iptables-nft']) {
    try {
      inside(namespace, `${program} -S`);
      return `${program}-restore`;
    } catch {}
  }
  throw new PeerMissing(`${PEER}: neither iptables-legacy nor iptables-nft works here`);
}

function ipsetText({ sets }: Workload): string {
  const lines: string[] = [];
  sets.forEach((members, set) => {
    lines.push(`create s${set} hash:net family inet hashsize 1024 maxelem 1048576`);
    for (const address of members) lines.push(`add s${set} ${dotted(address)}`);
  });
  return `${lines.join('\n')}\n`;
}

function iptablesText(workload: Workload): string {
  const { accounts } = workload.shape;
  const lines = ['*filter', ':FORWARD ACCEPT [0:0]'];
  for (let account = 0; account < accounts; account++) lines.push(`:d${account} - [0:0]`);
  workload.endpoints.forEach((address, index) => {
    lines.push(`-A FORWARD -d ${dotted(address)}/32 -j d${index % accounts}`);
  });
  for (let account = 0; account < accounts; account++) {
    for (const { set, protocol, low, high, allow } of rulesOf(workload, account)) {
      const name = protocol === 6 ? 'tcp' : 'udp';
      const match = `-p ${name} -m set --match-set s${set} src -m ${name} --dport ${low}:${high}`;
      lines.push(`-A d${account} ${match} -j ${allow ? 'ACCEPT' : 'DROP'}`);
    }
    lines.push(`-A d${account} -j DROP`);
  }
  return `${lines.join('\n')}\nCOMMIT\n`;
}

function nftText(workload: Workload): string {
  const { accounts } = workload.shape;
  const lines = ['table ip bench {'];
  workload.sets.forEach((members, set) => {
    lines.push(`set s${set} { type ipv4_addr; elements = { ${Array.from(members, dotted).join(',')} } }`);
  });
  for (let account = 0; account < accounts; account++) {
    lines.push(`chain d${account} {`);
    for (const { set, protocol, low, high, allow } of rulesOf(workload, account)) {
      const ports = low === high ? low : `${low}-${high}`;
      lines.push(`${protocol === 6 ? 'tcp' : 'udp'} dport ${ports} ip saddr @s${set} ${allow ? 'accept' : 'drop'}`);
    }
    lines.push('drop', '}');
  }
  const targets = Array.from(workload.endpoints, (address, index) => `${dotted(address)} : jump d${index % accounts}`);
  lines.push('chain forward {', 'type filter hook forward priority 0; policy accept;');
  lines.push(`ip daddr vmap { ${targets.join(', ')} }`, '}', '}');
  return `${lines.join('\n')}\n`;
}

function dotted(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
