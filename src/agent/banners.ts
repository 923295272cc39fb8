/** What makes answers weaker, since when, and what to do: banners on the page, reasons of `/readyz`. */
import type { Banner, BannerKind } from './api.ts';

/** Loss is shown for so long after the last one. */
export const LOSS_SHOWN_MS = 60_000;

export class Banners {
  readonly #since = new Map<BannerKind, { text: string; since: string }>();
  readonly #now: () => number;

  /** `now`: milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Shows the banner with this text, from when it was first shown; undefined takes it away. */
  set(kind: BannerKind, text: string | undefined): void {
    if (text === undefined) {
      this.#since.delete(kind);
      return;
    }
    const known = this.#since.get(kind);
    if (known === undefined) this.#since.set(kind, { text, since: new Date(this.#now()).toISOString() });
    else known.text = text;
  }

  has(kind: BannerKind): boolean {
    return this.#since.has(kind);
  }

  list(): Banner[] {
    return [...this.#since].map(([kind, { text, since }]) => ({ kind, text, since }));
  }
}
