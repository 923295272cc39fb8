/**
 * `verify`: what policy says of each connection against what captures show of it.
 *
 *   captures ─► survey (clocks, translation) ─► merged by time ─► each packet once ─► judged (replayer.ts) ─► connection, evidence
 *                                                                └─ seen again ─► where it arrived, where it is missing ─┘
 *   connection over, none of its packets waiting ─► prediction × observation ─► matrix; a finding waits for the end ─► record
 *
 * A packet that several captures have is judged once, at its first sighting; the others only say where it came. So counters add up:
 * packets read = allow + deny + unpoliced + uncertain + undecoded + seen again.
 *
 * Memory: open connections, packets that wait and findings that wait, each with its limit in model/limits.ts.
 */
import { statSync } from 'node:fs';
import type { Plan } from '../compile/plan.ts';
import type { Resources } from '../model/resources.ts';
import type { TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { type CaptureInput, pointText } from './capture-places.ts';
import { type Totals, totalsOf } from './counters.ts';
import { type CaptureEnd, MergedReader } from './merged-reader.ts';
import type { Progress, ReplayOptions } from './replayer.ts';
import type { ReportCell, ReportGraph, ReportTimeline } from './report-data.ts';
import { ServiceTranslation } from './service-translation.ts';
import { type Survey, surveyCaptures } from './survey.ts';
import type { VerifyRecord } from './verify-record.ts';
import { VerifyRun } from './verify-run.ts';

export interface VerifyOptions extends Pick<ReplayOptions, 'decapsulate' | 'capturePoint' | 'conntrackEntries'> {
  readonly plan: Plan;
  readonly resources: Resources;
  /** How the owners of addresses change with time; the tables must be those that it was compiled with, and are changed. */
  readonly timeline?: TimelineData | undefined;
  /** Called with each connection: with findings at the end, with the others as they close. */
  readonly onConnection?: (record: VerifyRecord, id: number) => void;
  /** Calls `onConnection` with findings alone; the others are counted. */
  readonly onlyFindings?: boolean;
  /** Called with each packet, in the order of reading: see VerdictLog (annotate.ts). */
  readonly onPacket?: (packet: VerifiedPacket) => void;
  readonly onProgress?: (progress: Progress & { readonly phase: 'survey' | 'verify' }) => void;
  readonly signal?: AbortSignal;
  readonly connectionEntries?: number;
  readonly sightingEntries?: number;
}

/** A packet once its verdict is there: packets of fragments come later than those behind them. */
export interface VerifiedPacket {
  /** From 1, over all captures in the order of reading. */
  readonly packet: number;
  /** VERDICT_*, of the packet that this one is, if it was seen before. */
  readonly verdict: number;
  /** The id of its connection; 0 = none. */
  readonly connection: number;
  /** Number of the packet that this one is another sighting of, or 0. */
  readonly seenBefore: number;
}

export interface VerifiedCapture extends CaptureEnd {
  /** Where it was taken, in words. */
  readonly point: string;
  /** By how much its clock is ahead of the first one's; undefined: not known. */
  readonly clockOffsetMs: number | undefined;
  /** Packets that others have and it ought to have. */
  readonly missed: number;
}

/** `packets` = allow + deny + unpoliced + uncertain + undecoded + seen_again; `bytes` are of all but the last. */
export interface VerifyTotals extends Totals {
  /** Sightings of packets that were read before. */
  seen_again: number;
  leaks: number;
  blocked: number;
  /** Findings by certainty. */
  proven: number;
  likely: number;
  possible: number;
}

export interface VerifyResult {
  readonly totals: VerifyTotals;
  readonly matrix: readonly ReportCell[];
  readonly captures: readonly VerifiedCapture[];
  /** Why the answer is weaker than it could be, a sentence each. */
  readonly incomplete: readonly string[];
  readonly timeline: ReportTimeline;
  readonly graph: (nodesMax: number, edgesMax: number) => ReportGraph;
  /** Times of the first and the last packet; undefined without packets. */
  readonly span: { readonly start: string; readonly end: string } | undefined;
  readonly interrupted: boolean;
}

/** Rejects with a CaptureError for a capture that is not there; what is wrong inside of one is in the result. */
export async function verifyCaptures(
  tables: Tables,
  captures: readonly CaptureInput[],
  options: VerifyOptions,
): Promise<VerifyResult> {
  const files = captures.map(({ file }) => file);
  const translation = new ServiceTranslation(options.plan);
  const survey = await surveyed(files, translation, options);
  const offsets = survey?.captures.map(({ offsetMs }) => offsetMs ?? 0) ?? [];
  const reader = await MergedReader.open(files, offsets);
  const run = new VerifyRun(tables, captures, reader, translation, survey, options);
  try {
    await run.read();
    run.finish();
    return resultOf(run, captures, reader.ends(), survey, options);
  } finally {
    reader.close();
  }
}

/** False for standard input, pipes and the like. */
function canReadAgain(file: string): boolean {
  return file !== '-' && statSync(file, { throwIfNoEntry: false })?.isFile() !== false;
}

/** Of what can be read once only nothing is known beforehand. */
async function surveyed(
  files: readonly string[],
  translation: ServiceTranslation,
  options: VerifyOptions,
): Promise<Survey | undefined> {
  if (!files.every(canReadAgain)) return undefined;
  const { onProgress, signal } = options;
  return surveyCaptures(files, {
    decapsulate: options.decapsulate === true,
    translation: translation.isEmpty ? undefined : translation,
    signal,
    ...(onProgress === undefined
      ? {}
      : {
          onProgress: ({ bytesRead, sizeBytes, packets }) =>
            onProgress({ file: files.join(', '), bytesRead, sizeBytes, packets, phase: 'survey' }),
        }),
  });
}

function resultOf(
  run: VerifyRun,
  captures: readonly CaptureInput[],
  ends: readonly CaptureEnd[],
  survey: Survey | undefined,
  { signal }: VerifyOptions,
): VerifyResult {
  const verified = ends.map((end, i) => ({
    ...end,
    file: captures[i]!.file,
    point: run.pointOf(i) ?? pointText(captures[i]!.point),
    clockOffsetMs: i === 0 ? 0 : survey?.captures[i]?.offsetMs,
    missed: run.missedBy(i),
  }));
  const interrupted = signal?.aborted === true;
  const { settlement } = run;
  const totals = totalsOf(run.counters, settlement.connectionCount);
  const { leaks, blocked, proven, likely, possible } = settlement.findings;
  return {
    totals: {
      ...totals,
      packets: totals.packets + run.seenAgain,
      seen_again: run.seenAgain,
      leaks,
      blocked,
      proven,
      likely,
      possible,
    },
    matrix: settlement.matrix.cells(),
    captures: verified,
    incomplete: [...incompleteOf(verified), ...run.incomplete(), ...(interrupted ? [INTERRUPTED] : [])],
    timeline: settlement.timeline.data(),
    graph: (nodesMax, edgesMax) => settlement.graph.data(nodesMax, edgesMax),
    span: run.span(),
    interrupted,
  };
}

const INTERRUPTED = 'reading was interrupted: the answer covers what was read up to there';

function incompleteOf(captures: readonly VerifiedCapture[]): string[] {
  return captures.flatMap(({ file, error, lost, missed }) => [
    ...(error === null ? [] : [`${error}`]),
    ...(lost === 0 ? [] : [`${file}: the capturing program lost ${count(lost, 'packet')}`]),
    ...(missed === 0
      ? []
      : [
          `${file}: ${count(missed, 'packet')} that passed there, as another capture shows, ${missed === 1 ? 'is' : 'are'} not in it`,
        ]),
  ]);
}

function count(number: number, one: string): string {
  return `${number} ${number === 1 ? one : `${one}s`}`;
}
