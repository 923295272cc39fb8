/** What jobs of a run found, put together by the merges that threads of one machine use (replay-parallel-shares.ts, replay-parallel-segments.ts). */
import type { Tables } from '../tables/tables.ts';
import type { SegmentTask } from '../workers/segments.ts';
import { need, QueueError } from './queue-run.ts';
import { segmentData } from './queue-serve.ts';
import type { AttemptSpool } from './queue-spool.ts';
import { decodeMessage, type Expected } from './queue-wire.ts';
import type { ReplayResult } from './replay.ts';
import type { ParallelOptions, ParallelPlan } from './replay-parallel.ts';
import { type Final, PROGRESS_NUMBERS, type SegmentResult } from './replay-parallel-messages.ts';
import { Gathering as SegmentGathering } from './replay-parallel-segments.ts';
import { Gathering as ShareGathering } from './replay-parallel-shares.ts';

export interface JobInHand {
  readonly share: number;
  readonly packets: number;
}

export interface QueueMerge {
  /** The data of the next job, if there is one now. */
  take(): unknown;
  /** Takes what a job found; whole and as its worker wrote it, but not looked at. */
  put(data: unknown, found: AttemptSpool): void;
  /** Everything is there. */
  readonly isDone: boolean;
  progress(done: number, inHand: readonly JobInHand[]): { share: number; packets: number; jobs: string };
  finish(): Promise<ReplayResult>;
  close(): void;
}

export function mergeOf(tables: Tables, plan: ParallelPlan, options: ParallelOptions, expected: Expected): QueueMerge {
  return plan.division === 'segments'
    ? new SegmentMerge(tables, plan, options, expected)
    : new ShareMerge(tables, plan, options, expected);
}

/** Waits for all shares, and merges them side by side: memory holds what one of them is ahead of the others. */
class ShareMerge implements QueueMerge {
  readonly #tables: Tables;
  readonly #plan: ParallelPlan;
  readonly #options: ParallelOptions;
  readonly #expected: Expected;
  readonly #found = new Map<number, AttemptSpool>();
  #next = 0;
  #packets = 0;

  constructor(tables: Tables, plan: ParallelPlan, options: ParallelOptions, expected: Expected) {
    this.#tables = tables;
    this.#plan = plan;
    this.#options = options;
    this.#expected = expected;
  }

  take(): unknown {
    return this.#next < this.#plan.workers ? { share: this.#next++ } : undefined;
  }

  put(data: unknown, found: AttemptSpool): void {
    this.#found.set((data as { share: number }).share, found);
  }

  get isDone(): boolean {
    return this.#found.size === this.#plan.workers;
  }

  progress(done: number, inHand: readonly JobInHand[]): { share: number; packets: number; jobs: string } {
    const { workers } = this.#plan;
    // Each share walks over all packets.
    this.#packets = Math.max(this.#packets, ...inHand.map(({ packets, share }) => (share > 0 ? packets / share : 0)));
    const share = (done + inHand.reduce((sum, job) => sum + job.share, 0)) / workers;
    return { share: Math.min(1, share), packets: share * this.#packets, jobs: `${done} of ${workers}` };
  }

  async finish(): Promise<ReplayResult> {
    const { workers } = this.#plan;
    const counted = new Counted(this.#options);
    const gathering = new ShareGathering(this.#tables, this.#plan, counted.options);
    const inputs = Array.from({ length: workers }, (_, share) => ({
      share,
      frames: this.#found.get(share)!.frames(),
      packets: 0,
      moment: Number.NEGATIVE_INFINITY,
      final: undefined as Final | undefined,
    }));
    let messages = 0;
    for (;;) {
      const open = inputs.filter(({ final }) => final === undefined);
      if (open.length === 0) break;
      const slowest = open.reduce((a, b) =>
        b.packets < a.packets || (b.packets === a.packets && b.moment < a.moment) ? b : a,
      );
      const { value, done } = slowest.frames.next();
      if (done === true) throw new QueueError('what a worker sent ends too early');
      const message = decodeMessage(value, this.#expected);
      need(message.kind !== 'segment', 'what a worker sent makes no sense');
      if (message.kind === 'final') {
        need(slowest.moment === Number.POSITIVE_INFINITY && !message.wasStopped, 'what a worker sent ends too early');
        slowest.final = this.#checked(message, inputs[0]!.final);
        gathering.final(slowest.share, slowest.final);
      } else {
        need(
          message.packets >= slowest.packets && message.moment >= slowest.moment,
          'what a worker sent makes no sense',
        );
        slowest.packets = message.packets;
        slowest.moment = message.moment;
        gathering.report(slowest.share, message);
      }
      // Lets Ctrl-C in.
      if (++messages % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      this.#options.signal?.throwIfAborted();
    }
    const result = gathering.finish();
    counted.check(result);
    return result;
  }

  /** All shares have walked over the same packets, or some capture was not the same everywhere. */
  #checked(final: Final, first: Final | undefined): Final {
    const sources = final.sources.map((source, i) => ({ ...source, file: this.#plan.files[i]!.path }));
    const isSame =
      sources.length === this.#plan.files.length &&
      final.packets === sources.reduce((sum, { packets }) => sum + packets, 0) &&
      (first === undefined || JSON.stringify(first.sources) === JSON.stringify(sources));
    need(isSame, 'the workers have read different packets: was a capture changed meanwhile? start the run again');
    return { ...final, sources };
  }

  close(): void {
    for (const found of this.#found.values()) found.close();
  }
}

/** Counts what is handed on, to compare it with the totals. */
class Counted {
  readonly options: ParallelOptions;
  #lines = 0;
  #connections = 0;

  constructor(options: ParallelOptions) {
    const { onPacket, onPacketText, onConnection, onConnectionText } = options;
    const line = <T>(take: (line: T) => void): ((line: T) => void) => {
      return (each) => {
        this.#lines++;
        take(each);
      };
    };
    const connection = <T>(take: (record: T) => void): ((record: T) => void) => {
      return (each) => {
        this.#connections++;
        take(each);
      };
    };
    this.options = {
      ...options,
      ...(onPacket && { onPacket: line(onPacket) }),
      ...(onPacketText && { onPacketText: line(onPacketText) }),
      ...(onConnection && { onConnection: connection(onConnection) }),
      ...(onConnectionText && { onConnectionText: connection(onConnectionText) }),
    };
  }

  check({ totals }: ReplayResult): void {
    const { onPacket, onPacketText, onConnection, onConnectionText } = this.options;
    const hasLines = (onPacket ?? onPacketText) !== undefined;
    const hasConnections = (onConnection ?? onConnectionText) !== undefined;
    need(!hasLines || this.#lines === totals.packets, 'lines are missing in what workers found');
    need(!hasConnections || this.#connections === totals.connections, 'connections are missing in what workers found');
  }
}

/** Takes segments in any order, and has those judged again that began at the wrong place (workers/segments.ts). */
class SegmentMerge implements QueueMerge {
  readonly #gathering: SegmentGathering;
  readonly #plan: ParallelPlan;
  readonly #expected: Expected;
  #packets = 0;
  #bytes = 0;
  #isStarted = false;

  constructor(tables: Tables, plan: ParallelPlan, options: ParallelOptions, expected: Expected) {
    // Progress is told by us.
    const { onProgress: _, ...rest } = options;
    this.#plan = plan;
    this.#expected = expected;
    this.#gathering = new SegmentGathering(tables, plan, rest, new Float64Array(PROGRESS_NUMBERS));
  }

  take(): unknown {
    this.#isStarted = true;
    const task = this.#gathering.take();
    return task === undefined ? undefined : segmentData(task);
  }

  put(data: unknown, found: AttemptSpool): void {
    const task = data as Omit<SegmentTask, 'end'> & { readonly end: number | null };
    const frames = [...found.frames()];
    found.close();
    need(frames.length === 1, 'what a worker sent makes no sense');
    const result = decodeMessage(frames[0]!, this.#expected);
    need(result.kind === 'segment', 'what a worker sent makes no sense');
    this.#check(task, result);
    this.#packets += result.packets;
    this.#bytes += Math.max(0, result.stop - Math.max(0, result.start));
    this.#gathering.put(0, result);
  }

  #check(task: Omit<SegmentTask, 'end'>, result: SegmentResult): void {
    const { header, sizeBytes } = this.#plan.files[task.file]!;
    const isOfTask = result.file === task.file && result.index === task.index;
    const isWhole = header === undefined;
    const starts =
      isWhole || !task.isExact ? result.start >= task.start || result.start === -1 : result.start === task.start;
    const stops = isWhole
      ? result.stop === 0
      : result.start === -1 || (result.stop >= result.start && result.stop <= sizeBytes);
    need(isOfTask && starts && stops, 'what a worker sent makes no sense');
    need(!isWhole || result.source !== undefined, 'what a worker sent makes no sense');
    need(!result.isLast || isWhole || result.hasError, 'what a worker sent ends too early');
    if (isWhole) this.#bytes += sizeBytes;
  }

  get isDone(): boolean {
    return this.#isStarted && this.#gathering.isDone;
  }

  progress(done: number, inHand: readonly JobInHand[]): { share: number; packets: number; jobs: string } {
    const total = this.#plan.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const packets = inHand.reduce((sum, job) => sum + job.packets, this.#packets);
    return { share: Math.min(1, this.#bytes / Math.max(1, total)), packets, jobs: String(done) };
  }

  async finish(): Promise<ReplayResult> {
    return this.#gathering.finish();
  }

  close(): void {}
}
