/**
 * What a run keeps in Redis beside BullMQ's jobs: its record, the tables, what was found, and who is at work. Each question fails within seconds
 * while the server is away; `patiently` asks again.
 *
 * Results are a stream of pieces. A worker may put a piece there only while fewer than PIECES_MAX wait, so that Redis never holds more than
 * PIECES_MAX * PIECE_BYTES * 4/3 = 32 MiB of a run, and a fast worker waits for a slow reader. The submitter takes pieces out only when they are on its
 * own disk. Every key expires by itself unless the submitter says every few seconds that it is still there.
 */
import { type Command, Connection } from '../identity/redis.ts';
import type { RedisConfig } from '../identity/redis-config.ts';
import { PIECE_BYTES, QueueError, type QueueKeys, queueKeysOf, RECORD_BYTES_MAX, RUN_ID } from './queue-run.ts';

const PIECES_MAX = 64;
/** Pieces read at one time. */
const PIECES_AT_ONCE = 8;
const WORKERS_MAX = 1024;
const SCAN_COUNT = 1000;
/** Nobody is there of whom nothing was heard for so long. */
const SILENT_MS = 5_000;
const BASE64_MAX = Math.ceil(PIECE_BYTES / 3) * 4;

/** KEYS run, others; ARGV nonce, ms. Says that the submitter is there: 0 = the run is gone. */
const KEEP = `
if redis.call('HGET', KEYS[1], 'nonce') ~= ARGV[1] then return 0 end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1`;

/** KEYS run, workers, others; ARGV worker, text. Says that a worker is there, and gives all keys as long as the run has: 0 = it is gone. */
const BEAT = `
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then return 0 end
if redis.call('HLEN', KEYS[2]) >= ${WORKERS_MAX} and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 1 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)) .. ' ' .. ARGV[2])
for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ttl) end
return 1`;

/** KEYS workers; ARGV worker, text, ms. The same for a worker as such; takes away those that are silent. */
const HELLO = `
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+'))
  if at == nil or at < ms - ARGV[3] then redis.call('HDEL', KEYS[1], all[i]) end
end
if redis.call('HLEN', KEYS[1]) < ${WORKERS_MAX} then redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', ms) .. ' ' .. ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

/** KEYS run, results; ARGV most, job, attempt, number, piece. */
const PUSH = `
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then return 'gone' end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[1]) then return 'full' end
redis.call('XADD', KEYS[2], '*', 'j', ARGV[2], 'a', ARGV[3], 'n', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ttl)
return 'ok'`;

/** A piece of what an attempt at a job found. */
export interface ResultPiece {
  readonly id: string;
  readonly job: string;
  readonly attempt: string;
  readonly number: number;
  readonly bytes: Buffer;
}

/** A worker's last word about itself. */
export interface SeenWorker {
  readonly id: string;
  readonly text: string;
}

export class QueueStore {
  readonly keys: QueueKeys;
  readonly name: string;
  readonly #connection: Connection;

  constructor(config: RedisConfig, cluster: string) {
    this.keys = queueKeysOf(cluster);
    this.name = config.name;
    this.#connection = new Connection(config, () => {});
  }

  /** Puts a run there, tables first, so that nobody sees half of one. */
  async create(run: string, nonce: string, record: string, tables: Uint8Array, ttlMs: number): Promise<void> {
    const keys = this.keys.of(run);
    for (let piece = 0; piece * PIECE_BYTES < tables.length; piece++) {
      const bytes = tables.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
      await this.#ask([
        ['HSET', keys.tables, piece, text],
        ['PEXPIRE', keys.tables, ttlMs],
      ]);
    }
    await this.#ask([
      ['HSET', keys.run, 'nonce', nonce, 'record', record],
      ['PEXPIRE', keys.run, ttlMs],
      ['ZADD', this.keys.runs, Date.now(), run],
      ['PEXPIRE', this.keys.runs, 2 * ttlMs],
    ]);
  }

  /** False: the run is not there any more, or not ours. */
  async keep(run: string, nonce: string, ttlMs: number, jobs: Iterable<string>): Promise<boolean> {
    const keys = this.keys.of(run);
    const all = [keys.run, keys.tables, keys.results, keys.workers, ...keys.fixed, ...[...jobs].map(keys.job)];
    const [isThere] = await this.#ask([evaluate(KEEP, all, [nonce, ttlMs]), ['PEXPIRE', this.keys.runs, 2 * ttlMs]]);
    return isThere === 1;
  }

  /** Pieces behind `after`, in their order; `isMore`: there may be further ones. Pieces that make no sense are left out. */
  async results(run: string, after: string): Promise<{ pieces: ResultPiece[]; last: string; isMore: boolean }> {
    const from = after === '' ? '-' : `(${after}`;
    const [answer] = await this.#ask([['XRANGE', this.keys.of(run).results, from, '+', 'COUNT', PIECES_AT_ONCE]]);
    const pieces: ResultPiece[] = [];
    let last = after;
    for (const entry of listOf(answer)) {
      const [id, fields] = listOf(entry);
      last = String(id);
      const piece = pieceOf(last, listOf(fields).map(String));
      if (piece !== undefined) pieces.push(piece);
    }
    return { pieces, last, isMore: listOf(answer).length === PIECES_AT_ONCE };
  }

  /** Takes out the pieces up to `last`. */
  async drop(run: string, last: string): Promise<void> {
    const [ms, number] = last.split('-').map(Number);
    await this.#ask([['XTRIM', this.keys.of(run).results, 'MINID', `${ms}-${number! + 1}`]]);
  }

  async push(
    run: string,
    job: string,
    attempt: string,
    number: number,
    bytes: Buffer,
  ): Promise<'ok' | 'full' | 'gone'> {
    const { run: key, results } = this.keys.of(run);
    const [answer] = await this.#ask([
      evaluate(PUSH, [key, results], [PIECES_MAX, job, attempt, number, bytes.toString('base64')]),
    ]);
    return answer as 'ok' | 'full' | 'gone';
  }

  /** Those of whom something was heard lately; of one run, or at all. */
  async workers(run?: string): Promise<SeenWorker[]> {
    const key = run === undefined ? this.keys.workers : this.keys.of(run).workers;
    const [time, answer] = await this.#ask([['TIME'], ['HGETALL', key]]);
    const [seconds, micros] = listOf(time).map(Number);
    const now = seconds! * 1000 + micros! / 1000;
    const all = listOf(answer).map(String);
    const seen: SeenWorker[] = [];
    for (let i = 0; i + 1 < all.length && seen.length < WORKERS_MAX; i += 2) {
      const match = /^(\d{1,15}) (.{0,4096})$/s.exec(all[i + 1]!);
      if (match !== null && Number(match[1]) >= now - SILENT_MS) seen.push({ id: all[i]!, text: match[2]! });
    }
    return seen;
  }

  async runs(): Promise<string[]> {
    const [answer] = await this.#ask([['ZRANGE', this.keys.runs, 0, 31]]);
    return listOf(answer)
      .map(String)
      .filter((run) => RUN_ID.test(run));
  }

  async record(run: string): Promise<string | undefined> {
    const key = this.keys.of(run).run;
    const [size] = await this.#ask([['HSTRLEN', key, 'record']]);
    if (Number(size) > RECORD_BYTES_MAX) throw new QueueError('its record is too long');
    const [record] = await this.#ask([['HGET', key, 'record']]);
    return record === null ? undefined : String(record);
  }

  /** The tables of a run into memory of `sizeBytes`; what does not fit is refused. */
  async tables(run: string, pieces: number, sizeBytes: number): Promise<SharedArrayBuffer> {
    const bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
    for (let piece = 0; piece < pieces; piece++) {
      const key = this.keys.of(run).tables;
      const [size] = await this.#ask([['HSTRLEN', key, piece]]);
      const wanted = Math.min(PIECE_BYTES, sizeBytes - piece * PIECE_BYTES);
      if (Number(size) !== Math.ceil(wanted / 3) * 4)
        throw new QueueError('a piece of its tables is missing or of the wrong size');
      const [text] = await this.#ask([['HGET', key, piece]]);
      const decoded = Buffer.from(String(text), 'base64');
      if (decoded.length !== wanted) throw new QueueError('a piece of its tables is damaged');
      bytes.set(decoded, piece * PIECE_BYTES);
    }
    return bytes.buffer as SharedArrayBuffer;
  }

  /** False: the run is gone. */
  async beat(run: string, worker: string, text: string): Promise<boolean> {
    const keys = this.keys.of(run);
    const [isThere] = await this.#ask([
      evaluate(BEAT, [keys.run, keys.workers, keys.results, keys.tables, ...keys.fixed], [worker, text]),
    ]);
    return isThere === 1;
  }

  async hello(worker: string, text: string): Promise<void> {
    await this.#ask([evaluate(HELLO, [this.keys.workers], [worker, text, 3 * SILENT_MS])]);
  }

  async goodbye(worker: string): Promise<void> {
    await this.#ask([['HDEL', this.keys.workers, worker]]);
  }

  /** Takes away all keys of a run. */
  async remove(run: string): Promise<void> {
    const { run: key, pattern } = this.keys.of(run);
    // First what lets workers write more.
    await this.#ask([['UNLINK', key]]);
    let cursor = '0';
    do {
      const [answer] = await this.#ask([['SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT]]);
      const [next, found] = listOf(answer);
      cursor = String(next);
      const keys = listOf(found).map(String);
      if (keys.length > 0) await this.#ask([['UNLINK', ...keys]]);
    } while (cursor !== '0');
    await this.#ask([['ZREM', this.keys.runs, run]]);
  }

  close(): void {
    this.#connection.close();
  }

  #ask(commands: readonly Command[]): Promise<unknown[]> {
    return this.#connection.run(commands);
  }
}

function evaluate(script: string, keys: readonly string[], args: readonly (string | number)[]): Command {
  return ['EVAL', script, keys.length, ...keys, ...args];
}

function listOf(answer: unknown): unknown[] {
  return Array.isArray(answer) ? (answer as unknown[]) : [];
}

function pieceOf(id: string, fields: readonly string[]): ResultPiece | undefined {
  const [j, job = '', a, attempt = '', n, number = '', d, data = ''] = fields;
  if (j !== 'j' || a !== 'a' || n !== 'n' || d !== 'd' || fields.length !== 8) return undefined;
  if (!/^[\w-]{1,40}$/.test(job) || !/^[0-9a-f]{16}$/.test(attempt) || !/^\d{1,9}$/.test(number)) return undefined;
  if (data.length > BASE64_MAX) return undefined;
  return { id, job, attempt, number: Number(number), bytes: Buffer.from(data, 'base64') };
}

/** What no waiting will mend. */
const HOPELESS = /NOAUTH|WRONGPASS|NOPERM|WRONGTYPE|ENOTFOUND|certificate|self-signed|unknown command/;

/** Asks until there is an answer. Throws the last error after `patienceMs`, and at once what no waiting will mend. */
export async function patiently<T>(what: () => Promise<T>, patienceMs: number, signal?: AbortSignal): Promise<T> {
  const end = performance.now() + patienceMs;
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (error instanceof QueueError) throw error;
      const { message } = error as Error;
      if (HOPELESS.test(message) || performance.now() > end || signal?.aborted === true) throw new QueueError(message);
      await pause(100, signal);
    }
  }
}

/** Resolves after `ms`, or when the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Waits for `what`, but no longer than `ms`; what becomes of it then is nobody's matter. */
export async function briefly(what: Promise<unknown>, ms: number): Promise<void> {
  const bound = new AbortController();
  const settled = what.then(
    () => {},
    () => {},
  );
  await Promise.race([settled, pause(ms, bound.signal)]);
  bound.abort();
}
