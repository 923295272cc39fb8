/**
 * What workers of a queue found, as bytes: frames of a length (32 bits, little-endian) and so many bytes of gzip, each a message of
 * replay-parallel-messages.ts as JSON. Read back, every field is checked before anyone uses it; what makes no sense is a `QueueError`.
 */
import { promisify } from 'node:util';
import { gunzipSync, gzip } from 'node:zlib';
import type { Counters } from '../match/counters.ts';
import type { PackedFrames } from '../workers/frames.ts';
import type { Orphan } from './connections.ts';
import { isCount, isObject, need, QueueError } from './queue-run.ts';
import type { SourceResult } from './replay.ts';
import type { Final, Report, SegmentResult, WorkerMessage } from './replay-parallel-messages.ts';

/** Bytes of a message, packed and unpacked. */
export const FRAME_BYTES_MAX = 1 << 26;
const MESSAGE_BYTES_MAX = 1 << 28;
const KEY_WORDS = 12;
/** Numbers of a frame (workers/frames.ts). */
const FRAME_NUMBERS = 8;
const TEXT_MAX = 10_000;

const compress = promisify(gzip);

export async function encodeMessage(message: WorkerMessage): Promise<Buffer> {
  // Typed arrays as lists; Infinity, which JSON has not, as null.
  const json = JSON.stringify(message, (_key, value: unknown) => {
    if (value instanceof Float64Array || value instanceof Int32Array) return Array.from(value, plainNumber);
    if (value instanceof Uint8Array)
      return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64');
    return value;
  });
  const packed = await compress(json, { level: 1 });
  if (packed.length > FRAME_BYTES_MAX || json.length > MESSAGE_BYTES_MAX) {
    throw new QueueError('a message of a worker is too long; divide the work into more parts with --workers');
  }
  const frame = Buffer.alloc(4 + packed.length);
  frame.writeUInt32LE(packed.length);
  packed.copy(frame, 4);
  return frame;
}

function plainNumber(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** What a message must fit. */
export interface Expected {
  readonly files: number;
  /** Of the tables in use: lengths are those of its arrays. */
  readonly counters: Counters;
  readonly stages: number;
}

/** A frame without its length, as a message. Throws `QueueError`. */
export function decodeMessage(packed: Uint8Array, expected: Expected): WorkerMessage {
  let value: unknown;
  try {
    value = JSON.parse(gunzipSync(packed, { maxOutputLength: MESSAGE_BYTES_MAX }).toString());
  } catch {
    throw new QueueError('what a worker sent is damaged');
  }
  need(isObject(value), NONSENSE);
  if (value.kind === 'report') return reportOf(value, expected);
  if (value.kind === 'final') return finalOf(value, expected);
  need(value.kind === 'segment', NONSENSE);
  return segmentOf(value, expected);
}

const NONSENSE = 'what a worker sent makes no sense';

function reportOf(value: Record<string, unknown>, expected: Expected): Report {
  const { steps, file, bytesRead, packets, moment } = value;
  need(isCount(steps) && isCount(file, expected.files) && isCount(bytesRead) && isCount(packets), NONSENSE);
  need(moment === null || isPlainNumber(moment), NONSENSE);
  const lineNumbers = numbersOf(value.lineNumbers);
  const moments = numbersOf(value.moments);
  const firsts = numbersOf(value.firsts, moments.length);
  const lines = textOf(value.lines);
  const records = textOf(value.records);
  need(Array.isArray(value.orphans), NONSENSE);
  const orphans = (value.orphans as unknown[]).map(orphanOf);
  checkLines(lines, lineNumbers.length, 'packet', lineNumbers);
  const empty = checkLines(records, moments.length, 'first_packet', firsts);
  need(empty === orphans.length, NONSENSE);
  // Lines of fragments come when their datagram is whole, so numbers of lines go back and forth.
  need(isAscending(moments), NONSENSE);
  return {
    kind: 'report',
    steps,
    file,
    bytesRead,
    packets,
    moment: moment ?? Number.POSITIVE_INFINITY,
    lineNumbers,
    lines,
    moments,
    firsts,
    records,
    orphans,
    frames: framesOf(value.frames),
  };
}

/** Each line is a JSON object whose `field` is its number; returns how many are empty. */
function checkLines(text: string, count: number, field: string, numbers: Float64Array): number {
  if (count === 0) {
    need(text === '', NONSENSE);
    return 0;
  }
  const lines = text.split('\n');
  need(lines.length === count, NONSENSE);
  let empty = 0;
  for (let i = 0; i < count; i++) {
    const line = lines[i]!;
    if (line === '') {
      empty++;
      continue;
    }
    let record: unknown;
    try {
      record = JSON.parse(line);
    } catch {
      throw new QueueError(NONSENSE);
    }
    need(isObject(record) && record[field] === numbers[i], NONSENSE);
  }
  return empty;
}

function orphanOf(value: unknown): Orphan {
  need(isObject(value), NONSENSE);
  const { hash, fromLower, record, community, packet, verdict, bytes, seconds, nanos } = value;
  const key = Int32Array.from(numbersOf(value.key, KEY_WORDS));
  need(Number.isInteger(hash) && typeof fromLower === 'boolean' && isObject(record), NONSENSE);
  need(typeof community === 'string' && community.length < 100 && isCount(packet) && isCount(verdict, 7), NONSENSE);
  need(isCount(bytes) && isPlainNumber(seconds) && isCount(nanos, 999_999_999), NONSENSE);
  return { ...(value as unknown as Orphan), key };
}

function finalOf(value: Record<string, unknown>, expected: Expected): Final {
  const { sources, packets, connections, evictedConnections, wasStopped } = value;
  need(Array.isArray(sources) && sources.length <= expected.files, NONSENSE);
  need(isCount(packets) && isCount(connections) && isCount(evictedConnections), NONSENSE);
  need(typeof wasStopped === 'boolean', NONSENSE);
  return {
    kind: 'final',
    counters: countersOf(value.counters, expected),
    sources: (sources as unknown[]).map(sourceOf),
    packets,
    connections,
    evictedConnections,
    wasStopped,
    stageMs: stagesOf(value.stageMs, expected),
  };
}

function segmentOf(value: Record<string, unknown>, expected: Expected): SegmentResult {
  const { file, index, start, stop, packets, isLast, hasError, source } = value;
  need(isCount(file, expected.files - 1) && isCount(index) && isCount(stop) && isCount(packets), NONSENSE);
  need((start === -1 || isCount(start)) && typeof isLast === 'boolean' && typeof hasError === 'boolean', NONSENSE);
  return {
    kind: 'segment',
    file,
    index,
    start,
    stop,
    packets,
    isLast,
    hasError,
    counters: countersOf(value.counters, expected),
    frames: framesOf(value.frames),
    source: source === undefined ? undefined : sourceOf(source),
    stageMs: stagesOf(value.stageMs, expected),
  };
}

function sourceOf(value: unknown): SourceResult {
  need(isObject(value), NONSENSE);
  const { file, packets, link_type: linkType, lost, error } = value;
  need(typeof file === 'string' && isCount(packets) && isCount(lost), NONSENSE);
  need(linkType === undefined || isCount(linkType), NONSENSE);
  need(error === null || (typeof error === 'string' && error.length < TEXT_MAX), NONSENSE);
  return { file, packets, link_type: linkType, lost, error };
}

function countersOf(value: unknown, expected: Expected): Counters {
  need(isObject(value), NONSENSE);
  const counters = expected.counters;
  const parts = Object.entries(counters).map(([name, { length }]) => {
    const counts = numbersOf(value[name], length as number);
    need(
      counts.every((count) => isCount(count)),
      NONSENSE,
    );
    return [name, counts];
  });
  return Object.fromEntries(parts) as Counters;
}

function framesOf(value: unknown): PackedFrames | undefined {
  if (value === undefined) return undefined;
  need(
    isObject(value) && isCount(value.count) && typeof value.bytes === 'string' && Array.isArray(value.names),
    NONSENSE,
  );
  const { count, names } = value;
  const bytes = Buffer.from(value.bytes, 'base64');
  const numbers = numbersOf(value.numbers, count * FRAME_NUMBERS);
  let captured = 0;
  for (let at = 0; at < numbers.length; at += FRAME_NUMBERS) {
    for (let i = 0; i < FRAME_NUMBERS - 1; i++) need(Number.isInteger(numbers[at + i]), NONSENSE);
    need(isCount(numbers[at + 1]), NONSENSE);
    captured += numbers[at + 1]!;
  }
  need(captured === bytes.length, NONSENSE);
  need(
    (names as unknown[]).every((name) => typeof name === 'string' && name.length < TEXT_MAX),
    NONSENSE,
  );
  return { count, bytes, numbers, names: names as string[] };
}

function stagesOf(value: unknown, expected: Expected): Float64Array | undefined {
  return value === undefined ? undefined : numbersOf(value, expected.stages);
}

function numbersOf(value: unknown, length?: number): Float64Array {
  need(Array.isArray(value) && (length === undefined || value.length === length), NONSENSE);
  need((value as unknown[]).every(isPlainNumber), NONSENSE);
  return Float64Array.from(value as number[]);
}

function textOf(value: unknown): string {
  need(typeof value === 'string', NONSENSE);
  return value;
}

function isPlainNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isAscending(numbers: Float64Array): boolean {
  for (let i = 1; i < numbers.length; i++) if (numbers[i]! < numbers[i - 1]!) return false;
  return true;
}
