/** Numbers and records that the packet path, the tables and their readers agree on. */

/** Directions as seen by the endpoint. */
export const DIRECTION_INGRESS = 0;
export const DIRECTION_EGRESS = 1;

/** What a rule or the end of a tier says. Log never decides and gets no number of its own here. */
export const ACTION_ALLOW = 0;
export const ACTION_DENY = 1;
export const ACTION_PASS = 2;

/** What happens to a packet (design, section 4); `undecoded` is no verdict but shares the numbering for counters. */
export const VERDICT_ALLOW = 0;
export const VERDICT_DENY = 1;
export const VERDICT_UNPOLICED = 2;
export const VERDICT_UNCERTAIN = 3;
export const VERDICT_UNDECODED = 4;
export const VERDICT_NAMES: readonly string[] = ['allow', 'deny', 'unpoliced', 'uncertain', 'undecoded'];

/** Why, for allow (failsafe), deny and uncertain; the texts are the `reason` of records. */
export const REASON_NONE = 0;
export const REASON_RULE = 1;
export const REASON_END_OF_TIER = 2;
export const REASON_NO_PROFILE_MATCH = 3;
export const REASON_PROFILE_MISSING = 4;
export const REASON_FAILSAFE = 5;
export const REASON_INVALID = 6;
export const REASON_VXLAN = 7;
export const REASON_IPIP = 8;
export const REASON_SPOOFED = 9;
export const REASON_SERVICE_LOOP = 10;
export const REASON_ENDPOINT_TO_HOST = 11;
export const REASON_FRAGMENT = 12;
export const REASON_SHARED_ADDRESS = 13;
export const REASON_TRUNCATED = 14;
export const REASON_STALE_IDENTITY = 15;
export const REASON_NO_IDENTITY = 16;
export const REASON_MASKED_SOURCE = 17;
export const REASON_EVICTED = 18;
export const REASON_NAMES: readonly string[] = [
  '',
  'rule',
  'end-of-tier',
  'no-profile-match',
  'profile-missing',
  'failsafe',
  'invalid',
  'vxlan',
  'ipip',
  'spoofed',
  'service-loop',
  'endpoint-to-host',
  'fragment',
  'shared-address',
  'truncated',
  'stale-identity',
  'no-identity',
  'masked-source',
  'evicted',
];

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPIP = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_SCTP = 132;
export const PROTOCOL_UDPLITE = 136;

/** Numbers of the protocols that have a name, which is in lower case. Source: Calico api/pkg/lib/numorstring/protocol.go. */
export const PROTOCOL_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['tcp', PROTOCOL_TCP],
  ['udp', PROTOCOL_UDP],
  ['icmp', PROTOCOL_ICMP],
  ['icmpv6', PROTOCOL_ICMPV6],
  ['sctp', PROTOCOL_SCTP],
  ['udplite', PROTOCOL_UDPLITE],
]);

/** Calico's dataplanes; where they differ, `iptables` is the default (semantics 6.10). */
export const DATAPLANES = ['iptables', 'nftables', 'bpf'] as const;
export type Dataplane = (typeof DATAPLANES)[number];

/** A flow as `eval` and the library take it: text addresses, the first packet of a new connection. */
export interface Flow {
  readonly src: string;
  readonly dst: string;
  /** Name (any case) or number; default tcp. */
  readonly protocol?: string | number;
  /** Default 49152. */
  readonly src_port?: number;
  /** Required where the protocol has ports. */
  readonly dst_port?: number;
  /** Default: echo request. */
  readonly icmp_type?: number;
  readonly icmp_code?: number;
}

/** One tier touched, as `trace` prints it: `<pos>|<tier>|<kind>:[<ns>/]<name>|<action>|<ruleIndex>` (semantics 7.4). */
export interface CheckRecord {
  readonly action: 'allow' | 'deny' | 'pass';
  readonly trace: readonly string[];
  /** `file:line` of the deciding rule. */
  readonly rule?: string;
  /** At an end of tier: the policies that selected the endpoint in that tier and direction. */
  readonly selected_by?: readonly string[];
}

/** The checks of one packet, as `direction` names them in records (design, section 5). */
export const CHECK_UNTRACKED = 0;
export const CHECK_PRE_DNAT = 1;
export const CHECK_FORWARD = 2;
export const CHECK_EGRESS = 3;
export const CHECK_INGRESS = 4;
export const CHECK_NAMES: readonly string[] = ['untracked', 'prednat', 'forward', 'egress', 'ingress'];
