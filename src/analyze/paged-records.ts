/**
 * Small records of one length by number, in a temporary file of which a few pages are in memory: as many as there are packets, and
 * written mostly in order. Numbers count from 0; what was never written reads as zeros.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PAGE_RECORDS = 65_536;
const PAGES_MAX = 4;

interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  isDirty: boolean;
}

export class PagedRecords {
  readonly #recordBytes: number;
  /** In the order of their last use. */
  readonly #pages = new Map<number, Page>();
  #folder: string | undefined;
  #descriptor = -1;

  constructor(recordBytes: number) {
    this.#recordBytes = recordBytes;
  }

  /** Where record `number` lies; good until the next call. */
  at(number: number, isWrite: boolean): { readonly view: DataView; readonly offset: number } {
    const index = Math.floor(number / PAGE_RECORDS);
    const page = this.#page(index);
    if (isWrite) page.isDirty = true;
    return { view: page.view, offset: (number - index * PAGE_RECORDS) * this.#recordBytes };
  }

  /** Closes and removes the file. Any number of times. */
  close(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor);
    this.#descriptor = -1;
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #page(index: number): Page {
    const known = this.#pages.get(index);
    if (known !== undefined) {
      this.#pages.delete(index);
      this.#pages.set(index, known);
      return known;
    }
    if (this.#pages.size >= PAGES_MAX) this.#putAway();
    const bytes = new Uint8Array(PAGE_RECORDS * this.#recordBytes);
    if (this.#descriptor >= 0) {
      const start = index * bytes.length;
      for (let at = 0; at < bytes.length; ) {
        const count = readSync(this.#descriptor, bytes, at, bytes.length - at, start + at);
        if (count === 0) break;
        at += count;
      }
    }
    const page = { bytes, view: new DataView(bytes.buffer), isDirty: false };
    this.#pages.set(index, page);
    return page;
  }

  #putAway(): void {
    const [index, page] = this.#pages.entries().next().value!;
    this.#pages.delete(index);
    if (!page.isDirty) return;
    if (this.#descriptor < 0) {
      this.#folder = mkdtempSync(join(tmpdir(), 'margay-'));
      this.#descriptor = openSync(join(this.#folder, 'records'), 'wx+', 0o600);
    }
    const start = index * page.bytes.length;
    for (let at = 0; at < page.bytes.length; ) {
      at += writeSync(this.#descriptor, page.bytes, at, page.bytes.length - at, start + at);
    }
  }
}
