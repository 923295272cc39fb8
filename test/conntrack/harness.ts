/** A table with a clock and one node after another: tracks packets the way the packet path does. */
import { removeEntry } from '../../src/conntrack/entries.ts';
import { packetKey } from '../../src/conntrack/key.ts';
import { findEntry } from '../../src/conntrack/lookup.ts';
import type { Conntrack, ConntrackOptions } from '../../src/conntrack/table.ts';
import {
  createConntrack,
  ENTRY_STATUS,
  ENTRY_WORDS,
  LAST_DIRECTION,
  LAST_ENTRY,
  NO_ENTRY,
  STATUS_STATE_MASK,
} from '../../src/conntrack/table.ts';
import { CT_NEW, CT_STATE_NAMES, confirmPacket, trackError, trackPacket } from '../../src/conntrack/track.ts';
import { isIcmpError } from '../../src/wire/quoted.ts';
import { ip, packet, type Segment, type TestPacket, tcpPayload } from './packets.ts';

export class Harness {
  readonly ct: Conntrack;
  nowMs = 1_700_000_000_000;

  constructor(options: ConntrackOptions = {}) {
    this.ct = createConntrack({ capacityEntries: 6400, ...options });
  }

  /** State of the packet on the node, by name; nothing is confirmed. */
  track(given: TestPacket | Uint8Array, node = 1): string {
    const { record, quoted, view } = given instanceof Uint8Array ? packet(given) : given;
    const state = isIcmpError(record, 0)
      ? trackError(this.ct, node, record, 0, quoted, 0, view, this.nowMs)
      : trackPacket(this.ct, node, record, 0, view, this.nowMs);
    return CT_STATE_NAMES[state]!;
  }

  /** The same for a packet that the node's checks accept. */
  accept(given: TestPacket | Uint8Array, node = 1): string {
    const known = given instanceof Uint8Array ? packet(given) : given;
    const state = this.track(known, node);
    if (state === CT_STATE_NAMES[CT_NEW]) confirmPacket(this.ct, node, known.record, 0, known.view, this.nowMs);
    return state;
  }

  get lastEntry(): number {
    return this.ct.last[LAST_ENTRY]!;
  }

  get lastDirection(): number {
    return this.ct.last[LAST_DIRECTION]!;
  }

  /** Entry that the packet belongs to now, or NO_ENTRY; moves nothing. */
  find(bytes: Uint8Array, node = 1): number {
    const { record, view } = packet(bytes);
    if (!packetKey(this.ct.key, node, record, 0, view)) return NO_ENTRY;
    return findEntry(this.ct, record, 0, this.nowMs) >> 1;
  }

  /** Protocol state of the packet's entry, -1 without one. */
  state(bytes: Uint8Array, node = 1): number {
    const entry = this.find(bytes, node);
    return entry === NO_ENTRY ? -1 : this.ct.words[entry * ENTRY_WORDS + ENTRY_STATUS]! & STATUS_STATE_MASK;
  }

  /** Time that the packet's entry has left, in ms. */
  left(bytes: Uint8Array, node = 1): number {
    const entry = this.find(bytes, node);
    return entry === NO_ENTRY ? 0 : this.ct.times[entry]! - this.nowMs;
  }

  remove(bytes: Uint8Array): void {
    removeEntry(this.ct, this.find(bytes));
  }
}

/** Both ends of a TCP connection with their sequence numbers: segments come out in order, and in the window. */
export class Talk {
  readonly harness: Harness;
  readonly client: string;
  readonly server: string;
  readonly ports: readonly [number, number];
  readonly node: number;
  /** Next sequence number of the client, of the server. */
  readonly next: [number, number] = [1000, 5000];

  constructor(
    harness: Harness,
    client = '10.0.0.1',
    server = '10.0.0.2',
    ports: [number, number] = [40_000, 80],
    node = 1,
  ) {
    this.harness = harness;
    this.client = client;
    this.server = server;
    this.ports = ports;
    this.node = node;
  }

  /** A segment of the client (0) or the server (1), with the numbers that are next unless given. */
  segment(side: 0 | 1, flags: number, given: Segment = {}): Uint8Array {
    const other = side === 0 ? 1 : 0;
    const seq = given.seq ?? this.next[side];
    const ack = given.ack ?? ((flags & 16) !== 0 ? this.next[other] : 0);
    const payload = tcpPayload(this.ports[side], this.ports[other], flags, { ...given, seq, ack });
    return ip(side === 0 ? this.client : this.server, side === 0 ? this.server : this.client, 6, payload);
  }

  /** Sends a segment that is accepted, and moves the sender's number past it. */
  send(side: 0 | 1, flags: number, given: Segment = {}): string {
    const state = this.harness.accept(this.segment(side, flags, given), this.node);
    const taken = (given.dataBytes ?? 0) + ((flags >> 1) & 1) + (flags & 1);
    if (given.seq === undefined) this.next[side] = (this.next[side] + taken) >>> 0;
    return state;
  }

  get state(): number {
    return this.harness.state(this.segment(0, 16), this.node);
  }
}
