/** The record of one verified connection (`margay schema verify` prints its schema), and the deciding parts of a flow record. */

import type { OutcomeName } from './outcome.ts';
import { decidingCheck } from './read-record.ts';
import type { FlowRecord } from './record.ts';
import type { Certainty, FindingKind, ObservedColumn, Predicted, ReportCause } from './report-data.ts';

export interface VerifyEvidence {
  readonly capture: string;
  readonly packet: number;
  readonly what: string;
}

/** A connection with its verdict, as `replay` has it, and what the captures show of it. */
export interface VerifyRecord extends FlowRecord {
  start_time: string;
  end_time: string;
  /** File and number in it of the first packet. */
  capture: string;
  first_packet: number;
  packets: number;
  bytes: number;
  packets_by_action?: Record<string, number>;
  community_id: string;
  /** Mostly `action`; of a connection that was open before, the answer that holds whichever side opened it. */
  predicted: Predicted;
  observed: ObservedColumn;
  outcome: OutcomeName;
  finding?: FindingKind;
  certainty?: Certainty;
  causes?: readonly ReportCause[];
  /** Prediction, observation and what both prove, in sentences. */
  text: string;
  /** How often its opener asked: SYNs, datagrams, echo requests. */
  questions: number;
  /** For how long the captures show what became of the first question. */
  watched_seconds: number;
  /** Packets of its opener that were seen behind all policy, and that were not seen where they ought to have come. */
  arrived?: number;
  missing?: number;
  /** The same of answers. */
  answers_arrived?: number;
  answers_missing?: number;
  /** Bytes that were acknowledged and that no capture has. */
  lost_bytes?: number;
  evidence: readonly VerifyEvidence[];
}

/** `np:prod/db` of the last step of the deciding check. */
export function decidingPolicy(record: FlowRecord): string | undefined {
  return decidingCheck(record)?.trace.at(-1)?.split('|')[2];
}

/** The end whose policy decided: who has to be asked why it was not enforced. */
export function enforcingEnd(record: FlowRecord): string {
  const side = record.direction === 'egress' ? 'source' : 'dest';
  const name = record[`${side}_name`];
  return name === undefined ? record[`${side}_ip`] : `${record[`${side}_namespace`] ?? ''}/${name}`;
}
