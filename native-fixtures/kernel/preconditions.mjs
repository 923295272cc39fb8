/** What the lab needs of the machine. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';

const PROGRAMS = ['ip', 'nft', 'iptables-restore', 'ip6tables-restore', 'ipset'];
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Python of the system; a version manager's shim costs a second a start. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** Why the lab cannot run here, or undefined. */
export function whyNoLab() {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root';
  const missing = [...PROGRAMS, PYTHON].filter((name) => !isInstalled(name));
  if (missing.length > 0) return `needs ${missing.join(', ')}`;
  const probe = `margay-probe-${process.pid}`;
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'pipe' });
    try {
      execFileSync('ip', ['netns', 'exec', probe, 'nft', 'add table ip probe'], { stdio: 'pipe' });
    } finally {
      execFileSync('ip', ['netns', 'delete', probe], { stdio: 'pipe' });
    }
  } catch (error) {
    return `needs network namespaces and nftables: ${String(error.stderr ?? error.message).trim()}`;
  }
  return undefined;
}

/** Kernel and tools, as fixtures record them. */
export function versions() {
  const first = (argv) => execFileSync(argv[0], argv.slice(1), { encoding: 'utf8' }).split('\n')[0].trim();
  return {
    kernel: release(),
    nft: first(['nft', '--version']),
    iptables: first(['iptables-restore', '--version']),
    ipset: first(['ipset', '--version']),
    python: first([PYTHON, '--version']),
  };
}

function isInstalled(name) {
  if (name.startsWith('/')) return existsSync(name);
  const path = `${process.env.PATH ?? ''}${delimiter}${SYSTEM_PATH}`;
  return path.split(delimiter).some((directory) => directory !== '' && existsSync(join(directory, name)));
}
