/** What figures depend on, for the results' head: the machine, and the versions of all that was measured. */
import { spawnSync } from 'node:child_process';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import type { Machine } from './measurement.ts';

/** A program, how it tells its version, and where in its answer that stands. */
const VERSIONS: readonly (readonly [name: string, command: string, pattern: RegExp])[] = [
  ['tcpdump', 'tcpdump --version', /tcpdump version (\S+)/],
  ['libpcap', 'tcpdump --version', /libpcap version (\S+)/],
  ['dpdk', 'pkg-config --modversion libdpdk', /^(\S+)/],
  ['gcc', 'gcc --version', /(\d+\.\d+\.\d+)/],
  ['clang', 'clang --version', /version (\S+)/],
  ['ipset', 'ipset --version', /ipset (v\S+),/],
  ['iptables', 'iptables --version', /iptables (v\S+)/],
  ['nftables', 'nft --version', /nftables (v\S+)/],
  ['tshark', 'tshark --version', /TShark \(Wireshark\) (\S+)/],
];

export function describeMachine(): Machine {
  const versions: Record<string, string> = {};
  for (const [name, command, pattern] of VERSIONS) {
    const { stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
    const version = pattern.exec(`${stdout}${stderr}`)?.[1];
    if (version !== undefined) versions[name] = version;
  }
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    loadAverage: Math.round(loadavg()[0]! * 100) / 100,
    versions,
  };
}
