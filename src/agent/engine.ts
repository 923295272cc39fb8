/**
 * Between the two halves of the agent: the engine (capture children, rings, judging) and the main process around it (policies,
 * identities, HTTP, metrics, flow log). Types only; `supervisor.ts` makes the engine, `agent.ts` uses it.
 *
 *   agent.ts ── publish(tables) ──► engine ──► keeper ──► capture children (cap | tcpdump | file | stdin)
 *      ▲                              │
 *      └──── EngineEvents ◄───────────┘   a few times a second: totals, rule hits, flows, findings
 */
import type { ConnectionRecord } from '../analyze/connections.ts';
import type { Accounting, Finding, SourceStatus } from './api.ts';

/** Where packets come from. */
export type EngineSource =
  | { readonly kind: 'cap' | 'tcpdump'; readonly interfaceName: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'stdin' };

/** What `createEngine(options: EngineOptions, events: EngineEvents): Promise<CaptureEngine>` of supervisor.ts is asked for. Nothing is captured before the first `publish`. */
export interface EngineOptions {
  readonly sources: readonly EngineSource[];
  /** BPF filter of live sources; empty = everything. */
  readonly filter: string;
  /** Bytes of each packet that live sources look at. */
  readonly snapBytes: number;
  /** Bytes of the ring between a child's capture and its judging thread. */
  readonly ringBytes: number;
  /** Kernel memory for the packets of each interface. */
  readonly captureBytes: number;
  /** Children that share the flows of one live source. */
  readonly splits: number;
  /** Connections followed at one time, and entries of connection tracking. */
  readonly flowEntries: number;
  readonly conntrackEntries: number;
  readonly capturePoint: 'unknown' | 'veth' | 'host';
  /** Whether copies of a packet within 50 ms are left out: by default for `any`, where they are the rule. */
  readonly isDeduplicating: boolean | undefined;
  /** Bytes of raw packets kept around findings. */
  readonly findingsBytes: number;
}

/** What a flow has become since it was last told of; the record holds its totals, not the difference. */
export interface FlowUpdate {
  /** Stable for the life of the flow: child number and number within it. */
  readonly id: string;
  readonly isOpen: boolean;
  readonly generation: number;
  readonly record: ConnectionRecord;
  readonly finding?: 'leak' | 'blocked';
}

/**
 * Packets and bytes of one rule of one generation since the last report. `rule` is a step of those tables (SECTION_STEPS), as `analyze/counters.ts`
 * names them; packets that no step decided have -1 - index into `otherPackets` of match/counters.ts (verdict * REASON_COUNT + reason).
 */
export interface RuleHits {
  readonly generation: number;
  readonly hits: readonly { readonly rule: number; readonly packets: number; readonly bytes: number }[];
}

export interface EngineEvents {
  /** Opened, changed or closed; the same flow at most a few times a second. */
  onFlows(updates: readonly FlowUpdate[]): void;
  onRuleHits(hits: RuleHits): void;
  onFinding(finding: Finding): void;
  /** A child's state changed. */
  onSources(sources: readonly SourceStatus[]): void;
  /** One line for the log, at the level given; rate limited by its sender. */
  onLog(level: 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** All sources that end (file, standard input) have ended, and everything they had is judged and reported. */
  onEnd(): void;
}

/** Owners of addresses that changed, in the terms of tables/live.ts. */
export interface OwnerChange {
  readonly generation: number;
  /** Words to store in the buffer of that generation, in this order: offset in words and value, in pairs. */
  readonly stores: Int32Array;
  /** Five words each: version (4 or 6) and address words of those whose past is to be forgotten (analyze/owner-changes.ts). */
  readonly addresses: Int32Array;
}

/** How tables came to be, where it matters to who is given them. */
export interface TablesOrigin {
  /** They were written into those of the generation before: first word, how many, and the words themselves, again and again. */
  readonly runs?: Int32Array | undefined;
  /** They will be written to: one word, the newest generation that began to be. Two buffers take turns. */
  readonly begun?: SharedArrayBuffer | undefined;
}

export interface CaptureEngine {
  /** Hands a finished buffer, or what was written to it, to every child; they take it between two batches. Resolves when all that run judge by it. */
  publish(tables: SharedArrayBuffer, generation: number, origin?: TablesOrigin): Promise<void>;
  /** Applies changes of owners to the tables of `change.generation`; those of an older generation are ignored. */
  setOwners(change: OwnerChange): void;
  /** While true, verdicts of policy are `stale-identity`. */
  setStale(isStale: boolean): void;
  accounting(): Accounting;
  sources(): readonly SourceStatus[];
  /** Flows followed now, and those given up for want of room. */
  flows(): { readonly active: number; readonly evicted: number };
  /** The raw packets around findings, as a pcapng file in memory. */
  findingsCapture(): Promise<Uint8Array>;
  /** Stops capturing, judges what is in the rings, reports the rest, and resolves with the final accounting within `limitMs`. */
  stop(limitMs: number): Promise<Accounting>;
}
