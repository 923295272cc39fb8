/**
 * A run: one replay that several machines share. Its record says what is to be judged and how; whoever reads it from Redis checks every word
 * of it first.
 *
 *   margay:{C}:queue:runs          runs by the time of their start        margay:{C}:queue:workers        who is there
 *   margay:{C}:queue:RUN:our-run   the record, and whose it is            margay:{C}:queue:RUN:our-tables   the tables in pieces
 *   margay:{C}:queue:RUN:our-results  stream of what was found            margay:{C}:queue:RUN:our-workers  who works on it, or will not
 *   margay:{C}:queue:RUN:*         the rest: BullMQ's queue of jobs
 *
 * All keys of a cluster lie in one slot of a Redis Cluster. A capture is known by its size and its digest, the SHA-256 of its first and
 * last EDGE_BYTES: a different file of the same name is refused before a packet of it is read.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { keysOf } from '../identity/keys.ts';
import { CAPTURE_POINT_NAMES } from '../match/state.ts';
import { LAYOUT_VERSION } from '../tables/layout.ts';
import { BATCH_FORMS } from './replay-options.ts';
import type { Division, WorkerStart } from './replay-parallel-messages.ts';

/** Trouble of a queue: no whole answer comes. The command line ends with exit code 4. */
export class QueueError extends Error {
  override readonly name = 'QueueError';
  readonly code = 'QUEUE';
}

export interface QueueKeys {
  /** Of BullMQ, whose keys are `PREFIX:RUN:…`. */
  readonly prefix: string;
  readonly runs: string;
  readonly workers: string;
  readonly of: (run: string) => RunKeys;
}

export interface RunKeys {
  readonly run: string;
  readonly tables: string;
  readonly results: string;
  readonly workers: string;
  /** BullMQ's keys that belong to no single job. */
  readonly fixed: readonly string[];
  readonly job: (id: string) => string;
  /** For SCAN. */
  readonly pattern: string;
}

/** Without `stalled-check`, `limiter` and the locks, whose own expiry means something: to prolong it would end the looks for lost jobs. */
const BULL_KEYS =
  'wait active waiting-children paused id delayed prioritized completed failed stalled repeat meta events pc marker de';

/** Throws an `Error` for a cluster name that would not do in a key. */
export function queueKeysOf(cluster: string): QueueKeys {
  const prefix = `${keysOf(cluster).prefix}queue`;
  return {
    prefix,
    runs: `${prefix}:runs`,
    workers: `${prefix}:workers`,
    of: (run) => {
      const own = `${prefix}:${run}:`;
      return {
        run: `${own}our-run`,
        tables: `${own}our-tables`,
        results: `${own}our-results`,
        workers: `${own}our-workers`,
        fixed: BULL_KEYS.split(' ').map((name) => own + name),
        job: (id) => own + id,
        pattern: `${own}*`,
      };
    },
  };
}

export interface RunFile {
  /** As the user wrote it: what messages and answers call it. */
  readonly name: string;
  /** Absolute, where the run was started. */
  readonly path: string;
  readonly sizeBytes: number;
  /** `edgeDigest`. */
  readonly digest: string;
}

export interface RunRecord {
  readonly format: string;
  /** Version of margay: verdicts of two versions may differ, so workers of another one stay away. */
  readonly program: string;
  readonly layout: number;
  readonly division: Division;
  /** Shares of `blocks` and `flows`. */
  readonly shares: number;
  readonly needsRing: boolean;
  readonly wantsLines: boolean;
  readonly wantsConnections: boolean;
  readonly wantsTimes: boolean;
  readonly options: WorkerStart['options'];
  readonly files: readonly RunFile[];
  readonly tables: { readonly sizeBytes: number; readonly pieces: number; readonly digest: string };
  /** How long a job stays with a worker of which nothing is heard. */
  readonly lockMs: number;
}

export const RUN_FORMAT = 'margay-queue/1';
export const RUN_ID = /^[0-9a-f]{16}$/;
export const SHARES_MAX = 64;
/** Bytes of a piece of tables, or of results, before base64. */
export const PIECE_BYTES = 384 * 1024;
/** Tables that are larger belong on a disk, not into Redis. */
export const TABLES_BYTES_MAX = 512 * 1024 * 1024;
export const RECORD_BYTES_MAX = 4 * 1024 * 1024;
const FILES_MAX = 10_000;
const EDGE_BYTES = 64 * 1024;
const DIVISIONS: readonly string[] = ['segments', 'blocks', 'flows'];

/** A record out of Redis. Throws `QueueError` that says what is wrong with it, for this program of version `program`. */
export function parseRun(text: string, program: string): RunRecord {
  if (text.length > RECORD_BYTES_MAX) throw new QueueError('its record is too long');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new QueueError('its record is no JSON');
  }
  const run = value as RunRecord;
  need(isObject(value) && run.format === RUN_FORMAT, `its record is not of the format ${RUN_FORMAT}`);
  need(run.program === program, `it is of another version of margay (this is ${program})`);
  need(run.layout === LAYOUT_VERSION, 'its tables are of another layout');
  need(DIVISIONS.includes(run.division), 'its division is unknown');
  need(isCount(run.shares, SHARES_MAX) && run.shares > 0, 'its number of shares makes no sense');
  for (const flag of [run.needsRing, run.wantsLines, run.wantsConnections, run.wantsTimes]) {
    need(typeof flag === 'boolean', 'a flag of its record is none');
  }
  need(isCount(run.lockMs, 600_000) && run.lockMs >= 100, 'its lock time makes no sense');
  need(Array.isArray(run.files) && run.files.length > 0 && run.files.length <= FILES_MAX, 'its list of files is none');
  for (const file of run.files) {
    need(isObject(file) && isText(file.name, 4096) && isText(file.path, 4096), 'a file of its record has no name');
    need(
      isCount(file.sizeBytes, Number.MAX_SAFE_INTEGER) && isDigest(file.digest),
      'a file of its record has no digest',
    );
  }
  const { tables } = run;
  need(isObject(tables) && isCount(tables.sizeBytes, TABLES_BYTES_MAX), 'its tables are too large');
  need(
    isDigest(tables.digest) && tables.pieces === Math.ceil(tables.sizeBytes / PIECE_BYTES),
    'its tables make no sense',
  );
  return { ...run, options: parseOptions(run.options) };
}

const ENTRIES_MAX = 1 << 24;

function parseOptions(options: unknown): RunRecord['options'] {
  need(isObject(options), 'its options are none');
  const { stateless, decapsulate, capturePoint, conntrackEntries, connectionEntries, form } =
    options as RunRecord['options'];
  for (const flag of [stateless, decapsulate]) {
    need(flag === undefined || typeof flag === 'boolean', 'a flag of its options is none');
  }
  for (const count of [conntrackEntries, connectionEntries]) {
    need(count === undefined || isCount(count, ENTRIES_MAX), 'a limit of its options makes no sense');
  }
  need(form === undefined || BATCH_FORMS.includes(form), 'the form of its loops is unknown');
  need(capturePoint === undefined || CAPTURE_POINT_NAMES.includes(capturePoint), 'its capture point is unknown');
  return {
    ...(stateless === undefined ? {} : { stateless }),
    ...(decapsulate === undefined ? {} : { decapsulate }),
    ...(capturePoint === undefined ? {} : { capturePoint }),
    ...(form === undefined ? {} : { form }),
    ...(conntrackEntries === undefined ? {} : { conntrackEntries }),
    ...(connectionEntries === undefined ? {} : { connectionEntries }),
  };
}

export function need(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new QueueError(problem);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isCount(value: unknown, max = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function isText(value: unknown, max: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= max && !value.includes('\0');
}

export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

/** Size of a file, and the SHA-256 of its first and last EDGE_BYTES (of all of it, if it is shorter than both). Throws what the system does. */
export function edgeDigest(path: string): { readonly sizeBytes: number; readonly digest: string } {
  const descriptor = openSync(path, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const hash = createHash('sha256');
    const bytes = Buffer.alloc(EDGE_BYTES);
    for (const from of [0, Math.max(EDGE_BYTES, size - EDGE_BYTES)]) {
      if (from < size) hash.update(bytes.subarray(0, readSync(descriptor, bytes, 0, EDGE_BYTES, from)));
    }
    return { sizeBytes: size, digest: hash.digest('hex') };
  } finally {
    closeSync(descriptor);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
