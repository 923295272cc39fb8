/**
 * Where kernel and policy disagree, as it happens: from the records of connections, while they are open and as they close.
 *
 *   verdict   seen of the other side                                            finding
 *   deny      answered: a SYN-ACK, data, an echo reply                          leak
 *   allow     TCP: nothing, though asked again and watched for long enough      blocked
 *
 * UDP and ICMP without an answer are no finding: many of them are never answered. A connection that was there before the capture began
 * (`midstream`) is none either: whether policy let it in is no longer to be seen. A refusal is what a REJECT looks like, too, and so
 * agrees with a denial. `margay verify` looks closer, at captures (analyze/outcome.ts).
 */
import type { ConnectionRecord } from '../analyze/connections.ts';
import { decidingCheck } from '../analyze/read-record.ts';
import { deciderText } from '../analyze/verify-text.ts';
import type { Finding } from './api.ts';

/** What is known beside the record. */
export interface FindingContext {
  readonly flowId: string;
  readonly generation: number;
  /** Packets were lost, or may have been, while the connection was watched. */
  readonly isLossy: boolean;
  /** The newest generation came while the connection was open. */
  readonly isAcrossGenerations: boolean;
}

export interface FindingLimits {
  /** Seconds that an unanswered connection must have been watched for. */
  readonly blockedAfterSeconds: number;
}

/** What the record shows, if anything is wrong with it. */
export function findingKind(record: ConnectionRecord, limits: FindingLimits): Finding['kind'] | undefined {
  const { action, observed } = record;
  if (action === 'deny') {
    const isAnswered = observed === 'established' || observed === 'answered';
    return isAnswered ? 'leak' : undefined;
  }
  if (action !== 'allow' || record.proto !== 'tcp' || observed !== 'no-answer' || record.packets < 2) return undefined;
  return watchedSeconds(record) >= limits.blockedAfterSeconds ? 'blocked' : undefined;
}

/** Whether a finding no longer holds of its connection: what was blocked was answered after all. That it was is still told. */
export function isOver(finding: Finding['kind'] | undefined, record: ConnectionRecord): boolean {
  return finding === 'blocked' && record.observed !== 'no-answer';
}

/** The finding in full, with its likely cause and evidence as sentences. */
export function describeFinding(kind: Finding['kind'], record: ConnectionRecord, context: FindingContext): Finding {
  const rule = decidingCheck(record)?.rule;
  return {
    id: `${context.flowId}-${kind}`,
    kind,
    time: record.end_time,
    flowId: context.flowId,
    record,
    ...(rule === undefined ? {} : { rule }),
    cause: kind === 'leak' ? leakCause(record, context) : blockedCause(record),
    evidence: kind === 'leak' ? leakEvidence(record) : blockedEvidence(record),
    isWeak: context.isLossy,
  };
}

function leakCause(record: ConnectionRecord, context: FindingContext): string {
  if (context.isAcrossGenerations) {
    return 'Policies or identities changed while this connection was open; the node may not have taken them over yet, or lets an established connection go on.';
  }
  if (record.source_type === 'hep' || record.dest_type === 'hep') {
    return 'One end is a host; the node may have let it pass by a failsafe port or by a rule that is not part of these policies.';
  }
  return 'The node does not enforce this rule: it may not have been programmed yet, or something else on the node accepts the packet first.';
}

function blockedCause(record: ConnectionRecord): string {
  if (record.pending?.action === 'deny') {
    return 'The policies that are enforced allow it, but staged ones would deny it: they may be enforced already.';
  }
  if (record.dest_type === 'net' || record.dest_type === 'ns') {
    return 'The policies allow it, but nothing came back: a firewall beyond the cluster, a missing route, or a host that is down.';
  }
  return 'The policies allow it, but nothing came back: no process listens and the host drops silently, another firewall drops it, or the other node enforces other policies.';
}

function leakEvidence(record: ConnectionRecord): string[] {
  const what =
    record.observed === 'established' ? 'The handshake was completed and data acknowledged' : 'The other side answered';
  return [
    `Packet ${record.first_packet}, the first of the connection, is denied by policy (${deciderText(record)}).`,
    `${what}: ${record.packets} packets, ${record.bytes} bytes between ${record.start_time} and ${record.end_time}.`,
  ];
}

function blockedEvidence(record: ConnectionRecord): string[] {
  const seconds = watchedSeconds(record).toFixed(1);
  return [
    `Packet ${record.first_packet}, the first of the connection, is allowed by policy (${deciderText(record)}).`,
    `It was sent ${record.packets} times within ${seconds} s, and no packet came from the other side.`,
  ];
}

function watchedSeconds(record: ConnectionRecord): number {
  return (Date.parse(record.end_time) - Date.parse(record.start_time)) / 1000;
}
