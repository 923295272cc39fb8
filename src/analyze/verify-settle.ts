/**
 * Connections that are over: each to its prediction, its outcome and, where the two disagree, its finding.
 *
 * What is no finding is handed on at once. Findings wait for the end of the captures, where it is known whether their destination
 * answers anybody, and whether others were dropped or let through at the same endpoint; past VERIFY_FINDINGS_WAITING_MAX they are settled
 * by what is known so far.
 */
import { VERDICT_NAMES } from '../model/flow.ts';
import { VERIFY_FINDINGS_WAITING_MAX } from '../model/limits.ts';
import type { Place } from './capture-places.ts';
import { formatTime } from './connections.ts';
import { type Connection, OUTCOME_COLUMNS, type OutcomeName } from './outcome.ts';
import { predictionOf } from './prediction.ts';
import type { Predicted, ReportCause } from './report-data.ts';
import type { VerifyOptions } from './verify.ts';
import { type Assessment, assess, type Hindsight } from './verify-assess.ts';
import { Causes } from './verify-causes.ts';
import { HindsightTable } from './verify-hindsight.ts';
import type { VerifyRecord } from './verify-record.ts';
import { connectionText } from './verify-text.ts';
import { Graph, Matrix, Timeline } from './verify-totals.ts';

/** A connection that is over, as far as it is known then. */
interface Closed {
  readonly connection: Connection;
  readonly predicted: Predicted;
  readonly outcome: OutcomeName;
  readonly watchedMs: number;
  /** Up to when the captures were read then. */
  readonly nowMs: number;
}

/** What is known of a place at the end; of packets between pods, or of others. */
type PlaceTest = (place: Place, isBetweenPods: boolean) => boolean;
const NEVER: PlaceTest = () => false;

const BLIND: Hindsight = { isPeerAlive: false, isServiceAlive: false, isLossy: false };

export class Settlement {
  readonly matrix = new Matrix();
  readonly timeline = new Timeline();
  readonly graph = new Graph();
  readonly findings = { leaks: 0, blocked: 0, proven: 0, likely: 0, possible: 0 };
  connectionCount = 0;
  readonly #onConnection: VerifyOptions['onConnection'];
  readonly #onlyFindings: boolean;
  readonly #files: readonly string[];
  readonly #hindsight = new HindsightTable();
  readonly #causes: Causes;
  readonly #waiting: Closed[] = [];
  #settledBlind = 0;
  #gapConnections = 0;
  #gapBytes = 0;

  constructor({ plan, resources, onConnection, onlyFindings }: VerifyOptions, files: readonly string[]) {
    this.#onConnection = onConnection;
    this.#onlyFindings = onlyFindings === true;
    this.#files = files;
    this.#causes = new Causes(plan, resources);
  }

  /** A connection is over and none of its packets waits; the captures were read up to `nowMs`. */
  close(connection: Connection, nowMs: number): void {
    const predicted = predictionOf(connection);
    const outcome = connection.outcome(nowMs);
    const closed = { connection, predicted, outcome, watchedMs: connection.watchedMs(nowMs), nowMs };
    const { lostBytes } = connection;
    if (lostBytes > 0) {
      this.#gapConnections++;
      this.#gapBytes += lostBytes;
    }
    const assessment = assess(connection, predicted, outcome, BLIND);
    this.#hindsight.add(connection, predicted, outcome, assessment?.finding);
    if (assessment === undefined) {
      this.#put(closed, undefined, []);
    } else if (this.#waiting.length < VERIFY_FINDINGS_WAITING_MAX) {
      this.#waiting.push(closed);
    } else {
      if (assessment.finding === 'blocked') this.#settledBlind++;
      this.#conclude(closed, NEVER, NEVER);
    }
  }

  /**
   * The captures have ended.
   *
   * @param isLossy  the capture of a place is known to have lost packets
   * @param isBlind  that nothing was seen at a place means nothing
   */
  finish(isLossy: PlaceTest, isBlind: PlaceTest): void {
    this.#waiting.sort((a, b) => a.connection.id - b.connection.id);
    for (const closed of this.#waiting.splice(0)) this.#conclude(closed, isLossy, isBlind);
  }

  incomplete(): string[] {
    const many = this.#gapConnections !== 1;
    return [
      ...(this.#gapConnections > 0
        ? [
            `${this.#gapConnections} TCP ${many ? 'connections acknowledge' : 'connection acknowledges'} ${this.#gapBytes} bytes that no capture has: packets were lost while capturing`,
          ]
        : []),
      ...(this.#settledBlind > 0
        ? [
            `${this.#settledBlind} blocked connections were settled before it was known who else is answered, since too many waited`,
          ]
        : []),
    ];
  }

  #conclude(known: Closed, isLossy: PlaceTest, isBlind: PlaceTest): void {
    const { connection, predicted, nowMs } = known;
    const { missedAt } = connection;
    const isBetweenPods = connection.record.source_type === 'wep' && connection.record.dest_type === 'wep';
    const seeing = missedAt.filter((place) => !isBlind(place, isBetweenPods));
    const isMissingKnown = missedAt.length === 0 || seeing.length > 0;
    const outcome = connection.outcome(nowMs, isMissingKnown);
    const closed = { ...known, outcome };
    const isPeerAlive = this.#hindsight.isPeerAlive(connection);
    const isServiceAlive = this.#hindsight.isServiceAlive(connection);
    const hindsight = { isPeerAlive, isServiceAlive, isLossy: missedAt.some((place) => isLossy(place, isBetweenPods)) };
    const assessment = assess(connection, predicted, outcome, hindsight);
    if (assessment === undefined) {
      this.#put(closed, undefined, []);
      return;
    }
    const { finding, certainty } = assessment;
    this.findings[finding === 'leak' ? 'leaks' : 'blocked']++;
    this.findings[certainty]++;
    this.timeline.add(connection.startMs, finding === 'leak' ? 'leaks' : 'blocked');
    const enforcement = this.#hindsight.enforcement(connection);
    const isUplinkKnown = seeing.some(({ point }) => point.kind === 'node');
    const causes = this.#causes.of({
      finding,
      outcome,
      connection,
      enforcement,
      isPeerAlive,
      isServiceAlive,
      isUplinkKnown,
    });
    this.#put(closed, assessment, causes);
  }

  #put(closed: Closed, assessment: Assessment | undefined, causes: readonly ReportCause[]): void {
    const { connection, predicted, outcome } = closed;
    this.connectionCount++;
    this.matrix.add(predicted, OUTCOME_COLUMNS[outcome], connection.packets, assessment !== undefined);
    this.graph.add(connection.record, predicted, assessment?.finding);
    if (this.#onConnection === undefined || (this.#onlyFindings && assessment === undefined)) return;
    this.#onConnection(recordOf(closed, assessment, causes, this.#files), connection.id);
  }
}

function recordOf(
  { connection, predicted, outcome, watchedMs }: Closed,
  assessment: Assessment | undefined,
  causes: readonly ReportCause[],
  files: readonly string[],
): VerifyRecord {
  const { record, firstFrame, verdicts, forward, backward, lostBytes } = connection;
  const { proto, ...rest } = record;
  const byAction = VERDICT_NAMES.map((name, i): [string, number] => [name, verdicts[i]!]).filter(
    ([, count]) => count > 0,
  );
  return {
    start_time: formatTime(connection.startSeconds, connection.startNanos),
    end_time: formatTime(connection.endSeconds, connection.endNanos),
    proto,
    ...rest,
    capture: files[firstFrame.capture]!,
    first_packet: firstFrame.number,
    packets: connection.packets,
    bytes: connection.bytes,
    ...(byAction.length > 1 ? { packets_by_action: Object.fromEntries(byAction) } : {}),
    community_id: connection.communityId,
    predicted,
    observed: OUTCOME_COLUMNS[outcome],
    outcome,
    ...(assessment === undefined ? {} : { finding: assessment.finding, certainty: assessment.certainty, causes }),
    text: connectionText(connection, predicted, outcome, watchedMs, assessment),
    questions: connection.questions,
    watched_seconds: Math.round(watchedMs) / 1000,
    ...countIf('arrived', forward.arrived),
    ...countIf('missing', forward.missing),
    ...countIf('answers_arrived', backward.arrived),
    ...countIf('answers_missing', backward.missing),
    ...countIf('lost_bytes', lostBytes),
    evidence: connection.evidence.map(({ capture, packet, what }) => ({ capture: files[capture]!, packet, what })),
  };
}

function countIf<K extends string>(name: K, count: number): { readonly [key in K]?: number } {
  return (count === 0 ? {} : { [name]: count }) as { readonly [key in K]?: number };
}
