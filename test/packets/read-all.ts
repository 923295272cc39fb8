/** Shared by the capture tests: sources in memory, and a whole capture as plain records. */
import type { ByteSource } from '../../src/packets/byte-source.ts';
import { openSource } from '../../src/packets/pcap-file.ts';
import type { CaptureReader } from '../../src/packets/source.ts';
import { createRecordBatch } from '../../src/packets/source.ts';

export interface ReadRecord {
  readonly bytes: Uint8Array;
  readonly wireBytes: number;
  readonly seconds: number;
  readonly nanos: number;
  readonly linkType: number;
  readonly interface: number;
}

/** Hands out `bytes`, at most `step` at a time, as a file does or (isAsync) as a stream does. */
export class MemorySource implements ByteSource {
  bytesRead = 0;
  isClosed = false;
  readonly sizeBytes: number | undefined;
  private readonly bytes: Uint8Array;
  private readonly step: number;
  private readonly isAsync: boolean;

  constructor(bytes: Uint8Array, step = bytes.length, isAsync = false) {
    this.bytes = bytes;
    this.step = step;
    this.isAsync = isAsync;
    this.sizeBytes = isAsync ? undefined : bytes.length;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    const count = Math.min(length, this.step, this.bytes.length - this.bytesRead);
    target.set(this.bytes.subarray(this.bytesRead, this.bytesRead + count), at);
    this.bytesRead += count;
    return this.isAsync ? Promise.resolve(count) : count;
  }

  close(): void {
    this.isClosed = true;
  }
}

/** A reader over bytes in memory. */
export function openBytes(bytes: Uint8Array, step?: number, isAsync?: boolean): Promise<CaptureReader> {
  return openSource('memory', new MemorySource(bytes, step, isAsync), () => new MemorySource(bytes));
}

/** All records, copied out; fails if the reader stops making progress. */
export async function readAll(reader: CaptureReader, recordsMax = 1_000_000): Promise<ReadRecord[]> {
  const batch = createRecordBatch();
  const records: ReadRecord[] = [];
  for (;;) {
    while (reader.next(batch) > 0) {
      for (let row = 0; row < batch.count; row++) {
        const offset = batch.offsets[row]!;
        records.push({
          bytes: batch.bytes.slice(offset, offset + batch.capturedBytes[row]!),
          wireBytes: batch.wireBytes[row]!,
          seconds: batch.seconds[row]!,
          nanos: batch.nanos[row]!,
          linkType: batch.linkTypes[row]!,
          interface: batch.interfaces[row]!,
        });
      }
      if (records.length > recordsMax) throw new Error('more records than the file can hold');
    }
    if (!(await reader.fill())) return records;
  }
}
