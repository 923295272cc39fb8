/**
 * Frames on their way to another thread: fragments, which one path must see all of, in the order of the capture.
 *
 * Packed into two buffers a message instead of an object a frame: the bytes one after the other, and FRAME_NUMBERS numbers each.
 */
import { BATCH_RECORDS, createRecordBatch, type RecordBatch } from '../packets/source.ts';

/** Numbers of a frame: packet number, captured bytes, bytes on the wire, seconds, nanoseconds, link type, direction, interface name. */
const FRAME_NUMBERS = 8;
const FIRST_BYTES = 1 << 14;

export interface PackedFrames {
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly numbers: Float64Array;
  /** Names of interfaces that the last number of a frame points to; -1 = none is known. */
  readonly names: readonly string[];
}

/** Collects frames and gives them away packed. */
export class FramePacker {
  #bytes = new Uint8Array(0);
  #used = 0;
  #numbers: number[] = [];
  #names: string[] = [];

  get usedBytes(): number {
    return this.#used;
  }

  add(batch: RecordBatch, index: number, packet: number, interfaceName: string | undefined): void {
    const offset = batch.offsets[index]!;
    const captured = batch.capturedBytes[index]!;
    this.#makeRoom(captured);
    this.#bytes.set(batch.bytes.subarray(offset, offset + captured), this.#used);
    this.#used += captured;
    const times = [batch.seconds[index]!, batch.nanos[index]!];
    const what = [batch.linkTypes[index]!, batch.directions[index]!, this.#nameIndex(interfaceName)];
    this.#numbers.push(packet, captured, batch.wireBytes[index]!, ...times, ...what);
  }

  take(): PackedFrames | undefined {
    if (this.#numbers.length === 0) return undefined;
    const packed = {
      count: this.#numbers.length / FRAME_NUMBERS,
      bytes: this.#bytes.slice(0, this.#used),
      numbers: Float64Array.from(this.#numbers),
      names: this.#names,
    };
    this.#used = 0;
    this.#numbers = [];
    this.#names = [];
    return packed;
  }

  #makeRoom(bytes: number): void {
    if (this.#used + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(FIRST_BYTES, 2 * this.#bytes.length, this.#used + bytes));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }

  #nameIndex(name: string | undefined): number {
    if (name === undefined) return -1;
    const known = this.#names.indexOf(name);
    return known >= 0 ? known : this.#names.push(name) - 1;
  }
}

/** A batch of frames that came packed. */
export interface FrameBatch {
  readonly batch: RecordBatch;
  /** Packet number of each row. */
  readonly packets: Float64Array;
  readonly interfaceName: (number: number) => string | undefined;
}

/** The packed frames again as batches of at most BATCH_RECORDS rows. */
export function* unpackFrames(packed: PackedFrames): Generator<FrameBatch> {
  const { count, bytes, numbers, names } = packed;
  const interfaceName = (number: number): string | undefined => names[number];
  let offset = 0;
  for (let first = 0; first < count; first += BATCH_RECORDS) {
    const batch = createRecordBatch();
    const packets = new Float64Array(BATCH_RECORDS);
    batch.bytes = bytes;
    batch.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    batch.count = Math.min(BATCH_RECORDS, count - first);
    for (let row = 0; row < batch.count; row++) {
      const at = (first + row) * FRAME_NUMBERS;
      packets[row] = numbers[at]!;
      batch.offsets[row] = offset;
      batch.capturedBytes[row] = numbers[at + 1]!;
      batch.wireBytes[row] = numbers[at + 2]!;
      batch.seconds[row] = numbers[at + 3]!;
      batch.nanos[row] = numbers[at + 4]!;
      batch.linkTypes[row] = numbers[at + 5]!;
      batch.directions[row] = numbers[at + 6]!;
      batch.interfaces[row] = numbers[at + 7]!;
      offset += numbers[at + 1]!;
    }
    yield { batch, packets, interfaceName };
  }
}

/** One row of a batch, alone. */
export function oneRow({ batch }: FrameBatch, row: number): RecordBatch {
  return {
    count: 1,
    bytes: batch.bytes,
    view: batch.view,
    offsets: batch.offsets.subarray(row, row + 1),
    capturedBytes: batch.capturedBytes.subarray(row, row + 1),
    wireBytes: batch.wireBytes.subarray(row, row + 1),
    seconds: batch.seconds.subarray(row, row + 1),
    nanos: batch.nanos.subarray(row, row + 1),
    linkTypes: batch.linkTypes.subarray(row, row + 1),
    interfaces: batch.interfaces.subarray(row, row + 1),
    directions: batch.directions.subarray(row, row + 1),
  };
}
