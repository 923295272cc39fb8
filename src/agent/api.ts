/**
 * What the agent's HTTP interface answers: the JSON types that `http.ts` writes and the page (src/web) reads. All under `/api/v1/`.
 *
 * | path | answer |
 * |---|---|
 * | `status` | `AgentStatus` |
 * | `rates` | `RateSeries`: the last ten minutes, a second a step |
 * | `flows?verdict=&namespace=&account=&port=&text=&limit=&before=` | `FlowPage`, newest first |
 * | `flows/ID` | `FlowDetail`: the record with its explanation |
 * | `policies` | `PolicyBoard` |
 * | `graph` | `AccountGraph` |
 * | `findings` | `FindingList`, newest first |
 * | `findings.pcapng` | the raw packets around findings, as a file |
 * | `config` | `ConfigValue[]`: every setting and where it came from, secrets hidden |
 * | `events` | server-sent events: `status` (AgentStatus), `rates` (RateStep), once a second |
 *
 * Errors are `ApiError` with the HTTP status. Names of records are those of design, section 5; all else is camel case. Every text may hold
 * what an attacker wrote (labels, names): readers show it as text, never as markup.
 */

/** A record as in `margay schema`, as far as the page needs to know its fields. */
export interface ApiRecord {
  readonly start_time: string;
  readonly end_time: string;
  readonly proto: string;
  readonly source_ip: string;
  readonly source_port?: number;
  readonly dest_ip: string;
  readonly dest_port?: number;
  readonly icmp_type?: number;
  readonly icmp_code?: number;
  readonly source_type: string;
  readonly source_namespace?: string;
  readonly source_name?: string;
  readonly source_service_account?: string;
  readonly source_labels?: Readonly<Record<string, string>>;
  readonly dest_type: string;
  readonly dest_namespace?: string;
  readonly dest_name?: string;
  readonly dest_service_account?: string;
  readonly dest_labels?: Readonly<Record<string, string>>;
  readonly action: string;
  readonly reason?: string;
  readonly direction?: string;
  readonly egress?: ApiCheck;
  readonly ingress?: ApiCheck;
  readonly forward?: ApiCheck;
  readonly untracked?: ApiCheck;
  readonly prednat?: ApiCheck;
  readonly pending?: unknown;
  readonly packets: number;
  readonly bytes: number;
  readonly packets_by_action?: Readonly<Record<string, number>>;
  readonly observed: string;
  readonly community_id: string;
}

export interface ApiCheck {
  readonly action: string;
  readonly trace: readonly string[];
  readonly rule?: string;
  readonly selected_by?: readonly string[];
}

/** `seen = judged + duplicate + undecoded + lost`, at any moment that it is asked for. All count packets. */
export interface Accounting {
  readonly seen: number;
  readonly judged: number;
  readonly duplicate: number;
  readonly undecoded: number;
  /** Taken from the kernel and not judged: ring full, child died. Part of `seen`. */
  readonly lost: number;
  /** What the kernel dropped before we saw it, where the source can tell or estimate it. Not part of `seen`. */
  readonly droppedByKernel: number;
  readonly isKernelDropEstimated: boolean;
  /** Of `judged`. */
  readonly allow: number;
  readonly deny: number;
  readonly unpoliced: number;
  readonly uncertain: number;
  readonly bytes: number;
  readonly undecodedByReason: Readonly<Record<string, number>>;
  readonly lostByReason: Readonly<Record<string, number>>;
}

export interface SourceStatus {
  /** `cap:eth0`, `tcpdump:any`, `file:a.pcap`, `stdin`. */
  readonly name: string;
  readonly state: 'starting' | 'running' | 'restarting' | 'ended' | 'failed';
  /** Why it is not running. */
  readonly trouble?: string;
  readonly restarts: number;
  readonly seen: number;
  readonly pid?: number;
}

export type BannerKind =
  | 'loss'
  | 'stale-identity'
  | 'stale-policy'
  | 'capture-down'
  | 'compile-failed'
  | 'flow-log'
  | 'evicted';

/** Something that makes answers weaker; shown on top of every view. */
export interface Banner {
  readonly kind: BannerKind;
  /** A sentence: what, since when, what to do. */
  readonly text: string;
  readonly since: string;
}

export interface AgentStatus {
  readonly version: string;
  readonly node: string | null;
  readonly startedAt: string;
  readonly now: string;
  readonly isReady: boolean;
  readonly generation: {
    readonly number: number;
    readonly publishedAt: string;
    /** Compiled as a whole, or written into the tables of the generation before: labels of accounts and namespaces, pods. */
    readonly how: 'compiled' | 'written';
    /** From the changed input to its tables, to a thousandth where it is less than ten. */
    readonly compileMs: number;
    readonly endpoints: number;
    readonly localEndpoints: number;
    readonly policies: number;
    readonly tiers: number;
    readonly rules: number;
    readonly warnings: number;
  };
  readonly policySource: { readonly name: string; readonly isInSync: boolean; readonly trouble?: string };
  readonly identitySource: {
    readonly name: string;
    readonly revision: number;
    readonly lagMs: number;
    readonly isStale: boolean;
    readonly trouble?: string;
  };
  readonly sources: readonly SourceStatus[];
  readonly accounting: Accounting;
  readonly activeFlows: number;
  readonly evictedFlows: number;
  readonly findings: { readonly leak: number; readonly blocked: number };
  readonly eventLoopLagMs: number;
  readonly memoryBytes: number;
  readonly banners: readonly Banner[];
}

/** Packets of one second, by verdict. */
export interface RateStep {
  /** Whole seconds since 1970. */
  readonly time: number;
  readonly allow: number;
  readonly deny: number;
  readonly unpoliced: number;
  readonly uncertain: number;
  readonly undecoded: number;
  readonly lost: number;
}

export interface RateSeries {
  readonly steps: readonly RateStep[];
}

/** One connection that is followed or was, with the generation that judged its newest packet. */
export interface FlowEntry {
  readonly id: string;
  readonly isOpen: boolean;
  readonly generation: number;
  readonly finding?: 'leak' | 'blocked';
  readonly record: ApiRecord;
}

export interface FlowPage {
  readonly flows: readonly FlowEntry[];
  /** Pass as `before` for the next page. */
  readonly next?: string;
  /** How many the filter matches in what is kept. */
  readonly matched: number;
  readonly kept: number;
}

export interface FlowDetail extends FlowEntry {
  /** The chain as steps, in the order they ran. */
  readonly steps: readonly ExplainStep[];
  /** What `margay explain` prints, without colour. */
  readonly text: string;
}

export interface ExplainStep {
  readonly check: string;
  readonly tier: string;
  readonly policy: string;
  readonly action: string;
  /** -1 at the end of a tier. */
  readonly rule: number;
  readonly isDeciding: boolean;
  /** `file:line` and the text of the lines around it, where the source is a file. */
  readonly source?: string;
  readonly snippet?: string;
}

export interface PolicyBoard {
  readonly generation: number;
  readonly tiers: readonly {
    readonly name: string;
    readonly order: number | null;
    readonly policies: readonly PolicyHits[];
  }[];
}

export interface PolicyHits {
  /** `np:prod/web`, `gnp:base`, staged `snp:…`. */
  readonly name: string;
  readonly order: number | null;
  readonly isStaged: boolean;
  readonly source?: string;
  readonly rules: readonly {
    readonly direction: 'ingress' | 'egress';
    /** -1: the end of the tier, attributed to this policy. */
    readonly index: number;
    readonly action: string;
    readonly source?: string;
    readonly packets: number;
    readonly bytes: number;
  }[];
}

export interface AccountGraph {
  readonly nodes: readonly {
    /** `prod/web`, or `net:outside`, `ns:NAME`, `hep:NAME`. */
    readonly id: string;
    readonly kind: 'account' | 'outside' | 'network-set' | 'host';
    readonly pods: number;
  }[];
  readonly edges: readonly {
    readonly from: string;
    readonly to: string;
    /** Connections by verdict; `leaking` are denied ones that were answered, `blocked` allowed ones that never were. */
    readonly allowed: number;
    readonly denied: number;
    readonly leaking: number;
    readonly blocked: number;
    readonly unpoliced: number;
    readonly uncertain: number;
    readonly bytes: number;
    /** `tcp/5432`, at most 8, the busiest first. */
    readonly ports: readonly string[];
  }[];
}

export interface Finding {
  readonly id: string;
  readonly kind: 'leak' | 'blocked';
  readonly time: string;
  readonly flowId: string;
  readonly record: ApiRecord;
  readonly rule?: string;
  /** A sentence: the likely cause. */
  readonly cause: string;
  /** Sentences: what was seen, with packet numbers. */
  readonly evidence: readonly string[];
  /** True when packets were lost in the window, so that the finding may be wrong. */
  readonly isWeak: boolean;
}

export interface FindingList {
  readonly findings: readonly Finding[];
  readonly total: number;
}

export interface ConfigValue {
  readonly key: string;
  readonly value: unknown;
  /** `flag --listen`, `environment MARGAY_LISTEN`, `file margay.yaml:3`, `default`. */
  readonly from: string;
}

export interface ApiError {
  readonly error: string;
}
