/** One whole reading of a shared store: for verbs that judge by the present and end. */
import { createPublicKey } from 'node:crypto';
import { IdentityReader } from './reader.ts';
import type { ReadableStore } from './shared-store.ts';
import { SignatureCheck } from './sign.ts';
import type { IdentitySet, IdentityStore } from './store.ts';
import { SYSTEM_CLOCK } from './system-clock.ts';

/** Trouble of the environment: the store is away, empty, or not to be believed. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code = 'STORE';
}

/** How long a store may take: a data set that is being written is waited for. */
const PATIENCE_MS = 10_000;

export interface OnceOptions {
  readonly store: ReadableStore;
  /** PEM of an Ed25519 public key; without it signatures are not looked at. */
  readonly verifyKey?: string | undefined;
  readonly patienceMs?: number;
  /** Called with each trouble while it is tried again. */
  readonly onTrouble?: (trouble: string) => void;
}

/** What the store says now. Throws `StoreError` with the last trouble when that can't be known in time. Values that were refused are told. */
async function readOnce({ store, verifyKey, patienceMs = PATIENCE_MS, onTrouble }: OnceOptions): Promise<IdentitySet> {
  let trouble = '';
  let failures = 0;
  const reader = new IdentityReader({
    store,
    clock: SYSTEM_CLOCK,
    signatures: signatureCheck(verifyKey),
    onTrouble: (text) => {
      trouble = text;
      onTrouble?.(text);
    },
  });
  const end = SYSTEM_CLOCK.now() + patienceMs;
  while (!reader.isSynced) {
    try {
      await reader.step();
    } catch (error) {
      trouble = error instanceof Error ? error.message : String(error);
      failures++;
      const isOver = SYSTEM_CLOCK.now() > end || (FEW_TRIES.test(trouble) && failures >= TRIES);
      if (HOPELESS.test(trouble) || isOver) throw new StoreError(trouble);
      await SYSTEM_CLOCK.sleep(100);
    }
  }
  const set = reader.table.toSet('(redis)');
  if (set.unknownPods > 0)
    onTrouble?.(
      `${set.unknownPods} addresses belong to pods that the store does not describe; they are taken as owned by nobody`,
    );
  return set;
}

/** The same as a store that is read once and closed (store.ts). */
export function sharedStore(options: OnceOptions): IdentityStore {
  return { read: () => readOnce(options), close: () => options.store.close() };
}

/** What no waiting will mend. */
const HOPELESS = /NOAUTH|WRONGPASS|NOPERM|holds no identities|schema|ENOTFOUND|certificate|self-signed/;

/** What a second try may mend, but not a tenth: a server that restarts, a batch that was written meanwhile. */
const FEW_TRIES = /can't be reached|signature/;
const TRIES = 3;

export function signatureCheck(pem: string | undefined): SignatureCheck | undefined {
  if (pem === undefined) return undefined;
  const key = createPublicKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new StoreError('the key to check signatures with is no Ed25519 key');
  return new SignatureCheck(key);
}
