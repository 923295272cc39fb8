/**
 * Several captures as one stream of packets, by time: of the next packet of each capture the earliest comes first, its clock set
 * right. Packets of one capture keep their order, whatever their times say.
 *
 * Each packet is handed on where its reader has it, as row 0 of `row`; it is good until the next call. Memory: a reader's buffer
 * and a batch for each capture.
 */
import { openCapture } from '../packets/pcap-file.ts';
import { type CaptureReader, createRecordBatch, type RecordBatch } from '../packets/source.ts';

const NANOS_PER_MS = 1e6;

/** What has been read of a capture once it ended. */
export interface CaptureEnd {
  readonly file: string;
  readonly packets: number;
  readonly linkType: number | undefined;
  /** Packets that the capturing program says it lost. */
  readonly lost: number;
  /** Why reading ended early, or `null`. */
  readonly error: string | null;
}

interface Cursor {
  readonly index: number;
  readonly reader: CaptureReader;
  readonly batch: RecordBatch;
  readonly offsetMs: number;
  /** Row of the next packet in `batch`. */
  next: number;
  /** Its time, clock set right. */
  timeMs: number;
  /** Number of the packet before it in its capture. */
  packets: number;
}

export class MergedReader {
  /** The packet in hand: row 0. Times are as captured but for what the clock is ahead. */
  readonly row: RecordBatch = createRecordBatch();
  /** Index of its capture, and its number there from 1. */
  capture = 0;
  number = 0;
  /** Milliseconds since 1970, clock set right. */
  timeMs = 0;
  readonly #cursors: Cursor[];
  #current: Cursor | undefined;

  private constructor(cursors: Cursor[]) {
    this.#cursors = cursors;
    this.row.count = 1;
  }

  /**
   * Opens captures; rejects with a CaptureError for one that is not there.
   *
   * @param offsetsMs  by how much the clock of each is ahead; default 0
   */
  static async open(files: readonly string[], offsetsMs: readonly number[] = []): Promise<MergedReader> {
    const cursors: Cursor[] = [];
    try {
      for (const [index, file] of files.entries()) {
        const reader = await openCapture(file);
        const offsetMs = offsetsMs[index] ?? 0;
        cursors.push({ index, reader, batch: createRecordBatch(), offsetMs, next: 0, timeMs: 0, packets: 0 });
      }
    } catch (error) {
      for (const { reader } of cursors) reader.close();
      throw error;
    }
    const merged = new MergedReader(cursors);
    for (const cursor of cursors) await merged.#load(cursor);
    return merged;
  }

  /** Moves to the next packet; false at the end of all captures. A promise only where bytes have to be waited for. */
  next(): boolean | Promise<boolean> {
    const current = this.#current;
    if (current !== undefined) {
      current.next++;
      current.packets++;
      if (current.next >= current.batch.count) return this.#refill(current);
      current.timeMs = timeOf(current);
    }
    return this.#choose();
  }

  reader(capture: number): CaptureReader {
    return this.#cursors[capture]!.reader;
  }

  /** Bytes read and size of all captures together; no size if one is a stream. */
  progress(): { readonly bytesRead: number; readonly sizeBytes: number | undefined } {
    let bytesRead = 0;
    let sizeBytes: number | undefined = 0;
    for (const { reader } of this.#cursors) {
      bytesRead += reader.bytesRead;
      sizeBytes = sizeBytes === undefined || reader.sizeBytes === undefined ? undefined : sizeBytes + reader.sizeBytes;
    }
    return { bytesRead, sizeBytes };
  }

  ends(): CaptureEnd[] {
    return this.#cursors.map(({ reader }) => ({
      file: reader.name,
      packets: reader.packetsRead,
      linkType: reader.linkType,
      lost: reader.lostPackets,
      error: reader.error?.message ?? null,
    }));
  }

  close(): void {
    for (const { reader } of this.#cursors) reader.close();
  }

  async #refill(cursor: Cursor): Promise<boolean> {
    await this.#load(cursor);
    return this.#choose();
  }

  /** Fills the cursor's batch; an empty one = the capture has ended. */
  async #load(cursor: Cursor): Promise<void> {
    const { reader, batch } = cursor;
    cursor.next = 0;
    while (reader.next(batch) === 0) {
      const more = reader.fill();
      if (typeof more === 'boolean' ? more : await more) continue;
      // Rows of a reader that has nothing are those of before.
      batch.count = 0;
      return;
    }
    cursor.timeMs = timeOf(cursor);
  }

  #choose(): boolean {
    let first: Cursor | undefined;
    for (const cursor of this.#cursors) {
      if (cursor.next < cursor.batch.count && (first === undefined || cursor.timeMs < first.timeMs)) first = cursor;
    }
    this.#current = first;
    if (first === undefined) return false;
    this.#show(first);
    return true;
  }

  #show({ index, batch, next: at, offsetMs, timeMs, packets }: Cursor): void {
    const row = this.row;
    row.bytes = batch.bytes;
    row.view = batch.view;
    row.offsets[0] = batch.offsets[at]!;
    row.capturedBytes[0] = batch.capturedBytes[at]!;
    row.wireBytes[0] = batch.wireBytes[at]!;
    row.linkTypes[0] = batch.linkTypes[at]!;
    row.interfaces[0] = batch.interfaces[at]!;
    row.directions[0] = batch.directions[at]!;
    row.seconds[0] = batch.seconds[at]!;
    row.nanos[0] = batch.nanos[at]!;
    if (offsetMs !== 0) {
      const seconds = Math.floor(timeMs / 1000);
      row.seconds[0] = seconds;
      row.nanos[0] = Math.min(999_999_999, Math.max(0, Math.round((timeMs - seconds * 1000) * NANOS_PER_MS)));
    }
    this.capture = index;
    this.number = packets + 1;
    this.timeMs = timeMs;
  }
}

function timeOf({ batch, next, offsetMs }: Cursor): number {
  return batch.seconds[next]! * 1000 + batch.nanos[next]! / NANOS_PER_MS - offsetMs;
}
