/** Where the service listens: a unix socket that its group may use, or an address of the loopback interface. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { escapeControls, PolicyError } from '../base/errors.ts';
import { parseAddress } from '../base/ip.ts';

/** Nothing can listen there now. One line. */
export class ListenTrouble extends Error {
  override readonly name = 'ListenTrouble';
  /** As errors of the system have one: it is reported by its message alone. */
  readonly code = 'LISTEN';

  constructor(address: string, problem: string) {
    super(`cannot listen on ${escapeControls(address)}: ${problem}`);
  }
}

export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Bytes of `sun_path` on Linux without the zero at its end. */
const SOCKET_PATH_MAX = 107;

/**
 * `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`. Throws `PolicyError` for other text, and for an address that is not loopback unless
 * `isRemoteAllowed`: whoever reaches the service may ask it anything.
 */
export function parseListen(text: string, option: string, isRemoteAllowed = false): ListenAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '' || Buffer.byteLength(path) > SOCKET_PATH_MAX) {
      throw listenError(option, text, `is no path of a socket, which has 1 to ${SOCKET_PATH_MAX} bytes`, 'shorten it');
    }
    return { kind: 'unix', path };
  }
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw listenError(option, text, 'is no address', 'give unix:PATH, HOST:PORT or [IPV6]:PORT');
  }
  if (!isRemoteAllowed && !isLoopback(host)) {
    const fix =
      'use 127.0.0.1, [::1] or a unix socket, or add --allow-remote if whoever reaches it may ask it anything';
    throw listenError(option, text, 'is not on the loopback interface', fix);
  }
  return { kind: 'tcp', host, port };
}

function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  const address = parseAddress(host);
  if (address === undefined) return false;
  const [a, b, c, d] = address.words;
  return address.version === 4 ? a >>> 24 === 127 : a === 0 && b === 0 && c === 0 && d === 1;
}

/** As gRPC and people write it; `port` is the one that was given where 0 was asked for. */
export function listenText(address: ListenAddress, port?: number): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${port ?? address.port}`;
}

/**
 * Takes a socket away that nobody listens at any more, as a killed process leaves it. Touches nothing, and rejects with
 * `ListenTrouble` if somebody answers there, with `PolicyError` if what is there is no socket.
 */
export async function clearStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw listenError('--listen', `unix:${path}`, 'is there and is no socket', 'remove it or choose another path');
  }
  if (await isAnswered(path)) {
    throw new ListenTrouble(`unix:${path}`, 'another process listens there; stop it or choose another path');
  }
  unlinkSync(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // Without the right to connect nothing is known about it.
      else reject(error);
    });
  });
}

/** Owner and group may connect, nobody else. */
const SOCKET_MODE = 0o660;

/** Runs `bind` so that a socket it makes is never open to others, not even for a moment. */
export async function withSocketMode<T>(path: string, bind: () => Promise<T>): Promise<T> {
  const before = process.umask(0o777 & ~SOCKET_MODE);
  try {
    const result = await bind();
    chmodSync(path, SOCKET_MODE);
    return result;
  } finally {
    process.umask(before);
  }
}

function listenError(option: string, text: string, problem: string, fix: string): PolicyError {
  return new PolicyError('listen', `${option} '${escapeControls(text)}' ${problem}`, { fix });
}
