/** The thread that reads the pods in the last part of a long dump (pods-ahead.ts). */
import { closeSync, openSync, readSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import type { Pod } from '../model/resources.ts';
import { ITEM_DEPTH } from './json-cutter.ts';
import { COMMA, FAIL, OPEN_OBJECT } from './json-scanner.ts';
import { PodReader } from './pod-reader.ts';
import type { PodParcel, PodsAheadStart } from './pods-ahead.ts';

const READ_BYTES = 4 * 1024 * 1024;
/** Zeros behind what was read: readers look some bytes ahead. */
const LOOK_AHEAD_BYTES = 8;
/** An item that is not whole after so many bytes is left alone. */
const ITEM_BYTES_MAX = 1024 * 1024;
const PARCEL_PODS = 4096;

const { path, file, isAsIs, fromByte, progress, port } = workerData as PodsAheadStart;
const sent = new BigInt64Array(progress);
const reader = new PodReader(file, isAsIs);
const pods: Pod[] = [];
const starts: number[] = [];
const ends: number[] = [];
const lines: number[] = [];
const lineStarts: number[] = [];

const descriptor = openSync(path, 'r');
try {
  readAhead();
  send(Number.MAX_SAFE_INTEGER);
} finally {
  closeSync(descriptor);
  port.close();
}

function readAhead(): void {
  const bytes = Buffer.alloc(READ_BYTES + ITEM_BYTES_MAX + LOOK_AHEAD_BYTES);
  /** Offset in the file of the first byte, how many there are, and where the next item is looked for. */
  let base = fromByte;
  let length = 0;
  let at = 0;
  let isEnd = false;
  let isInItems = false;
  for (;;) {
    if (!isEnd && length - at < ITEM_BYTES_MAX) {
      bytes.copyWithin(0, at, length);
      base += at;
      length -= at;
      at = 0;
      const count = readSync(descriptor, bytes, length, READ_BYTES, base + length);
      isEnd = count === 0;
      length += count;
      bytes.fill(0, length, length + LOOK_AHEAD_BYTES);
    }
    // Behind an item only a comma leads to the next one; before the first, any bracket may be one.
    const start = isInItems ? nextItem(bytes, at) : bytes.indexOf(OPEN_OBJECT, at);
    if (start < 0 || start >= length) {
      if (isEnd || isInItems) return;
      at = length;
      continue;
    }
    const end = reader.read(bytes, start, ITEM_DEPTH, false);
    if (end !== FAIL && end <= length) {
      isInItems = true;
      note(base, start, end);
      at = end;
    } else {
      isInItems = false;
      at = start + 1;
    }
  }
}

/** Offset of the bracket of the item behind one that ended at `from`; -1 = there is none. */
function nextItem(bytes: Buffer, from: number): number {
  let at = from;
  let isDue = false;
  for (; ; at++) {
    const code = bytes[at];
    if (code === OPEN_OBJECT) return isDue ? at : -1;
    if (code === COMMA && !isDue) isDue = true;
    else if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return -1;
  }
}

function note(base: number, start: number, end: number): void {
  pods.push(reader.pod(0));
  starts.push(base + start);
  ends.push(base + end);
  lines.push(reader.lines);
  lineStarts.push(base + reader.lineStart);
  if (pods.length === PARCEL_PODS) send(base + end);
}

/** Sends what there is; nothing that begins before `before` comes later. */
function send(before: number): void {
  const parcel: PodParcel = {
    pods,
    starts: Float64Array.from(starts),
    ends: Float64Array.from(ends),
    lines: Int32Array.from(lines),
    lineStarts: Float64Array.from(lineStarts),
  };
  port.postMessage(parcel);
  Atomics.store(sent, 0, BigInt(before));
  for (const list of [pods, starts, ends, lines, lineStarts]) list.length = 0;
}
