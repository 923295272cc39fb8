/**
 * Classic pcap files (draft-ietf-opsawg-pcap).
 *
 *   file header, 24 bytes                       record header, 16 bytes
 *   0   magic: a1b2c3d4 microseconds,           0   seconds since 1970
 *              a1b23c4d nanoseconds,            4   microseconds or nanoseconds
 *              a1b2cd34 modified (below)        8   captured bytes
 *   4   version 2, 6 version 4                  12  bytes on the wire
 *   8   two unused words                        16  the frame; the modified form has 8 more bytes before it
 *   16  snap length                                 (interface index, protocol, packet type)
 *   20  link type (26 bits; above them the length of the frame check sequence)
 *
 * Numbers are in the byte order in which the magic reads right. Versions before 2.3 had the two lengths the other way
 * round, 2.3 either way. Records longer than the snap length are tolerated: honest files have them.
 *
 * The little-endian walk is the loop that everything else waits for: each record's place depends on the length of the
 * one before it, so it does nothing but five loads and six stores. Other forms share a slower loop.
 */

import type { RecordBuffer } from './record-buffer.ts';
import { BufferedReader } from './record-buffer.ts';
import type { RecordBatch, RecordsTaken, RecordWalk } from './source.ts';
import { BATCH_RECORDS, RECORD_BYTES_MAX } from './source.ts';

export const PCAP_FILE_HEADER_BYTES = 24;
const PCAP_RECORD_HEADER_BYTES = 16;
const MODIFIED_RECORD_HEADER_BYTES = 24;

export const PCAP_MAGIC_MICROS = 0xa1b2c3d4;
export const PCAP_MAGIC_NANOS = 0xa1b23c4d;
export const PCAP_MAGIC_MODIFIED = 0xa1b2cd34;

const LINK_TYPE_MASK = 0x03ff_ffff;
const NANOS_PER_SECOND = 1_000_000_000;

/** How the numbers of a file are written. */
export interface PcapForm {
  readonly isLittleEndian: boolean;
  readonly nanosPerTick: number;
  readonly recordHeaderBytes: number;
  readonly lengthsMaybeSwapped: boolean;
}

export interface PcapHeader {
  readonly form: PcapForm;
  /** LINKTYPE_ number. */
  readonly linkType: number;
}

/** True if the four bytes at `offset` are the magic of a classic pcap file in either byte order. */
export function isPcapMagic(view: DataView, offset: number): boolean {
  return isMagic(view.getUint32(offset, true)) || isMagic(view.getUint32(offset));
}

function isMagic(word: number): boolean {
  return word === PCAP_MAGIC_MICROS || word === PCAP_MAGIC_NANOS || word === PCAP_MAGIC_MODIFIED;
}

/** Reads a classic pcap file whose first bytes, the magic at least, are in the buffer. */
export class PcapReader extends BufferedReader {
  readonly format = 'pcap';
  readonly lostPackets = 0;
  linkType: number | undefined;
  protected form: PcapForm | undefined;

  constructor(buffer: RecordBuffer) {
    super(buffer);
    if (buffer.end - buffer.position >= PCAP_FILE_HEADER_BYTES) this.readFileHeader();
  }

  next(batch: RecordBatch): number {
    if (this.error !== undefined) return 0;
    if (this.form === undefined) {
      if (this.buffer.end - this.buffer.position < PCAP_FILE_HEADER_BYTES) return 0;
      this.readFileHeader();
    }
    const form = this.form;
    if (form === undefined) return 0;
    batch.bytes = this.buffer.bytes;
    batch.view = this.buffer.view;
    const count = isOrdinary(form) ? this.walkLittleEndian(batch, form.nanosPerTick) : this.walk(batch, form);
    batch.count = count;
    batch.linkTypes.fill(this.linkType ?? 0, 0, count);
    batch.interfaces.fill(0, 0, count);
    this.packetsRead += count;
    if (count < BATCH_RECORDS) this.checkNextHeader(form);
    return count;
  }

  scan(walk: RecordWalk, taken: RecordsTaken): number {
    return this.scanTo(this.buffer.end, walk, taken);
  }

  /** The same for records that end at or before `end` in the buffer. */
  protected scanTo(end: number, walk: RecordWalk, taken: RecordsTaken): number {
    if (this.error !== undefined) return 0;
    const { form, buffer } = this;
    // The header is read by `next`, which also says what is wrong with it.
    if (form === undefined || !isOrdinary(form)) return -1;
    walk(buffer.view, buffer.position, end);
    const count = taken.recordCount;
    buffer.position = taken.position;
    this.packetsRead += count;
    if (count < BATCH_RECORDS) this.checkNextHeader(form);
    return count;
  }

  get view(): DataView {
    return this.buffer.view;
  }

  get nanosPerTick(): number | undefined {
    return this.form?.nanosPerTick;
  }

  describe(batch: RecordBatch, position: number): void {
    const { buffer, form } = this;
    const next = buffer.position;
    const end = buffer.end;
    if (form === undefined) return;
    batch.bytes = buffer.bytes;
    batch.view = buffer.view;
    buffer.position = position;
    buffer.end = position + PCAP_RECORD_HEADER_BYTES + capturedLength(buffer.view, position, form);
    batch.count = this.walkLittleEndian(batch, form.nanosPerTick);
    batch.linkTypes[0] = this.linkType ?? 0;
    batch.interfaces[0] = 0;
    buffer.position = next;
    buffer.end = end;
  }

  protected truncation(restBytes: number): string {
    if (this.form === undefined) {
      return `the file header is cut off after ${restBytes} of ${PCAP_FILE_HEADER_BYTES} bytes`;
    }
    const number = this.packetsRead + 1;
    const headerBytes = this.form.recordHeaderBytes;
    if (restBytes < headerBytes) {
      return `the header of record ${number} is cut off after ${restBytes} of ${headerBytes} bytes`;
    }
    return `record ${number} is cut off: it announces ${this.neededBytes} bytes and ${restBytes} are there`;
  }

  /** What the header says, for reading that starts elsewhere; undefined before it is read, and if it is of no use. */
  get header(): PcapHeader | undefined {
    return this.form === undefined || this.linkType === undefined
      ? undefined
      : { form: this.form, linkType: this.linkType };
  }

  /** The tight loop for little-endian files of the standard form; returns the number of records found. */
  private walkLittleEndian(batch: RecordBatch, nanosPerTick: number): number {
    const { offsets, capturedBytes, wireBytes, seconds, nanos } = batch;
    const buffer = this.buffer;
    const view = buffer.view;
    const end = buffer.end;
    const ticksPerSecond = NANOS_PER_SECOND / nanosPerTick;
    const bytesMax = RECORD_BYTES_MAX;
    const countMax = BATCH_RECORDS;
    let position = buffer.position;
    let count = 0;
    while (count < countMax && end - position >= 16) {
      // Signed reads keep the sums in 32-bit registers; a length of 2 GiB or more is negative and so is refused too.
      const captured = view.getInt32(position + 8, true);
      const following = position + 16 + captured;
      if (captured < 0 || captured > bytesMax || following > end) break;
      const ticks = view.getInt32(position + 4, true);
      offsets[count] = position + 16;
      capturedBytes[count] = captured;
      wireBytes[count] = view.getUint32(position + 12, true);
      seconds[count] = view.getUint32(position, true);
      nanos[count] = Math.imul(ticks, nanosPerTick);
      if (ticks < 0 || ticks >= ticksPerSecond) mendFraction(batch, count, ticks >>> 0, nanosPerTick);
      position = following;
      count++;
    }
    buffer.position = position;
    return count;
  }

  /** The same for the other byte order, the modified form and swapped lengths. */
  private walk(batch: RecordBatch, form: PcapForm): number {
    const { isLittleEndian, nanosPerTick, recordHeaderBytes } = form;
    const buffer = this.buffer;
    const view = buffer.view;
    const ticksPerSecond = NANOS_PER_SECOND / nanosPerTick;
    let position = buffer.position;
    let count = 0;
    while (count < BATCH_RECORDS && buffer.end - position >= recordHeaderBytes) {
      const captured = capturedLength(view, position, form);
      const following = position + recordHeaderBytes + captured;
      if (captured > RECORD_BYTES_MAX || following > buffer.end) break;
      const ticks = view.getUint32(position + 4, isLittleEndian);
      const first = view.getUint32(position + 8, isLittleEndian);
      const second = view.getUint32(position + 12, isLittleEndian);
      batch.offsets[count] = position + recordHeaderBytes;
      batch.capturedBytes[count] = captured;
      batch.wireBytes[count] = captured === first ? second : first;
      batch.seconds[count] = view.getUint32(position, isLittleEndian);
      batch.nanos[count] = ticks * nanosPerTick;
      if (ticks >= ticksPerSecond) mendFraction(batch, count, ticks, nanosPerTick);
      position = following;
      count++;
    }
    buffer.position = position;
    return count;
  }

  /** Says why the walk stopped: remembers how many bytes the record needs, or fails on an impossible length. */
  private checkNextHeader(form: PcapForm): void {
    const buffer = this.buffer;
    this.neededBytes = form.recordHeaderBytes;
    if (buffer.end - buffer.position < form.recordHeaderBytes) return;
    const captured = capturedLength(buffer.view, buffer.position, form);
    if (captured > RECORD_BYTES_MAX) {
      const number = this.packetsRead + 1;
      this.fail('malformed', `record ${number} claims ${captured} captured bytes, more than ${RECORD_BYTES_MAX}`);
      return;
    }
    this.neededBytes = form.recordHeaderBytes + captured;
  }

  private readFileHeader(): void {
    const buffer = this.buffer;
    const view = buffer.view;
    const at = buffer.position;
    const isLittleEndian = isMagic(view.getUint32(at, true));
    const magic = view.getUint32(at, isLittleEndian);
    const major = view.getUint16(at + 4, isLittleEndian);
    const minor = view.getUint16(at + 6, isLittleEndian);
    if (major !== 2) {
      this.fail('unsupported', `pcap version ${major}.${minor} is not supported; convert it to 2.4 (tcpdump -r, -w)`);
      return;
    }
    this.form = {
      isLittleEndian,
      nanosPerTick: magic === PCAP_MAGIC_NANOS ? 1 : 1000,
      recordHeaderBytes: magic === PCAP_MAGIC_MODIFIED ? MODIFIED_RECORD_HEADER_BYTES : PCAP_RECORD_HEADER_BYTES,
      lengthsMaybeSwapped: minor <= 3,
    };
    this.linkType = view.getUint32(at + 20, isLittleEndian) & LINK_TYPE_MASK;
    buffer.position += PCAP_FILE_HEADER_BYTES;
  }
}

function isOrdinary({ isLittleEndian, lengthsMaybeSwapped, recordHeaderBytes }: PcapForm): boolean {
  return isLittleEndian && !lengthsMaybeSwapped && recordHeaderBytes === PCAP_RECORD_HEADER_BYTES;
}

/** Captured bytes of the record at `position`; where the lengths may be swapped it is the smaller one. */
export function capturedLength(view: DataView, position: number, form: PcapForm): number {
  const first = view.getUint32(position + 8, form.isLittleEndian);
  return form.lengthsMaybeSwapped ? Math.min(first, view.getUint32(position + 12, form.isLittleEndian)) : first;
}

/** A fraction of one second or more: rounding made it (a carry mends it), or it is damage and counts as 0. */
function mendFraction(batch: RecordBatch, row: number, ticks: number, nanosPerTick: number): void {
  const ticksPerSecond = NANOS_PER_SECOND / nanosPerTick;
  const isCarry = ticks < 2 * ticksPerSecond;
  if (isCarry) batch.seconds[row]!++;
  batch.nanos[row] = isCarry ? (ticks - ticksPerSecond) * nanosPerTick : 0;
}
