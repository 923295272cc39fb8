/**
 * pcapng files (draft-ietf-opsawg-pcapng): sections of blocks.
 *
 *   every block                    section header            interface description     enhanced packet
 *   0      type                    8   byte order, 1a2b3c4d  8   link type (16 bits)   8   interface
 *   4      length of the block     12  version 1.0           12  snap length           12  ticks, upper half
 *   8      body                    16  length of section     16  options               16  ticks, lower half
 *   L - 4  the length once more    24  options                                         20  captured bytes
 *                                                                                      24  bytes on the wire
 *                                                                                      28  frame, padded to 4; options
 *
 * Every section chooses its byte order and starts counting interfaces anew; every interface has its own clock, snap
 * length and link type. Packets come in enhanced, simple (no interface, no time) and obsolete packet blocks; interface
 * statistics say what was lost; decryption secrets are kept for who asks; all other types are skipped by their length. Nothing is searched for after damage: where
 * the lengths at both ends of a block disagree, all after it is guesswork, so reading stops there.
 *
 * A simple packet has no time of its own and gets that of the packet before it, so that time never runs backwards.
 */

import type { Clock } from './pcapng-time.ts';
import { clockOf, MICROSECOND_CLOCK, SPLIT_NANOS, SPLIT_SECONDS, splitTicks, splitTime } from './pcapng-time.ts';
import type { RecordBuffer } from './record-buffer.ts';
import { BufferedReader } from './record-buffer.ts';
import type { RecordBatch } from './source.ts';
import {
  BATCH_RECORDS,
  DIRECTION_INBOUND,
  DIRECTION_OUTBOUND,
  DIRECTION_UNKNOWN,
  INTERFACE_NAME_BYTES_MAX,
  INTERFACE_NAMES_MAX,
  PCAPNG_BLOCK_BYTES_MAX,
  PCAPNG_INTERFACES_MAX,
  RECORD_BYTES_MAX,
  TLS_SECRETS_BYTES_MAX,
} from './source.ts';

export const BLOCK_SECTION_HEADER = 0x0a0d0d0a;
export const BLOCK_INTERFACE = 1;
const BLOCK_PACKET_OBSOLETE = 2;
export const BLOCK_SIMPLE_PACKET = 3;
export const BLOCK_INTERFACE_STATISTICS = 5;
export const BLOCK_ENHANCED_PACKET = 6;
export const BLOCK_DECRYPTION_SECRETS = 10;
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

const BLOCK_BYTES_MIN = 12;
const SECTION_HEADER_BYTES_MIN = 28;
const ENHANCED_PACKET_BYTES_MIN = 32;
const NANOS_PER_SECOND = 1_000_000_000;

const OPTION_END = 0;
const OPTION_TIMESTAMP_RESOLUTION = 9;
const OPTION_TIMESTAMP_OFFSET = 14;
const OPTION_INTERFACE_NAME = 2;
const OPTION_EPB_FLAGS = 2;
const OPTION_EPB_DROP_COUNT = 4;
const OPTION_ISB_INTERFACE_DROPS = 5;
const OPTION_ISB_SYSTEM_DROPS = 7;

/** Secrets of TLS in the format of NSS key logs (section 4.7 of the draft). */
export const SECRETS_TLS_KEY_LOG = 0x544c534b;

/** Drop count of an obsolete packet block that says "unknown". */
const DROPS_UNKNOWN = 0xffff;

interface CaptureInterface {
  readonly linkType: number;
  /** Captured bytes kept of each packet; 0 = all. */
  readonly snapBytes: number;
  readonly clock: Clock;
  /** Sum of the drop counts that stand beside packets. */
  droppedBesidePackets: number;
  /** Newest count of the interface statistics, which counts from the start of the capture. */
  droppedInStatistics: number;
}

/** Reads a pcapng file whose first four bytes are in the buffer. */
export class PcapngReader extends BufferedReader {
  readonly format = 'pcapng';
  linkType: number | undefined;
  private isLittleEndian = true;
  private hasSection = false;
  /** Interfaces of the current section. */
  private interfaces: CaptureInterface[] = [];
  /** Interfaces of the sections before. */
  private interfaceBase = 0;
  private lostInEarlierSections = 0;
  private readonly interfaceNames: (string | undefined)[] = [];
  /** Some packet of the file told its direction, so that a batch may hold old ones. */
  private hasDirections = false;
  private secretsBytes = 0;
  private lastSeconds = 0;
  private lastNanos = 0;

  constructor(buffer: RecordBuffer) {
    super(buffer);
    this.neededBytes = BLOCK_BYTES_MIN;
  }

  get lostPackets(): number {
    let lost = this.lostInEarlierSections;
    for (const one of this.interfaces) lost += Math.max(one.droppedBesidePackets, one.droppedInStatistics);
    return lost;
  }

  override interfaceName(number: number): string | undefined {
    return this.interfaceNames[number];
  }

  next(batch: RecordBatch): number {
    const buffer = this.buffer;
    batch.bytes = buffer.bytes;
    batch.view = buffer.view;
    batch.count = 0;
    if (this.hasDirections) batch.directions.fill(DIRECTION_UNKNOWN);
    while (batch.count < BATCH_RECORDS && this.error === undefined) {
      this.walkEnhancedPackets(batch);
      if (batch.count === BATCH_RECORDS) break;
      const lengthBytes = this.findBlock();
      if (lengthBytes === 0) break;
      const type = buffer.view.getUint32(buffer.position, this.isLittleEndian);
      if (!this.readBlock(type, lengthBytes, batch)) break;
      buffer.position += lengthBytes;
    }
    return batch.count;
  }

  protected truncation(restBytes: number): string {
    const announced = restBytes >= 8 ? `: it announces ${this.neededBytes} bytes and ${restBytes} are there` : '';
    return `the block is cut off${announced}`;
  }

  /**
   * The tight loop: enhanced packets without options, one after the other, of one interface with a decimal clock. It
   * stops before the first block that is anything else, or not all there, or wrong, and leaves that to `findBlock`.
   * (On a file of 2 million such packets it takes a fifth of the time of the general way.)
   */
  private walkEnhancedPackets(batch: RecordBatch): void {
    const buffer = this.buffer;
    const view = buffer.view;
    const end = buffer.end;
    const isLittleEndian = this.isLittleEndian;
    let position = buffer.position;
    if (!this.hasSection || end - position < ENHANCED_PACKET_BYTES_MIN) return;
    const interfaceId = view.getInt32(position + 8, isLittleEndian);
    const from = interfaceId < 0 ? undefined : this.interfaces[interfaceId];
    if (from === undefined || from.clock.base !== 10 || from.clock.exponent > 9) return;
    const ticksPerSecond = 10 ** from.clock.exponent;
    const nanosPerTick = NANOS_PER_SECOND / ticksPerSecond;
    const { offsetSeconds } = from.clock;
    const { linkType } = from;
    const fileInterface = this.interfaceBase + interfaceId;
    const { offsets, capturedBytes, wireBytes, seconds, nanos, linkTypes, interfaces } = batch;
    const bytesMax = RECORD_BYTES_MAX;
    const countMax = BATCH_RECORDS;
    const first = batch.count;
    let count = first;
    while (count < countMax && end - position >= 32) {
      const lengthBytes = view.getInt32(position + 4, isLittleEndian);
      const captured = view.getInt32(position + 20, isLittleEndian);
      if (
        view.getInt32(position, isLittleEndian) !== 6 ||
        view.getInt32(position + 8, isLittleEndian) !== interfaceId
      ) {
        break;
      }
      if (captured < 0 || captured > bytesMax || lengthBytes !== 32 + ((captured + 3) & ~3)) break;
      const following = position + lengthBytes;
      if (following > end || view.getInt32(following - 4, isLittleEndian) !== lengthBytes) break;
      // The long division of `pcapng-time.ts`, with its digits in registers.
      const high = view.getUint32(position + 12, isLittleEndian);
      const low = view.getUint32(position + 16, isLittleEndian);
      const top = Math.floor(high / ticksPerSecond);
      const upper = (high - top * ticksPerSecond) * 65536 + (low >>> 16);
      const middle = Math.floor(upper / ticksPerSecond);
      const lower = (upper - middle * ticksPerSecond) * 65536 + (low & 0xffff);
      const bottom = Math.floor(lower / ticksPerSecond);
      seconds[count] = (top * 65536 + middle) * 65536 + bottom + offsetSeconds;
      nanos[count] = (lower - bottom * ticksPerSecond) * nanosPerTick;
      offsets[count] = position + 28;
      capturedBytes[count] = captured;
      wireBytes[count] = view.getUint32(position + 24, isLittleEndian);
      linkTypes[count] = linkType;
      interfaces[count] = fileInterface;
      position = following;
      count++;
    }
    if (count === first) return;
    buffer.position = position;
    batch.count = count;
    this.packetsRead += count - first;
    this.lastSeconds = seconds[count - 1]!;
    this.lastNanos = nanos[count - 1]!;
  }

  /**
   * Length of the block at `position` if it is all in the buffer and its two lengths agree, else 0, with `neededBytes`
   * or the error set. Reads the byte order of a section header, which its own length is already written in.
   */
  private findBlock(): number {
    const buffer = this.buffer;
    const view = buffer.view;
    const at = buffer.position;
    const available = buffer.end - at;
    this.neededBytes = BLOCK_BYTES_MIN;
    if (available < BLOCK_BYTES_MIN) return 0;
    let isLittleEndian = this.isLittleEndian;
    let bytesMin = BLOCK_BYTES_MIN;
    if (view.getUint32(at) === BLOCK_SECTION_HEADER) {
      isLittleEndian = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
      bytesMin = SECTION_HEADER_BYTES_MIN;
      if (!isLittleEndian && view.getUint32(at + 8) !== BYTE_ORDER_MAGIC) {
        this.fail('malformed', `the section header has no byte-order magic but 0x${hex(view.getUint32(at + 8))}`);
        return 0;
      }
    } else if (!this.hasSection) {
      this.fail('malformed', 'the file does not start with a section header block');
      return 0;
    }
    const lengthBytes = view.getUint32(at + 4, isLittleEndian);
    if (lengthBytes < bytesMin || (lengthBytes & 3) !== 0) {
      this.fail('malformed', `a block cannot be ${lengthBytes} bytes long`);
      return 0;
    }
    if (lengthBytes > PCAPNG_BLOCK_BYTES_MAX) {
      this.fail('limit', `the block claims ${lengthBytes} bytes, more than ${PCAPNG_BLOCK_BYTES_MAX}`);
      return 0;
    }
    this.neededBytes = lengthBytes;
    if (available < lengthBytes) return 0;
    const trailing = view.getUint32(at + lengthBytes - 4, isLittleEndian);
    if (trailing !== lengthBytes) {
      this.fail('malformed', `the block says ${lengthBytes} bytes at its start and ${trailing} at its end`);
      return 0;
    }
    this.isLittleEndian = isLittleEndian;
    return lengthBytes;
  }

  /** Handles the whole block at `position`; false after an error. */
  private readBlock(type: number, lengthBytes: number, batch: RecordBatch): boolean {
    switch (type) {
      case BLOCK_ENHANCED_PACKET:
        return this.readEnhancedPacket(lengthBytes, batch);
      case BLOCK_INTERFACE:
        return this.readInterface(lengthBytes);
      case BLOCK_SIMPLE_PACKET:
        return this.readSimplePacket(lengthBytes, batch);
      case BLOCK_PACKET_OBSOLETE:
        return this.readObsoletePacket(lengthBytes, batch);
      case BLOCK_INTERFACE_STATISTICS:
        return this.readStatistics(lengthBytes);
      case BLOCK_DECRYPTION_SECRETS:
        return this.readSecrets(lengthBytes);
      case BLOCK_SECTION_HEADER:
        return this.startSection();
      default:
        return true;
    }
  }

  private startSection(): boolean {
    const view = this.buffer.view;
    const at = this.buffer.position;
    const major = view.getUint16(at + 12, this.isLittleEndian);
    const minor = view.getUint16(at + 14, this.isLittleEndian);
    // 1.2 is what some writers put for 1.0 (section 4.1 of the draft).
    if (major !== 1 || (minor !== 0 && minor !== 2)) {
      return this.fail('unsupported', `pcapng version ${major}.${minor} is not supported, only 1.0`);
    }
    this.lostInEarlierSections = this.lostPackets;
    this.interfaceBase += this.interfaces.length;
    this.interfaces = [];
    this.hasSection = true;
    return true;
  }

  private readInterface(lengthBytes: number): boolean {
    const view = this.buffer.view;
    const at = this.buffer.position;
    if (lengthBytes < 20) return this.fail('malformed', 'the interface description is too short');
    if (this.interfaces.length === PCAPNG_INTERFACES_MAX) {
      return this.fail('limit', `more than ${PCAPNG_INTERFACES_MAX} interfaces in one section`);
    }
    const end = at + lengthBytes - 4;
    const resolutionAt = this.findOption(at + 16, end, OPTION_TIMESTAMP_RESOLUTION, 1);
    const offsetAt = this.findOption(at + 16, end, OPTION_TIMESTAMP_OFFSET, 8);
    const offsetSeconds = offsetAt < 0 ? 0 : Number(view.getBigInt64(offsetAt, this.isLittleEndian));
    const linkType = view.getUint16(at + 8, this.isLittleEndian);
    this.keepName(at + 16, end);
    this.interfaces.push({
      linkType,
      snapBytes: view.getUint32(at + 12, this.isLittleEndian),
      clock:
        resolutionAt < 0 && offsetSeconds === 0
          ? MICROSECOND_CLOCK
          : clockOf(resolutionAt < 0 ? MICROSECOND_CLOCK.exponent : view.getUint8(resolutionAt), offsetSeconds),
      droppedBesidePackets: 0,
      droppedInStatistics: 0,
    });
    this.linkType ??= linkType;
    return true;
  }

  private keepName(start: number, end: number): void {
    const number = this.interfaceBase + this.interfaces.length;
    const nameAt = this.findOption(start, end, OPTION_INTERFACE_NAME, 1);
    if (nameAt < 0 || number >= INTERFACE_NAMES_MAX) return;
    const nameBytes = Math.min(this.buffer.view.getUint16(nameAt - 2, this.isLittleEndian), INTERFACE_NAME_BYTES_MAX);
    const name = new TextDecoder().decode(this.buffer.bytes.subarray(nameAt, nameAt + nameBytes));
    // Some writers count the C string's end in.
    this.interfaceNames[number] = name.replace(/\0.*$/s, '');
  }

  private readEnhancedPacket(lengthBytes: number, batch: RecordBatch): boolean {
    const view = this.buffer.view;
    const isLittleEndian = this.isLittleEndian;
    const at = this.buffer.position;
    if (lengthBytes < 32) return this.fail('malformed', 'the enhanced packet block is too short');
    const interfaceId = view.getUint32(at + 8, isLittleEndian);
    const captured = view.getUint32(at + 20, isLittleEndian);
    const from = this.interfaces[interfaceId];
    if (from === undefined || !this.frameFits(captured, lengthBytes - 32)) {
      return this.failPacket(from, interfaceId, captured);
    }
    const optionsAt = at + 28 + ((captured + 3) & ~3);
    const end = at + lengthBytes - 4;
    if (optionsAt < end) {
      const dropsAt = this.findOption(optionsAt, end, OPTION_EPB_DROP_COUNT, 8);
      if (dropsAt >= 0) from.droppedBesidePackets += this.readUint64(dropsAt);
      const flagsAt = this.findOption(optionsAt, end, OPTION_EPB_FLAGS, 4);
      const direction = flagsAt < 0 ? DIRECTION_UNKNOWN : view.getUint32(flagsAt, isLittleEndian) & 3;
      if (direction === DIRECTION_INBOUND || direction === DIRECTION_OUTBOUND) {
        batch.directions[batch.count] = direction;
        this.hasDirections = true;
      }
    }
    splitTicks(view.getUint32(at + 12, isLittleEndian), view.getUint32(at + 16, isLittleEndian), from.clock);
    this.lastSeconds = splitTime[SPLIT_SECONDS]!;
    this.lastNanos = splitTime[SPLIT_NANOS]!;
    this.deliver(batch, at + 28, captured, view.getUint32(at + 24, isLittleEndian), from.linkType, interfaceId);
    return true;
  }

  private readSimplePacket(lengthBytes: number, batch: RecordBatch): boolean {
    const at = this.buffer.position;
    const from = this.interfaces[0];
    if (lengthBytes < 16) return this.fail('malformed', 'the simple packet block is too short');
    const onWire = this.buffer.view.getUint32(at + 8, this.isLittleEndian);
    if (from === undefined) return this.failPacket(from, 0, onWire);
    // The captured length is not written: it is the wire length, unless the snap length or the block cut it.
    const snapped = from.snapBytes === 0 ? onWire : Math.min(onWire, from.snapBytes);
    const captured = Math.min(snapped, lengthBytes - 16);
    if (captured > RECORD_BYTES_MAX) return this.failPacket(from, 0, captured);
    this.deliver(batch, at + 12, captured, onWire, from.linkType, 0);
    return true;
  }

  private readObsoletePacket(lengthBytes: number, batch: RecordBatch): boolean {
    const view = this.buffer.view;
    const isLittleEndian = this.isLittleEndian;
    const at = this.buffer.position;
    if (lengthBytes < 32) return this.fail('malformed', 'the packet block is too short');
    const interfaceId = view.getUint16(at + 8, isLittleEndian);
    const drops = view.getUint16(at + 10, isLittleEndian);
    const captured = view.getUint32(at + 20, isLittleEndian);
    const from = this.interfaces[interfaceId];
    if (from === undefined || !this.frameFits(captured, lengthBytes - 32)) {
      return this.failPacket(from, interfaceId, captured);
    }
    if (drops !== DROPS_UNKNOWN) from.droppedBesidePackets += drops;
    splitTicks(view.getUint32(at + 12, isLittleEndian), view.getUint32(at + 16, isLittleEndian), from.clock);
    this.lastSeconds = splitTime[SPLIT_SECONDS]!;
    this.lastNanos = splitTime[SPLIT_NANOS]!;
    this.deliver(batch, at + 28, captured, view.getUint32(at + 24, isLittleEndian), from.linkType, interfaceId);
    return true;
  }

  /** Statistics only inform: one of an unknown interface is ignored. */
  private readStatistics(lengthBytes: number): boolean {
    const at = this.buffer.position;
    if (lengthBytes < 24) return this.fail('malformed', 'the interface statistics block is too short');
    const from = this.interfaces[this.buffer.view.getUint32(at + 8, this.isLittleEndian)];
    if (from === undefined) return true;
    const end = at + lengthBytes - 4;
    const byInterface = this.findOption(at + 20, end, OPTION_ISB_INTERFACE_DROPS, 8);
    const bySystem = this.findOption(at + 20, end, OPTION_ISB_SYSTEM_DROPS, 8);
    from.droppedInStatistics =
      (byInterface < 0 ? 0 : this.readUint64(byInterface)) + (bySystem < 0 ? 0 : this.readUint64(bySystem));
    return true;
  }

  /** Type, length and text of secrets. They only inform: a block that is none, or is of another kind, is passed over. */
  private readSecrets(lengthBytes: number): boolean {
    const { view, bytes, position: at } = this.buffer;
    if (lengthBytes < 20) return true;
    const secretsBytes = view.getUint32(at + 12, this.isLittleEndian);
    if (view.getUint32(at + 8, this.isLittleEndian) !== SECRETS_TLS_KEY_LOG || secretsBytes > lengthBytes - 20)
      return true;
    this.secretsBytes += secretsBytes;
    if (this.secretsBytes > TLS_SECRETS_BYTES_MAX) return true;
    this.tlsSecrets.push(new TextDecoder('latin1').decode(bytes.subarray(at + 16, at + 16 + secretsBytes)));
    return true;
  }

  private deliver(
    batch: RecordBatch,
    offset: number,
    captured: number,
    onWire: number,
    linkType: number,
    interfaceId: number,
  ): void {
    const row = batch.count++;
    batch.offsets[row] = offset;
    batch.capturedBytes[row] = captured;
    batch.wireBytes[row] = onWire;
    batch.seconds[row] = this.lastSeconds;
    batch.nanos[row] = this.lastNanos;
    batch.linkTypes[row] = linkType;
    batch.interfaces[row] = this.interfaceBase + interfaceId;
    this.packetsRead++;
  }

  private frameFits(captured: number, roomBytes: number): boolean {
    return captured <= roomBytes && captured <= RECORD_BYTES_MAX;
  }

  private failPacket(from: CaptureInterface | undefined, interfaceId: number, captured: number): boolean {
    const number = this.packetsRead + 1;
    if (from === undefined) {
      return this.fail(
        'malformed',
        `packet ${number} is of interface ${interfaceId}, which is not described before it`,
      );
    }
    return this.fail(
      'malformed',
      `packet ${number} claims ${captured} captured bytes, more than its block or the limit`,
    );
  }

  /**
   * Place of the value of the first option `code`, or -1 if there is none or it is shorter than `bytesMin`.
   *
   * Options are code, length (16 bits each) and value padded to 4; each step takes at least 4 bytes. A list that runs
   * past its block ends there, as the block's own lengths are sound.
   */
  private findOption(start: number, end: number, code: number, bytesMin: number): number {
    const view = this.buffer.view;
    let position = start;
    while (end - position >= 4) {
      const found = view.getUint16(position, this.isLittleEndian);
      const valueBytes = view.getUint16(position + 2, this.isLittleEndian);
      if (found === OPTION_END || valueBytes > end - position - 4) return -1;
      if (found === code) return valueBytes >= bytesMin ? position + 4 : -1;
      position += 4 + ((valueBytes + 3) & ~3);
    }
    return -1;
  }

  /** A 64-bit count; beyond 2^53, as a damaged file may claim, it is rounded. */
  private readUint64(at: number): number {
    const first = this.buffer.view.getUint32(at, this.isLittleEndian);
    const second = this.buffer.view.getUint32(at + 4, this.isLittleEndian);
    return this.isLittleEndian ? second * 4294967296 + first : first * 4294967296 + second;
  }
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0');
}
