/** A verified connection in sentences: what policy says, what the captures show, what both prove. */
import type { Connection, OutcomeName } from './outcome.ts';
import { decidingCheck } from './read-record.ts';
import type { FlowRecord } from './record.ts';
import type { Predicted } from './report-data.ts';
import type { Assessment } from './verify-assess.ts';
import { enforcingEnd } from './verify-record.ts';

export function connectionText(
  connection: Connection,
  predicted: Predicted,
  outcome: OutcomeName,
  watchedMs: number,
  finding: Assessment | undefined,
): string {
  const { record } = connection;
  const first = predictionText(record, predicted, connection);
  const second = observationText(connection, outcome, watchedMs);
  return `${first} ${second} ${conclusion(predicted, outcome, connection, finding)}`;
}

function predictionText(record: FlowRecord, predicted: Predicted, connection: Connection): string {
  if (connection.eitherWay !== undefined) {
    if (predicted === 'uncertain') {
      return 'It was open before the capture began, and whether policy allows it hangs on who opened it.';
    }
    const verb = { allow: 'allows', deny: 'denies', unpoliced: 'does not police' }[predicted];
    return `It was open before the capture began; policy ${verb} it whichever side opened it.`;
  }
  switch (predicted) {
    case 'unpoliced':
      return 'No policy applies to it.';
    case 'uncertain':
      return `Its verdict is uncertain (${record.reason ?? 'no reason'}).`;
    case 'allow':
      return record.direction === undefined ? 'Policy allows it.' : `Policy allows it (${deciderText(record)}).`;
    case 'deny':
      return `Policy denies it (${deciderText(record)}).`;
    default:
      return predicted satisfies never;
  }
}

/** `ingress of prod/db-0: rule 1 of np:prod/db, policies.yaml:12`. */
export function deciderText(record: FlowRecord): string {
  const check = decidingCheck(record);
  const [, tier, policy = '', , index] = check?.trace.at(-1)?.split('|') ?? [];
  const where = `${record.direction ?? 'check'} of ${enforcingEnd(record)}`;
  if (tier === undefined) return `${where}: ${record.reason ?? 'decided before any policy'}`;
  const at = check?.rule === undefined ? '' : `, ${check.rule}`;
  if (policy.startsWith('pro:'))
    return `${where}: ${policy === 'pro:__NO_MATCH__' ? 'no profile allows it' : policy}${at}`;
  return `${where}: ${Number(index) >= 0 ? `rule ${index} of ${policy}` : `end of tier ${tier}, after ${policy}`}${at}`;
}

function observationText(connection: Connection, outcome: OutcomeName, watchedMs: number): string {
  const { questions, rejection, forward, replies, packets } = connection;
  const seconds = (watchedMs / 1000).toFixed(1);
  const times = questions === 1 ? 'once' : `${questions} times`;
  switch (outcome) {
    case 'established':
      return 'The handshake was completed.';
    case 'answered':
      if (replies === 0) return 'Its opener acknowledges an answer that no capture has.';
      return `It was answered by ${replies === 1 ? '1 packet' : `${replies} packets`}.`;
    case 'half-open':
      return 'The destination answers again and again, and the answer is never acknowledged.';
    case 'refused':
      return rejection?.isPeer === true && connection.synAcks === 0 && rejection.kind === 'port'
        ? 'The destination says that nobody listens there.'
        : 'The destination refused it by a RST.';
    case 'rejected':
      return `${rejection!.by}, which is not the destination, rejected it by an ICMP error.`;
    case 'unreachable':
      return `${rejection!.by} has no route to it.`;
    case 'arrived':
      return `It was seen where it should arrive (${packetsText(forward.arrived)}), and not answered.`;
    case 'lost':
      return `It was seen on its way and did not arrive (${packetsText(forward.missing)}, asked ${times} in ${seconds} s).`;
    case 'no-answer':
      return `It was asked ${times} and not answered; watched for ${seconds} s.`;
    case 'too-short':
      return `It was asked ${times} and not answered, but watched for ${seconds} s only.`;
    case 'midstream':
      return `Packets of it pass (${packetsText(packets)}).`;
    case 'one-way':
      return `Only one side of it was seen (${packetsText(packets)}).`;
    default:
      return outcome satisfies never;
  }
}

function packetsText(count: number): string {
  return count === 1 ? '1 packet' : `${count} packets`;
}

function conclusion(
  predicted: Predicted,
  outcome: OutcomeName,
  connection: Connection,
  finding: Assessment | undefined,
): string {
  if (finding !== undefined) {
    const what = finding.finding === 'leak' ? 'A leak' : 'Blocked';
    return `${what}, ${finding.certainty}${finding.because === '' ? '' : `: ${finding.because}`}.`;
  }
  if (predicted === 'unpoliced') return 'Nothing to compare.';
  if (predicted === 'uncertain') return 'Nothing is proven either way.';
  if (predicted === 'deny') {
    if (connection.isQuestionAllowed) return 'A later packet of it was allowed, so it may come about.';
    if (outcome === 'one-way' || outcome === 'too-short') return 'That shows too little to say whether it was dropped.';
    return 'As it should be.';
  }
  switch (outcome) {
    case 'no-answer':
      return 'It need not be answered, so that proves nothing.';
    case 'too-short':
    case 'one-way':
      return 'That shows too little to say whether it came through.';
    case 'unreachable':
      return 'That is a matter of routes, not of policy.';
    case 'refused':
      return 'So it came through, and its receiver refused it: no policy did.';
    case 'arrived':
      return 'So it came through; that nobody answers is no matter of policy.';
    default:
      return 'As it should be.';
  }
}
