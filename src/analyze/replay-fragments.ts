/**
 * Fragments on their way through a replay: what is known of each waits here until its datagram is whole, or given up.
 *
 * A whole datagram has one verdict for all its parts; of a datagram that stays incomplete each part is judged by itself, by what its own
 * header tells. Both happen at the moment of the packet that makes them so, not of the parts.
 */
import {
  addFragment,
  createReassembler,
  expireFragments,
  type Reassembler,
  type ReassemblyEvents,
} from '../conntrack/reassembly.ts';
import { PACKET_WORDS } from '../wire/record.ts';
import type { Arrival } from './replay-options.ts';

/** A fragment that waits: its arrival, and its packet record. */
export interface WaitingPart extends Arrival {
  readonly record: Int32Array;
}

export interface FragmentEvents {
  /** A datagram is whole: its bytes from the IP header on, those captured and those sent, and its parts in the order they came. */
  readonly whole: (view: DataView, capturedBytes: number, wireBytes: number, parts: readonly WaitingPart[]) => void;
  /** Parts of datagrams that are given up. */
  readonly incomplete: (parts: readonly WaitingPart[]) => void;
}

export class WaitingFragments {
  readonly #reassembler: Reassembler = createReassembler();
  readonly #parts = new Map<number, WaitingPart>();
  readonly #events: ReassemblyEvents;

  constructor({ whole, incomplete }: FragmentEvents) {
    this.#events = {
      complete: (view, capturedBytes, wireBytes, tickets) => whole(view, capturedBytes, wireBytes, this.#take(tickets)),
      incomplete: (tickets) => incomplete(this.#take(tickets)),
    };
  }

  /** A fragment, decoded at `records[0]`; `arrival` is copied. */
  add(arrival: Arrival, records: Int32Array, view: DataView): void {
    this.#parts.set(arrival.packet, { ...arrival, record: records.slice(0, PACKET_WORDS) });
    const timeMs = arrival.seconds * 1000 + arrival.nanos / 1e6;
    addFragment(this.#reassembler, records, 0, view, timeMs, arrival.packet, this.#events);
  }

  /** Gives up all that still waits. */
  finish(): void {
    expireFragments(this.#reassembler, Number.POSITIVE_INFINITY, this.#events);
  }

  #take(tickets: readonly number[]): WaitingPart[] {
    return tickets.map((ticket) => {
      const part = this.#parts.get(ticket)!;
      this.#parts.delete(ticket);
      return part;
    });
  }
}
