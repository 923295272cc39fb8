// @ts-check
// The system packages that tests need: one table with the reason of each, and their installation where the user may.

import { spawnSync } from 'node:child_process';
import { findCommand, hasPcapHeader, say } from '../pcaps/setup.mjs';

/**
 * @typedef {object} SystemPackage
 * @property {string} name    Debian's name
 * @property {() => boolean} isHere
 * @property {string} why     what tests do with it
 */

/** @param {string[]} names */
const commands =
  (...names) =>
  () =>
    names.every((name) => findCommand(name) !== undefined);

/** @type {readonly SystemPackage[]} */
export const SYSTEM_PACKAGES = [
  { name: 'libpcap-dev', isHere: hasPcapHeader, why: 'headers that the cap package, live capture, is built with' },
  { name: 'build-essential', isHere: commands('g++', 'make'), why: 'compiles the cap package' },
  { name: 'python3', isHere: commands('python3'), why: 'node-gyp, which builds the cap package, is written in it' },
  {
    name: 'tcpdump',
    isHere: commands('tcpdump'),
    why: 'records captures, and counts their packets as a second opinion',
  },
  { name: 'tshark', isHere: commands('tshark'), why: 'decodes captures as a second opinion on ours' },
  { name: 'nftables', isHere: commands('nft'), why: 'the kernel as witness: rulesets in nftables form' },
  { name: 'iptables', isHere: commands('iptables', 'ip6tables'), why: 'the kernel as witness: rules in iptables form' },
  { name: 'ipset', isHere: commands('ipset'), why: 'the kernel as witness: the sets that iptables rules match' },
  {
    name: 'redis-server',
    isHere: commands('redis-server'),
    why: 'the shared store of identities, with every fault that it can have',
  },
  { name: 'zsh', isHere: commands('zsh'), why: 'runs the completion that is made for it' },
  { name: 'fish', isHere: commands('fish'), why: 'runs the completion that is made for it' },
  { name: 'openssl', isHere: commands('openssl'), why: 'certificates of servers that tests start' },
  {
    name: 'chromium',
    isHere: commands('chromium'),
    why: 'opens the page of the agent and the report as a reader does',
  },
  { name: 'iproute2', isHere: commands('ip'), why: 'network namespaces, one a pod, for everything that sends packets' },
];

/**
 * Installs what is missing, as root or through sudo without a password. What stays missing is named with what is
 * skipped for it; that is no failure, since each test that needs it skips itself by name.
 */
export function ensureSystemPackages() {
  const missing = missingPackages();
  if (missing.length === 0) {
    say('system packages: all here');
    return;
  }
  const names = missing.map(({ name }) => name);
  const prefix = administratorPrefix();
  if (prefix === undefined) {
    sayMissing(missing, 'only root (or sudo without a password) on Debian may install them');
    return;
  }
  say(`system packages: installing ${names.join(', ')} (apt-get)`);
  const wrong = aptGet(prefix, ['update', '-qq']) ?? aptGet(prefix, installArguments(names));
  if (wrong === undefined) return;
  sayMissing(missingPackages(), `apt-get failed (${wrong})`);
}

function missingPackages() {
  return SYSTEM_PACKAGES.filter(({ isHere }) => !isHere());
}

/**
 * @param {readonly SystemPackage[]} missing
 * @param {string} because
 */
function sayMissing(missing, because) {
  for (const { name, why } of missing)
    say(`system packages: ${name} is missing, tests that need it are skipped: ${why}`);
  const names = missing.map(({ name }) => name).join(' ');
  if (names) say(`system packages: ${because}; as root: apt-get install ${names}`);
}

/** Words to put before a command so that it runs as root; undefined when this user or system cannot. */
function administratorPrefix() {
  if (!findCommand('apt-get')) return undefined;
  if (process.getuid?.() === 0) return [];
  const mayAll = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
  return mayAll ? ['sudo', '-n'] : undefined;
}

/** @param {string[]} names */
function installArguments(names) {
  return ['install', '-qq', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...names];
}

/**
 * @param {string[]} prefix
 * @param {string[]} args
 * @returns {string | undefined} what went wrong, in one line
 */
function aptGet(prefix, args) {
  // `env` because sudo drops the variables of its caller.
  const [command = '', ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
  const { status, error, stderr } = spawnSync(command, rest, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: 15 * 60_000,
  });
  if (error) return error.message;
  if (status === 0) return undefined;
  return stderr.split('\n').find((line) => line.startsWith('E:')) ?? `exit code ${status}`;
}
