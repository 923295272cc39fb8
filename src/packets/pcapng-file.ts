/**
 * A pcapng file that is written packet by packet; memory holds one piece of it.
 *
 * Goes to a file of its own beside `path` first and takes its place at the end, so that a failure leaves nothing half-written under
 * that name. What is there already and no ordinary file (a pipe, /dev/stdout) is written to as it comes.
 */
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { concatBytes } from './synthetic.ts';
import {
  type CaptureRecord,
  enhancedPacketBlock,
  interfaceBlock,
  type PcapngInterface,
  sectionBlock,
  statisticsBlock,
} from './write.ts';

const PIECE_BYTES = 1 << 18;
/** `if_tsresol`: nanoseconds. */
const RESOLUTION = 9;

export class PcapngFile {
  readonly path: string;
  packetCount = 0;
  readonly #target: string;
  readonly #descriptor: number;
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  #interfaces = 0;
  #isOpen = true;

  /** Opens the file and writes the section header. Throws the system's error. */
  constructor(path: string) {
    this.path = path;
    const found = statSync(path, { throwIfNoEntry: false });
    this.#target = found === undefined || found.isFile() ? `${path}.${process.pid}.part` : path;
    this.#descriptor = openSync(this.#target, this.#target === path ? 'w' : 'wx', 0o644);
    this.#put(sectionBlock(true));
  }

  /** Describes a further interface and returns its number. */
  addInterface(one: PcapngInterface): number {
    this.#put(interfaceBlock({ ...one, resolution: RESOLUTION }, true));
    return this.#interfaces++;
  }

  add(record: CaptureRecord): void {
    this.packetCount++;
    this.#put(enhancedPacketBlock(record, RESOLUTION, true));
  }

  /** Packets that were lost at an interface. */
  addDrops(number: number, drops: number): void {
    this.#put(statisticsBlock(number, drops, true));
  }

  /** Writes what is left and gives the file its name. */
  finish(): void {
    this.#flush();
    this.#isOpen = false;
    closeSync(this.#descriptor);
    if (this.#target !== this.path) renameSync(this.#target, this.path);
  }

  /** Throws away what was not finished. Any number of times, also after `finish`. */
  discard(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
    if (this.#target !== this.path) rmSync(this.#target, { force: true });
  }

  #put(block: Uint8Array): void {
    this.#pieces.push(block);
    this.#pieceBytes += block.length;
    if (this.#pieceBytes >= PIECE_BYTES) this.#flush();
  }

  #flush(): void {
    const bytes = concatBytes(this.#pieces);
    this.#pieces = [];
    this.#pieceBytes = 0;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
  }
}
