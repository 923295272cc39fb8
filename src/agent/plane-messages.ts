/** What the thread of the policies (plane-worker.ts) and the main process (policies.ts) tell each other. */
import type { Dataplane } from '../model/flow.ts';
import type { ApiRecord, ExplainStep } from './api.ts';
import type { OwnerChange, RuleHits } from './engine.ts';

/** What the thread is started with. */
export interface PlaneOptions {
  readonly filename: readonly string[];
  readonly recursive: boolean;
  readonly strict: boolean;
  readonly permissive: boolean;
  readonly asIs: boolean;
  readonly node: string | undefined;
  readonly dataplane: Dataplane;
  readonly kubernetes: boolean;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly redis: string | undefined;
  readonly cluster: string;
  readonly verifyKey: string | undefined;
  readonly capturePoint: 'unknown' | 'veth' | 'host';
  /** Of its first generation: one that was restarted goes on counting. */
  readonly firstGeneration: number;
}

export interface BoardRule {
  readonly direction: 'ingress' | 'egress';
  /** -1: the end of the tier. */
  readonly index: number;
  readonly action: string;
  readonly source?: string;
}

export interface BoardPolicy {
  readonly name: string;
  readonly order: number | null;
  readonly isStaged: boolean;
  readonly source?: string;
  /** Equal for policies of the same rules: hits of one that was changed start anew. */
  readonly digest: string;
  readonly rules: readonly BoardRule[];
}

export interface BoardTier {
  readonly name: string;
  readonly order: number | null;
  readonly policies: readonly BoardPolicy[];
}

/** Tables that are ready, and what is to be said of them. */
export interface Generation {
  readonly number: number;
  readonly buffer: SharedArrayBuffer;
  /** Written into the tables of the generation before (labels, pods), or compiled as a whole. */
  readonly how: 'compiled' | 'written';
  /** The words that were written: `TablesChange` of engine.ts. */
  readonly runs?: Int32Array;
  /** `TablesOrigin.begun` of engine.ts, where the buffer will be written to again. */
  readonly begun?: SharedArrayBuffer;
  /** From what was read to tables. */
  readonly compileMs: number;
  readonly endpoints: number;
  readonly localEndpoints: number;
  readonly policies: number;
  readonly selectors: number;
  readonly tiers: number;
  readonly rules: number;
  /** All of them, and the first few as lines. */
  readonly warnings: number;
  readonly warningLines: readonly string[];
  /** Pods by `namespace/account`; absent where they are those of the generation before. */
  readonly accountPods?: readonly (readonly [string, number])[];
}

export interface PolicyStatus {
  readonly name: string;
  readonly isInSync: boolean;
  /** Why what is in use may be old. */
  readonly trouble?: string;
  /** The input is there and refused, or the compiler failed; the last good tables stay. */
  readonly isRefused: boolean;
}

export interface IdentityStatus {
  readonly name: string;
  readonly revision: number;
  /** Changes that are known to be there and not applied. */
  readonly lag: number;
  /** Since the store last confirmed what is in use; 0 where nothing can grow old. */
  readonly ageMs: number;
  readonly trouble?: string;
  readonly resyncs: Readonly<Record<string, number>>;
}

export interface Explained {
  readonly generation: number;
  readonly steps: readonly ExplainStep[];
  readonly text: string;
}

/** From the thread. */
export type PlaneReport =
  | { readonly kind: 'generation'; readonly generation: Generation }
  | { readonly kind: 'owners'; readonly change: OwnerChange }
  | { readonly kind: 'policy'; readonly status: PolicyStatus }
  | { readonly kind: 'identity'; readonly status: IdentityStatus }
  /** JSON of the board with its hits. */
  | { readonly kind: 'board'; readonly id: number; readonly json: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'explained'; readonly id: number; readonly answer: Explained | undefined; readonly error?: string }
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields?: Readonly<Record<string, unknown>>;
    };

/** To the thread. */
export type PlaneOrder =
  | { readonly kind: 'reload' }
  | { readonly kind: 'hits'; readonly hits: RuleHits }
  | { readonly kind: 'board'; readonly id: number }
  | { readonly kind: 'explain'; readonly id: number; readonly record: ApiRecord }
  | { readonly kind: 'stop' };
