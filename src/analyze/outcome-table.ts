/**
 * Open connections of a verification by their five-tuple, both directions one: `connections.ts` gathers what a record needs, this
 * gathers evidence. The same rules say when a five-tuple starts anew.
 *
 * At most `capacity` are open; then the longest idle of a few is closed early, and counted. A closed connection is handed on once none
 * of its packets waits to be seen elsewhere any more (cross-capture.ts).
 */
import { icmpPair } from '../conntrack/key.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../model/flow.ts';
import { VERIFY_CONNECTIONS_MAX } from '../model/limits.ts';
import {
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_ICMP_ID,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
} from '../wire/record.ts';
import { isLowerEnd, startsAnew } from './five-tuple.ts';
import type { Connection } from './outcome.ts';

const EVICTION_CANDIDATES = 16;

interface Entry {
  readonly connection: Connection;
  readonly fromLower: boolean;
}

export class OutcomeTable {
  evicted = 0;
  readonly #entries = new Map<string, Entry>();
  #sweep: MapIterator<[string, Entry]> = this.#entries.entries();
  readonly #capacity: number;
  readonly #onClosed: (connection: Connection) => void;
  #key = '';
  #fromLower = false;

  /** @param onClosed  called once with each connection that is over and of which no packet waits */
  constructor(onClosed: (connection: Connection) => void, capacity: number = VERIFY_CONNECTIONS_MAX) {
    this.#onClosed = onClosed;
    this.#capacity = capacity;
  }

  /**
   * The open connection that the packet at `records[at]` belongs to, and whether it goes to who opened it; undefined: `open` one.
   *
   * @param seconds  its time; NaN for a quoted packet, which starts nothing anew
   */
  find(
    records: Int32Array,
    at: number,
    seconds: number,
  ): { readonly connection: Connection; readonly isReply: boolean } | undefined {
    this.#setKey(records, at);
    const entry = this.#entries.get(this.#key);
    if (entry === undefined) return undefined;
    if (isAnew(entry.connection, records, at, seconds)) {
      this.#close(this.#key, entry.connection);
      return undefined;
    }
    return { connection: entry.connection, isReply: entry.fromLower !== this.#fromLower };
  }

  /** Puts a connection under the key of its first packet, which `find` has not found. */
  open(connection: Connection, records: Int32Array, at: number): void {
    this.#setKey(records, at);
    if (this.#entries.size >= this.#capacity) this.#evict();
    this.#entries.set(this.#key, { connection, fromLower: this.#fromLower });
  }

  /** A packet of the connection waits no more. */
  release(connection: Connection): void {
    connection.waiting--;
    if (connection.isClosed && connection.waiting === 0) this.#onClosed(connection);
  }

  closeAll(): void {
    for (const [key, { connection }] of [...this.#entries]) this.#close(key, connection);
  }

  #close(key: string, connection: Connection): void {
    this.#entries.delete(key);
    connection.isClosed = true;
    if (connection.waiting === 0) this.#onClosed(connection);
  }

  /** The longest idle of the next few, round and round. */
  #evict(): void {
    let chosen: [string, Entry] | undefined;
    for (let looked = 0; looked < EVICTION_CANDIDATES; looked++) {
      let next = this.#sweep.next();
      if (next.done === true) {
        // An iterator of its own goes on where it was; a new one would pass all that was deleted before it each time.
        this.#sweep = this.#entries.entries();
        next = this.#sweep.next();
      }
      if (next.done === true) break;
      const [, { connection }] = next.value;
      if (chosen === undefined || connection.endSeconds < chosen[1].connection.endSeconds) chosen = next.value;
    }
    if (chosen === undefined) return;
    this.evicted++;
    chosen[1].connection.isEvicted = true;
    this.#close(chosen[0], chosen[1].connection);
  }

  #setKey(records: Int32Array, at: number): void {
    const protocol = records[at + PACKET_PROTOCOL]!;
    const flags = records[at + PACKET_FLAGS]!;
    let first = 0;
    let second = 0;
    let pair = 0;
    if ((flags & FLAG_L4_PORTS) !== 0) {
      if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
        first = records[at + PACKET_ICMP_ID]!;
        second = first;
        pair = icmpPair(protocol, records[at + PACKET_SRC_PORT]!);
      } else {
        first = records[at + PACKET_SRC_PORT]!;
        second = records[at + PACKET_DST_PORT]!;
      }
    }
    const isLower = isLowerEnd(records, at, first, second);
    const [low, high] = isLower ? [PACKET_SRC, PACKET_DST] : [PACKET_DST, PACKET_SRC];
    this.#fromLower = isLower;
    let key = String.fromCharCode(((flags & FLAG_IPV6) !== 0 ? 256 : 0) | protocol, pair & 0xffff);
    key += String.fromCharCode(isLower ? first : second, isLower ? second : first);
    for (let word = 0; word < 4; word++) {
      const a = records[at + low + word]!;
      const b = records[at + high + word]!;
      key += String.fromCharCode(a >>> 16, a & 0xffff, b >>> 16, b & 0xffff);
    }
    this.#key = key;
  }
}

function isAnew(connection: Connection, records: Int32Array, at: number, seconds: number): boolean {
  if (Number.isNaN(seconds)) return false;
  const { finished, isReset, endSeconds } = connection;
  return startsAnew(records, at, seconds - endSeconds, (finished.originator && finished.responder) || isReset);
}
