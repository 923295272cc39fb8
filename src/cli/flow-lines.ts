/**
 * The input of `eval --flows`: JSON lines to answers, one a line, in order.
 *
 * Reading is by pieces of a file or of standard input, so that memory does not grow with the number of flows.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { PolicyError } from '../base/errors.ts';
import type { Flow } from '../model/flow.ts';

/** A line that is a flow, with its id (undefined = none). */
export interface FlowLine {
  readonly id: unknown;
  readonly flow: Flow;
}

/** What takes the place of a record for a line that is none. */
export interface LineError {
  readonly id: unknown;
  /** From 1. */
  readonly line: number;
  readonly error: string;
}

const PIECE_BYTES = 1 << 18;

/** Bytes of one line: a flow has a few hundred, so this is a file of another kind. */
const LINE_LENGTH_MAX = 1 << 20;

/** The lines of a file, or of standard input for `-`, without their ends. Throws the system's error, or a PolicyError. */
export function* readLines(path: string): Generator<string> {
  const descriptor = path === '-' ? 0 : openSync(path, 'r');
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(PIECE_BYTES);
  let rest = '';
  try {
    for (;;) {
      const count = readPiece(descriptor, buffer);
      const text = rest + decoder.decode(buffer.subarray(0, count), { stream: count > 0 });
      let from = 0;
      for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
        yield text.slice(from, at);
        from = at + 1;
      }
      rest = text.slice(from);
      if (rest.length > LINE_LENGTH_MAX) {
        throw new PolicyError('flows', `--flows: a line is longer than ${LINE_LENGTH_MAX} characters`, {
          fix: 'give one JSON object a line',
        });
      }
      if (count === 0) break;
    }
    if (rest !== '') yield rest;
  } finally {
    if (descriptor !== 0) closeSync(descriptor);
  }
}

/** Some bytes, 0 at the end. A terminal or a pipe in non-blocking mode has nothing at times: then wait. */
function readPiece(descriptor: number, buffer: Uint8Array): number {
  for (;;) {
    try {
      return readSync(descriptor, buffer, 0, buffer.length, null);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}

const WAIT_MS = 5;

/** Reads one line as a flow. Fields that it does not know are ignored, `null` is as good as absent. */
export function parseFlowLine(text: string, line: number): FlowLine | LineError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { id: null, line, error: `not JSON: ${(error as Error).message}; give one JSON object a line` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { id: null, line, error: 'not a JSON object; give one with at least src, dst and dst_port' };
  }
  const fields = value as Record<string, unknown>;
  const { protocol } = fields;
  if (typeof protocol === 'object' && protocol !== null) {
    return { id: fields.id ?? null, line, error: 'protocol is neither a name nor a number' };
  }
  const missing = (['src', 'dst'] as const).find((name) => fields[name] === undefined || fields[name] === null);
  if (missing !== undefined) {
    return { id: fields.id ?? null, line, error: `${missing} is missing; give the address of both ends` };
  }
  // `evaluateFlow` checks every field that it knows and says which one is wrong.
  const hasNull = FLOW_FIELDS.some((name) => fields[name] === null);
  return { id: fields.id, flow: (hasNull ? withoutNulls(fields) : fields) as unknown as Flow };
}

function withoutNulls(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const flow: Record<string, unknown> = {};
  for (const name of FLOW_FIELDS) if (fields[name] !== undefined && fields[name] !== null) flow[name] = fields[name];
  return flow;
}

const FLOW_FIELDS = ['src', 'dst', 'protocol', 'src_port', 'dst_port', 'icmp_type', 'icmp_code'] as const;
