/**
 * Signatures: who can write to Redis can rename pods, unless the publisher signs and readers check.
 *
 * All entries (owners of addresses, pods, accounts, namespaces) fall into 1 024 buckets by their keys. The publisher signs the digest of each
 * bucket (Ed25519), and after a batch the buckets that it changed, as log entries of kind `sig`. A reader with the public key applies a change
 * only when a signature of its bucket that fits has come; a signature is bound to the epoch and to a revision that never goes back.
 *
 *   digest = SHA-256 of `epoch`, `bucket` and each entry's name and value, in order of names
 *
 * One digest a bucket and not one an entry: signing takes 27 µs and checking 73 µs, which 100 000 entries times over would be seconds.
 * What this does not do: notice that Redis withholds the newest changes. Staleness does (reader.ts).
 */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { type Entry, entryName } from './entries.ts';
import { BUCKETS, bucketOf, type Change, parseRev } from './keys.ts';
import { Refusal } from './record.ts';
import type { IdentityTable } from './table.ts';

/** Entries of each bucket, by name; kept by both sides. */
class Buckets {
  readonly entries: Map<string, string>[] = Array.from({ length: BUCKETS }, () => new Map());

  apply(change: Change): void {
    const bucket = this.entries[bucketOf(change.key)]!;
    if (change.op === 'set') bucket.set(entryName(change), change.value);
    else bucket.delete(change.kind === 'ep' ? `ep ${change.key} ${change.value}` : entryName(change));
  }

  digest(epoch: string, bucket: number, more: readonly Change[] = []): Buffer {
    const entries = new Map(this.entries[bucket]);
    for (const change of more) {
      if (change.op === 'set') entries.set(entryName(change), change.value);
      else entries.delete(change.kind === 'ep' ? `ep ${change.key} ${change.value}` : entryName(change));
    }
    const hash = createHash('sha256').update(JSON.stringify([epoch, bucket]));
    for (const name of [...entries.keys()].sort()) hash.update(JSON.stringify([name, entries.get(name)]));
    return hash.digest();
  }
}

function signedText(digest: Buffer, rev: number): Buffer {
  return Buffer.concat([digest, Buffer.from(`@${rev}`)]);
}

/** The publisher's side: what was published, and the signatures of what a batch changes. */
export class Signer {
  readonly #key: KeyObject;
  #buckets = new Buckets();

  constructor(key: KeyObject) {
    this.#key = key;
  }

  restart(published: Iterable<Entry>): void {
    this.#buckets = new Buckets();
    for (const each of published) this.#buckets.apply(each);
  }

  /** The signatures to publish behind `changes`, which will then have ended at revision `rev`. */
  sign(epoch: string, changes: readonly Change[], rev: number): Change[] {
    for (const change of changes) if (change.kind !== 'sig') this.#buckets.apply(change);
    return [...new Set(changes.map(({ key }) => bucketOf(key)))].map((bucket) => {
      const signature = sign(null, signedText(this.#buckets.digest(epoch, bucket), rev), this.#key).toString('base64');
      return { op: 'set', kind: 'sig', key: String(bucket), value: `${rev} ${signature}` };
    });
  }
}

/** The reader's side. */
export class SignatureCheck {
  readonly #key: KeyObject;
  #buckets = new Buckets();
  #revs: number[] = [];
  #pending: Change[] = [];
  #epoch = '';

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Checks a whole table; what is wrong, or `undefined`. */
  start(table: IdentityTable, epoch: string, signatures: Readonly<Record<string, string>>): string | undefined {
    const buckets = new Buckets();
    for (const change of table.changes()) buckets.apply(change);
    const revs: number[] = new Array<number>(BUCKETS).fill(0);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const signature = signatures[bucket];
      if (signature === undefined && buckets.entries[bucket]!.size === 0) continue;
      const rev = this.#fits(buckets.digest(epoch, bucket), signature ?? '');
      if (rev === undefined) return `bucket ${bucket} has no signature that fits`;
      if (epoch === this.#epoch && rev < (this.#revs[bucket] ?? 0))
        return `bucket ${bucket} went back to an older state`;
      revs[bucket] = rev;
    }
    this.#buckets = buckets;
    this.#revs = revs;
    this.#pending = [];
    this.#epoch = epoch;
    return undefined;
  }

  /** Takes a change; a signature that fits applies those of its bucket that wait. Throws `Refusal` for one that does not. */
  take(table: IdentityTable, epoch: string, change: Change, applied: (change: Change) => void): void {
    if (change.kind !== 'sig') {
      this.#pending.push(change);
      return;
    }
    const bucket = Number(change.key);
    const own = this.#pending.filter(({ key }) => bucketOf(key) === bucket);
    if (!Number.isInteger(bucket) || bucket < 0 || bucket >= BUCKETS) throw new Refusal('a signature of no bucket');
    this.#pending = this.#pending.filter(({ key }) => bucketOf(key) !== bucket);
    const rev = this.#fits(this.#buckets.digest(epoch, bucket, own), change.value);
    if (rev === undefined || rev < this.#revs[bucket]!)
      throw new Refusal(`changes of bucket ${bucket} without a signature that fits`);
    this.#revs[bucket] = rev;
    for (const each of own) {
      this.#buckets.apply(each);
      table.apply(each);
      applied(each);
    }
  }

  /** The revision of a signature that fits. */
  #fits(digest: Buffer, text: string): number | undefined {
    const [rev = '', signature = ''] = text.split(' ');
    if (!/^\d{1,15}$/.test(rev) || !/^[\w+/]{86}==$/.test(signature)) return undefined;
    const number = parseRev(rev);
    return verify(null, signedText(digest, number), this.#key, Buffer.from(signature, 'base64')) ? number : undefined;
  }
}
