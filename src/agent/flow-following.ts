/**
 * Connections as they go: which of them to tell of, a few times a second, and what is wrong with them.
 *
 * The table of connections (analyze/connections.ts) lists those that changed. A turn takes at most UPDATES_MAX of them, oldest change first, so a
 * flood of made-up five-tuples costs a bounded amount a turn; those that close are told at once, while fewer than CLOSED_MAX wait. What is
 * over the bounds is counted, in packets and bytes too, so that sums over flows can be set against the totals. A connection that was told
 * of while it was open is always told of when it closes, if some turns later: others remember it until then.
 */
import { type ConnectionRecord, ConnectionTable, type IdleSeconds } from '../analyze/connections.ts';
import type { Finding } from './api.ts';
import type { FlowUpdate } from './engine.ts';
import { type FlowEnds, flowEnds } from './findings-ring.ts';
import { describeFinding, type FindingLimits, findingKind, isOver } from './flow-findings.ts';

/** Open connections told of in one turn, and closed ones that wait for it. A record takes about a kilobyte of text. */
const UPDATES_MAX = 1000;
const CLOSED_MAX = 2000;
/** Connections that something was found about, remembered while they are open. */
const FOUND_MAX = 65_536;
/** When the record of an idle connection closes (its entry in connection tracking lives as long as the kernel's). */
const IDLE: IdleSeconds = { finished: 5, unanswered: 120, established: 3600, other: 60 };
/** Slots looked at for idle connections in a turn: the whole table in half a minute or so. */
const IDLE_SLOTS_A_TURN = 2048;

/** Connections that closed without being told of one by one. */
export interface Untold {
  flows: number;
  packets: number;
  bytes: number;
}

export interface FollowingOptions extends FindingLimits {
  readonly entries: number;
  /** Start of the ids of its flows. */
  readonly idPrefix: string;
  readonly onFinding: (finding: Finding, ends: FlowEnds | undefined) => void;
  /** Whether packets were lost since a moment, given as text as in records. */
  readonly wasLossySince: (start: string) => boolean;
}

export class FlowFollowing {
  readonly table: ConnectionTable;
  readonly untold: Untold = { flows: 0, packets: 0, bytes: 0 };
  /** When the newest generation came, in milliseconds since 1970; undefined before the second one. */
  generationMs: number | undefined;
  readonly #options: FollowingOptions;
  readonly #found = new Map<number, Finding['kind']>();
  #closed: FlowUpdate[] = [];
  #onFull: ((closed: readonly FlowUpdate[]) => void) | undefined;

  constructor(options: FollowingOptions) {
    this.#options = options;
    this.table = new ConnectionTable(
      (record, serial, generation) => this.#onClose(record, serial, generation),
      options.entries,
      { wants: (packets, bytes) => this.#wants(packets, bytes) },
    );
  }

  /** What there is to tell, closed ones first. */
  turn(nowSeconds: number): FlowUpdate[] {
    this.table.closeIdle(nowSeconds, IDLE_SLOTS_A_TURN, IDLE);
    const updates = this.#closed.splice(0, this.#onFull === undefined ? CLOSED_MAX : this.#closed.length);
    this.table.visitChanged(UPDATES_MAX, (record, serial, generation) => {
      updates.push(this.#update(record, serial, generation, true));
    });
    return updates;
  }

  /** From now on every connection that closes is told of, in portions. */
  tellAll(onFull: (closed: readonly FlowUpdate[]) => void): void {
    this.#onFull = onFull;
  }

  /** Over the bound, a connection that closes and that nobody heard of is only counted: its record would cost more than its packets. */
  #wants(packets: number, bytes: number): boolean {
    if (this.#closed.length < CLOSED_MAX || this.#onFull !== undefined) return true;
    this.untold.flows++;
    this.untold.packets += packets;
    this.untold.bytes += bytes;
    return false;
  }

  #onClose(record: ConnectionRecord, serial: number, generation: number): void {
    const update = this.#update(record, serial, generation, false);
    // (One that is not wanted stays in `found`, which has a bound.)
    this.#found.delete(serial);
    this.#closed.push(update);
    if (this.#onFull === undefined || this.#closed.length < CLOSED_MAX) return;
    this.#onFull(this.#closed);
    this.#closed = [];
  }

  #update(record: ConnectionRecord, serial: number, generation: number, isOpen: boolean): FlowUpdate {
    const id = `${this.#options.idPrefix}-${serial}`;
    const found = this.#found.get(serial) ?? this.#find(record, serial, id, generation);
    const finding = isOver(found, record) ? undefined : found;
    return { id, isOpen, generation, record, ...(finding === undefined ? {} : { finding }) };
  }

  #find(record: ConnectionRecord, serial: number, flowId: string, generation: number): Finding['kind'] | undefined {
    const kind = findingKind(record, this.#options);
    if (kind === undefined || this.#found.size >= FOUND_MAX) return kind;
    this.#found.set(serial, kind);
    const startMs = Date.parse(record.start_time);
    const finding = describeFinding(kind, record, {
      flowId,
      generation,
      isLossy: this.#options.wasLossySince(record.start_time),
      isAcrossGenerations: this.generationMs !== undefined && startMs < this.generationMs,
    });
    this.#options.onFinding(finding, flowEnds(protocolNumber(record.proto), record));
    return kind;
  }
}

function protocolNumber(proto: string): number {
  return PROTOCOLS.get(proto) ?? Number(proto);
}

const PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['icmpv6', 58],
  ['sctp', 132],
  ['udplite', 136],
]);
