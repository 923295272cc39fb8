/**
 * From prediction and observation to a finding: what each pair proves, and how much.
 *
 *   predicted   observed                        says
 *   allow       delivered                       as it should be
 *               refused by the receiver         as it should be: the packet came there, and nobody listens
 *               rejected by somebody else       blocked, likely: a filter on the way says so itself
 *               unreachable                     nothing about policy: there is no route
 *               lost (two captures)             blocked, proven: it left here and did not arrive there
 *               no answer (one capture)         TCP, ping: blocked, likely if the receiver answers others, else possible.
 *                                               UDP: nothing, it need not be answered
 *   deny        arrived, or answered            leak, proven; an answer of UDP: likely, it may have been sent by itself
 *               refused by the receiver         leak, likely: Calico drops and answers nothing, so the RST is the receiver's own;
 *                                               an ICMP error of a host: possible, its filter may reject instead
 *               rejected, lost, no answer       as it should be
 *               in progress (mid-stream)        leak, likely: it was open before, and Calico does not cut what is open
 *   unpoliced, uncertain                        never a finding
 *
 * What is less than it could be is said by `doubts`: a capture that lost packets, or was not running at the time, proves no absence.
 */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../model/flow.ts';
import type { Connection, OutcomeName } from './outcome.ts';
import type { Certainty, FindingKind, Predicted } from './report-data.ts';

export interface Assessment {
  readonly finding: FindingKind;
  readonly certainty: Certainty;
  /** What makes it one, beside what the outcome says by itself; `''` = that is enough. */
  readonly because: string;
}

/** What is known at the end only. */
export interface Hindsight {
  /** The destination sent some packet; somebody got an answer from its port. */
  readonly isPeerAlive: boolean;
  readonly isServiceAlive: boolean;
  /** Captures that ought to have seen missing packets lost packets themselves. */
  readonly isLossy: boolean;
}

export function assess(
  connection: Connection,
  predicted: Predicted,
  outcome: OutcomeName,
  hindsight: Hindsight,
): Assessment | undefined {
  if (predicted === 'deny') return assessDenied(connection, outcome);
  if (predicted === 'allow') return assessAllowed(connection, outcome, hindsight);
  return undefined;
}

function assessDenied(connection: Connection, outcome: OutcomeName): Assessment | undefined {
  const leak = (certainty: Certainty, because: string): Assessment => ({ finding: 'leak', certainty, because });
  // A later try may have been allowed: an address that changed hands meanwhile.
  if (connection.isQuestionAllowed) return undefined;
  if (connection.leakedPackets > 0) {
    return leak('proven', 'packets that a check denies were seen behind it');
  }
  switch (outcome) {
    case 'established':
      return leak('proven', '');
    case 'half-open':
    case 'answered':
      return answeredLeak(connection, leak);
    case 'refused':
      // A host's own filter may answer by the very error that its kernel sends where nobody listens.
      if (connection.rejection?.isPeer === true && connection.record.dest_type !== 'wep') {
        return leak('possible', 'a filter on that host would refuse it in the same way');
      }
      return leak('likely', 'what refuses must have been reached');
    case 'midstream':
      return leak('likely', '');
    default:
      return undefined;
  }
}

function answeredLeak(connection: Connection, leak: (certainty: Certainty, because: string) => Assessment): Assessment {
  if (connection.hasProvenAnswer) return leak('proven', '');
  const { source_port: from, dest_port: to } = connection.record;
  // Programs that talk from and to one port (gossip, time) may both have begun.
  if (connection.protocol !== PROTOCOL_TCP && from !== undefined && from === to) {
    return leak('possible', 'what comes back the destination may have sent by itself');
  }
  return leak('likely', '');
}

function assessAllowed(
  connection: Connection,
  outcome: OutcomeName,
  { isPeerAlive, isServiceAlive, isLossy }: Hindsight,
): Assessment | undefined {
  const blocked = (certainty: Certainty, because: string): Assessment => ({
    finding: 'blocked',
    certainty,
    because,
  });
  const { forward, backward } = connection;
  switch (outcome) {
    case 'lost': {
      const isDoubtful = isLossy || forward.doubtful >= forward.missing;
      return blocked(isDoubtful ? 'likely' : 'proven', isDoubtful ? 'the capture there may have lost it' : '');
    }
    case 'rejected':
      return blocked('likely', '');
    case 'no-answer': {
      const isAsked =
        connection.protocol === PROTOCOL_TCP ||
        ((connection.protocol === PROTOCOL_ICMP || connection.protocol === PROTOCOL_ICMPV6) &&
          connection.questions > 1);
      if (!isAsked) return undefined;
      if (isServiceAlive) return blocked('likely', 'the port answers others');
      return isPeerAlive
        ? blocked('likely', 'the destination is there, as other packets of it show')
        : blocked('possible', '');
    }
    case 'half-open':
    case 'answered':
    case 'arrived':
      // The way back: answers that left and never came, or that are sent again and again.
      if (backward.missing > 0 && backward.arrived === 0) {
        const isDoubtful = isLossy || backward.doubtful >= backward.missing;
        return blocked(isDoubtful ? 'likely' : 'proven', 'its answers were seen on their way and did not arrive');
      }
      return outcome === 'half-open' ? blocked('possible', 'its answer may not come back') : undefined;
    default:
      return undefined;
  }
}
