/**
 * Which flows ended because the capture child that followed them died.
 *
 * Nobody tells of their ends. But ids of flows are `CHILD.LIFE-NUMBER`, and each life of a child is over when the next one tells of a flow: its flows
 * are followed as new ones then. So whoever remembers open flows forgets those of the life before at that moment.
 */
export class FlowLives {
  readonly #lives = new Map<string, string>();

  /** The start of the ids whose flows are over, if `id` is the first one of a new life of its child. */
  over(id: string): string | undefined {
    const end = id.indexOf('-');
    const life = id.slice(0, end + 1);
    const child = id.slice(0, id.indexOf('.'));
    const before = this.#lives.get(child);
    if (before === life) return undefined;
    this.#lives.set(child, life);
    return before;
  }
}
