/**
 * The record of `verify` as a JSON schema: that of a connection (record-schema.ts) with what the captures show. `margay schema verify`
 * prints it; a test holds what `verify` prints against it. Closed: a field that is not here is a mistake.
 */
import { OUTCOME_COLUMNS } from './outcome.ts';
import { ALWAYS, FLOW_FIELDS, PACKETS_BY_ACTION, type Schema, TIME, text, whole } from './record-schema.ts';
import { OBSERVED, PREDICTED } from './verify-totals.ts';

export const VERIFY_SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'margay verify record',
  description:
    'One connection, its verdict and what captures show of it: a line of -o jsonl, an entry of `connections` in -o json.',
  type: 'object',
  required: [
    'start_time',
    'end_time',
    ...ALWAYS,
    'capture',
    'first_packet',
    'packets',
    'bytes',
    'community_id',
    'predicted',
    'observed',
    'outcome',
    'text',
    'questions',
    'watched_seconds',
    'evidence',
  ],
  additionalProperties: false,
  dependencies: { finding: ['certainty', 'causes'], certainty: ['finding'], causes: ['finding'] },
  properties: {
    start_time: { ...TIME, description: 'Time of the first packet, the clock of its capture set right.' },
    end_time: { ...TIME, description: 'Time of the last packet.' },
    ...FLOW_FIELDS,
    inner: {
      description: 'The flow inside a tunnel, judged beside the outer one.',
      type: 'object',
      required: ALWAYS,
      additionalProperties: false,
      properties: FLOW_FIELDS,
    },
    capture: text('Capture that the first packet is in, as it was named.'),
    first_packet: whole('Number of the first packet in that capture, from 1.'),
    packets: whole('Packets of both directions, each counted once, wherever it was seen.'),
    bytes: whole('Bytes on the wire, of both directions.'),
    packets_by_action: PACKETS_BY_ACTION,
    community_id: text('Community ID flow hash, version 1.'),
    predicted: {
      enum: PREDICTED,
      description:
        'What policy says: `action`, but of a connection that was open before the capture began the answer that holds whichever side opened it, else `uncertain`.',
    },
    observed: { enum: OBSERVED, description: 'What the captures show, as a column of the matrix.' },
    outcome: {
      enum: Object.keys(OUTCOME_COLUMNS),
      description:
        'The same in more detail. arrived: seen behind all policy and not answered; lost: seen on its way and not where it should arrive; too-short, one-way: too little was seen.',
    },
    finding: { enum: ['leak', 'blocked'], description: 'leak: denied and delivered; blocked: allowed and dropped.' },
    certainty: {
      enum: ['proven', 'likely', 'possible'],
      description: 'proven: packets show it; likely: other explanations are far-fetched; possible: there are others.',
    },
    causes: {
      description: 'Likely causes, the likeliest first; empty: nothing in the input explains it.',
      type: 'array',
      items: {
        type: 'object',
        required: ['cause', 'text'],
        additionalProperties: false,
        properties: {
          cause: text('A name that stays: `policy-younger`, `masked-source`, …'),
          text: text('A sentence.'),
        },
      },
    },
    text: text('Prediction, observation and what both prove, in sentences.'),
    questions: whole('Packets by which its opener asked: SYNs, datagrams, echo requests.'),
    watched_seconds: { type: 'number', minimum: 0, description: 'From the first question to the end of the captures.' },
    arrived: whole("Its opener's packets that were seen behind all policy."),
    missing: whole("Its opener's packets that were seen on their way, and not where they should arrive."),
    answers_arrived: whole('The same of packets to its opener.'),
    answers_missing: whole('The same of packets to its opener.'),
    lost_bytes: whole('Bytes of TCP that were acknowledged and that no capture has.'),
    evidence: {
      description: 'Packets that show something, at most twelve.',
      type: 'array',
      items: {
        type: 'object',
        required: ['capture', 'packet', 'what'],
        additionalProperties: false,
        properties: {
          capture: text('Capture, as it was named.'),
          packet: whole('Number of the packet in it, from 1, as Wireshark counts.'),
          what: text('What it shows.'),
        },
      },
    },
  },
};
