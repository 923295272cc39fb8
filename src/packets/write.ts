/**
 * Writing captures: pcap and pcapng bytes from records, for tests, benches and cut-out excerpts.
 *
 * Both formats in either byte order; the formats are drawn in `pcap.ts` and `pcapng.ts`.
 */

import { PCAP_FILE_HEADER_BYTES, PCAP_MAGIC_MICROS, PCAP_MAGIC_MODIFIED, PCAP_MAGIC_NANOS } from './pcap.ts';
import {
  BLOCK_ENHANCED_PACKET,
  BLOCK_INTERFACE,
  BLOCK_INTERFACE_STATISTICS,
  BLOCK_SECTION_HEADER,
  BLOCK_SIMPLE_PACKET,
  BYTE_ORDER_MAGIC,
} from './pcapng.ts';
import { concatBytes } from './synthetic.ts';

export interface CaptureRecord {
  /** The captured bytes. */
  readonly bytes: Uint8Array;
  /** Length on the wire; default that of `bytes`. */
  readonly wireBytes?: number;
  /** Since 1970; default 0. */
  readonly seconds?: number;
  readonly nanos?: number;
  /** pcapng: index into the interfaces; default 0. */
  readonly interface?: number;
  /** pcapng: DIRECTION_* of source.ts, in the packet's flags. */
  readonly direction?: number;
  /** pcapng: what Wireshark shows as the packet's comment. */
  readonly comment?: string;
}

export interface PcapOptions {
  readonly linkType?: number;
  readonly isBigEndian?: boolean;
  readonly isNanos?: boolean;
  /** Kuznetsov's form with longer record headers. */
  readonly isModified?: boolean;
  readonly snapBytes?: number;
}

/** A classic pcap file; defaults: Ethernet, little-endian, microseconds. */
export function writePcap(records: readonly CaptureRecord[], options: PcapOptions = {}): Uint8Array {
  const isLittleEndian = options.isBigEndian !== true;
  const isNanos = options.isNanos === true;
  const header = new DataView(new ArrayBuffer(PCAP_FILE_HEADER_BYTES));
  const magic = options.isModified === true ? PCAP_MAGIC_MODIFIED : isNanos ? PCAP_MAGIC_NANOS : PCAP_MAGIC_MICROS;
  header.setUint32(0, magic, isLittleEndian);
  header.setUint16(4, 2, isLittleEndian);
  header.setUint16(6, 4, isLittleEndian);
  header.setUint32(16, options.snapBytes ?? 262_144, isLittleEndian);
  header.setUint32(20, options.linkType ?? 1, isLittleEndian);
  const parts: Uint8Array[] = [new Uint8Array(header.buffer)];
  for (const record of records) {
    const view = new DataView(new ArrayBuffer(options.isModified === true ? 24 : 16));
    const nanos = record.nanos ?? 0;
    view.setUint32(0, record.seconds ?? 0, isLittleEndian);
    view.setUint32(4, isNanos ? nanos : Math.floor(nanos / 1000), isLittleEndian);
    view.setUint32(8, record.bytes.length, isLittleEndian);
    view.setUint32(12, record.wireBytes ?? record.bytes.length, isLittleEndian);
    parts.push(new Uint8Array(view.buffer), record.bytes);
  }
  return concatBytes(parts);
}

export interface PcapngInterface {
  readonly name?: string;
  readonly description?: string;
  readonly linkType?: number;
  readonly snapBytes?: number;
  /** `if_tsresol` byte; default absent, which means microseconds. */
  readonly resolution?: number;
  /** `if_tsoffset`, seconds. */
  readonly offsetSeconds?: number;
  /** Written as interface statistics at the end of the section. */
  readonly drops?: number;
}

export interface PcapngOptions {
  readonly isBigEndian?: boolean;
  /** Default: one Ethernet interface with nanoseconds. */
  readonly interfaces?: readonly PcapngInterface[];
  /** Simple packet blocks instead of enhanced ones. */
  readonly isSimple?: boolean;
}

/** One pcapng section; concatenate several for a file with several. */
export function writePcapng(records: readonly CaptureRecord[], options: PcapngOptions = {}): Uint8Array {
  const isLittleEndian = options.isBigEndian !== true;
  const interfaces = options.interfaces ?? [{ resolution: 9 }];
  const blocks: Uint8Array[] = [sectionBlock(isLittleEndian)];
  for (const one of interfaces) blocks.push(interfaceBlock(one, isLittleEndian));
  for (const record of records) {
    blocks.push(
      options.isSimple === true
        ? simplePacketBlock(record, isLittleEndian)
        : enhancedPacketBlock(record, interfaces[record.interface ?? 0]?.resolution ?? 6, isLittleEndian),
    );
  }
  interfaces.forEach((one, index) => {
    if (one.drops !== undefined) blocks.push(statisticsBlock(index, one.drops, isLittleEndian));
  });
  return concatBytes(blocks);
}

/** A block of any type around `body`, which is padded to a multiple of 4. */
export function pcapngBlock(type: number, body: Uint8Array, isLittleEndian: boolean): Uint8Array {
  const bodyBytes = (body.length + 3) & ~3;
  const block = new Uint8Array(bodyBytes + 12);
  const view = new DataView(block.buffer);
  view.setUint32(0, type, isLittleEndian);
  view.setUint32(4, block.length, isLittleEndian);
  block.set(body, 8);
  view.setUint32(block.length - 4, block.length, isLittleEndian);
  return block;
}

export function sectionBlock(isLittleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, BYTE_ORDER_MAGIC, isLittleEndian);
  view.setUint16(4, 1, isLittleEndian);
  view.setBigInt64(8, -1n, isLittleEndian);
  return pcapngBlock(BLOCK_SECTION_HEADER, new Uint8Array(view.buffer), isLittleEndian);
}

export function interfaceBlock(one: PcapngInterface, isLittleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint16(0, one.linkType ?? 1, isLittleEndian);
  view.setUint32(4, one.snapBytes ?? 0, isLittleEndian);
  const parts: Uint8Array[] = [new Uint8Array(view.buffer)];
  if (one.name !== undefined) parts.push(option(2, new TextEncoder().encode(one.name), isLittleEndian));
  if (one.description !== undefined) parts.push(option(3, new TextEncoder().encode(one.description), isLittleEndian));
  if (one.resolution !== undefined) parts.push(option(9, Uint8Array.of(one.resolution), isLittleEndian));
  if (one.offsetSeconds !== undefined) {
    const value = new DataView(new ArrayBuffer(8));
    value.setBigInt64(0, BigInt(one.offsetSeconds), isLittleEndian);
    parts.push(option(14, new Uint8Array(value.buffer), isLittleEndian));
  }
  if (parts.length > 1) parts.push(new Uint8Array(4));
  return pcapngBlock(BLOCK_INTERFACE, concatBytes(parts), isLittleEndian);
}

export function enhancedPacketBlock(record: CaptureRecord, resolution: number, isLittleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(20));
  const time = ticks(record, resolution);
  view.setUint32(0, record.interface ?? 0, isLittleEndian);
  view.setUint32(4, Number(time >> 32n), isLittleEndian);
  view.setUint32(8, Number(time & 0xffffffffn), isLittleEndian);
  view.setUint32(12, record.bytes.length, isLittleEndian);
  view.setUint32(16, record.wireBytes ?? record.bytes.length, isLittleEndian);
  const parts = [new Uint8Array(view.buffer), record.bytes];
  const options: Uint8Array[] = [];
  if (record.comment !== undefined) options.push(option(1, new TextEncoder().encode(record.comment), isLittleEndian));
  if (record.direction !== undefined) {
    const flags = new DataView(new ArrayBuffer(4));
    flags.setUint32(0, record.direction, isLittleEndian);
    options.push(option(2, new Uint8Array(flags.buffer), isLittleEndian));
  }
  if (options.length > 0) parts.push(new Uint8Array(-record.bytes.length & 3), ...options, new Uint8Array(4));
  return pcapngBlock(BLOCK_ENHANCED_PACKET, concatBytes(parts), isLittleEndian);
}

function simplePacketBlock(record: CaptureRecord, isLittleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, record.wireBytes ?? record.bytes.length, isLittleEndian);
  return pcapngBlock(BLOCK_SIMPLE_PACKET, concatBytes([new Uint8Array(view.buffer), record.bytes]), isLittleEndian);
}

export function statisticsBlock(index: number, drops: number, isLittleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint32(0, index, isLittleEndian);
  const value = new DataView(new ArrayBuffer(8));
  value.setBigUint64(0, BigInt(drops), isLittleEndian);
  const options = [option(5, new Uint8Array(value.buffer), isLittleEndian), new Uint8Array(4)];
  return pcapngBlock(
    BLOCK_INTERFACE_STATISTICS,
    concatBytes([new Uint8Array(view.buffer), ...options]),
    isLittleEndian,
  );
}

/** An option: code, length, value padded to 4. */
function option(code: number, value: Uint8Array, isLittleEndian: boolean): Uint8Array {
  const out = new Uint8Array(4 + ((value.length + 3) & ~3));
  const view = new DataView(out.buffer);
  view.setUint16(0, code, isLittleEndian);
  view.setUint16(2, value.length, isLittleEndian);
  out.set(value, 4);
  return out;
}

/** The record's time in ticks of the resolution byte, rounded down. BigInt is fine here: writing is not hot. */
function ticks(record: CaptureRecord, resolution: number): bigint {
  const nanos = BigInt(record.seconds ?? 0) * 1_000_000_000n + BigInt(record.nanos ?? 0);
  const exponent = BigInt(resolution & 0x7f);
  return ((resolution & 0x80) !== 0 ? nanos << exponent : nanos * 10n ** exponent) / 1_000_000_000n;
}
