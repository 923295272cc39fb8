/**
 * Our own replay as users start it, timed by bench/clock.mjs: from opening the capture to the end of the process. What comes before,
 * loading and compiling the cluster, is reported beside it. Where the program says by itself where its time went
 * (`--stats`), its answer is kept for comparison.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MARGAY, ROOT } from './paths.ts';
import { runProcess } from './process.ts';

export interface ReplayRun {
  /** From opening the capture to the end. */
  readonly judgeSeconds: number;
  /** From the start of the process to opening the capture. */
  readonly loadSeconds: number;
  readonly residentMb: number;
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
}

/** A way of running the packet path: pure TypeScript, or a stage of another kind. */
export interface Form {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The forms there are. "TS" must use nothing but TypeScript; a WebAssembly stage comes as a second one. */
export const FORMS: readonly Form[] = [{ name: 'TS', args: [] }];

export interface ReplayOptions {
  readonly cluster: string;
  readonly capture: string;
  readonly form?: Form;
  /** With connection tracking. */
  readonly tracked?: boolean;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
}

export function replayArgs({ cluster, capture, form, tracked, args }: ReplayOptions): string[] {
  const mode = tracked === true ? [] : ['--stateless'];
  const more = [...(form?.args ?? []), ...(args ?? [])];
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
      env: { MARGAY_BENCH_CAPTURE: options.capture, MARGAY_BENCH_REPORT: report, ...options.form?.env },
    });
    const { openedMs, endedMs, maxRssBytes } = readReport(report);
    return {
      judgeSeconds: (endedMs - openedMs) / 1000,
      loadSeconds: (openedMs - startedMs) / 1000,
      residentMb: residentMb ?? maxRssBytes / 2 ** 20,
      answer: parseAnswer(stdout),
      stdout,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(path: string): { openedMs: number; endedMs: number; maxRssBytes: number } {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { openedMs?: number; endedMs?: number; maxRssBytes?: number });
  const opened = events.flatMap((event) => event.openedMs ?? []);
  const end = events.find((event) => event.endedMs !== undefined);
  if (opened.length === 0 || end?.endedMs === undefined || end.maxRssBytes === undefined) {
    throw new Error('the replay never opened the capture with openSync: bench/clock.mjs must learn its new way');
  }
  return { openedMs: Math.min(...opened), endedMs: end.endedMs, maxRssBytes: end.maxRssBytes };
}

/** `--trace-gc` writes among the answer, which starts at the first line that is a brace. */
function parseAnswer(stdout: string): ReplayAnswer {
  const start = stdout.startsWith('{') ? 0 : stdout.indexOf('\n{\n') + 1;
  const end = stdout.lastIndexOf('\n}');
  return JSON.parse(stdout.slice(start, end + 2)) as ReplayAnswer;
}
