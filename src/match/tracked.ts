/**
 * Tracked packets in batches: plain frames of IPv4 and IPv6 (wire/plain-tracked.ts) whose flow has a line (conntrack/flows.ts).
 *
 * A batch goes through short loops, so that the lines of many packets are on their way from memory at once:
 *
 *   aim    five-tuple -> hash -> place of the line, and whether its shard is one of this thread's
 *   touch  the line is read: is it likely the flow's?
 *   act    line by line in the order of the packets: is it this flow's, does it hold, what does it do; count
 *   prolong  expiry of the entries of unanswered UDP
 *
 * `act` ends at the first row whose flow has no line, or whose line does not cover what the packet is. That row goes the long way
 * (match/judge.ts), which may move or take away lines of rows behind it, so it goes before them; `rememberFlow` (flow-lines.ts) then
 * writes its line, and `act` goes on behind it.
 */
import { specialize } from '../base/specialize.ts';
import * as flow from '../conntrack/flows.ts';
import { PROTOCOL_FACTOR } from '../conntrack/key.ts';
import type { Conntrack } from '../conntrack/table.ts';
import { ackIsInOrder, TIMESTAMPS_ALONE, takeAck } from '../conntrack/tcp-fast.ts';
import { UDP_ANSWERED_TIMEOUT_MS, UDP_TIMEOUT_MS } from '../conntrack/track.ts';
import { VERDICT_ALLOW, VERDICT_DENY, VERDICT_NAMES } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { addPackets, type Counters, REASON_COUNT } from './counters.ts';
import { noteCounted, PACKET_UNIT, type PackedCounts, settle } from './packed-counts.ts';

/** Ethernet and IP header before the segment. */
const IP_BYTES = 34;
const IP6_BYTES = 54;
const FLOW_TCP_SHIFT = 31 - Math.clz32(flow.FLOW_TCP);

/** The columns of a batch, as wire/plain-tracked.ts fills them. */
export interface TrackedRows {
  readonly traits: Int32Array;
  readonly src: Int32Array;
  readonly dst: Int32Array;
  readonly ports: Int32Array;
  readonly forms: Int32Array;
  readonly ends: Int32Array;
  readonly bytes: Int32Array;
  readonly offsets: Int32Array;
  readonly captured: Int32Array;
  readonly seconds: Int32Array;
  readonly nanos: Int32Array;
}

export interface TrackedJudge extends PackedCounts {
  readonly tables: Tables;
  /** Where the line of each row is looked for first in `Conntrack.flows`; the other places are FLOW_APART or FLOW_APART6 words from it. */
  readonly lines: Int32Array;
  /** The rows of the batch that are this thread's, in order; places in it are what `touch` and `act` are given. */
  readonly order: Int32Array;
  /** Rows that seem to have no line, and room for one more. */
  readonly missing: Int32Array;
  /** STEP_* actions by step. */
  readonly actions: Uint8Array;
  readonly loops: TrackedLoops;
}

export interface TrackedLoops {
  /** Sets `lines` of the first `count` rows, and `order`; returns how many rows are in it. */
  aim(count: number): number;
  /**
   * Reads the lines of the first `count` rows in order, and lists in `missing` the rows that seem to have none (a line of the same source is
   * taken for theirs); returns how many those are.
   */
  touch(count: number): number;
  /**
   * Judges and counts rows in order, from place `from` on; returns the place of the first one that needs the long way, or `to`.
   *
   * @param stamp  the table's, as FLOW_META has it
   */
  act(view: DataView, from: number, to: number, stamp: number): number;
  /** Bytes of the rows that `act` has counted since this was asked. */
  takeBytes(): number;
}

/** @param ownsShard  which of the 64 shards are this thread's; absent: all */
export function createTrackedJudge(
  tables: Tables,
  ct: Conntrack,
  rows: TrackedRows,
  ownsShard: (shard: number) => boolean = () => true,
): TrackedJudge {
  const lines = new Int32Array(rows.src.length);
  const order = new Int32Array(rows.src.length);
  const missing = new Int32Array(rows.src.length + 1);
  const owned = Int32Array.from({ length: 64 }, (_, shard) => (ownsShard(shard) ? 1 : 0));
  const bySlot = (): Float64Array =>
    new Float64Array(tables.counts[layout.SECTION_STEPS]! + VERDICT_NAMES.length * REASON_COUNT);
  const counts = bySlot();
  const timeouts = { UDP_TIMEOUT_MS, UDP_ANSWERED_TIMEOUT_MS };
  const lengths = { IP_BYTES, IP6_BYTES, FLOW_TCP_SHIFT };
  const constants = { ...flow, ...timeouts, ...lengths, PROTOCOL_FACTOR, TIMESTAMPS_ALONE, PACKET_UNIT };
  const loops = specialize(trackedLoops)(
    ct.words,
    ct.times,
    ct.flows,
    ct.flowMask,
    rows.traits,
    rows.src,
    rows.dst,
    rows.ports,
    rows.forms,
    rows.ends,
    rows.bytes,
    rows.offsets,
    rows.captured,
    rows.seconds,
    rows.nanos,
    lines,
    order,
    owned,
    missing,
    counts,
    ackIsInOrder,
    takeAck,
    constants,
  );
  return {
    tables,
    lines,
    order,
    missing,
    actions: actionsOf(tables),
    loops,
    counts,
    countedPackets: 0,
    countedBytes: 0,
    packets: bySlot(),
    bytes: bySlot(),
  };
}

interface Constants {
  readonly FLOW_COUNTED: number;
  readonly FLOW_SYN: number;
  readonly FLOW_ASKED: number;
  readonly FLOW_ANSWERED: number;
  readonly FLOW_ACK: number;
  readonly FLOW_IPV6: number;
  readonly FLOW_TCP_SHIFT: number;
  readonly FLOW_SRC6: number;
  readonly FLOW_DST6: number;
  readonly UDP_TIMEOUT_MS: number;
  readonly UDP_ANSWERED_TIMEOUT_MS: number;
  readonly PROTOCOL_FACTOR: number;
  readonly TIMESTAMPS_ALONE: number;
  readonly PACKET_UNIT: number;
  readonly IP_BYTES: number;
  readonly IP6_BYTES: number;
}

function trackedLoops(
  words: Int32Array,
  times: Float64Array,
  flows: Int32Array,
  flowMask: number,
  traits: Int32Array,
  src: Int32Array,
  dst: Int32Array,
  ports: Int32Array,
  forms: Int32Array,
  ends: Int32Array,
  bytes: Int32Array,
  offsets: Int32Array,
  captured: Int32Array,
  seconds: Int32Array,
  nanos: Int32Array,
  lines: Int32Array,
  order: Int32Array,
  owned: Int32Array,
  missing: Int32Array,
  counts: Float64Array,
  isInOrder: typeof ackIsInOrder,
  take: typeof takeAck,
  constants: Constants,
): TrackedLoops {
  const { FLOW_COUNTED, FLOW_SYN, FLOW_ASKED, FLOW_ANSWERED, FLOW_ACK } = constants;
  const { FLOW_IPV6, FLOW_TCP_SHIFT, FLOW_SRC6, FLOW_DST6 } = constants;
  const { UDP_TIMEOUT_MS, UDP_ANSWERED_TIMEOUT_MS } = constants;
  const { PROTOCOL_FACTOR, TIMESTAMPS_ALONE, PACKET_UNIT, IP_BYTES, IP6_BYTES } = constants;
  const ASKED_SECONDS = UDP_TIMEOUT_MS / 1000;
  const tcp = Math.imul(6, PROTOCOL_FACTOR);
  const udp = Math.imul(17, PROTOCOL_FACTOR);
  let byteCount = 0;
  /** Rows since the last batch looked at entries: worth reading ahead. */
  let hasEntries = false;
  /** Means nothing: keeps what was read ahead from being taken for superfluous. */
  const sink = new Int32Array(1);
  /** Rows of FLOW_ASKED whose entries are to be prolonged. */
  const asked = new Int32Array(order.length);
  /** By kind: what of a segment must be as it was. Of what is counted the window may differ, of a SYN nothing. */
  const formMasks = new Int32Array(8);
  const endMasks = new Int32Array(8);
  formMasks[FLOW_COUNTED] = 0xffff_0000;
  formMasks[FLOW_SYN] = -1;
  endMasks[FLOW_SYN] = -1;
  /** FLOW_APART, or of IPv6 FLOW_APART6. */
  const apartOf = (trait: number): number => 8 + (trait & FLOW_IPV6);
  const timeOf = (row: number): number => seconds[row]! * 1000 + nanos[row]! / 1e6;
  /** Of `entry << 1 | direction`. */
  const expiry = (found: number): number => times[found >> 1]!;
  /** 0: the line has the row's addresses and ports. */
  const unlikeness = (row: number, line: number): number =>
    (flows[line]! ^ src[row]!) | (flows[line + 1]! ^ dst[row]!) | (flows[line + 2]! ^ ports[row]!);
  /** What the folds of IPv6 addresses leave open. */
  const unlikeness6 = (view: DataView, row: number, line: number): number => {
    const at = offsets[row]! + 22;
    return (
      (flows[line + FLOW_SRC6]! ^ view.getInt32(at)) |
      (flows[line + FLOW_SRC6 + 1]! ^ view.getInt32(at + 4)) |
      (flows[line + FLOW_SRC6 + 2]! ^ view.getInt32(at + 8)) |
      (flows[line + FLOW_DST6]! ^ view.getInt32(at + 16)) |
      (flows[line + FLOW_DST6 + 1]! ^ view.getInt32(at + 20)) |
      (flows[line + FLOW_DST6 + 2]! ^ view.getInt32(at + 24))
    );
  };
  /** The first of the other lines that looks like the row's, or the last one. */
  const elsewhere = (row: number, line: number, apart: number): number => {
    for (let away = apart; away < 3 * apart; away += apart) if (unlikeness(row, line ^ away) === 0) return line ^ away;
    return line ^ (3 * apart);
  };
  const prolong = (line: number, untilMs: number): void => {
    times[flows[line + 5]! >> 1] = untilMs;
    times[flows[line + 6]! >> 1] = untilMs;
  };
  /** A segment of an established connection: true if it moved the entries of the line. */
  const acknowledge = (view: DataView, row: number, line: number): boolean => {
    const form = forms[row]!;
    // Neither SYN, FIN nor RST, but ACK.
    if ((form & 0x17_0000) !== 0x10_0000) return false;
    const timeMs = timeOf(row);
    const first = flows[line + 5]!;
    const second = flows[line + 6]!;
    if (expiry(first) <= timeMs || expiry(second) <= timeMs) return false;
    hasEntries = true;
    const firstBase = (first >> 1) << 5;
    const secondBase = (second >> 1) << 5;
    const before = (traits[row]! & FLOW_IPV6) === 0 ? IP_BYTES : IP6_BYTES;
    const segment = offsets[row]! + before;
    const seq = view.getInt32(segment + 4);
    const ack = view.getInt32(segment + 8);
    const header = (form >>> 28) << 2;
    const hasOptions = header > 20 && captured[row]! >= before + header;
    const mayHaveSack = hasOptions && !(header === 32 && view.getInt32(segment + 20) === TIMESTAMPS_ALONE);
    const end = ends[row]!;
    const window = form & 0xffff;
    if (!isInOrder(words, firstBase, first & 1, mayHaveSack, seq, ack, end, window)) return false;
    if (second !== first) {
      if (!isInOrder(words, secondBase, second & 1, mayHaveSack, seq, ack, end, window)) return false;
      take(words, times, secondBase, second & 1, seq, ack, end, window, timeMs);
    }
    take(words, times, firstBase, first & 1, seq, ack, end, window, timeMs);
    return true;
  };
  return {
    aim(count) {
      let own = 0;
      for (let i = 0; i < count; i++) {
        const from = src[i]!;
        const to = dst[i]!;
        const port = ports[i]!;
        // conntrack/key.ts, flowHashPorts.
        let a = Math.imul(from ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
        let b = Math.imul(to ^ Math.imul((port << 16) | (port >>> 16), 0x9e3779b1), 0x85ebca6b);
        a = Math.imul(a ^ (a >>> 15), 0xc2b2ae35);
        b = Math.imul(b ^ (b >>> 15), 0xc2b2ae35);
        // No branch hangs on what the packet is.
        const trait = traits[i]!;
        const protocol = udp ^ ((udp ^ tcp) & -(trait >> FLOW_TCP_SHIFT));
        const sum = (a + b + protocol) | 0;
        let hash = Math.imul(sum ^ (sum >>> 16), 0x7feb352d);
        hash ^= hash >>> 15;
        // The two directions of a flow prefer different lines.
        lines[i] = ((hash & flowMask) << 4) ^ (((a - b) >> 31) & apartOf(trait));
        order[own] = i;
        own += owned[hash >>> 26]!;
      }
      return own;
    },
    touch(count) {
      let likely = 0;
      for (let i = 0; i < count; i++) {
        const row = order[i]!;
        const line = lines[row]!;
        const unlike = flows[line]! ^ src[row]!;
        const unlikeOther = flows[line ^ apartOf(traits[row]!)]! ^ src[row]!;
        missing[likely] = row;
        likely += ((unlike | -unlike) & (unlikeOther | -unlikeOther)) >>> 31;
      }
      // The few that are left may have a line farther off.
      const near = likely;
      likely = 0;
      for (let i = 0; i < near; i++) {
        const row = missing[i]!;
        const line = lines[row]!;
        const apart = apartOf(traits[row]!);
        const unlike = flows[line ^ (2 * apart)]! ^ src[row]!;
        const unlikeOther = flows[line ^ (3 * apart)]! ^ src[row]!;
        missing[likely] = row;
        likely += ((unlike | -unlike) & (unlikeOther | -unlikeOther)) >>> 31;
      }
      if (!hasEntries) return likely;
      let touched = 0;
      hasEntries = false;
      for (let i = 0; i < count; i++) {
        // Both lines of the cache of the first entry; entry 0 is nobody's.
        const line = lines[order[i]!]!;
        const hasEntry = (FLOW_ASKED - (flows[line + 3]! & 7)) >> 31;
        const base = ((flows[line + 5]! >> 1) << 5) & hasEntry;
        touched = (touched + words[base]! + words[base + 16]!) | 0;
      }
      sink[0] = touched;
      return likely;
    },
    act(view, from, to, stamp) {
      let sum = 0;
      let place = from;
      let askedCount = 0;
      for (; place < to; place++) {
        const row = order[place]!;
        const trait = traits[row]!;
        let line = lines[row]!;
        let unlike = unlikeness(row, line);
        if (unlike !== 0) {
          line = elsewhere(row, line, apartOf(trait));
          unlike = unlikeness(row, line);
        }
        if ((trait & FLOW_IPV6) !== 0) unlike |= unlikeness6(view, row, line);
        // One branch for whether the line is the flow's, holds, and does nothing but count, or prolong entries that nobody else looks at meanwhile.
        const kind = flows[line + 3]! ^ (stamp | trait);
        const formDiffers = (forms[row]! ^ flows[line + 5]!) & formMasks[kind & 7]!;
        const endDiffers = (ends[row]! ^ flows[line + 6]!) & endMasks[kind & 7]!;
        const second = seconds[row]!;
        const deadFrom = flows[line + 7]!;
        const isLate = (deadFrom - 1 - second) >> 31;
        const isOther = ((FLOW_ASKED - kind) | (kind - 1)) >> 31;
        if ((unlike | formDiffers | endDiffers | isLate | isOther) !== 0) {
          if (unlike !== 0) break;
          if (kind === FLOW_ANSWERED) {
            if (expiry(flows[line + 5]!) <= timeOf(row) || expiry(flows[line + 6]!) <= timeOf(row)) break;
            hasEntries = true;
            prolong(line, timeOf(row) + UDP_ANSWERED_TIMEOUT_MS);
          } else if (kind !== FLOW_ACK || !acknowledge(view, row, line)) {
            break;
          }
        }
        lines[row] = line;
        asked[askedCount] = row;
        const isAsked = ((kind ^ FLOW_ASKED) - 1) >> 31;
        askedCount -= isAsked;
        // Mostly the same second as for the flow's last packet.
        if (((deadFrom ^ (second + ASKED_SECONDS)) & isAsked) !== 0) flows[line + 7] = second + ASKED_SECONDS;
        const size = bytes[row]!;
        counts[flows[line + 4]!]! += size + PACKET_UNIT;
        sum += size;
      }
      for (let i = 0; i < askedCount; i++) {
        const row = asked[i]!;
        prolong(lines[row]!, timeOf(row) + UDP_TIMEOUT_MS);
      }
      byteCount += sum;
      return place;
    },
    takeBytes() {
      const taken = byteCount;
      byteCount = 0;
      return taken;
    },
  };
}

/** A byte a step, so that first packets of flows need not wait for the steps. */
function actionsOf({ steps, counts }: Tables): Uint8Array {
  return Uint8Array.from(
    { length: counts[layout.SECTION_STEPS]! },
    (_, step) => steps[step * layout.STEP_SIZE + layout.STEP_ACTION]!,
  );
}

/** Where packets of this answer are counted; NONE if the verdict is not what the step says. */
export function slotOf(judge: TrackedJudge, verdict: number, reason: number, step: number): number {
  const { actions } = judge;
  if (step < 0) return actions.length + verdict * REASON_COUNT + reason;
  const action = actions[step]!;
  const isSaid =
    (action === layout.STEP_ALLOW && verdict === VERDICT_ALLOW) ||
    (action === layout.STEP_DENY && verdict === VERDICT_DENY);
  return isSaid ? step : layout.NONE;
}

/** Counts a packet of at most 2^20 bytes, judged elsewhere, in a slot of `slotOf`. */
export function countTracked(judge: TrackedJudge, slot: number, bytes: number): void {
  judge.counts[slot]! += bytes + PACKET_UNIT;
  noteCounted(judge, 1, bytes);
}

/** Takes over that `act` has counted `packets` rows. */
export function accountTracked(judge: TrackedJudge, packets: number): void {
  noteCounted(judge, packets, judge.loops.takeBytes());
}

/** Adds what was counted to `counters` and starts anew. */
export function foldTrackedCounts(judge: TrackedJudge, counters: Counters): void {
  settle(judge);
  const { packets, bytes, tables } = judge;
  const steps = tables.counts[layout.SECTION_STEPS]!;
  for (let slot = 0; slot < packets.length; slot++) {
    if (packets[slot] === 0) continue;
    if (slot >= steps) {
      const other = slot - steps;
      const verdict = Math.floor(other / REASON_COUNT);
      addPackets(counters, verdict, other % REASON_COUNT, layout.NONE, packets[slot]!, bytes[slot]!);
      continue;
    }
    const isDeny = tables.steps[slot * layout.STEP_SIZE + layout.STEP_ACTION] === layout.STEP_DENY;
    addPackets(counters, isDeny ? VERDICT_DENY : VERDICT_ALLOW, 0, slot, packets[slot]!, bytes[slot]!);
  }
  packets.fill(0);
  bytes.fill(0);
}
