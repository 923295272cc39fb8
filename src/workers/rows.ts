/**
 * Which rows of a batch a worker judges, where every worker walks over the whole capture.
 *
 * Two ways to divide. By blocks of BATCH_RECORDS packets in turn, where each packet is judged by itself. By flows, where packets
 * share state: the flow's hash (conntrack/key.ts) names one of 64 shards, and shard s belongs to worker s mod workers; what
 * may share state lies in one shard, so each shard sees its packets in their order, whoever else is at work.
 *
 * Flows are told before decoding where that is cheap: Ethernet frames with IPv4 without options or fragments and TCP or UDP. All
 * other frames stay, for the replay to decode and to ask `ownsFlow` then. Tunnels would lie about their flow, so with
 * decapsulation every frame stays.
 */
import { flowHash, flowHashPorts } from '../conntrack/key.ts';
import { BATCH_RECORDS, copyRow, createRecordBatch, type RecordBatch } from '../packets/source.ts';
import { LINKTYPE_ETHERNET } from '../wire/link.ts';
import { decodeQuoted, isIcmpError } from '../wire/quoted.ts';
import { DECODE_OK, PACKET_WORDS } from '../wire/record.ts';

// Node 20 re-reads an imported constant at every use.
const ETHERNET = LINKTYPE_ETHERNET;
const TCP = 6;
const UDP = 17;

export class RowFilter {
  /** The rows that stay, over the same bytes, and the packet number of each. */
  readonly kept = createRecordBatch();
  readonly numbers = new Float64Array(BATCH_RECORDS);
  readonly #worker: number;
  readonly #workers: number;
  readonly #rows = new Int32Array(BATCH_RECORDS);
  readonly #quoted = new Int32Array(PACKET_WORDS);

  constructor(worker: number, workers: number) {
    this.#worker = worker;
    this.#workers = workers;
  }

  /** Keeps every row: whose a packet is shows only when it is decoded. */
  keepAll(batch: RecordBatch, before: number): void {
    for (let row = 0; row < batch.count; row++) this.#rows[row] = row;
    this.#copy(batch, before, batch.count);
  }

  /** Keeps the packets of this worker's blocks; `before` packets lie ahead of the batch. */
  keepBlocks(batch: RecordBatch, before: number): void {
    let count = 0;
    for (let row = 0; row < batch.count; row++) {
      if (Math.floor((before + row) / BATCH_RECORDS) % this.#workers === this.#worker) this.#rows[count++] = row;
    }
    this.#copy(batch, before, count);
  }

  /** Keeps all but the plain frames of flows that belong to others. */
  keepFlows(batch: RecordBatch, before: number): void {
    const { view, offsets, capturedBytes, wireBytes, linkTypes } = batch;
    const rows = this.#rows;
    const worker = this.#worker;
    const workers = this.#workers;
    let count = 0;
    for (let row = 0; row < batch.count; row++) {
      const offset = offsets[row]!;
      const captured = capturedBytes[row]!;
      if (linkTypes[row] === ETHERNET && isPlain(view, offset, captured, wireBytes[row]!)) {
        const ports = view.getInt32(offset + 34);
        const protocol = view.getUint8(offset + 23);
        const hash = flowHashPorts(view.getInt32(offset + 26), view.getInt32(offset + 30), ports, protocol);
        if ((hash >>> 26) % workers !== worker) continue;
      }
      rows[count++] = row;
    }
    this.#copy(batch, before, count);
  }

  /** Whether a decoded packet's flow belongs to this worker; an ICMP error goes with the packet that it quotes. */
  ownsFlow(records: Int32Array, at: number, view: DataView): boolean {
    let hash = 0;
    const quoted = this.#quoted;
    const hasQuoted = isIcmpError(records, at) && decodeQuoted(view, records, at, quoted, 0) === DECODE_OK;
    if (hasQuoted && !isIcmpError(quoted, 0)) hash = flowHash(quoted, 0);
    else hash = flowHash(records, at);
    return (hash >>> 26) % this.#workers === this.#worker;
  }

  /** The same for all flows of one of the 64 shards. */
  ownsShard(shard: number): boolean {
    return shard % this.#workers === this.#worker;
  }

  /** The same for what has no flow. */
  ownsNumber(packet: number): boolean {
    return packet % this.#workers === this.#worker;
  }

  #copy(batch: RecordBatch, before: number, count: number): void {
    const { kept, numbers } = this;
    const rows = this.#rows;
    kept.bytes = batch.bytes;
    kept.view = batch.view;
    kept.count = count;
    for (let i = 0; i < count; i++) {
      const row = rows[i]!;
      numbers[i] = before + row + 1;
      copyRow(batch, row, kept, i);
    }
  }
}

/** Whether `decodePacket` would find IPv4 without options or fragments, and the ports of TCP or UDP where they always are. */
function isPlain(view: DataView, offset: number, captured: number, wireBytes: number): boolean {
  if (captured < 42) return false;
  const protocol = view.getUint8(offset + 23);
  if (protocol !== TCP && protocol !== UDP) return false;
  // Ethernet type IPv4, version 4, five words of header; neither offset nor more fragments.
  if ((view.getInt32(offset + 12) & 0xffff_ff00) !== 0x0800_4500) return false;
  if ((view.getUint16(offset + 20) & 0x3fff) !== 0) return false;
  const least = protocol === TCP ? 54 : 42;
  const total = view.getUint16(offset + 16) + 14;
  return captured >= least && total >= least && total <= Math.max(wireBytes, captured);
}
