/**
 * `npm run bench -- --install-peers`: the programs that the bench compares with. System packages by apt-get (Debian and Ubuntu, as
 * root), npm packages into bench/.work/npm, outside of the project's dependencies. What cannot be installed is named; the bench
 * leaves out the peers that need it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WORK } from '../paths.ts';
import { isInstalled, runProcess } from '../process.ts';
import { progress } from '../progress.ts';

const SYSTEM_PACKAGES = [
  ...['tcpdump', 'tshark', 'time', 'gcc', 'libc6-dev', 'pkg-config', 'libpcap-dev'],
  ...['dpdk', 'dpdk-dev', 'libdpdk-dev', 'clang', 'libbpf-dev'],
  ...['iproute2', 'ipset', 'iptables', 'nftables'],
];
const NPM_PACKAGES = ['pcap-parser@0.2.1', 'pcap@3.1.0', 'cap@0.2.1'];
const INSTALL_MS = 900_000;

/** Whether all of it is there now. */
export function installPeers(): boolean {
  const system = installSystemPackages();
  const npm = installNpmPackages();
  return system && npm;
}

function installSystemPackages(): boolean {
  if (!isInstalled('apt-get') || process.getuid?.() !== 0) {
    process.stderr.write(`apt-get and root are needed; install by hand: ${SYSTEM_PACKAGES.join(' ')}\n`);
    return false;
  }
  progress(`apt-get install ${SYSTEM_PACKAGES.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '--no-install-recommends'];
  try {
    runProcess('apt-get', ['update'], { env, timeoutMs: INSTALL_MS });
    runProcess('apt-get', [...install, ...SYSTEM_PACKAGES], { env, timeoutMs: INSTALL_MS });
    return true;
  } catch {
    // One that this system lacks must not keep the others away.
    const missing = SYSTEM_PACKAGES.filter((name) => !attempt('apt-get', [...install, name], { env }));
    for (const name of missing) process.stderr.write(`not installed: ${name}\n`);
    return missing.length === 0;
  }
}

function installNpmPackages(): boolean {
  const folder = join(WORK, 'npm');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const missing = NPM_PACKAGES.filter((name) => {
    progress(`npm install ${name}`);
    return !attempt('npm', ['install', '--no-audit', '--no-fund', name], { cwd: folder });
  });
  for (const name of missing)
    process.stderr.write(`not installed: ${name} (it is compiled: needs python3, make, g++)\n`);
  return missing.length === 0;
}

function attempt(command: string, args: readonly string[], options: object): boolean {
  try {
    runProcess(command, args, { ...options, timeoutMs: INSTALL_MS });
    return true;
  } catch (error) {
    process.stderr.write(`${String(error).slice(0, 300)}\n`);
    return false;
  }
}
