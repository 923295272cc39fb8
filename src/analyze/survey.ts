/**
 * The first reading of captures that are to be laid over each other: how far their clocks are apart, how much of each packet can
 * be compared, which addresses were translated in between, and from when to when each was running.
 *
 * Clocks. A packet that two captures have gives the difference of their clocks plus the time it took. One way that time adds, the other
 * way it is taken off, so the middle of both ways' medians is the difference of the clocks alone:
 *
 *   A ─► B   seen at B 7 ms later by its clock        median + 7
 *   B ─► A   seen at B 3 ms earlier by its clock      median − (−3) …  offset of B = (7 + 3) / 2 = 5 ms, and 2 ms on the way
 *
 * With packets of one way alone the time on the way is counted as a difference of clocks, which does no harm. Drift is not looked for.
 */
import type { RecordBatch } from '../packets/source.ts';
import { decodePacket } from '../wire/decode.ts';
import {
  DECODE_OK,
  PACKET_DST,
  PACKET_SRC,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_WORDS,
} from '../wire/record.ts';
import { decodeInner, TUNNEL_DEPTH_MAX, TUNNEL_NONE, tunnelKind } from '../wire/tunnel.ts';
import { Fingerprints, HASHED_BYTES_MAX } from './fingerprint.ts';
import { MergedReader } from './merged-reader.ts';
import type { ServiceTranslation } from './service-translation.ts';

/** Packets of all captures whose times are kept to be compared. */
const TIMES_MAX = 200_000;
/** Differences kept of a pair of captures and direction. */
const DIFFERENCES_MAX = 4096;
/** Fewer bytes of the transport header are no fingerprint. */
const HASHED_BYTES_MIN = 16;

export interface SurveyedCapture {
  readonly packets: number;
  /** By its own clock, milliseconds since 1970; NaN without packets. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** By how much its clock is ahead of the first capture's; undefined: no packet of it is in a capture whose clock is known. */
  readonly offsetMs: number | undefined;
  /** Packets that gave `offsetMs`. */
  readonly comparedPackets: number;
}

export interface Survey {
  readonly captures: readonly SurveyedCapture[];
  /** Transport bytes that fingerprints may count. */
  readonly hashedBytes: number;
}

export interface SurveyOptions {
  /** Compare what tunnels carry. */
  readonly decapsulate?: boolean;
  readonly translation?: ServiceTranslation | undefined;
  readonly onProgress?: (progress: {
    readonly bytesRead: number;
    readonly sizeBytes: number | undefined;
    readonly packets: number;
  }) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Reads `files` once. Rejects with a CaptureError for one that is not there. */
export async function surveyCaptures(files: readonly string[], options: SurveyOptions): Promise<Survey> {
  const reader = await MergedReader.open(files);
  const decoder = new InnermostDecoder(options.decapsulate === true);
  const fingerprints = new Fingerprints();
  const clocks = new Clocks(files.length);
  const captures = files.map(() => ({ packets: 0, firstMs: Number.NaN, lastMs: Number.NaN }));
  let hashedBytes = HASHED_BYTES_MAX;
  try {
    for (let count = 1; ; count++) {
      const more = reader.next();
      if (!(typeof more === 'boolean' ? more : await more)) break;
      if ((count & 0xffff) === 0) {
        options.onProgress?.({ ...reader.progress(), packets: count });
        await new Promise((resolve) => setImmediate(resolve));
        if (options.signal?.aborted === true) break;
      }
      const capture = captures[reader.capture]!;
      capture.packets++;
      if (!(capture.firstMs <= reader.timeMs)) capture.firstMs = reader.timeMs;
      if (!(capture.lastMs >= reader.timeMs)) capture.lastMs = reader.timeMs;
      if (decoder.decode(reader.row) !== DECODE_OK) continue;
      const { records } = decoder;
      const captured = records[PACKET_TRANSPORT_CAPTURED_BYTES]!;
      if (captured < records[PACKET_TRANSPORT_BYTES]! && captured < hashedBytes) {
        hashedBytes = Math.max(HASHED_BYTES_MIN, captured);
      }
      if (files.length > 1) {
        clocks.add(fingerprints.of(records, 0, reader.row.view), reader.capture, reader.timeMs, isUpwards(records));
      }
      options.translation?.learn(records, 0, reader.row.view, fingerprints);
    }
  } finally {
    reader.close();
  }
  options.translation?.settle();
  const offsets = clocks.offsets();
  return {
    captures: captures.map((capture, i) => ({ ...capture, ...offsets[i]! })),
    hashedBytes,
  };
}

/** Decodes row 0 of a batch, and what is inside all tunnels if asked. */
export class InnermostDecoder {
  readonly records = new Int32Array(2 * PACKET_WORDS);
  readonly #decapsulate: boolean;

  constructor(decapsulate: boolean) {
    this.#decapsulate = decapsulate;
  }

  /** DECODE_*; the record is then at `records[0]`. */
  decode(row: RecordBatch): number {
    const { records } = this;
    const [offset, captured] = [row.offsets[0]!, row.capturedBytes[0]!];
    let status = decodePacket(row.view, offset, captured, row.wireBytes[0]!, row.linkTypes[0]!, records, 0);
    for (let depth = 0; this.#decapsulate && status === DECODE_OK && depth < TUNNEL_DEPTH_MAX; depth++) {
      const kind = tunnelKind(records, 0);
      if (kind === TUNNEL_NONE) break;
      status = decodeInner(kind, row.view, records, 0, records, PACKET_WORDS);
      records.copyWithin(0, PACKET_WORDS, 2 * PACKET_WORDS);
    }
    return status;
  }
}

/** Whether the source is the higher address: tells the two directions apart. */
function isUpwards(records: Int32Array): boolean {
  for (let word = 0; word < 4; word++) {
    const src = records[PACKET_SRC + word]! >>> 0;
    const dst = records[PACKET_DST + word]! >>> 0;
    if (src !== dst) return src < dst;
  }
  return true;
}

interface Seen {
  readonly capture: number;
  readonly timeMs: number;
  /** Captures that have it already, as bits of the first 31; a packet that comes twice in one says nothing. */
  count: number;
}

class Clocks {
  readonly #seen = new Map<number, Seen>();
  /** By `a * captures + b` with a < b and direction: times in b less times in a. */
  readonly #differences = new Map<number, [number[], number[]]>();
  readonly #captures: number;

  constructor(captures: number) {
    this.#captures = captures;
  }

  add(fingerprint: number, capture: number, timeMs: number, isUpwards: boolean): void {
    const before = this.#seen.get(fingerprint);
    if (before === undefined) {
      if (this.#seen.size < TIMES_MAX) this.#seen.set(fingerprint, { capture, timeMs, count: 1 });
      return;
    }
    before.count++;
    // The same bytes again in one capture (a retransmission, a second interface): which is which is not known.
    if (before.capture === capture || before.count > this.#captures) return;
    const isAscending = before.capture < capture;
    const [a, b] = isAscending ? [before.capture, capture] : [capture, before.capture];
    const key = a * this.#captures + b;
    let lists = this.#differences.get(key);
    if (lists === undefined) {
      lists = [[], []];
      this.#differences.set(key, lists);
    }
    const list = lists[isUpwards ? 1 : 0];
    if (list.length < DIFFERENCES_MAX) list.push(isAscending ? timeMs - before.timeMs : before.timeMs - timeMs);
  }

  /** Of each capture against the first, over as few others as possible. */
  offsets(): { readonly offsetMs: number | undefined; readonly comparedPackets: number }[] {
    const found: { offsetMs: number | undefined; comparedPackets: number }[] = Array.from(
      { length: this.#captures },
      (_, i) => ({ offsetMs: i === 0 ? 0 : undefined, comparedPackets: 0 }),
    );
    const queue = [0];
    for (let from = queue.shift(); from !== undefined; from = queue.shift()) {
      for (let to = 0; to < this.#captures; to++) {
        if (found[to]!.offsetMs !== undefined) continue;
        const [a, b] = from < to ? [from, to] : [to, from];
        const lists = this.#differences.get(a * this.#captures + b);
        if (lists === undefined) continue;
        const difference = middle(lists);
        found[to] = {
          offsetMs: found[from]!.offsetMs! + (from < to ? difference : -difference),
          comparedPackets: lists[0].length + lists[1].length,
        };
        queue.push(to);
      }
    }
    return found;
  }
}

function middle([one, other]: readonly [number[], number[]]): number {
  if (one.length === 0) return median(other);
  if (other.length === 0) return median(one);
  return (median(one) + median(other)) / 2;
}

function median(values: number[]): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >> 1]!;
}
