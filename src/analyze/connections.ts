/**
 * Connections of a replay: packets of one five-tuple, both directions, gathered into one record each.
 *
 * A connection is opened by its first packet, whose verdict is the connection's; every later packet adds to its counts.
 * ICMP questions and answers share the message's identifier; an ICMP error counts for the connection that it quotes. A record
 * closes when its five-tuple starts anew (a SYN after both sides had finished or one had reset), when it was idle for longer than
 * Linux would remember it, when its shard is full (the longest idle of a few goes, and is counted), or at the end.
 *
 * Keys and counts lie in typed arrays under an open hash; the only thing made a connection is its record.
 *
 * Shards. Connections lie in the 64 shards of connection tracking (conntrack/key.ts, `flowHash`), each with its share of the
 * capacity and a sweep of its own, so that who is evicted hangs on the shard alone and a worker may own any of them. ICMP errors
 * whose quoted connection is not open are a 65th shard, ORPHANS: they belong together by their own addresses, while their
 * evidence belongs to the shard of what they quote. With several workers each hands its orphans (`orphanOf`) to
 * the one table that holds that shard (`addOrphan`), in the order of packets.
 */
import { flowHash, icmpPair } from '../conntrack/key.ts';
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
  VERDICT_NAMES,
} from '../model/flow.ts';
import { isIcmpError } from '../wire/quoted.ts';
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
  PACKET_TCP_FLAGS,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../wire/record.ts';
import { communityId } from './community-id.ts';
import { IDLE_SECONDS, isLowerEnd, startsAnew } from './five-tuple.ts';
import type { FlowRecord } from './record.ts';

/** Connections open at one time, over all shards. A record is about a kilobyte, so this keeps a replay under its memory bound. */
const CONNECTIONS_MAX = 65_536;
const SHARDS = 64;
/** The shard of ICMP errors about connections that are not open. */
const ORPHANS = 64;
/** Slots that an eviction looks at. */
const EVICTION_SLOTS = 16;

/** What the capture shows of the other side. */
export type Observed = 'established' | 'answered' | 'refused' | 'no-answer' | 'midstream';

/** A flow record with what its packets add. */
export interface ConnectionRecord extends FlowRecord {
  start_time: string;
  end_time: string;
  /** Number of its first packet, from 1, over all captures in the order given. */
  first_packet: number;
  packets: number;
  bytes: number;
  /** Packets by verdict, where they differ from the first one's. */
  packets_by_action?: Record<string, number>;
  observed: Observed;
  community_id: string;
}

/* Words of a connection's key: protocol and version, lower end, higher end, ports; and of its state. */
const KEY_WORDS = 12;
const SEEN_REPLY = 1;
const SEEN_SYN_ACK = 2;
const SEEN_REFUSAL = 4;
const SEEN_FIN_ORIGINATOR = 8;
const SEEN_FIN_RESPONDER = 16;
const SEEN_RESET = 32;
const OPENED_MIDSTREAM = 64;
const ACKNOWLEDGED = 128;
const FROM_LOWER = 256;
/** The opener acknowledges something, so there was an answer, captured or not. */
const SEEN_ACK = 512;

/** Seconds after which an idle connection is closed: TCP that ended, was never answered, goes on; everything else. */
export interface IdleSeconds {
  readonly finished: number;
  readonly unanswered: number;
  readonly established: number;
  readonly other: number;
}

/** `serial` and `generation` of a table that is followed, else 0: see `ConnectionTable.visitChanged`. */
export type CloseConnection = (record: ConnectionRecord, serial: number, generation: number) => void;

/** Who follows the connections of a table. */
export interface Follower {
  /** Asked before the record of a connection that closes unvisited is made; false = it is not wanted, and `close` is not called. */
  wants(packets: number, bytes: number): boolean;
}

/** What a table that is followed keeps beside each slot. */
interface Following {
  readonly follower: Follower;
  /** Number of the connection from 1, in the order in which they opened. */
  readonly serials: Float64Array;
  /** Generation of the tables that judged its newest packet. */
  readonly generations: Float64Array;
  /** 1 = it stands in `list`, which holds `count` slots: those that changed since they were last visited. */
  readonly isChanged: Uint8Array;
  /** 1 = it was visited: whoever heard of it hears of its end. */
  readonly isVisited: Uint8Array;
  readonly list: Int32Array;
  count: number;
}

/** An ICMP error of the shard ORPHANS on its way to the table that holds it. */
export interface Orphan {
  readonly key: Int32Array;
  readonly hash: number;
  readonly fromLower: boolean;
  readonly record: FlowRecord;
  readonly community: string;
  readonly packet: number;
  readonly verdict: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly nanos: number;
}

export class ConnectionTable {
  /** Connections opened so far, and those closed early because their shard was full. */
  opened = 0;
  evicted = 0;
  /** Generation of the tables that judge what is added from now on; kept of tables that are followed. */
  generation = 0;
  /** Added to the times of records: what the clock on the wall was moved by since the capture began. */
  wallOffsetSeconds = 0;
  readonly #following: Following | undefined;
  readonly #close: CloseConnection;
  readonly #shardSlots: number;
  /** Buckets of a shard less one. */
  readonly #bucketMask: number;
  /** First slot of each bucket, and next slot in it or in the shard's list of free ones, all plus 1; 0 = none. */
  readonly #buckets: Int32Array;
  readonly #next: Int32Array;
  /** By shard: slots ever used, free ones among them, and where the next eviction looks. */
  readonly #used = new Int32Array(SHARDS + 1);
  readonly #free = new Int32Array(SHARDS + 1);
  readonly #sweep = new Int32Array(SHARDS + 1);
  readonly #keys: Int32Array;
  readonly #hashes: Int32Array;
  readonly #flags: Int32Array;
  readonly #verdicts: Float64Array;
  readonly #bytes: Float64Array;
  readonly #endSeconds: Float64Array;
  readonly #endNanos: Int32Array;
  readonly #records: (FlowRecord | undefined)[];
  readonly #starts: { seconds: number; nanos: number; packet: number; community: string }[] = [];
  /** Of the packet in hand. */
  readonly #key = new Int32Array(KEY_WORDS);
  #hash = 0;
  #closed = 0;
  #idleHand = 0;
  #shard = 0;
  #fromLower = false;

  /**
   * @param capacity  connections open at one time over the 64 shards, rounded up to a multiple of 64; orphans get as much as a shard
   * @param follower  of a table whose `visitChanged` is to be used
   */
  constructor(close: CloseConnection, capacity: number = CONNECTIONS_MAX, follower?: Follower) {
    this.#close = close;
    this.#shardSlots = Math.ceil(capacity / SHARDS);
    let buckets = 2;
    while (buckets < this.#shardSlots * 2) buckets *= 2;
    this.#bucketMask = buckets - 1;
    const slots = this.#shardSlots * (SHARDS + 1);
    this.#buckets = new Int32Array(buckets * (SHARDS + 1));
    this.#next = new Int32Array(slots);
    this.#keys = new Int32Array(slots * KEY_WORDS);
    this.#hashes = new Int32Array(slots);
    this.#flags = new Int32Array(slots);
    this.#verdicts = new Float64Array(slots * VERDICT_NAMES.length);
    this.#bytes = new Float64Array(slots);
    this.#endSeconds = new Float64Array(slots);
    this.#endNanos = new Int32Array(slots);
    this.#records = new Array(slots);
    this.#following =
      follower !== undefined
        ? {
            follower,
            serials: new Float64Array(slots),
            generations: new Float64Array(slots),
            isChanged: new Uint8Array(slots),
            isVisited: new Uint8Array(slots),
            list: new Int32Array(slots),
            count: 0,
          }
        : undefined;
  }

  /** Connections open now. */
  get active(): number {
    return this.opened - this.#closed;
  }

  /**
   * Calls `visit` with connections that are open and have changed since they were visited, those that changed first first, at most `limit`
   * of them; the others keep their turn.
   */
  visitChanged(limit: number, visit: (record: ConnectionRecord, serial: number, generation: number) => void): void {
    const following = this.#following;
    if (following === undefined) return;
    const { list, isChanged, isVisited, serials, generations } = following;
    let taken = 0;
    for (let visited = 0; taken < following.count && visited < limit; taken++) {
      const slot = list[taken]!;
      isChanged[slot] = 0;
      if (this.#records[slot] === undefined) continue;
      visited++;
      isVisited[slot] = 1;
      visit(this.#recordOf(slot), serials[slot]!, generations[slot]!);
    }
    list.copyWithin(0, taken, following.count);
    following.count -= taken;
  }

  /**
   * Adds one packet and returns true, or returns false if it belongs to no open connection: `open` it then.
   *
   * @param errorOf  for an ICMP error: the record of the quoted packet in `records`, whose connection it counts for; else -1
   */
  add(
    records: Int32Array,
    at: number,
    errorOf: number,
    verdict: number,
    bytes: number,
    seconds: number,
    nanos: number,
  ): boolean {
    // Nobody answers an error by an error (RFC 1122): one that quotes another is its own.
    if (errorOf >= 0 && isIcmpError(records, errorOf)) return false;
    this.#setKey(records, errorOf >= 0 ? errorOf : at);
    const slot = this.#find();
    if (slot < 0) return false;
    if (
      errorOf < 0 &&
      (this.#startsAnew(slot, records, at, seconds) || this.#isJudgedAnew(slot, records, at, verdict))
    ) {
      this.#closeSlot(slot);
      return false;
    }
    this.#count(slot, verdict, bytes, seconds, nanos);
    if (errorOf >= 0) this.#flags[slot]! |= SEEN_REFUSAL;
    else this.#observe(slot, records, at);
    return true;
  }

  /** Opens a connection with its first packet and the record of its verdict. */
  open(
    record: FlowRecord,
    records: Int32Array,
    at: number,
    packet: number,
    verdict: number,
    bytes: number,
    seconds: number,
    nanos: number,
  ): void {
    this.#setKey(records, at);
    const slot = this.#openSlot(record, { seconds, nanos, packet, community: communityId(records, at) });
    this.#count(slot, verdict, bytes, seconds, nanos);
    const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
    if (records[at + PACKET_PROTOCOL] === PROTOCOL_TCP) {
      if ((tcpFlags & (TCP_SYN | TCP_ACK)) !== TCP_SYN) this.#flags[slot]! |= OPENED_MIDSTREAM;
      this.#observe(slot, records, at);
    }
  }

  /** An ICMP error that `add` did not take, for the table that holds the orphans. */
  orphanOf(
    record: FlowRecord,
    records: Int32Array,
    at: number,
    packet: number,
    verdict: number,
    bytes: number,
    seconds: number,
    nanos: number,
  ): Orphan {
    this.#setKey(records, at);
    const { key, hash, fromLower } = { key: this.#key.slice(), hash: this.#hash, fromLower: this.#fromLower };
    return {
      key,
      hash,
      fromLower,
      record,
      community: communityId(records, at),
      packet,
      verdict,
      bytes,
      seconds,
      nanos,
    };
  }

  /** `add`, and `open` if that is refused, of an ICMP error that another table met. */
  addOrphan(orphan: Orphan): void {
    const { seconds, nanos, packet, community } = orphan;
    this.#key.set(orphan.key);
    this.#hash = orphan.hash;
    this.#shard = ORPHANS;
    this.#fromLower = orphan.fromLower;
    let slot = this.#find();
    if (slot >= 0 && seconds - this.#endSeconds[slot]! > IDLE_SECONDS) {
      this.#closeSlot(slot);
      slot = -1;
    }
    if (slot < 0) slot = this.#openSlot(orphan.record, { seconds, nanos, packet, community });
    else if (this.#isReply(slot)) this.#flags[slot]! |= SEEN_REPLY;
    this.#count(slot, orphan.verdict, orphan.bytes, seconds, nanos);
  }

  /** Closes what is open, in the order of first packets. */
  closeAll(): void {
    this.#closeWhere(() => true);
  }

  /**
   * Closes connections among the next `slots` slots, round and round, that were idle for longer at `nowSeconds` than `idle` says. Who
   * follows packets for days calls it now and then; a capture's end closes all by itself.
   */
  closeIdle(nowSeconds: number, slots: number, idle: IdleSeconds): void {
    const all = this.#records.length;
    for (let i = 0; i < Math.min(slots, all); i++) {
      const slot = this.#idleHand;
      this.#idleHand = (slot + 1) % all;
      if (this.#records[slot] === undefined) continue;
      if (nowSeconds - this.#endSeconds[slot]! > this.#idleLimit(slot, idle)) this.#closeSlot(slot);
    }
  }

  #idleLimit(slot: number, idle: IdleSeconds): number {
    if (this.#keys[slot * KEY_WORDS]! >>> 8 !== PROTOCOL_TCP) return idle.other;
    const flags = this.#flags[slot]!;
    const isFinished = (flags & SEEN_FIN_ORIGINATOR) !== 0 && (flags & SEEN_FIN_RESPONDER) !== 0;
    if (isFinished || (flags & SEEN_RESET) !== 0) return idle.finished;
    return (flags & SEEN_REPLY) !== 0 ? idle.established : idle.unanswered;
  }

  /** Closes the connections of one address, whose four words start at `words[at]`. */
  closeAddress(version: number, words: Int32Array, at: number): void {
    const isEnd = (end: number): boolean => {
      for (let w = 0; w < 4; w++) if (this.#keys[end + w] !== words[at + w]) return false;
      return true;
    };
    this.#closeWhere((slot) => {
      const key = slot * KEY_WORDS;
      return (this.#keys[key]! & 255) === version && (isEnd(key + 1) || isEnd(key + 5));
    });
  }

  #closeWhere(isWanted: (slot: number) => boolean): void {
    const open: number[] = [];
    this.#records.forEach((record, slot) => {
      if (record !== undefined && isWanted(slot)) open.push(slot);
    });
    open.sort((a, b) => this.#starts[a]!.packet - this.#starts[b]!.packet);
    for (const slot of open) this.#closeSlot(slot);
  }

  /** A slot under the key of the packet in hand, with no packet counted yet. */
  #openSlot(record: FlowRecord, start: { seconds: number; nanos: number; packet: number; community: string }): number {
    const slot = this.#allocate(this.#shard);
    this.opened++;
    this.#keys.set(this.#key, slot * KEY_WORDS);
    this.#hashes[slot] = this.#hash;
    const bucket = this.#bucketOf(this.#shard, this.#hash);
    this.#next[slot] = this.#buckets[bucket]!;
    this.#buckets[bucket] = slot + 1;
    this.#records[slot] = record;
    this.#starts[slot] = start;
    if (this.#following !== undefined) {
      this.#following.serials[slot] = this.opened;
      this.#following.isVisited[slot] = 0;
    }
    this.#flags[slot] = this.#fromLower ? FROM_LOWER : 0;
    this.#bytes[slot] = 0;
    this.#verdicts.fill(0, slot * VERDICT_NAMES.length, (slot + 1) * VERDICT_NAMES.length);
    return slot;
  }

  #allocate(shard: number): number {
    if (this.#free[shard] === 0 && this.#used[shard] === this.#shardSlots) this.#evict(shard);
    const free = this.#free[shard]!;
    if (free === 0) return shard * this.#shardSlots + this.#used[shard]!++;
    this.#free[shard] = this.#next[free - 1]!;
    return free - 1;
  }

  #count(slot: number, verdict: number, bytes: number, seconds: number, nanos: number): void {
    this.#verdicts[slot * VERDICT_NAMES.length + verdict]! += 1;
    this.#bytes[slot]! += bytes;
    this.#endSeconds[slot] = seconds;
    this.#endNanos[slot] = nanos;
    const following = this.#following;
    if (following === undefined) return;
    following.generations[slot] = this.generation;
    if (following.isChanged[slot] === 1) return;
    following.isChanged[slot] = 1;
    following.list[following.count++] = slot;
  }

  #startsAnew(slot: number, records: Int32Array, at: number, seconds: number): boolean {
    const flags = this.#flags[slot]!;
    const bothFinished = (flags & SEEN_FIN_ORIGINATOR) !== 0 && (flags & SEEN_FIN_RESPONDER) !== 0;
    const isOver = bothFinished || (flags & SEEN_RESET) !== 0;
    return startsAnew(records, at, seconds - this.#endSeconds[slot]!, isOver);
  }

  /**
   * Of a table that is followed, whose tables change: the opener asks again, nobody has answered yet, and policy says something else now. What
   * becomes of it says nothing of the old verdict.
   */
  #isJudgedAnew(slot: number, records: Int32Array, at: number, verdict: number): boolean {
    if (this.#following === undefined || this.#records[slot]!.action === VERDICT_NAMES[verdict]) return false;
    const flags = this.#flags[slot]!;
    if ((flags & (SEEN_REPLY | SEEN_REFUSAL | OPENED_MIDSTREAM)) !== 0 || this.#isReply(slot)) return false;
    if (records[at + PACKET_PROTOCOL] !== PROTOCOL_TCP) return true;
    return (records[at + PACKET_TCP_FLAGS]! & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
  }

  #isReply(slot: number): boolean {
    return this.#fromLower !== ((this.#flags[slot]! & FROM_LOWER) !== 0);
  }

  #observe(slot: number, records: Int32Array, at: number): void {
    const isReply = this.#isReply(slot);
    let seen = isReply ? SEEN_REPLY : 0;
    if (records[at + PACKET_PROTOCOL] === PROTOCOL_TCP) {
      const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
      if (isReply && (tcpFlags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK)) seen |= SEEN_SYN_ACK;
      if (!isReply && (tcpFlags & (TCP_ACK | TCP_RST)) === TCP_ACK) seen |= SEEN_ACK;
      if (!isReply && (tcpFlags & TCP_ACK) !== 0 && (this.#flags[slot]! & SEEN_SYN_ACK) !== 0) seen |= ACKNOWLEDGED;
      if ((tcpFlags & TCP_FIN) !== 0) seen |= isReply ? SEEN_FIN_RESPONDER : SEEN_FIN_ORIGINATOR;
      if ((tcpFlags & TCP_RST) !== 0) seen |= isReply ? SEEN_RESET | SEEN_REFUSAL : SEEN_RESET;
    }
    this.#flags[slot]! |= seen;
  }

  #observed(slot: number): Observed {
    const flags = this.#flags[slot]!;
    const isTcp = this.#keys[slot * KEY_WORDS]! >>> 8 === PROTOCOL_TCP;
    if ((flags & ACKNOWLEDGED) !== 0) return 'established';
    if ((flags & OPENED_MIDSTREAM) !== 0) return 'midstream';
    if ((flags & SEEN_REFUSAL) !== 0) return 'refused';
    if ((flags & SEEN_REPLY) !== 0) return isTcp && (flags & SEEN_SYN_ACK) === 0 ? 'midstream' : 'answered';
    return (flags & SEEN_ACK) !== 0 ? 'midstream' : 'no-answer';
  }

  #closeSlot(slot: number): void {
    const following = this.#following;
    const isWanted =
      following === undefined ||
      following.isVisited[slot] === 1 ||
      following.follower.wants(this.#packetsOf(slot), this.#bytes[slot]!);
    const record = isWanted ? this.#recordOf(slot) : undefined;
    this.#unlink(slot);
    this.#records[slot] = undefined;
    this.#closed++;
    if (record === undefined) return;
    this.#close(record, following?.serials[slot] ?? 0, following?.generations[slot] ?? 0);
  }

  #packetsOf(slot: number): number {
    let packets = 0;
    for (let i = 0; i < VERDICT_NAMES.length; i++) packets += this.#verdicts[slot * VERDICT_NAMES.length + i]!;
    return packets;
  }

  /** The record of an open connection as it stands. */
  #recordOf(slot: number): ConnectionRecord {
    const record = this.#records[slot]!;
    const start = this.#starts[slot]!;
    const offset = this.wallOffsetSeconds;
    const counts = VERDICT_NAMES.map((name, i): [string, number] => [
      name,
      this.#verdicts[slot * VERDICT_NAMES.length + i]!,
    ]).filter(([, count]) => count > 0);
    const { proto, ...rest } = record;
    return {
      start_time: formatTime(start.seconds + offset, start.nanos),
      end_time: formatTime(this.#endSeconds[slot]! + offset, this.#endNanos[slot]!),
      proto,
      ...rest,
      first_packet: start.packet,
      packets: counts.reduce((sum, [, count]) => sum + count, 0),
      bytes: this.#bytes[slot]!,
      ...(counts.length > 1 ? { packets_by_action: Object.fromEntries(counts) } : {}),
      observed: this.#observed(slot),
      community_id: start.community,
    };
  }

  /** Closes the longest idle of the next slots of a full shard, round and round. */
  #evict(shard: number): void {
    const first = shard * this.#shardSlots;
    const count = Math.min(EVICTION_SLOTS, this.#shardSlots);
    let oldest = -1;
    for (let i = 0; i < count; i++) {
      const slot = first + ((this.#sweep[shard]! + i) % this.#shardSlots);
      if (oldest < 0 || this.#endSeconds[slot]! < this.#endSeconds[oldest]!) oldest = slot;
    }
    this.#sweep[shard] = (this.#sweep[shard]! + count) % this.#shardSlots;
    this.evicted++;
    this.#closeSlot(oldest);
  }

  /** Puts the packet's key, the same for both directions, into `#key`, and where it belongs into `#hash` and `#shard`. */
  #setKey(records: Int32Array, at: number): void {
    const key = this.#key;
    const protocol = records[at + PACKET_PROTOCOL]!;
    const flags = records[at + PACKET_FLAGS]!;
    this.#hash = flowHash(records, at);
    this.#shard = isIcmpError(records, at) ? ORPHANS : this.#hash >>> 26;
    key[11] = 0;
    let first = 0;
    let second = 0;
    if ((flags & FLAG_L4_PORTS) !== 0) {
      if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
        first = records[at + PACKET_ICMP_ID]!;
        second = first;
        key[11] = icmpPair(protocol, records[at + PACKET_SRC_PORT]!);
      } else if (hasPorts(protocol)) {
        first = records[at + PACKET_SRC_PORT]!;
        second = records[at + PACKET_DST_PORT]!;
      }
    }
    this.#fromLower = isLowerEnd(records, at, first, second);
    const low = at + (this.#fromLower ? PACKET_SRC : PACKET_DST);
    const high = at + (this.#fromLower ? PACKET_DST : PACKET_SRC);
    key[0] = (protocol << 8) | ((flags & FLAG_IPV6) !== 0 ? 6 : 4);
    for (let w = 0; w < 4; w++) {
      key[1 + w] = records[low + w]!;
      key[5 + w] = records[high + w]!;
    }
    key[9] = this.#fromLower ? first : second;
    key[10] = this.#fromLower ? second : first;
  }

  #bucketOf(shard: number, hash: number): number {
    return shard * (this.#bucketMask + 1) + (hash & this.#bucketMask);
  }

  #find(): number {
    const keys = this.#keys;
    const key = this.#key;
    let slot = this.#buckets[this.#bucketOf(this.#shard, this.#hash)]! - 1;
    for (; slot >= 0; slot = this.#next[slot]! - 1) {
      let isSame = true;
      for (let w = 0; w < KEY_WORDS; w++) if (keys[slot * KEY_WORDS + w] !== key[w]) isSame = false;
      if (isSame) return slot;
    }
    return -1;
  }

  /** Takes the slot out of its bucket and puts it on its shard's list of free ones. */
  #unlink(slot: number): void {
    const shard = Math.floor(slot / this.#shardSlots);
    const bucket = this.#bucketOf(shard, this.#hashes[slot]!);
    if (this.#buckets[bucket] === slot + 1) {
      this.#buckets[bucket] = this.#next[slot]!;
    } else {
      let before = this.#buckets[bucket]! - 1;
      while (this.#next[before] !== slot + 1) before = this.#next[before]! - 1;
      this.#next[before] = this.#next[slot]!;
    }
    this.#next[slot] = this.#free[shard]!;
    this.#free[shard] = slot + 1;
  }
}

/** `2026-01-01T00:00:00.000001Z`: microseconds, later digits cut. */
export function formatTime(seconds: number, nanos: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds}.${String(nanos).padStart(9, '0')}`;
  const micros = String(Math.floor(nanos / 1000)).padStart(6, '0');
  return `${date.toISOString().slice(0, -5)}.${micros}Z`;
}

function hasPorts(protocol: number): boolean {
  return (
    protocol === PROTOCOL_TCP ||
    protocol === PROTOCOL_UDP ||
    protocol === PROTOCOL_SCTP ||
    protocol === PROTOCOL_UDPLITE
  );
}
