/**
 * Where identities come from: one interface, two stores.
 *
 * The **embedded** store is manifests, whose pods own their addresses always, and an identities file (file.ts), which knows times. The other is
 * **Redis** (redis.ts), which knows the present and what changes. Compiler and packet path see neither: they see pods with addresses and
 * spans (overlay.ts) and, later, which class an address has (tables/live.ts).
 */
import type { StringMap } from '../model/resources.ts';
import type { IdentityRecord } from './record.ts';

/** All that a store knows at one time. */
export interface IdentitySet {
  readonly records: readonly IdentityRecord[];
  /** Labels of accounts by `namespace/name`, and of namespaces by name: those that the store knows by themselves, without a pod. */
  readonly accounts: ReadonlyMap<string, StringMap>;
  readonly namespaces: ReadonlyMap<string, StringMap>;
  /** True if what the store does not know is not there: the pods of manifests then own no addresses. */
  readonly isWhole: boolean;
}

export interface IdentityStore {
  /** What the store knows. Throws an `Error` that names file or host. */
  read(): Promise<IdentitySet>;
  close(): Promise<void>;
}
