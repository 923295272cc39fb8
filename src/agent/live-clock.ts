/**
 * Time that never jumps, for packets that are seen as they come.
 *
 * Connection tracking forgets by the time of packets, so a clock on the wall that is set by a day would end every connection, and one that is set
 * back would keep them for ever. Live packets therefore carry monotonic time: that of the wall when the child started, and what
 * `performance.now` has counted since. What the wall was moved by meanwhile is added where times are shown (`wallOffsetSeconds`).
 */

/** Differences below this are the rate at which two clocks run apart, and delays between packet and now. */
const JUMP_SECONDS = 2;

export class LiveClock {
  /** What packets' own times, which the wall gave, are moved by. */
  #correctionSeconds = 0;
  #lastWallOffset = 0;

  /** Seconds since 1970, monotonic. */
  now(): number {
    return (performance.timeOrigin + performance.now()) / 1000;
  }

  /** Whole seconds that the wall is ahead of `now`; 0 while nobody moved it. */
  wallOffsetSeconds(): number {
    // Not -0, which would show.
    const offset = Math.round(Date.now() / 1000 - this.now()) + 0;
    if (Math.abs(offset - this.#lastWallOffset) >= JUMP_SECONDS) this.#lastWallOffset = offset;
    return this.#lastWallOffset;
  }

  /** Whole seconds to add to a packet's own time, so that it does not jump when the wall does. */
  correctionOf(packetSeconds: number): number {
    const ahead = packetSeconds + this.#correctionSeconds - this.now();
    if (Math.abs(ahead) >= JUMP_SECONDS) this.#correctionSeconds -= Math.round(ahead);
    return this.#correctionSeconds;
  }
}
