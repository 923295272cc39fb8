/**
 * A file to its documents.
 *
 * Up to the limit of YAML a file is read as a whole and checked as UTF-8. What is longer must be JSON, and is cut
 * into objects while it is read, so that memory stays that of one object.
 * Bytes that are not UTF-8 become a character no document may hold, so that only the document around them is lost.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { JSON_BYTES_MAX, JSON_OBJECT_BYTES_MAX, YAML_BYTES_MAX } from '../model/limits.ts';
import { decode, INVALID_BYTES } from './decode.ts';
import type { DocumentSink } from './document.ts';
import { FLOW_LENGTH_MAX, readDocuments, readJsonPieces } from './documents.ts';
import type { FileSource } from './files.ts';
import { AHEAD_BYTES_MIN, ReadAhead, SLOT_FREE_BYTES } from './read-ahead.ts';
import type { TextPiece } from './text-buffer.ts';

const STDIN = 0;
const READ_BYTES = 4 * 1024 * 1024;

/** In bytes: of YAML, of JSON, and of one object of long JSON. */
export interface FileLimits {
  readonly yamlBytesMax: number;
  readonly jsonBytesMax: number;
  readonly objectBytesMax: number;
  /** Files of more bytes are read by a thread of its own; default: none. */
  readonly aheadBytesMin?: number;
}

const LIMITS: FileLimits = {
  yamlBytesMax: YAML_BYTES_MAX,
  jsonBytesMax: JSON_BYTES_MAX,
  objectBytesMax: JSON_OBJECT_BYTES_MAX,
  aheadBytesMin: AHEAD_BYTES_MIN,
};

/** Delivers all documents of a file, and all errors in it. Throws the system's error if it cannot be read. */
export function readFileDocuments(source: FileSource, sink: DocumentSink, limits: FileLimits = LIMITS): void {
  const descriptor = source.path === '-' ? STDIN : openSync(source.path, 'r');
  try {
    const stat = fstatSync(descriptor);
    sink.begin?.(source.name, stat.isFile() ? stat.size : undefined);
    const isLong =
      stat.isFile() && descriptor !== STDIN && stat.size > (limits.aheadBytesMin ?? Number.POSITIVE_INFINITY);
    const firstBytes = stat.isFile() && stat.size <= limits.yamlBytesMax ? stat.size + 1 : READ_BYTES;
    readDescriptor(descriptor, source, { firstBytes, isLong }, sink, limits);
  } finally {
    if (descriptor !== STDIN) closeSync(descriptor);
  }
}

/** `firstBytes`: to be read at first; `isLong`: a file that is worth a thread of its own. */
function readDescriptor(
  descriptor: number,
  { name, path }: FileSource,
  { firstBytes, isLong }: { readonly firstBytes: number; readonly isLong: boolean },
  sink: DocumentSink,
  limits: FileLimits,
): void {
  const start: Buffer[] = [];
  let lengthBytes = 0;
  for (const piece of readPieces(descriptor, firstBytes)) {
    start.push(piece);
    lengthBytes += piece.length;
    if (lengthBytes > limits.yamlBytesMax) break;
  }
  if (lengthBytes <= limits.yamlBytesMax) readWhole(name, start.length === 1 ? start[0]! : Buffer.concat(start), sink);
  else if (isJson(start[0]!)) {
    const rest = isLong ? readLong(descriptor, path, lengthBytes) : readAgain(descriptor, null);
    readLargeJson(name, chain(start, rest), sink, limits);
  } else {
    const message = `YAML of more than ${limits.yamlBytesMax} bytes`;
    sink.problem({ file: name, place: { line: 1, column: 1 }, message, fix: 'split it, or convert it to JSON' });
  }
}

function readWhole(name: string, bytes: Buffer, sink: DocumentSink): void {
  if (isPlainDump(bytes)) readJsonPieces(name, piecesOf(withoutMark(bytes)), sink, Number.POSITIVE_INFINITY);
  else readDocuments(name, decode(bytes), sink);
}

/** Pieces that stay in the processor's cache while they are scanned. */
const SCAN_BYTES = 1024 * 1024;

function* piecesOf(bytes: Buffer): Generator<TextPiece> {
  for (let at = 0; at < bytes.length; at += SCAN_BYTES)
    yield { bytes: bytes.subarray(at, at + SCAN_BYTES), freeBefore: 0 };
}

/** JSON that is too long to be anything else, and of which nothing but its values can be said: it needs no text. */
function isPlainDump(bytes: Buffer): boolean {
  if (bytes.length <= 4 * FLOW_LENGTH_MAX || !isJson(bytes.subarray(0, 1024))) return false;
  return isUtf8(bytes) && !['\n---', '\n%', INVALID_BYTES].some((text) => bytes.includes(text));
}

function withoutMark(bytes: Buffer): Buffer {
  const { length } = BYTE_ORDER_MARK;
  return BYTE_ORDER_MARK.equals(bytes.subarray(0, length)) ? bytes.subarray(length) : bytes;
}

const BYTE_ORDER_MARK = Buffer.from('\ufeff');

function isJson(start: Buffer): boolean {
  return /^(?:\xef\xbb\xbf)?\s*\{/.test(start.toString('latin1'));
}

function readLargeJson(name: string, pieces: Iterable<TextPiece>, sink: DocumentSink, limits: FileLimits): void {
  let lengthBytes = 0;
  const limited = function* (): Generator<TextPiece> {
    for (const piece of pieces) {
      const { bytes } = piece;
      const isFirst = lengthBytes === 0;
      lengthBytes += bytes.length;
      if (lengthBytes > limits.jsonBytesMax) {
        const message = `JSON of more than ${limits.jsonBytesMax} bytes`;
        sink.problem({ file: name, place: { line: 1, column: 1 }, message, fix: 'split it' });
        return;
      }
      if (piece.freeBefore > 0) yield piece;
      else yield* piecesOf(isFirst ? withoutMark(bytes) : bytes);
    }
  };
  readJsonPieces(name, limited(), sink, limits.objectBytesMax);
}

function* chain(start: readonly Buffer[], rest: Iterable<TextPiece>): Generator<TextPiece> {
  for (const bytes of start) yield { bytes, freeBefore: 0 };
  yield* rest;
}

/** The bytes of a descriptor from where it stands; every piece is a buffer of its own, the first of so many bytes if there are as many. */
function* readPieces(descriptor: number, firstBytes: number): Generator<Buffer> {
  let buffer = Buffer.allocUnsafe(firstBytes);
  let length = 0;
  for (;;) {
    const count = readSome(descriptor, buffer.subarray(length), null);
    length += count;
    if (count > 0 && length < buffer.length) continue;
    if (length > 0) yield buffer.subarray(0, length);
    if (count === 0) return;
    buffer = Buffer.allocUnsafe(READ_BYTES);
    length = 0;
  }
}

/** The rest of a file from an offset, read by a thread of its own as long as that does it. */
function* readLong(descriptor: number, path: string, fromByte: number): Generator<TextPiece> {
  const ahead = new ReadAhead(path, fromByte);
  let at = fromByte;
  try {
    for (let piece = ahead.next(); piece !== undefined; piece = ahead.next()) {
      if (piece.length === 0) return;
      at += piece.length;
      yield { bytes: piece, freeBefore: SLOT_FREE_BYTES };
    }
  } finally {
    ahead.close();
  }
  yield* readAgain(descriptor, at);
}

/**
 * The bytes of a descriptor from an offset, or from where it stands (null); every piece lies in the memory of the last, since new memory costs
 * as much as reading into it.
 */
function* readAgain(descriptor: number, from: number | null): Generator<TextPiece> {
  const buffer = Buffer.allocUnsafe(SCAN_BYTES);
  let at = from;
  for (;;) {
    const count = readSome(descriptor, buffer, at);
    if (count === 0) return;
    if (at !== null) at += count;
    yield { bytes: buffer.subarray(0, count), freeBefore: 0 };
  }
}

function readSome(descriptor: number, buffer: Buffer, position: number | null): number {
  for (;;) {
    try {
      return readSync(descriptor, buffer, 0, buffer.length, position);
    } catch (error) {
      // Standard input may have been made non-blocking by whoever shares it.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

const RETRY_MS = 5;
