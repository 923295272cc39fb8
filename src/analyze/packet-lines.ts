/** Lines of `--packets` in the order of packets, though verdicts of fragments come when their datagram is whole. */
import type { FlowRecord } from './record.ts';

/** One line of `--packets`: what one packet has of a record. */
export interface PacketRecord extends Partial<FlowRecord> {
  /** From 1, over all captures in the order given. */
  packet: number;
  time: string;
  /** Its state in the connection tracking of the node that decided (CT_STATE_NAMES); absent when stateless. */
  state?: string;
  action: string;
  bytes: number;
}

/** Lines in the order of packets: one that must wait holds back those behind it. Every packet has one line, from number 1 on. */
export class LineQueue<T> {
  readonly #print: (line: T) => void;
  readonly #ready = new Map<number, T>();
  #next = 1;

  constructor(print: (line: T) => void) {
    this.#print = print;
  }

  put(packet: number, make: () => T): void {
    if (packet === this.#next) {
      this.#print(make());
      this.#next++;
    } else {
      this.#ready.set(packet, make());
    }
    for (let line = this.#ready.get(this.#next); line !== undefined; line = this.#ready.get(this.#next)) {
      this.#ready.delete(this.#next);
      this.#next++;
      this.#print(line);
    }
  }
}
