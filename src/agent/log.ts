/**
 * The agent's log: pino's JSON lines on standard error, pretty ones on a terminal.
 *
 * Names of objects and paths of requests are written by others, so control characters are shown as escapes. A message that comes again and again
 * is held back: beyond some a second it is counted, and its next line says how many were left out. A reader that stands still must not hold the
 * agent: what a pipe does not take within bounds is dropped, and counted.
 */
import { fstatSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { pino, stdTimeFunctions } from 'pino';
import { escapeControls } from '../base/errors.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface AgentLog {
  log(level: LogLevel, message: string, fields?: LogFields): void;
}

/** Takes whole lines. */
export interface LineSink {
  write(text: string): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly isPretty: boolean;
  readonly hasColor: boolean;
  readonly sink: LineSink;
  /** Milliseconds, of a clock that never goes back. */
  readonly now?: () => number;
}

/** Lines a second of one message, and as many at once after a quiet time. */
const LINES_PER_SECOND = 10;
/** Messages whose rates are known at a time. */
const MESSAGES_MAX = 500;
const TEXT_LENGTH_MAX = 2_000;
const DEPTH_MAX = 6;

export function createLog({ level, isPretty, hasColor, sink, now = () => performance.now() }: LogOptions): AgentLog {
  const write = isPretty
    ? (line: string) => sink.write(prettyLine(line, hasColor))
    : (line: string) => sink.write(line);
  const logger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  const rates = new Map<string, { tokens: number; atMs: number; suppressed: number }>();
  return {
    log: (at, message, fields = {}) => {
      const nowMs = now();
      const key = `${at} ${message}`;
      let rate = rates.get(key);
      if (rate === undefined) {
        if (rates.size >= MESSAGES_MAX) rates.delete(rates.keys().next().value!);
        rate = { tokens: LINES_PER_SECOND, atMs: nowMs, suppressed: 0 };
        rates.set(key, rate);
      }
      rate.tokens = Math.min(LINES_PER_SECOND, rate.tokens + ((nowMs - rate.atMs) / 1000) * LINES_PER_SECOND);
      rate.atMs = nowMs;
      if (rate.tokens < 1) {
        rate.suppressed++;
        return;
      }
      rate.tokens--;
      const suppressed = rate.suppressed === 0 ? {} : { suppressed: rate.suppressed };
      rate.suppressed = 0;
      logger[at]({ ...(escaped(fields, 0) as object), ...suppressed }, escapeControls(message));
    },
  };
}

/** A value with the control characters of all its texts escaped, and nothing too long or too deep. */
function escaped(value: unknown, depth: number): unknown {
  if (typeof value === 'string') {
    const text = value.length > TEXT_LENGTH_MAX ? `${value.slice(0, TEXT_LENGTH_MAX)}…` : value;
    return escapeControls(text);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '…';
  if (Array.isArray(value)) return value.map((each) => escaped(each, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [escapeControls(key), escaped(each, depth + 1)]),
  );
}

const COLORS: Readonly<Record<string, string>> = { debug: '2', info: '32', warn: '33', error: '31' };

/** `12:00:00.123 INFO  listening  url=http://127.0.0.1:9099/` of a line of JSON. */
function prettyLine(line: string, hasColor: boolean): string {
  const { level, time, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level).toUpperCase().padEnd(5);
  const colored = hasColor ? `\u001b[${COLORS[String(level)] ?? '0'}m${name}\u001b[0m` : name;
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${[`${String(time).slice(11, 23)} ${colored} ${String(msg)}`, ...fields].join('  ')}\n`;
}

/** Bytes that wait for a reader. */
const PENDING_BYTES_MAX = 1 << 20;

/** A sink on a file descriptor that never waits: neither for a slow reader nor at the end. */
export class DescriptorSink implements LineSink {
  dropped = 0;
  readonly #descriptor: number;
  readonly #socket: Socket | undefined;
  #isBroken = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    const stat = fstatSync(descriptor);
    // Node writes to its own standard streams at once, and waits where they are pipes.
    if (stat.isFIFO() || stat.isSocket()) {
      this.#socket = new Socket({ fd: descriptor, readable: false, writable: true });
      this.#socket.unref();
      this.#socket.on('error', () => {
        this.#isBroken = true;
      });
    }
  }

  write(text: string): void {
    if (this.#isBroken) {
      this.dropped++;
      return;
    }
    if (this.#socket !== undefined) {
      if (this.#socket.writableLength > PENDING_BYTES_MAX) this.dropped++;
      else this.#socket.write(text);
      return;
    }
    try {
      writeSync(this.#descriptor, text);
    } catch {
      this.dropped++;
    }
  }

  /** Resolves when what was written is out, or after `limitMs`. */
  drain(limitMs: number): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || this.#isBroken || socket.writableLength === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      socket.write('', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
