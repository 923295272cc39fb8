/**
 * What the kernel dropped before cap saw it, estimated from the counters of the interfaces: packets that went in and out since the capture
 * began, less those seen.
 *
 * The difference also holds what lies in the kernel's ring at that moment, which is not lost. Drops never become fewer, while the ring
 * is empty now and then; so the least difference of the last WINDOW looks is taken, and the estimate only grows:
 *
 *   difference   0  900  40  0  1700  350  352  351 …      estimate 0 0 0 0 0 0 0 350
 *
 * Right on a veth or any interface whose packets are captured one by one. Where the network card or the kernel joins packets on arrival (GRO), the
 * counters count more packets than there are to capture, so it is an estimate. With a filter, or for `any`, nothing can be said.
 */
import { readFileSync } from 'node:fs';

const LOOK_MS = 250;
const WINDOW = 8;
/* Columns of /proc/net/dev behind the name. */
const RX_PACKETS = 1;
const TX_PACKETS = 9;

export class InterfaceCounters {
  readonly #interfaces: readonly string[];
  /** By interface: what the counters said at first and at last; undefined before the interface was there. */
  readonly #first: (number | undefined)[];
  readonly #last: (number | undefined)[];
  readonly #read: () => string;
  readonly #window: number[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #dropped = 0;
  #passedAtStop: number | undefined;

  /** For interfaces that are captured in whole; undefined where no estimate is possible. */
  static of(interfaces: readonly string[], filter: string): InterfaceCounters | undefined {
    if (filter !== '' || interfaces.includes('any')) return undefined;
    // Of this thread's network namespace, which /sys need not show.
    return new InterfaceCounters(interfaces, () => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  }

  /** @param read  the text of /proc/net/dev */
  constructor(interfaces: readonly string[], read: () => string) {
    this.#interfaces = interfaces;
    this.#read = read;
    const counts = this.#counts();
    this.#first = interfaces.map((name) => counts.get(name));
    this.#last = [...this.#first];
  }

  /** Packets dropped so far if `seen` were seen; looks at the counters at most four times a second. */
  dropped(seen: number): number {
    if (performance.now() - this.#lookedAt < LOOK_MS) return this.#dropped;
    this.#lookedAt = performance.now();
    return this.look(seen);
  }

  /** The same at once. */
  look(seen: number): number {
    this.#window.push(Math.max(0, this.#passed() - seen));
    if (this.#window.length > WINDOW) this.#window.shift();
    if (this.#window.length === WINDOW) this.#dropped = Math.max(this.#dropped, Math.min(...this.#window));
    return this.#dropped;
  }

  /** The capture is about to end: what has passed by now and is not seen in the end is dropped. */
  stop(): void {
    this.#passedAtStop ??= this.#passed();
  }

  /** After `stop`, with everything that was seen: the last word, also where a ring that was never empty had made the estimate too large. */
  settle(seen: number): void {
    if (this.#passedAtStop !== undefined) this.#dropped = Math.max(0, this.#passedAtStop - seen);
    this.#lookedAt = Number.POSITIVE_INFINITY;
  }

  #passed(): number {
    const counts = this.#counts();
    let passed = 0;
    for (const [index, name] of this.#interfaces.entries()) {
      const now = counts.get(name);
      const before = this.#last[index];
      if (now !== undefined) {
        this.#first[index] ??= now;
        // An interface that was made anew counts from 0.
        if (before !== undefined && now < before) this.#first[index] = this.#first[index]! - before;
        this.#last[index] = now;
      }
      passed += (this.#last[index] ?? 0) - (this.#first[index] ?? 0);
    }
    return passed;
  }

  /** Packets in and out by interface. */
  #counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const line of this.#read().split('\n')) {
      const [, name, numbers] = /^\s*(\S+):\s*(.*)$/.exec(line) ?? [];
      if (name === undefined || numbers === undefined) continue;
      const columns = numbers.split(/\s+/).map(Number);
      counts.set(name, columns[RX_PACKETS]! + columns[TX_PACKETS]!);
    }
    return counts;
  }
}
