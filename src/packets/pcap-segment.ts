/**
 * Pieces of a classic pcap file: reading that starts and ends in the middle, and guesses where a record may start there.
 *
 * A record header has no mark of its own. What looks like a chain of records is taken for one: GUESS_RECORDS headers in a row
 * whose lengths lead from one to the next, with a fraction below one second, no more captured than was on the wire, and seconds that
 * do not jump. Payload can imitate that, so a guess is only a guess: workers/segments.ts says how it is proved.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { openByteSource } from './byte-source.ts';
import { capturedLength, PCAP_FILE_HEADER_BYTES, type PcapForm, type PcapHeader, PcapReader } from './pcap.ts';
import { RecordBuffer } from './record-buffer.ts';
import { CaptureError, RECORD_BYTES_MAX, type RecordBatch, type RecordsTaken, type RecordWalk } from './source.ts';

const GUESS_RECORDS = 16;
/** More than the largest record, and room for a chain behind it. */
const GUESS_WINDOW_BYTES = 1 << 20;
/** Seconds between neighbours. */
const GUESS_GAP_SECONDS = 86_400;
const NANOS_PER_SECOND = 1_000_000_000;

/** The header of a plain classic pcap file on disk, or undefined: another format, a stream, damage, nothing to read. */
export function readPcapHeader(path: string): (PcapHeader & { readonly sizeBytes: number }) | undefined {
  if (path === '-') return undefined;
  try {
    const source = openByteSource(path);
    try {
      if (source.sizeBytes === undefined) return undefined;
      const buffer = new RecordBuffer(path, source);
      buffer.read();
      const reader = new PcapReader(buffer);
      return reader.header === undefined ? undefined : { ...reader.header, sizeBytes: source.sizeBytes };
    } finally {
      source.close();
    }
  } catch (error) {
    if (error instanceof CaptureError) return undefined;
    throw error;
  }
}

/** The first place at or after `from` that looks like a record, or undefined if none does within the largest record. */
export function guessRecord(path: string, header: PcapHeader, from: number): number | undefined {
  const bytes = new Uint8Array(GUESS_WINDOW_BYTES);
  const descriptor = openSync(path, 'r');
  let count = 0;
  try {
    count = readSync(descriptor, bytes, 0, bytes.length, from);
  } finally {
    closeSync(descriptor);
  }
  const view = new DataView(bytes.buffer, 0, count);
  const last = Math.min(count, RECORD_BYTES_MAX + header.form.recordHeaderBytes);
  for (let at = 0; at < last; at++) if (isChain(view, header.form, at, count < bytes.length)) return from + at;
  return undefined;
}

/** @param isAtEnd  the view ends where the file does: a chain that ends exactly there is as good as a long one */
function isChain(view: DataView, form: PcapForm, start: number, isAtEnd: boolean): boolean {
  let position = start;
  let seconds = Number.NaN;
  for (let count = 0; count < GUESS_RECORDS; count++) {
    if (position + form.recordHeaderBytes > view.byteLength) return isAtEnd ? position === view.byteLength : count > 1;
    const captured = capturedLength(view, position, form);
    if (captured === 0 || captured > RECORD_BYTES_MAX) return false;
    const first = view.getUint32(position + 8, form.isLittleEndian);
    const second = view.getUint32(position + 12, form.isLittleEndian);
    if (Math.max(first, second) > 4 * RECORD_BYTES_MAX || (captured !== first && !form.lengthsMaybeSwapped))
      return false;
    if (second < captured && !form.lengthsMaybeSwapped) return false;
    if (view.getUint32(position + 4, form.isLittleEndian) >= NANOS_PER_SECOND / form.nanosPerTick) return false;
    const time = view.getUint32(position, form.isLittleEndian);
    if (Math.abs(time - seconds) > GUESS_GAP_SECONDS) return false;
    seconds = time;
    position += form.recordHeaderBytes + captured;
  }
  return true;
}

/** Reads the records of a file that start in [start, end). The start must be a record's. */
export class PcapSegmentReader extends PcapReader {
  private readonly endOffset: number;
  private isDone = false;

  /** @param packetsBefore  records of the file before this segment, for the texts of errors */
  constructor(path: string, header: PcapHeader, start: number, end: number, packetsBefore = 0) {
    const buffer = new RecordBuffer(path, openByteSource(path, start));
    super(buffer);
    buffer.base = start;
    this.form = header.form;
    this.linkType = header.linkType;
    this.packetsRead = packetsBefore;
    this.endOffset = end;
  }

  /** Offset of the first record that is not delivered: of the next segment, once `next` and `fill` have no more. */
  get stop(): number {
    return this.buffer.offsetOf(this.buffer.position);
  }

  override next(batch: RecordBatch): number {
    if (this.isDone) return 0;
    let count = super.next(batch);
    if (this.stop < this.endOffset) return count;
    // What lies at or behind the end is another's, damage included.
    this.isDone = true;
    this.error = undefined;
    const headerBytes = this.form!.recordHeaderBytes;
    while (count > 0) {
      const start = batch.offsets[count - 1]! - headerBytes;
      if (this.buffer.offsetOf(start) < this.endOffset) break;
      this.buffer.position = start;
      this.packetsRead--;
      count--;
    }
    batch.count = count;
    return count;
  }

  /** Only records that end in the segment; whose the one across its end is, `next` finds out. */
  override scan(walk: RecordWalk, taken: RecordsTaken): number {
    if (this.isDone) return 0;
    const { buffer } = this;
    const end = this.endOffset - buffer.base;
    if (end >= buffer.end) return super.scan(walk, taken);
    return (buffer.position < end && this.scanTo(end, walk, taken)) || -1;
  }

  override fill(): boolean | Promise<boolean> {
    return this.isDone ? false : super.fill();
  }
}

/** Where the records of a classic pcap file start. */
export const PCAP_FIRST_RECORD = PCAP_FILE_HEADER_BYTES;
