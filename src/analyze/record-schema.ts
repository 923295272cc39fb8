/**
 * The record as a JSON schema: every field's meaning, type and optionality, written once (design, section 5).
 *
 * `margay schema` and `--schema` print it; a test holds what `eval` and `replay` print against it. It is closed: a field
 * that is not here is a mistake. Texts in enumerations come from the numbers of the packet path, so that they cannot differ.
 */
import { CHECK_NAMES, REASON_NAMES, VERDICT_NAMES } from '../model/flow.ts';
import { DECODE_STATUS_NAMES } from '../wire/record.ts';

export type Schema = { readonly [keyword: string]: unknown };

/** The actions of records: the four verdicts, and `undecoded` for a packet that is no flow. */
const ACTIONS = VERDICT_NAMES;

const REASONS = [...new Set([...REASON_NAMES.filter((name) => name !== ''), ...DECODE_STATUS_NAMES.slice(1)])];

const TRACE: Schema = {
  type: 'array',
  items: { type: 'string', pattern: '^\\d+\\|[^|]+\\|[^|]+\\|(allow|deny|pass)\\|-?\\d+$' },
  description:
    'One entry a tier touched, `<pos>|<tier>|<policy>|<action>|<rule index, -1 = end of tier>`; empty = decided before any policy.',
};

function check(description: string): Schema {
  return {
    description,
    type: 'object',
    required: ['action', 'trace'],
    additionalProperties: false,
    properties: {
      action: { enum: ['allow', 'deny', 'pass'] },
      trace: TRACE,
      rule: text('`file:line` of the deciding rule; at the end of a tier, of the policy it is attributed to.'),
      selected_by: {
        type: 'array',
        items: { type: 'string' },
        description: 'At an end of tier: every policy that selected the endpoint in that tier and direction.',
      },
    },
  };
}

export function text(description: string): Schema {
  return { type: 'string', description };
}

export function whole(description: string, maximum?: number): Schema {
  return { type: 'integer', minimum: 0, ...(maximum === undefined ? {} : { maximum }), description };
}

function labels(whose: string): Schema {
  return {
    type: 'object',
    additionalProperties: { type: 'string' },
    description: `Labels of the ${whose} object itself.`,
  };
}

const TYPE: Schema = {
  enum: ['wep', 'hep', 'ns', 'net'],
  description: 'wep: pod, hep: host endpoint, ns: in a network set, net: anything else.',
};

export const TIME: Schema = { type: 'string', pattern: '^-?\\d{4,}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$' };

/** The fields that two flows, the outer and one inside a tunnel, both have. */
export const FLOW_FIELDS: Readonly<Record<string, Schema>> = {
  proto: text('tcp, udp, icmp, icmpv6, sctp, udplite, or the IP protocol number as text.'),
  source_ip: text('Address of the sender of the first packet.'),
  source_port: whole('Absent where the protocol has no ports.', 65535),
  dest_ip: text('Address of the receiver of the first packet.'),
  dest_port: whole('Absent where the protocol has no ports.', 65535),
  icmp_type: whole('ICMP and ICMPv6 alone.', 255),
  icmp_code: whole('ICMP and ICMPv6 alone.', 255),
  source_type: TYPE,
  source_namespace: text('Absent for net and for what has no namespace.'),
  source_name: text('Name of the pod, host endpoint or network set.'),
  source_service_account: text('Account that the pod runs as.'),
  source_labels: labels('source'),
  dest_type: TYPE,
  dest_namespace: text('Absent for net and for what has no namespace.'),
  dest_name: text('Name of the pod, host endpoint or network set.'),
  dest_service_account: text('Account that the pod runs as.'),
  dest_labels: labels('destination'),
  action: { enum: ACTIONS, description: 'The verdict; undecoded = the packet is no flow.' },
  reason: { enum: REASONS, description: 'Why: of deny, uncertain and undecoded always, of allow only `failsafe`.' },
  direction: { enum: CHECK_NAMES, description: 'The check that decided; the last one that ran if all allowed.' },
  egress: check('Egress policy of the source; present exactly when it ran.'),
  ingress: check('Ingress policy of the destination; present exactly when it ran.'),
  forward: check('Apply-on-forward policy of host endpoints, several concatenated; present exactly when it ran.'),
  untracked: check('doNotTrack policy of host endpoints; present exactly when it ran.'),
  prednat: check('preDNAT policy of host endpoints; present exactly when it ran.'),
  pending: {
    description: 'The answer if every staged policy were enforced where it stands; absent when nothing would differ.',
    type: 'object',
    required: ['action'],
    additionalProperties: false,
    properties: {
      action: { enum: ACTIONS },
      ...Object.fromEntries(CHECK_NAMES.map((name) => [name, TRACE])),
    },
  },
};

export const PACKETS_BY_ACTION: Schema = {
  description: 'Packets by their own verdict; absent when all have that of the first packet.',
  type: 'object',
  additionalProperties: { type: 'integer', minimum: 1 },
  propertyNames: { enum: ACTIONS },
};

export const ALWAYS = ['proto', 'source_ip', 'dest_ip', 'source_type', 'dest_type', 'action'];

export const RECORD_SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'margay record',
  description:
    'One flow, connection or packet with its verdict: a line of -o jsonl, an entry of `connections` in -o json.',
  oneOf: [
    {
      title: 'a flow or connection',
      type: 'object',
      required: ALWAYS,
      additionalProperties: false,
      properties: {
        id: { description: 'eval: the id of the input line, whatever it is, handed through.' },
        packet: whole('replay --packets: number of the packet, from 1, over all captures in the order given.'),
        time: { ...TIME, description: 'replay --packets: time of the packet.' },
        state: {
          enum: ['new', 'established', 'related', 'invalid', 'untracked', 'truncated'],
          description:
            'replay --packets: state in the connection tracking of the node that decided; absent when stateless.',
        },
        start_time: { ...TIME, description: 'Time of the first packet.' },
        end_time: { ...TIME, description: 'Time of the last packet.' },
        first_packet: whole('replay: number of the first packet, from 1, over all captures in the order given.'),
        ...FLOW_FIELDS,
        packets: whole('Packets of both directions.'),
        packets_by_action: PACKETS_BY_ACTION,
        bytes: whole('Bytes on the wire, of both directions, whatever the capture kept of them.'),
        observed: {
          enum: ['established', 'answered', 'refused', 'no-answer', 'midstream'],
          description: 'What the capture shows of the receiver, whatever the verdict.',
        },
        community_id: text('Community ID flow hash, version 1.'),
        generation: whole('agent: the generation of the tables that judged.'),
        inner: {
          description: 'The flow inside a tunnel, judged beside the outer one.',
          type: 'object',
          required: ALWAYS,
          additionalProperties: false,
          properties: FLOW_FIELDS,
        },
      },
    },
    {
      title: 'replay --packets: a packet that is no flow',
      type: 'object',
      required: ['packet', 'time', 'bytes', 'action', 'reason'],
      additionalProperties: false,
      properties: {
        packet: whole('Number of the packet, from 1, over all captures in the order given.'),
        time: TIME,
        bytes: whole('Bytes on the wire.'),
        action: { const: 'undecoded' },
        reason: { enum: DECODE_STATUS_NAMES.slice(1) },
      },
    },
    {
      title: 'eval: an input line that could not be read',
      type: 'object',
      required: ['id', 'line', 'error'],
      additionalProperties: false,
      properties: {
        id: { description: 'The id of the line, null where there is none.' },
        line: whole('Number of the line in the input, from 1.'),
        error: text('What is wrong, and what to do.'),
      },
    },
  ],
};
