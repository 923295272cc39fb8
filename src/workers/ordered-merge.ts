/**
 * What several workers found, in the order in which one worker would have found it.
 *
 * Every input is in ascending order of (tag, tie) by itself. An item may go out when no input can still bring one before it: each
 * other input has a later item waiting, or has promised by its watermark that nothing up to this tag will come. So memory holds what
 * the fastest input is ahead of the slowest, which the feed (feed.ts) bounds.
 *
 * Example: input 0 has 3 and 9 waiting, input 1 has nothing and watermark 5. 3 goes out; 9 waits until input 1 has an item, or a
 * watermark of 9 or more.
 */
export class OrderedMerge<T> {
  readonly #take: (item: T) => void;
  readonly #queues: Queue<T>[];

  constructor(inputs: number, take: (item: T) => void) {
    this.#take = take;
    this.#queues = Array.from({ length: inputs }, () => ({ items: [], head: 0, watermark: Number.NEGATIVE_INFINITY }));
  }

  /** Appends to an input. Among equal tags the lower `tie` goes out first. Nothing is handed on before `drain`. */
  put(input: number, tag: number, tie: number, item: T): void {
    this.#queues[input]!.items.push({ tag, tie, item });
  }

  /** Promises that all items of the input with tags up to `watermark` have been put. */
  promise(input: number, watermark: number): void {
    this.#queues[input]!.watermark = watermark;
  }

  /** Hands on what can go. */
  drain(): void {
    for (;;) {
      const lowest = this.#lowest();
      if (lowest === undefined) return;
      const { tag, item } = lowest.items[lowest.head]!;
      for (const { items, head, watermark } of this.#queues) if (head === items.length && watermark < tag) return;
      lowest.head++;
      if (lowest.head >= 1024 && lowest.head * 2 >= lowest.items.length) {
        lowest.items.splice(0, lowest.head);
        lowest.head = 0;
      }
      this.#take(item);
    }
  }

  /** Items that wait. */
  get waiting(): number {
    return this.#queues.reduce((sum, { items, head }) => sum + items.length - head, 0);
  }

  /** The input whose first item is the lowest of all. */
  #lowest(): Queue<T> | undefined {
    let found: Queue<T> | undefined;
    let best: Tagged<T> | undefined;
    for (const queue of this.#queues) {
      const first = queue.items[queue.head];
      if (first === undefined) continue;
      if (best !== undefined && (first.tag > best.tag || (first.tag === best.tag && first.tie >= best.tie))) continue;
      found = queue;
      best = first;
    }
    return found;
  }
}

interface Tagged<T> {
  readonly tag: number;
  readonly tie: number;
  readonly item: T;
}

interface Queue<T> {
  readonly items: Tagged<T>[];
  head: number;
  watermark: number;
}
