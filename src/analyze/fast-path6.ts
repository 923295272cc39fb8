/**
 * The part of the fast path that IPv6 takes: frames that the scans of IPv4 have put aside are read into columns of their own and judged
 * in the same loops (match/plain6.ts). Its loops are made when the first such frame comes.
 */
import type { Counters } from '../match/counters.ts';
import { createPlainJudge, foldPlainCounts, type PlainJudge } from '../match/plain.ts';
import { layOutDirect } from '../match/plain-direct.ts';
import { createLoops6 } from '../match/plain6.ts';
import { BATCH_RECORDS, type RecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import {
  createPlain6Columns,
  createPlain6Scan,
  type Plain6Columns,
  type Plain6Scan,
  readPlain6,
} from '../wire/plain6.ts';

/**
 * From so many packets on a capture is long: copies of the tables in another form, which take some 10 ms to lay out, are then worth it. A script
 * judges so many packets meanwhile.
 */
export const LONG_FROM_PACKETS = 131_072;

export class FastPath6 {
  readonly #tables: Tables;
  readonly columns: Plain6Columns;
  /** Whether the loops are to have the direct table, where there is one, and whether they may get it yet. */
  #isDirect: boolean;
  #isShort: boolean;
  #packets = 0;
  #judge: PlainJudge | undefined;
  /** Without that table, once there is one; what it counted is not folded yet. */
  #shortJudge: PlainJudge | undefined;
  #scan: Plain6Scan | undefined;

  /** `form`: with the direct table (`script`), or without it (`search`); else with it where the capture turns out long. */
  constructor(tables: Tables, form?: 'script' | 'search') {
    this.#tables = tables;
    this.#isShort = form === undefined;
    this.#isDirect = form === 'script';
    this.columns = createPlain6Columns(BATCH_RECORDS);
  }

  get judge(): PlainJudge {
    if (this.#judge === undefined) {
      const direct = this.#isDirect ? layOutDirect(this.#tables) : undefined;
      this.#judge = createPlainJudge(this.#tables, createLoops6(this.#tables, this.columns, direct));
    }
    return this.#judge;
  }

  /** Fills the columns from the first `count` rows of `batch` that `others` lists; places are indices in that list. */
  takeRows(
    { view, offsets, capturedBytes, wireBytes, linkTypes }: RecordBatch,
    others: Int32Array,
    count: number,
  ): void {
    readPlain6(this.columns, view, offsets, capturedBytes, wireBytes, linkTypes, others, count);
  }

  /** The same from Ethernet records of an ordinary pcap file at the positions in `others`. */
  takeRecords(view: DataView, others: Int32Array, count: number): void {
    this.#scan ??= createPlain6Scan(this.columns);
    this.#scan(view, others, count);
  }

  /** Ends a batch: calls `each` with the places of the frames that are left, those that need the full path, and those that are not plain. */
  finish(each: (place: number) => void): void {
    const { count, places, rest, restCount } = this.columns;
    if (count > 0) {
      const { side, sideCount } = this.judge;
      for (let i = 0; i < sideCount; i++) each(places[side[i]!]!);
    }
    for (let i = 0; i < restCount; i++) each(rest[i]!);
    this.#note(count);
  }

  #note(packets: number): void {
    this.#packets += packets;
    if (!this.#isShort || this.#packets < LONG_FROM_PACKETS) return;
    this.#isShort = false;
    this.#isDirect = true;
    this.#shortJudge = this.#judge;
    this.#judge = undefined;
  }

  fold(counters: Counters): void {
    if (this.#shortJudge !== undefined) foldPlainCounts(this.#shortJudge, counters);
    if (this.#judge !== undefined) foldPlainCounts(this.#judge, counters);
  }
}
