/** The records of `margay factors` as a JSON schema: `margay schema factors` and `factors --schema` print it; a test holds output to it. */
import { VERDICT_NAMES } from '../model/flow.ts';
import { FINDING_TEXTS } from './factors-record.ts';

type Schema = { readonly [keyword: string]: unknown };

const text = (description: string): Schema => ({ type: 'string', description });
const whole = (description: string, maximum?: number): Schema => ({
  type: 'integer',
  minimum: 0,
  ...(maximum === undefined ? {} : { maximum }),
  description,
});
const closed = (
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
  description?: string,
): Schema => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
  ...(description === undefined ? {} : { description }),
});

const TIME: Schema = { type: 'string', pattern: '^-?\\d{4,}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$' };
const END_TYPE: Schema = {
  enum: ['wep', 'hep', 'ns', 'net'],
  description: 'wep: pod, hep: host endpoint, ns: in a network set, net: anything else.',
};
const ANSWER: Schema = { enum: ['allow', 'deny', 'uncertain'] };
const PLACE = 'Where the evidence is: `FILE, packet N`, `FILE:LINE`.';

/** Gaps of a flow or of the whole answer; each says what cannot be told. */
const GAP_NAMES = [
  'no-keys',
  'keys-do-not-fit',
  'unsupported-cipher',
  'handshake-not-captured',
  'handshake-incomplete',
  'handshake-malformed',
  'handshake-too-long',
  'conflicting-segments',
  'resumed-session',
  'evicted',
  'unparsable-certificate',
  'ambiguous-log-line',
  'conflicting-statements',
  'unreadable-line',
  'shared-address',
  'too-many-flows',
];

function certificate(description: string): Schema {
  return closed(
    {
      account: text('NAMESPACE/ACCOUNT; absent if the certificate names none.'),
      trust_domain: text('Of the SPIFFE name; Calico does not compare it.'),
      uris: { type: 'array', items: { type: 'string' }, description: 'All URI names; an identity has exactly one.' },
      serial: text('Hex.'),
      fingerprint_sha256: text('Of the whole certificate, hex.'),
      not_before: TIME,
      not_after: TIME,
      proof: {
        enum: ['signature', 'handshake', 'wrong', 'none'],
        description:
          'How it is known that the key is there: its signature over the handshake was checked, the server went on, the signature does not fit, or not at all.',
      },
      from: { enum: ['capture', 'envoy-log', 'ztunnel-log', 'peers-file'] },
      place: text('Of what a log says: `FILE:LINE`.'),
    },
    ['uris', 'from'],
    description,
  );
}

const RULE: Schema = closed(
  {
    policy: text('`np:NS/NAME` and so on.'),
    index: whole('Number of the rule in the ingress of the policy, from 0.'),
    action: { enum: ['allow', 'deny', 'pass', 'log'] },
    rule: text('`FILE:LINE`.'),
    accounts: text('The accounts that it names, in words.'),
    network: { enum: ['yes', 'no'], description: 'The address is one of these accounts, as Calico sees it.' },
    crypto: {
      enum: ['yes', 'no', 'absent', 'unknown'],
      description: 'The certificate is of one of them; absent: none was shown; unknown: it cannot be told, see `gaps`.',
    },
  },
  ['policy', 'index', 'action', 'rule', 'accounts', 'network', 'crypto'],
);

const NAMED = (names: readonly string[], hasPlace: boolean): Schema =>
  closed({ name: { enum: names }, detail: text('What exactly.'), ...(hasPlace ? { place: text(PLACE) } : {}) }, [
    'name',
    'detail',
    ...(hasPlace ? ['place'] : []),
  ]);

export const FACTORS_SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'margay factors record',
  description:
    'One flow, who its address and its certificate say it is, and what follows: a line of -o jsonl, an entry of `connections` in -o json.',
  ...closed(
    {
      start_time: { ...TIME, description: 'Time of the first packet.' },
      end_time: { ...TIME, description: 'Time of the last packet.' },
      first_packet: whole('Number of the first packet, from 1, over all captures in the order given.'),
      packets: whole('Packets of both directions.'),
      proto: { enum: ['tcp', 'udp', 'sctp'] },
      source_ip: text('Address of the side that opened the connection.'),
      source_port: whole('', 65535),
      dest_ip: text('Address of the other side.'),
      dest_port: whole('', 65535),
      source_type: END_TYPE,
      source_namespace: text('Absent for net and for what has no namespace.'),
      source_name: text('Name of the pod, host endpoint or network set.'),
      source_service_account: text('Account that the pod runs as.'),
      dest_type: END_TYPE,
      dest_namespace: text('Absent for net and for what has no namespace.'),
      dest_name: text('Name of the pod, host endpoint or network set.'),
      dest_service_account: text('Account that the pod runs as.'),
      network: text(
        'NAMESPACE/ACCOUNT that the source address says; `A or B` if several pods claim it; absent if none does.',
      ),
      crypto: {
        enum: ['account', 'absent', 'invalid', 'unknown'],
        description:
          'What the client certificate says: an account (`certificate.account`), none was shown, it names nobody, or it cannot be told.',
      },
      certificate: certificate("The client's certificate."),
      dest_certificate: certificate("The server's certificate."),
      transport: {
        enum: ['tls', 'plain', 'silent', 'unknown'],
        description: 'silent: no payload; unknown: the beginning of the connection is not there.',
      },
      tls: closed(
        {
          version: text('`TLS 1.3`; absent if the server has not answered.'),
          server_name: text('That the client asked for.'),
          alpn: { type: 'array', items: { type: 'string' } },
          resumed: { const: true, description: 'It goes on with an earlier session.' },
          may_authenticate_later: {
            const: true,
            description: 'The client offered to show a certificate after the handshake, which is not read.',
          },
          alert: text('A fatal or closing alert, `server alert 42`.'),
        },
        [],
      ),
      hbone: {
        const: true,
        description: "Port 15008, the tunnel of Istio's ambient mode: the port inside is not known.",
      },
      factors: {
        enum: ['2 of 2', '1 of 2', '0 of 2'],
        description: 'How many of address and certificate fit, by the rule that most does; absent if no rule asks.',
      },
      rules: {
        type: 'array',
        items: RULE,
        description: 'Ingress rules of the destination that name accounts, and that fit in everything but the source.',
      },
      rules_left_out: whole('Further rules of that kind; the matrix of -o json counts them all.'),
      verdicts: closed(
        {
          address: { enum: VERDICT_NAMES, description: "Calico's, as in a replay." },
          certificate: { ...ANSWER, description: 'If certificates alone named accounts; present where a rule asks.' },
          both: { ...ANSWER, description: 'If address and certificate must both fit.' },
        },
        ['address'],
      ),
      peer_authentication: closed(
        {
          mode: { enum: ['DISABLE', 'PERMISSIVE', 'STRICT'] },
          level: { enum: ['port', 'workload', 'namespace', 'mesh', 'default'] },
          policy: text('NAMESPACE/NAME; absent for the default.'),
          place: text('`FILE:LINE`.'),
          refuses: text('Present if Istio would have refused the connection: why.'),
        },
        ['mode', 'level'],
        'Present for TCP to pods if the input has any PeerAuthentication.',
      ),
      findings: { type: 'array', items: NAMED(Object.keys(FINDING_TEXTS), false) },
      gaps: { type: 'array', items: NAMED(GAP_NAMES, true), description: 'What cannot be told, and why.' },
    },
    [
      'start_time',
      'end_time',
      'first_packet',
      'packets',
      'proto',
      'source_ip',
      'dest_ip',
      'source_type',
      'dest_type',
      'crypto',
      'transport',
      'rules',
      'verdicts',
      'findings',
      'gaps',
    ],
  ),
};
