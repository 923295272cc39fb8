/**
 * Our own replay as users start it, timed by bench/clock.mjs: from opening the capture to the end of the process. What comes before,
 * loading and compiling the cluster, is reported beside it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MARGAY, ROOT } from './paths.ts';
import { runProcess } from './process.ts';

export interface ReplayRun {
  /** From opening the capture to the end. */
  readonly judgeSeconds: number;
  /** The same in time of processors, of all threads: what others of the machine take does not count. */
  readonly cpuSeconds: number;
  /** From the start of the process to opening the capture. */
  readonly loadSeconds: number;
  readonly residentMb: number;
  /** What the collector saw of the time from opening the capture on; for `heap`, with `--trace-gc`. */
  readonly opened: ClockEvent;
  readonly ended: ClockEvent;
  readonly answer: ReplayAnswer;
  readonly stdout: string;
}

/** What is read of `-o json --summary`. */
export interface ReplayAnswer {
  readonly totals: { readonly packets: number; readonly allow: number; readonly deny: number };
  readonly rules: readonly {
    readonly policy?: string;
    readonly index?: number;
    readonly direction?: string;
    readonly packets: number;
  }[];
  /** With `--stats`: seconds of threads by stage. */
  readonly stats?: { readonly stages: Readonly<Record<string, number>> };
}

/** The packet path as the program chooses it, with WebAssembly where that fits the tables, and in nothing but TypeScript. */
export type Form = 'best' | 'TS';
export const FORMS: readonly Form[] = ['best', 'TS'];

export interface ReplayOptions {
  readonly cluster: string;
  readonly capture: string;
  /** Default: best. */
  readonly form?: Form;
  /** With connection tracking. */
  readonly tracked?: boolean;
  /** Threads; default 1. */
  readonly workers?: number;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
}

export function replayArgs({ cluster, capture, tracked, workers, args }: ReplayOptions): string[] {
  const mode = tracked === true ? [] : ['--stateless'];
  const more = [...(workers === undefined ? [] : ['--workers', `${workers}`]), ...(args ?? [])];
  return [
    MARGAY,
    'replay',
    '--summary',
    ...mode,
    '--exit-zero',
    '-q',
    '-o',
    'json',
    ...more,
    '-f',
    cluster,
    '-r',
    capture,
  ];
}

/** Replays once. Throws if the program fails, or never opens the capture in a way that the clock sees. */
export function runReplay(options: ReplayOptions): ReplayRun {
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-'));
  const report = join(folder, 'clock');
  try {
    const nodeArgs = ['--import', join(ROOT, 'bench/clock.mjs'), ...(options.nodeArgs ?? [])];
    const startedMs = performance.timeOrigin + performance.now();
    const { stdout, residentMb } = runProcess('node', [...nodeArgs, ...replayArgs(options)], {
      env: {
        MARGAY_BENCH_CAPTURE: options.capture,
        MARGAY_BENCH_REPORT: report,
        MARGAY_BENCH_FORM: options.form ?? 'best',
      },
    });
    const { opened, ended } = readReport(report);
    return {
      judgeSeconds: (wallMs(ended) - wallMs(opened)) / 1000,
      cpuSeconds: (ended.cpuMs - opened.cpuMs) / 1000,
      loadSeconds: (wallMs(opened) - startedMs) / 1000,
      residentMb: residentMb ?? ended.maxRssBytes / 2 ** 20,
      opened,
      ended,
      answer: parseAnswer(stdout),
      stdout,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A line of bench/clock.mjs: a moment in the time of its process (a thread has its own), and the heap then. */
export interface ClockEvent {
  readonly event: 'opened' | 'ended';
  readonly atMs: number;
  readonly startedMs: number;
  readonly cpuMs: number;
  readonly heapBytes: number;
  readonly maxRssBytes: number;
}

function wallMs({ startedMs, atMs }: ClockEvent): number {
  return startedMs + atMs;
}

/** The first opening by any thread, and the end. */
function readReport(path: string): { readonly opened: ClockEvent; readonly ended: ClockEvent } {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  const events = lines.map((line) => JSON.parse(line) as ClockEvent).sort((a, b) => wallMs(a) - wallMs(b));
  const opened = events.find(({ event }) => event === 'opened');
  const ended = events.find(({ event }) => event === 'ended');
  if (opened === undefined || ended === undefined) {
    throw new Error('the replay never opened the capture with openSync: bench/clock.mjs must learn its new way');
  }
  return { opened, ended };
}

/** `--trace-gc` writes its lines among those of the answer. */
function parseAnswer(stdout: string): ReplayAnswer {
  return JSON.parse(stdout.replace(/^\[\d+:0x.*$/gm, '')) as ReplayAnswer;
}
