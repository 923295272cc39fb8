/**
 * The owners of addresses at the time of each packet of a replay.
 *
 * Before a packet is judged, the tables are moved to its time (tables/live.ts). An address that changed its owner has no past: entries of
 * connection tracking and open connections that name it belong to the pod that is gone. They are sought only when a packet of the address
 * comes, since most changes are of addresses that the capture never shows.
 */

import { momentOf } from '../base/time.ts';
import { forgetFlows } from '../conntrack/flows.ts';
import { forgetAddress } from '../conntrack/forget.ts';
import type { Conntrack } from '../conntrack/table.ts';
import type { RecordBatch } from '../packets/source.ts';
import { type OnChange, OwnerTimeline, type TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { FLAG_IPV6, PACKET_DST, PACKET_FLAGS, PACKET_SRC } from '../wire/record.ts';
import type { ConnectionTable } from './connections.ts';

/** Who changes owners by themselves (live-owners.ts), and is to tell which. */
export interface LiveOwnership {
  onOwner: OnChange;
}

export class OwnerChanges {
  readonly #timeline: OwnerTimeline | undefined;
  readonly #conntrack: Conntrack | undefined;
  readonly #connections: ConnectionTable | undefined;
  /** Addresses that changed since a packet of them was last seen. */
  readonly #changed = new Set<number | string>();
  readonly #note = (version: number, words: Int32Array, at: number): void => {
    this.#changed.add(keyAt(version, words, at));
    if (this.#conntrack !== undefined) forgetFlows(this.#conntrack);
  };

  constructor(
    tables: Tables,
    data: TimelineData | undefined,
    live: LiveOwnership | undefined,
    conntrack: Conntrack | undefined,
    connections: ConnectionTable | undefined,
  ) {
    this.#timeline = data === undefined ? undefined : new OwnerTimeline(tables, data);
    if (live !== undefined) live.onOwner = this.#note;
    this.#conntrack = conntrack;
    this.#connections = connections;
  }

  /** Moves to the time of a packet. */
  moveTo(seconds: number, nanos: number): void {
    if (this.#timeline === undefined) return;
    const ms = momentOf(seconds, nanos);
    if (this.#timeline.isBusy(ms, ms)) this.#timeline.moveTo(ms, this.#note);
  }

  /** True if no owner changes while the packets of the batch go by; the tables are then at their time. */
  isQuiet({ seconds, nanos, count }: RecordBatch): boolean {
    if (count === 0 || this.#timeline === undefined) return true;
    this.moveTo(seconds[0]!, nanos[0]!);
    for (let i = 1; i < count; i++) {
      const ms = momentOf(seconds[i]!, nanos[i]!);
      if (this.#timeline.isBusy(ms, ms)) return false;
    }
    return true;
  }

  /** Back to before the first change, where whoever reads the tables next begins. */
  rewind(): void {
    this.#timeline?.moveTo(Number.NEGATIVE_INFINITY, () => {});
  }

  /** Lets the past of the packet's addresses be forgotten where they changed their owners. */
  forget(records: Int32Array, at: number): void {
    if (this.#changed.size === 0) return;
    const version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
    this.#forgetAddress(version, records, at + PACKET_SRC);
    this.#forgetAddress(version, records, at + PACKET_DST);
  }

  #forgetAddress(version: number, records: Int32Array, at: number): void {
    if (!this.#changed.delete(keyAt(version, records, at))) return;
    if (this.#conntrack !== undefined) forgetAddress(this.#conntrack, version, records, at);
    this.#connections?.closeAddress(version, records, at);
  }
}

function keyAt(version: number, words: Int32Array, at: number): number | string {
  return version === 4 ? words[at]! : `${words[at]},${words[at + 1]},${words[at + 2]},${words[at + 3]}`;
}
