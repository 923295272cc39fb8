/**
 * A worker's share of all packets: blocks of them in turn, or whole flows. Every worker walks over the whole capture; what it judges
 * is in `RowFilter` (workers/rows.ts). Lines, closed connections, orphaned errors and fragments go to the main thread, which puts
 * them in order.
 */
import type { MessagePort } from 'node:worker_threads';
import { openByteSource } from '../packets/byte-source.ts';
import { openSource, openUnpacked } from '../packets/pcap-file.ts';
import { type CaptureReader, createRecordBatch, type RecordBatch } from '../packets/source.ts';
import { viewTables } from '../tables/tables.ts';
import { FeedGate, RingSource } from '../workers/feed.ts';
import { FramePacker } from '../workers/frames.ts';
import { RowFilter } from '../workers/rows.ts';
import type { Orphan } from './connections.ts';
import type { SourceResult } from './replay.ts';
import { MOMENTS, type ReplayOptions, type ReplayShare } from './replay-options.ts';
import type { Final, PlannedFile, Report, WorkerStart } from './replay-parallel-messages.ts';
import { Replayer } from './replayer.ts';
import { STAGE_PARSE, STAGE_READ, StageTimes } from './stage-times.ts';

/** Text that is sent without waiting for the end of the step. */
const OUTBOX_LENGTH = 1 << 18;

export async function judgeShare(start: WorkerStart, port: MessagePort): Promise<void> {
  const gate = new FeedGate(start.feed);
  const filter = new RowFilter(start.worker, start.workers);
  const outbox = new Outbox(port, gate);
  let reader: CaptureReader | undefined;
  const nameOf = (number: number): string | undefined => reader?.interfaceName(number);
  const times = start.wantsTimes ? new StageTimes() : undefined;
  const replayer: Replayer = new Replayer(
    viewTables(start.tables),
    { ...optionsOf(start, outbox, () => replayer.moment), ...(times === undefined ? {} : { times }) },
    shareOf(start, filter, outbox, nameOf, () => replayer.moment),
  );
  const batch = createRecordBatch();
  const sources: SourceResult[] = [];
  let packets = 0;
  for (const file of start.files) {
    // A file that every worker reads for itself is opened by a step, too: opening reads.
    if (start.feed.ring === undefined && !enter(gate, outbox)) break;
    const ring =
      start.feed.ring === undefined ? undefined : new RingSource(gate, start.feed, start.errors, () => outbox.flush());
    reader = await openOne(file, ring);
    try {
      do {
        if (start.division === 'flows' && replayer.takesBatches) {
          const before = reader.packetsRead;
          replayer.drain(reader, batch);
          packets += reader.packetsRead - before;
        }
        for (let count = walk(reader, batch, times); count > 0; count = walk(reader, batch, times)) {
          if (start.division === 'flows' && start.options.decapsulate !== true) filter.keepFlows(batch, packets);
          else if (start.division === 'blocks') filter.keepBlocks(batch, packets);
          else filter.keepAll(batch, packets);
          replayer.batch(filter.kept, reader, filter.numbers);
          replayer.skip(count);
          packets += count;
          if (outbox.length > OUTBOX_LENGTH) outbox.send(packets * MOMENTS + MOMENTS - 1, packets, reader.bytesRead);
        }
        outbox.send(packets * MOMENTS + MOMENTS - 1, packets, reader.bytesRead);
        if (start.feed.ring === undefined && !enter(gate, outbox)) break;
      } while (fill(reader, times));
      sources.push(sourceOf(file.path, reader, gate.hasEnded));
    } finally {
      reader.close();
    }
    if (gate.hasEnded) break;
    outbox.file++;
    const { bytesRead } = reader;
    const report = (): void => outbox.send(packets * MOMENTS + MOMENTS - 1, packets, bytesRead);
    // Lets the main thread know that nobody wants more of this one.
    if (ring !== undefined) report();
    ring?.skip(report);
  }
  replayer.finish();
  outbox.send(Number.POSITIVE_INFINITY, packets, 0);
  const final: Final = {
    kind: 'final',
    counters: replayer.counters,
    sources,
    packets,
    connections: replayer.connectionCount,
    evictedConnections: replayer.evictedConnections,
    wasStopped: gate.hasEnded,
    stageMs: times?.ms,
  };
  port.postMessage(final);
}

function walk(reader: CaptureReader, batch: RecordBatch, times: StageTimes | undefined): number {
  if (times?.takesBatch(1) !== true) return reader.next(batch);
  const start = performance.now();
  const count = reader.next(batch);
  times.add(STAGE_PARSE, start);
  return count;
}

/** Never a promise: what would be one comes through the ring. */
function fill(reader: CaptureReader, times: StageTimes | undefined): boolean {
  if (times === undefined) return reader.fill() as boolean;
  const start = performance.now();
  const hasMore = reader.fill() as boolean;
  times.addWhole(STAGE_READ, start);
  return hasMore;
}

/** Takes a step of reading, if it is granted; what was found so far is not kept back while it waits. */
function enter(gate: FeedGate, outbox: Outbox): boolean {
  if (!gate.enter(() => outbox.flush())) return false;
  gate.steps++;
  return true;
}

async function openOne({ path, sizeBytes }: PlannedFile, ring: RingSource | undefined): Promise<CaptureReader> {
  const name = path === '-' ? 'standard input' : path;
  if (ring !== undefined) return openUnpacked(name, ring);
  // The same end for all workers, though the file may grow.
  return openSource(name, openByteSource(path, 0, sizeBytes), undefined);
}

function sourceOf(file: string, reader: CaptureReader, wasStopped: boolean): SourceResult {
  return {
    file,
    packets: reader.packetsRead,
    link_type: reader.linkType,
    lost: reader.lostPackets,
    error: wasStopped ? null : (reader.error?.message ?? null),
  };
}

function optionsOf(start: WorkerStart, outbox: Outbox, momentNow: () => number): ReplayOptions {
  return {
    ...start.options,
    ...(start.wantsConnections
      ? { onConnection: (record) => outbox.event(momentNow(), record.first_packet, JSON.stringify(record)) }
      : {}),
    ...(start.wantsLines ? { onPacket: (line) => outbox.line(line.packet, JSON.stringify(line)) } : {}),
  };
}

function shareOf(
  start: WorkerStart,
  filter: RowFilter,
  outbox: Outbox,
  nameOf: (number: number) => string | undefined,
  momentNow: () => number,
): ReplayShare {
  if (start.division === 'blocks') {
    return {
      onFragment: (batch, index, packet) => outbox.frames.add(batch, index, packet, nameOf(batch.interfaces[index]!)),
    };
  }
  return {
    owns: (records, at, view) => filter.ownsFlow(records, at, view),
    ownsShard: (shard) => filter.ownsShard(shard),
    ownsNumber: (packet) => filter.ownsNumber(packet),
    onOrphan: (orphan) => outbox.orphan(momentNow(), orphan),
    ...(start.conntrack === undefined ? {} : { conntrackBuffer: start.conntrack }),
  };
}

/** What has been found and not been sent yet. */
class Outbox {
  readonly frames = new FramePacker();
  /** Number of the file in hand. */
  file = 0;
  /** Characters that wait. */
  length = 0;
  readonly #port: MessagePort;
  readonly #gate: FeedGate;
  #lineNumbers: number[] = [];
  #lines: string[] = [];
  #moments: number[] = [];
  #firsts: number[] = [];
  #records: string[] = [];
  #orphans: Orphan[] = [];
  #moment = 0;
  #packets = 0;
  #bytesRead = 0;

  constructor(port: MessagePort, gate: FeedGate) {
    this.#port = port;
    this.#gate = gate;
  }

  line(packet: number, text: string): void {
    this.#lineNumbers.push(packet);
    this.#lines.push(text);
    this.length += text.length;
  }

  /** A connection has closed. */
  event(moment: number, first: number, text: string): void {
    this.#moments.push(moment);
    this.#firsts.push(first);
    this.#records.push(text);
    this.length += text.length;
    // All that is open closes at one moment, the last: it may be much, and is not whole before it is all there.
    if (this.length > 16 * OUTBOX_LENGTH) this.send(moment - 1, this.#packets, this.#bytesRead);
  }

  orphan(moment: number, orphan: Orphan): void {
    this.event(moment, orphan.packet, '');
    this.#orphans.push(orphan);
  }

  /** Sends what there is again, with what was said last. */
  flush(): void {
    if (this.length > 0) this.send(this.#moment, this.#packets, this.#bytesRead);
  }

  /** @param moment  everything up to it is in what has been sent now */
  send(moment: number, packets: number, bytesRead: number): void {
    this.#moment = moment;
    this.#packets = packets;
    this.#bytesRead = bytesRead;
    const report: Report = {
      kind: 'report',
      steps: this.#gate.steps,
      file: this.file,
      bytesRead,
      packets,
      moment,
      lineNumbers: Float64Array.from(this.#lineNumbers),
      lines: this.#lines.join('\n'),
      moments: Float64Array.from(this.#moments),
      firsts: Float64Array.from(this.#firsts),
      records: this.#records.join('\n'),
      orphans: this.#orphans,
      frames: this.frames.take(),
    };
    this.#lineNumbers = [];
    this.#lines = [];
    this.#moments = [];
    this.#firsts = [];
    this.#records = [];
    this.#orphans = [];
    this.length = 0;
    this.#port.postMessage(report);
  }
}
