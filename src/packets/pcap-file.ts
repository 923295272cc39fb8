/**
 * Opening a capture: what format the bytes are in, and the reader for it.
 *
 * The first bytes decide, never the file's name: pcap and pcapng by their magic, gzip (1f 8b) and zstd (28 b5 2f fd) are
 * unpacked and looked into once more. A compressed file inside a compressed file is not opened.
 */

import type { ByteSource } from './byte-source.ts';
import { openByteSource, PrefixedSource } from './byte-source.ts';
import type { Compression, DecompressionLimits } from './gzip.ts';
import { createDecompressor, DecompressingSource } from './gzip.ts';
import { isPcapMagic, PcapReader } from './pcap.ts';
import { BLOCK_SECTION_HEADER, PcapngReader } from './pcapng.ts';
import { BufferedReader, RecordBuffer } from './record-buffer.ts';
import type { CaptureReader } from './source.ts';
import { CaptureError } from './source.ts';

const MAGIC_BYTES = 4;
/** Compressed bytes that are worth the 50 ms in which a thread starts. */
const AHEAD_FROM_BYTES = 1024 * 1024;

/**
 * Opens the capture file `path`, or standard input for `-`.
 *
 * Rejects with a CaptureError of kind `open` if there is nothing to read. Whatever is wrong with the content is in the
 * `error` of the reader: a file that is no capture yields a reader without packets.
 */
export async function openCapture(path: string, limits: DecompressionLimits = {}): Promise<CaptureReader> {
  const name = path === '-' ? 'standard input' : path;
  const buffer = new RecordBuffer(name, openByteSource(path));
  const readError = await readMagic(buffer);
  if (readError !== undefined) return new FailedReader(buffer, readError);
  const unpacking = await unpackFile(path, buffer, limits);
  if (unpacking === undefined) return createReader(buffer);
  return unpacking instanceof CaptureError ? new FailedReader(buffer, unpacking) : openUnpacked(name, unpacking);
}

/** The same for any source of bytes; `reopen` opens it once more from its start, if that is possible. */
export async function openSource(
  name: string,
  source: ByteSource,
  reopen: (() => ByteSource) | undefined,
  limits: DecompressionLimits = {},
): Promise<CaptureReader> {
  const buffer = new RecordBuffer(name, source);
  const readError = await readMagic(buffer);
  if (readError !== undefined) return new FailedReader(buffer, readError);
  const unpacking = unpackingOf(buffer, reopen, limits);
  if (unpacking === undefined) return createReader(buffer);
  return unpacking instanceof CaptureError ? new FailedReader(buffer, unpacking) : openUnpacked(name, unpacking);
}

/** A capture whose bytes are not, or no longer, compressed. */
export async function openUnpacked(name: string, source: ByteSource): Promise<CaptureReader> {
  const buffer = new RecordBuffer(name, source);
  const error = await readMagic(buffer);
  return error === undefined ? createReader(buffer) : new FailedReader(buffer, error);
}

/**
 * The bytes of the capture `path` without its compression, for readers elsewhere. Rejects as `openCapture` does; with the
 * CaptureError of another kind if the compression is one that cannot be read.
 */
export async function openBytes(path: string, limits: DecompressionLimits = {}): Promise<ByteSource> {
  const source = openByteSource(path);
  const buffer = new RecordBuffer(path === '-' ? 'standard input' : path, source);
  const error = await readMagic(buffer);
  const unpacking = error ?? (await unpackFile(path, buffer, limits));
  if (unpacking instanceof CaptureError) {
    source.close();
    throw unpacking;
  }
  return unpacking ?? new PrefixedSource(buffer.bytes.slice(0, buffer.end), source);
}

/** Whether a file on disk is compressed; false for what cannot be read, and for streams. */
export async function isCompressed(path: string): Promise<boolean> {
  const source = openByteSource(path);
  try {
    const buffer = new RecordBuffer(path, source);
    return (await readMagic(buffer)) === undefined && compressionOf(buffer) !== undefined;
  } finally {
    source.close();
  }
}

/** The same for the capture `path`: by a thread of its own where it is a file that is large enough for that. */
async function unpackFile(
  path: string,
  buffer: RecordBuffer,
  limits: DecompressionLimits,
): Promise<ByteSource | CaptureError | undefined> {
  const compression = compressionOf(buffer);
  const { sizeBytes } = buffer.source;
  if (compression === undefined) return undefined;
  const isLarge = sizeBytes !== undefined && sizeBytes >= AHEAD_FROM_BYTES;
  if (!isLarge || createDecompressor(compression) === undefined) {
    return unpackingOf(buffer, sizeBytes === undefined ? undefined : () => openByteSource(path), limits);
  }
  buffer.source.close();
  const { UnpackAhead } = await import('./unpack-ahead.ts');
  return new UnpackAhead(path, compression, limits, sizeBytes);
}

/** What decompresses the source of `buffer`, whose start has been read; undefined: it is not compressed. */
function unpackingOf(
  buffer: RecordBuffer,
  reopen: (() => ByteSource) | undefined,
  limits: DecompressionLimits,
): ByteSource | CaptureError | undefined {
  const compression = compressionOf(buffer);
  if (compression === undefined) return undefined;
  const create = createDecompressor(compression);
  if (create === undefined) return zstdError(buffer.name);
  const resumed = new PrefixedSource(buffer.bytes.slice(0, buffer.end), buffer.source);
  return new DecompressingSource(buffer.name, resumed, create, reopen, limits);
}

/** Reads until the magic is there or the file ends. */
async function readMagic(buffer: RecordBuffer): Promise<CaptureError | undefined> {
  try {
    while (buffer.end < MAGIC_BYTES && !buffer.hasEnded) await buffer.read();
    return undefined;
  } catch (error) {
    if (error instanceof CaptureError) return error;
    throw error;
  }
}

function compressionOf(buffer: RecordBuffer): Compression | undefined {
  const { bytes, end, view } = buffer;
  if (end >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  return end >= MAGIC_BYTES && view.getUint32(0) === 0x28b52ffd ? 'zstd' : undefined;
}

function createReader(buffer: RecordBuffer): CaptureReader {
  if (buffer.end >= MAGIC_BYTES) {
    if (isPcapMagic(buffer.view, 0)) return new PcapReader(buffer);
    if (buffer.view.getUint32(0) === BLOCK_SECTION_HEADER) return new PcapngReader(buffer);
  }
  return new FailedReader(buffer, formatError(buffer));
}

function formatError(buffer: RecordBuffer): CaptureError {
  const first = buffer.bytes.subarray(0, Math.min(buffer.end, 8));
  const name = buffer.name;
  if (first.length < MAGIC_BYTES) {
    const problem = first.length === 0 ? 'the file is empty' : `the file ends after ${first.length} bytes`;
    return new CaptureError('truncated', first.length, `${name}: byte ${first.length}: ${problem}; capture it again`);
  }
  const shown = [...first].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const remedy = 'give a pcap or pcapng file, plain or gzip (other formats: convert with editcap -F pcapng)';
  return new CaptureError('not-a-capture', 0, `${name}: not a capture file: it starts with ${shown}; ${remedy}`);
}

function zstdError(name: string): CaptureError {
  const remedy = `decompress it first (zstd -d), pipe it in (zstd -dc FILE | margay replay -r -), or use Node.js 22.15`;
  return new CaptureError('unsupported', 0, `${name}: Node.js ${process.version} cannot read zstd; ${remedy}`);
}

/** A capture that could not be opened for what it contains: no packets, one error. */
class FailedReader extends BufferedReader {
  readonly format = 'unknown';
  readonly linkType = undefined;
  readonly lostPackets = 0;

  constructor(buffer: RecordBuffer, error: CaptureError) {
    super(buffer);
    this.error = error;
  }

  next(): number {
    return 0;
  }

  protected truncation(): string {
    return 'the file is cut off';
  }
}
