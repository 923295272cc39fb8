/**
 * The data of `verify --report`: everything that the page shows, as plain JSON inside of it.
 *
 * The page is built by itself (src/web/report); its template holds `<script type="application/json" id="report-data">null</script>`,
 * and cli/verify-report.ts puts a `ReportData` in place of `null`. Every list is bounded (model/limits.ts), most important entries
 * first, and says how many entries were left out. Names, labels and texts come from manifests and captures, which anybody may
 * have written: the page must treat all strings as text.
 *
 * No imports: the page takes these types and nothing else of this layer.
 */

export type Predicted = 'allow' | 'deny' | 'unpoliced' | 'uncertain';
/** What the captures show: `unknown` where they show too little to say. */
export type ObservedColumn = 'delivered' | 'refused' | 'unanswered' | 'unknown';
export type FindingKind = 'leak' | 'blocked';
/** How sure a finding is: packets prove it; other explanations are unlikely; there are others. */
export type Certainty = 'proven' | 'likely' | 'possible';

/** A list that may have been cut. */
export interface Bounded<T> {
  readonly items: readonly T[];
  /** Entries that are not in `items`. */
  readonly left_out: number;
}

export interface ReportData {
  readonly version: 1;
  /** ISO 8601, UTC. */
  readonly generated_at: string;
  /** margay's version. */
  readonly margay: string;
  readonly inputs: ReportInputs;
  readonly totals: ReportTotals;
  /** Sentences, each a reason why the answer is weaker than it could be (packets lost, a file cut off, …). Empty = none. */
  readonly incomplete: readonly string[];
  readonly timeline: ReportTimeline;
  /** Connections by prediction and observation; every pair is there, zeros too. */
  readonly matrix: readonly ReportCell[];
  readonly graph: ReportGraph;
  /** Proven ones first, then by packets. */
  readonly findings: Bounded<ReportConnection>;
  /** Findings first, then in the order of their first packet. */
  readonly connections: Bounded<ReportConnection>;
}

export interface ReportInputs {
  /** As given after -f. */
  readonly manifests: readonly string[];
  readonly captures: readonly ReportCapture[];
}

export interface ReportCapture {
  readonly file: string;
  /** Where it was taken: `sent`, `delivered`, `node NAME`, `pod NS/NAME`, `interfaces`, or `unknown`. */
  readonly point: string;
  readonly packets: number;
  /** Packets that the capturing program says it lost. */
  readonly lost: number;
  /** By how much its clock is ahead of the first capture's; absent = not known, or it is the first. */
  readonly clock_offset_ms?: number;
  /** Why reading ended early. */
  readonly error: string | null;
}

export interface ReportTotals {
  /** Packets read: `allow + deny + unpoliced + uncertain + undecoded + seen_again`. */
  readonly packets: number;
  readonly bytes: number;
  readonly allow: number;
  readonly deny: number;
  readonly unpoliced: number;
  readonly uncertain: number;
  readonly undecoded: number;
  /** Sightings of a packet that was read before, at another place or twice at the same. */
  readonly seen_again: number;
  readonly connections: number;
  readonly leaks: number;
  readonly blocked: number;
  /** Times of the first and the last packet, ISO 8601; absent without packets. */
  readonly start_time?: string;
  readonly end_time?: string;
}

/** Packets over time: columns of equal length, one entry a bucket. */
export interface ReportTimeline {
  /** Start of the first bucket, milliseconds since 1970. */
  readonly start_ms: number;
  readonly step_ms: number;
  readonly allow: readonly number[];
  readonly deny: readonly number[];
  readonly unpoliced: readonly number[];
  readonly uncertain: readonly number[];
  readonly undecoded: readonly number[];
  /** Connections with a finding, by the bucket of their first packet. */
  readonly leaks: readonly number[];
  readonly blocked: readonly number[];
}

export interface ReportCell {
  readonly predicted: Predicted;
  readonly observed: ObservedColumn;
  readonly connections: number;
  readonly packets: number;
  /** Of the connections, those that are findings. */
  readonly findings: number;
}

/** Who talks to whom: accounts (of pods), host endpoints, network sets, and all that is outside as one. */
export interface ReportGraph {
  readonly nodes: readonly ReportGraphNode[];
  readonly edges: readonly ReportGraphEdge[];
  readonly left_out: { readonly nodes: number; readonly edges: number };
}

export interface ReportGraphNode {
  /** Unique; edges name it. */
  readonly id: string;
  readonly kind: 'account' | 'host' | 'network-set' | 'outside';
  /** `''` for what has none. */
  readonly namespace: string;
  readonly name: string;
  readonly connections: number;
}

export interface ReportGraphEdge {
  /** Ids of nodes; `from` opened the connections. */
  readonly from: string;
  readonly to: string;
  /** Connections by prediction. */
  readonly allow: number;
  readonly deny: number;
  readonly unpoliced: number;
  readonly uncertain: number;
  readonly leaks: number;
  readonly blocked: number;
  /** `tcp/5432`, the most used first; at most a few. */
  readonly services: readonly string[];
}

export interface ReportEnd {
  readonly ip: string;
  readonly port?: number;
  readonly type: 'wep' | 'hep' | 'ns' | 'net';
  readonly namespace?: string;
  readonly name?: string;
  readonly service_account?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A packet that shows something. */
export interface ReportEvidence {
  /** Index in `inputs.captures`. */
  readonly capture: number;
  /** Number of the packet in that file, from 1, as Wireshark counts. */
  readonly packet: number;
  /** What it shows, in a few words: `SYN`, `SYN again`, `SYN-ACK`, `answer`, `arrived`, `RST`, `port unreachable from 10.0.0.1`. */
  readonly what: string;
}

export interface ReportCause {
  /** Stable name: `policy-younger`, `established-before`, `host-to-own-pod`, `masked-source`, `missing-identity`, … */
  readonly cause: string;
  readonly text: string;
}

export interface ReportConnection {
  /** Unique in the report. */
  readonly id: number;
  readonly start_time: string;
  readonly end_time: string;
  readonly proto: string;
  readonly icmp_type?: number;
  readonly icmp_code?: number;
  readonly source: ReportEnd;
  readonly dest: ReportEnd;
  readonly predicted: Predicted;
  /** Why, for deny and uncertain: `rule`, `end-of-tier`, … */
  readonly reason?: string;
  /** The check that decided: `egress`, `ingress`, … */
  readonly direction?: string;
  /** `file:line` of the deciding rule. */
  readonly rule?: string;
  /** Traces of the checks that ran, one entry a tier: `0|default|np:app/web|allow|0`. */
  readonly traces: readonly { readonly check: string; readonly trace: readonly string[] }[];
  readonly observed: ObservedColumn;
  /** Finer than `observed`: `established`, `answered`, `refused`, `rejected`, `no-answer`, `arrived`, `lost`, `midstream`, … */
  readonly outcome: string;
  readonly finding?: FindingKind;
  readonly certainty?: Certainty;
  readonly causes: readonly ReportCause[];
  /** Prediction, observation and what the two prove, in sentences. */
  readonly text: string;
  /** The whole chain of rules, a line each, as `margay explain` prints it. Only for findings, and not for all of many. */
  readonly explanation?: readonly string[];
  readonly packets: number;
  readonly bytes: number;
  readonly evidence: readonly ReportEvidence[];
}
