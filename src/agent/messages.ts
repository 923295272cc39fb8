/**
 * What the main process and a capture child say to each other (link.ts).
 *
 *   main ─ start, tables, written, owners, stale, findings, stop ─► child
 *   main ◄─ ready, judging, sources, report, finding, findings, log, done ─ child
 *
 * A child starts to capture when it has both `start` and its first `tables`. Counts do not travel here: they are in the ledger (ledger.ts),
 * which outlives the child.
 */
import type { Finding, SourceStatus } from './api.ts';
import type { EngineSource, FlowUpdate, RuleHits } from './engine.ts';

/** What one child does. Everything that it needs to know to start. */
export interface ChildSpec {
  /** Number among the children, and how many were started under it before. */
  readonly child: number;
  readonly life: number;
  /** Where it keeps its counts; undefined where no directory can be written to. */
  readonly ledgerPath: string | undefined;
  readonly sources: readonly EngineSource[];
  /** BPF, with the share of flows that is this child's; empty = everything. */
  readonly filter: string;
  readonly snapBytes: number;
  readonly ringBytes: number;
  /** Of the kernel, for each interface. */
  readonly captureBytes: number;
  readonly flowEntries: number;
  readonly conntrackEntries: number;
  readonly capturePoint: 'unknown' | 'veth' | 'host';
  readonly isDeduplicating: boolean;
  readonly findingsBytes: number;
  readonly reportMs: number;
  readonly blockedAfterSeconds: number;
}

export type ToChild =
  | { readonly kind: 'start'; readonly spec: ChildSpec }
  /** The tables follow as bytes. */
  | { readonly kind: 'tables'; readonly generation: number; readonly isStale: boolean }
  /** What to write into the tables that it has follows as bytes: runs of words (engine.ts). */
  | { readonly kind: 'written'; readonly generation: number }
  /** `storeWords` int32 of stores follow as bytes, then the addresses. */
  | { readonly kind: 'owners'; readonly generation: number; readonly storeWords: number }
  | { readonly kind: 'stale'; readonly isStale: boolean }
  | { readonly kind: 'findings'; readonly request: number }
  | { readonly kind: 'stop' };

/** Of one source of a child. */
export type ChildSource = Pick<SourceStatus, 'name' | 'state'> & { readonly trouble?: string };

export type FromChild =
  | { readonly kind: 'ready' }
  /** It judges by this generation from now on. */
  | { readonly kind: 'judging'; readonly generation: number }
  | { readonly kind: 'sources'; readonly sources: readonly ChildSource[] }
  | {
      readonly kind: 'report';
      readonly flows: readonly FlowUpdate[];
      readonly hits: readonly RuleHits[];
      /** Packets that each source gave so far. */
      readonly seen: readonly number[];
      /** The ledger's numbers, for where there is no ledger. */
      readonly counts: readonly number[];
    }
  | { readonly kind: 'finding'; readonly finding: Finding }
  /** The capture follows as bytes. Request 0: unasked, before the end. */
  | { readonly kind: 'findings'; readonly request: number }
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields?: Readonly<Record<string, unknown>>;
    }
  /** All sources have ended, everything is judged, counted and reported. */
  | { readonly kind: 'done' };
