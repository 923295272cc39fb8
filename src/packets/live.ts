/**
 * Live capture through the package `cap`, which binds libpcap. The only file that knows it.
 *
 * What cap 0.2.1 does, and how its users here meet it:
 * - it aborts the process when an interface goes away: capture runs in a child process of its own (agent/capture-child.ts);
 * - it calls back for one packet after the other, without returning to the event loop while there are more: the callback copies, nothing else;
 * - it writes every packet into one buffer, which must stay referenced and hold 65 535 bytes;
 * - it tells neither time nor length on the wire nor drops: the time is that of delivery;
 * - it cannot be loaded in a worker thread, and an object that was closed captures nothing when opened again: one object for each opening;
 * - an object that could not be opened crashes the process when it is collected: an interface that is absent or down is not tried, and what
 *   failed all the same is never collected.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** The longest frame that cap hands over, and room to copy its last bytes as a whole word. */
const FRAME_BYTES_MAX = 65_535;
const BUFFER_BYTES = 65_536;

/** Live capture cannot be had. `message` is one line: what is wrong and what to do. */
export class LiveCaptureError extends Error {
  override readonly name = 'LiveCaptureError';
  /** `missing`: cap is not built; `denied`: no right to capture; `interface`: absent, down or not to be captured on; `filter`: no BPF. */
  readonly kind: 'missing' | 'denied' | 'interface' | 'filter';

  constructor(kind: LiveCaptureError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

interface CapInstance {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string;
  close(): boolean;
  on(event: 'packet', listener: (bytes: number, isTruncated: boolean) => void): void;
}

interface CapModule {
  readonly Cap: new () => CapInstance;
}

const REMEDY_MISSING =
  "live capture needs the package 'cap', which is not built here: install libpcap-dev, g++, make and python3 and run 'npm rebuild cap', or use --source tcpdump";

/** Throws a LiveCaptureError of kind `missing` where cap was not installed or not built. */
function loadCap(): CapModule {
  try {
    return createRequire(import.meta.url)('cap') as CapModule;
  } catch {
    throw new LiveCaptureError('missing', REMEDY_MISSING);
  }
}

/** The same without loading it: whether it was built at all. */
export function liveCaptureMissing(): string | undefined {
  try {
    createRequire(import.meta.url).resolve('cap/build/Release/cap.node');
    return undefined;
  } catch {
    return REMEDY_MISSING;
  }
}

/** Whether cap can be loaded, as one line for who asks (undefined: it can). Loads it, so not for a worker thread. */
export function liveCaptureTrouble(): string | undefined {
  try {
    loadCap();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Called for each packet; `frame` holds it from word 0 on, until the next call. */
export type OnLivePacket = (frame: Int32Array, bytes: number, linkType: number) => void;

export interface LiveCapture {
  readonly linkType: number;
  close(): void;
}

/**
 * Captures on `device` (`any` is all of them) until it is closed. Throws a LiveCaptureError.
 *
 * @param filter  BPF; empty = everything
 * @param bufferBytes  of the kernel's ring; on interfaces with offloads a packet takes 128 KiB of it, whatever its size
 */
export function openLive(device: string, filter: string, bufferBytes: number, onPacket: OnLivePacket): LiveCapture {
  const { Cap } = loadCap();
  const trouble = interfaceTrouble(device);
  if (trouble !== undefined) throw new LiveCaptureError('interface', `${device}: cannot capture: ${trouble}`);
  const buffer = Buffer.from(new ArrayBuffer(BUFFER_BYTES), 0, FRAME_BYTES_MAX);
  const frame = new Int32Array(buffer.buffer, 0, BUFFER_BYTES / 4);
  const capture = new Cap();
  let linkName: string;
  try {
    linkName = capture.open(device, filter, bufferBytes, buffer);
  } catch (error) {
    failed.push(capture);
    throw openError(device, filter, error instanceof Error ? error.message : String(error));
  }
  const linkType = LINK_TYPES.get(linkName) ?? unnamedLinkType(linkName);
  capture.on('packet', (bytes) => onPacket(frame, bytes, linkType));
  // The binding keeps a bare pointer: the closure of `close` keeps the buffer.
  return {
    linkType,
    close: () => {
      capture.close();
      buffer.fill(0, 0, 0);
    },
  };
}

const failed: CapInstance[] = [];

/** IFF_UP, <linux/if.h>. */
const INTERFACE_UP = 1;

/**
 * Why `device` cannot be captured on, as far as files tell; undefined: nothing known.
 *
 * @param read  the text of a file; throws where there is none
 */
export function interfaceTrouble(
  device: string,
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): string | undefined {
  if (device === 'any') return undefined;
  try {
    // Of this thread's network namespace, which /sys need not show.
    const names = read('/proc/thread-self/net/dev').split('\n');
    if (!names.some((line) => line.trimStart().startsWith(`${device}:`))) return 'there is no such interface';
    return (Number(read(`/sys/class/net/${device}/flags`)) & INTERFACE_UP) === 0 ? 'the interface is down' : undefined;
  } catch {
    return undefined;
  }
}

/** LINKTYPE_ numbers (wire/link.ts) of the names that cap has for them. */
const LINK_TYPES: ReadonlyMap<string, number> = new Map([
  ['NULL', 0],
  ['ETHERNET', 1],
  ['IEEE802_11_RADIO', 127],
  ['LINKTYPE_LINUX_SLL', 113],
  ['RAW', 101],
]);

/** `Unknown linktype 276` */
function unnamedLinkType(name: string): number {
  return Number(/\d+$/.exec(name)?.[0] ?? -1);
}

function openError(device: string, filter: string, reason: string): LiveCaptureError {
  const said = reason.replaceAll('\n', ' ').trim();
  if (/permi(ssion|tted)/i.test(said)) {
    const remedy = 'run it as root, or give it CAP_NET_RAW (systemd: AmbientCapabilities=CAP_NET_RAW)';
    return new LiveCaptureError('denied', `${device}: no right to capture (${said}); ${remedy}`);
  }
  if (/syntax error|parse|filter|expression/i.test(said)) {
    return new LiveCaptureError('filter', `the filter '${filter}' is no BPF expression: ${said}`);
  }
  return new LiveCaptureError('interface', `${device}: cannot capture: ${said}`);
}
