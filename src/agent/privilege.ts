/**
 * What this process may do, and the commands by which its children may do less.
 *
 * Linux gives an ordinary user's program a capability only if it is in the ambient set of who starts it (capabilities(7)), and Node.js can change neither
 * set: util-linux's setpriv does, on the way to the next program.
 */
import { readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/* Bits of capability sets, <linux/capability.h>. */
const CAP_SETGID = 6;
const CAP_SETUID = 7;
const CAP_SETPCAP = 8;
const CAP_NET_RAW = 13;

export interface Standing {
  readonly isRoot: boolean;
  readonly canCapture: boolean;
  readonly canChangeUser: boolean;
  /** May take capabilities from what later programs could ever get. */
  readonly canBound: boolean;
}

/** @param status  text of /proc/self/status */
export function standing(status: string = readFileSync('/proc/self/status', 'utf8')): Standing {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: number): boolean => ((effective >> BigInt(bit)) & 1n) === 1n;
  return {
    isRoot: /^Uid:\s*\d+\s+0\s/m.test(status),
    canCapture: has(CAP_NET_RAW),
    canChangeUser: has(CAP_SETUID) && has(CAP_SETGID),
    canBound: has(CAP_SETPCAP),
  };
}

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** A user by name or number, from the text of /etc/passwd; undefined if there is none of this name. */
export function findUser(name: string, passwd: string = readPasswd()): User | undefined {
  for (const line of passwd.split('\n')) {
    const [login, , uid, gid] = line.split(':');
    if ((login !== name && uid !== name) || uid === undefined || gid === undefined) continue;
    return { name: login!, uid: Number(uid), gid: Number(gid) };
  }
  // Images without the file still have numbers, and everyone's nobody.
  if (name === 'nobody') return { name, uid: 65_534, gid: 65_534 };
  return /^\d+$/.test(name) ? { name, uid: Number(name), gid: Number(name) } : undefined;
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return '';
  }
}

/** Path of setpriv, if it is installed. (That of BusyBox has other options, and is not in the path under this name on Debian.) */
export function findSetpriv(): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      const path = join(folder, 'setpriv');
      if ((statSync(path).mode & 0o111) !== 0) return path;
    } catch {
      // The next one.
    }
  }
  return undefined;
}

/** Nothing that it starts gets more, and it is asked to end when who started it is gone. */
const LAST: readonly string[] = ['--no-new-privs', '--pdeathsig', 'TERM'];

/** Words before a command that make it run as `user` with the right to capture and no other. */
export function captureOnly(setpriv: string, user: User, canBound: boolean): string[] {
  const bound = canBound ? ['--bounding-set', '-all,+net_raw'] : [];
  const ids = ['--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups'];
  return [setpriv, ...ids, ...bound, '--inh-caps', '-all,+net_raw', '--ambient-caps', '-all,+net_raw', ...LAST];
}

/** Words before a command that make it run without any capability, as the user that it is. */
export function withoutRights(setpriv: string, canBound: boolean): string[] {
  const bound = canBound ? ['--bounding-set', '-all'] : [];
  return [setpriv, ...bound, '--inh-caps', '-all', '--ambient-caps', '-all', ...LAST];
}

/** Whether a program at `path` can be read by `user`: all folders above it, too. */
export function mayRead(path: string, user: User): boolean {
  const may = (what: string, bit: number): boolean => {
    const { mode, uid, gid } = statSync(what);
    const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
    return ((mode >> shift) & bit) === bit;
  };
  if (!may(path, 4)) return false;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (!may(folder, 1)) return false;
    if (folder === dirname(folder)) return true;
  }
}
