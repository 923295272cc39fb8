/**
 * Tables whose owners of addresses change while they are in use: each change of an identity is some stores in the buffer (analyze/live-owners.ts),
 * which the capture processes make in their copies, in the same order.
 *
 * The stores of some milliseconds go together. Where the tables cannot follow any more, new ones are asked for.
 */
import { LiveOwners } from '../analyze/live-owners.ts';
import type { Plan } from '../compile/plan.ts';
import type { Change } from '../identity/keys.ts';
import type { IdentityTable } from '../identity/table.ts';
import { checksumWords } from '../tables/checksum.ts';
import { HEADER_CHECKSUM, HEADER_LOCAL_NODE } from '../tables/layout.ts';
import type { LiveData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import type { OwnerChange } from './engine.ts';

const TOGETHER_MS = 10;

export class LiveTables {
  readonly #owners: LiveOwners;
  readonly #words: Int32Array;
  readonly #generation: number;
  readonly #send: (change: OwnerChange) => void;
  #stores: number[] = [];
  #addresses: number[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Gives the addresses of `tables`, which are nobody's yet, their owners in `source`, and makes the checksum fit again. */
  constructor(
    tables: Tables,
    data: LiveData,
    plan: Plan,
    source: IdentityTable,
    generation: number,
    send: (change: OwnerChange) => void,
  ) {
    this.#words = tables.words;
    this.#generation = generation;
    this.#send = send;
    this.#owners = new LiveOwners(tables, data, plan, source);
    this.#words[HEADER_CHECKSUM] = checksumWords(this.#words, HEADER_LOCAL_NODE);
    this.#owners.onStore = (first, count) => {
      for (let word = first; word < first + count; word++) this.#stores.push(word, this.#words[word]!);
    };
    this.#owners.onOwner = (version, words, at) => {
      this.#addresses.push(version, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    };
  }

  /** Something came that these tables know nothing like. */
  get isOutdated(): boolean {
    return this.#owners.isOutdated;
  }

  /** After the reader applied it to the source. */
  apply(change: Change): void {
    this.#owners.apply(change);
    if (this.#stores.length > 0) this.#timer ??= setTimeout(() => this.#flush(), TOGETHER_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    this.#timer = undefined;
    const stores = Int32Array.from(this.#stores);
    const addresses = Int32Array.from(this.#addresses);
    this.#stores = [];
    this.#addresses = [];
    this.#send({ generation: this.#generation, stores, addresses });
  }
}
