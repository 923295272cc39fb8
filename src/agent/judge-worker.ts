/**
 * The judging thread of a capture child: owns the link to the main process and the sources' reading ends.
 *
 * A source is pumped by an endless loop of its own: judge what is there, give messages their turn, wait for more. All loops share one
 * replayer, one batch at a time, so a packet meets one generation of tables whatever source it comes from. Order of things at the start: `start`, the first
 * `tables`, sources. At the end (`stop`, or all sources have ended): what is in the ring is judged, all connections are told of, `done`.
 */
import { createReadStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { StreamSource } from '../packets/byte-source.ts';
import { openCapture, openSource } from '../packets/pcap-file.ts';
import type { CaptureReader } from '../packets/source.ts';
import { Tcpdump } from '../packets/tcpdump.ts';
import { createRingMemory, RingReader } from '../workers/ring.ts';
import type { CaptureNews, CaptureOrder } from './capture-orders.ts';
import type { EngineSource } from './engine.ts';
import { InterfaceCounters } from './interface-counters.ts';
import { Judging } from './judging.ts';
import { LedgerWriter } from './ledger.ts';
import { Link } from './link.ts';
import type { ChildSource, ChildSpec, FromChild, ToChild } from './messages.ts';
import type { SourceCounts, SourceReader } from './source-reader.ts';

/** Descriptor of the link. */
const LINK = 3;
/** Reports wait while so much is on its way to a main process that does not read. */
const PENDING_BYTES_MAX = 8 * 1024 * 1024;
/** How long a source that failed is left alone: at first, and at most. */
const RETRY_MS = 250;
const RETRY_MS_MAX = 5000;
/** How long the thread that captures may take to say that it stopped. */
const STOP_MS = 1000;

const port = parentPort as MessagePort;
// Tables are received into the memory that they are judged by.
const shared = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length));
const link = new Link<FromChild, ToChild>(new Socket({ fd: LINK }), receive, vanish, shared);
let spec: ChildSpec | undefined;
let judging: Judging | undefined;
let ledger: LedgerWriter | undefined;
let isStopping = false;
let tellStopping: () => void = () => {};
/** Resolves when all is to end: what waits for a pipe that nobody writes to waits for this, too. */
const stopping = new Promise<false>((resolve) => {
  tellStopping = () => resolve(false);
});
let statuses: ChildSource[] = [];
const readers: (SourceReader | undefined)[] = [];
/** Packets of closed readers, by source. */
const seenBefore: number[] = [];
const pumps: Promise<void>[] = [];
/** How to end each source, by what it is. */
const stops = new Map<number | 'cap' | 'stdin', () => void>();
let captureStopped: () => void = () => {};

port.on('message', hear);
link.send({ kind: 'ready' });

/** Nobody wants to know any more: the main process is gone, or knows everything. */
function vanish(): void {
  process.kill(process.pid, 'SIGKILL');
}

function receive(message: ToChild, bytes: Uint8Array): void {
  switch (message.kind) {
    case 'start':
      spec = message.spec;
      break;
    case 'tables':
      takeTables(message.generation, message.isStale, bytes);
      break;
    case 'written':
      judging?.setWritten(message.generation, new Int32Array(bytes.buffer));
      link.send({ kind: 'judging', generation: message.generation });
      break;
    case 'owners':
      takeOwners(message.generation, message.storeWords, bytes);
      break;
    case 'stale':
      if (judging !== undefined) judging.isStale = message.isStale;
      break;
    case 'findings':
      link.send({ kind: 'findings', request: message.request }, judging?.findings.capture());
      break;
    case 'stop':
      stop();
      break;
  }
}

function takeTables(generation: number, isStale: boolean, bytes: Uint8Array): void {
  if (spec === undefined) return;
  const buffer = bytes.buffer as SharedArrayBuffer;
  if (judging === undefined) begin(spec, buffer, generation);
  else judging.setTables(buffer, generation);
  judging!.isStale = isStale;
  link.send({ kind: 'judging', generation });
}

function takeOwners(generation: number, storeWords: number, bytes: Uint8Array): void {
  const words = new Int32Array(bytes.buffer);
  judging?.setOwners(generation, words.subarray(0, storeWords), words.subarray(storeWords));
}

function begin(of: ChildSpec, buffer: SharedArrayBuffer, generation: number): void {
  ledger = new LedgerWriter(of.ledgerPath);
  judging = new Judging(buffer, generation, of, ledger, {
    onFinding: (finding) => link.send({ kind: 'finding', finding }),
    onLog: (level, message, fields) =>
      link.send({ kind: 'log', level, message, ...(fields === undefined ? {} : { fields }) }),
  });
  statuses = of.sources.map((source) => ({ name: sourceName(source), state: 'starting' }));
  startCapture(of);
  of.sources.forEach((source, index) => {
    if (source.kind === 'tcpdump') pumps.push(followTcpdump(of, index, source.interfaceName));
  });
  pumps.push(readInOrder(of));
  const timer = setInterval(report, of.reportMs);
  void Promise.all(pumps).then(() => {
    clearInterval(timer);
    return end();
  });
}

function sourceName(source: EngineSource): string {
  if (source.kind === 'file') return `file:${source.path}`;
  return source.kind === 'stdin' ? 'stdin' : `${source.kind}:${source.interfaceName}`;
}

function setState(index: number, state: ChildSource['state'], trouble?: string): void {
  const before = statuses[index]!;
  if (before.state === state && before.trouble === trouble) return;
  statuses[index] = { name: before.name, state, ...(trouble === undefined ? {} : { trouble }) };
  link.send({ kind: 'sources', sources: statuses });
}

/* ---- cap: all interfaces through one ring, filled by the other thread ---- */

/** Numbers in `spec.sources` of those that the other thread captures. */
let captured: number[] = [];

function startCapture(of: ChildSpec): void {
  captured = of.sources.flatMap(({ kind }, index) => (kind === 'cap' ? [index] : []));
  if (captured.length === 0) return;
  const interfaces = captured.map((index) => (of.sources[index] as { interfaceName: string }).interfaceName);
  const memory = createRingMemory(of.ringBytes);
  const ring = new RingReader('cap', memory, interfaces);
  const counters = InterfaceCounters.of(interfaces, of.filter);
  const counts: SourceCounts = {
    ring,
    isLive: true,
    ...(counters === undefined ? {} : { kernelDrops: () => counters.dropped(ring.seen), isEstimated: true }),
  };
  const source = judging!.open(ring, counts);
  for (const index of captured) readers[index] = source;
  const { filter, snapBytes, captureBytes } = of;
  order({ kind: 'capture', ring: memory, interfaces, filter, snapBytes, captureBytes });
  const stopped = new Promise<void>((resolve) => {
    captureStopped = resolve;
  });
  stops.set('cap', () => {
    counters?.stop();
    ring.stop();
    order({ kind: 'stop' });
  });
  pumps.push(followRing(source, stopped).then(() => counters?.settle(ring.seen)));
}

async function followRing(source: SourceReader, stopped: Promise<void>): Promise<void> {
  await pump(source);
  // The packet that the other thread was just about to put there.
  await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, STOP_MS))]);
  while (judging!.drain(source)) await turn();
}

function order(message: CaptureOrder): void {
  port.postMessage(message);
}

function hear(news: CaptureNews): void {
  if (news.kind === 'stopped') {
    captureStopped();
    return;
  }
  const index = captured[news.index]!;
  if (news.isOpen) setState(index, 'running');
  else setState(index, news.isFinal === true ? 'failed' : 'restarting', news.trouble);
}

/* ---- tcpdump: one process an interface, started again when it ends ---- */

async function followTcpdump(of: ChildSpec, index: number, interfaceName: string): Promise<void> {
  const { filter, snapBytes, captureBytes } = of;
  const name = sourceName(of.sources[index]!);
  for (let wait = RETRY_MS; !isStopping; wait = Math.min(2 * wait, RETRY_MS_MAX)) {
    const startedAt = performance.now();
    const tcpdump = new Tcpdump({ interfaceName, filter, snapBytes, captureBytes });
    stops.set(index, () => tcpdump.stop());
    const reader = await tcpdump.reader(name);
    // A source of its own each time: what the one before counted stays counted.
    const source = judging!.open(reader, { isLive: true, kernelDrops: () => tcpdump.kernelDrops });
    readers[index] = source;
    if (reader.error === undefined) setState(index, 'running');
    await pump(source);
    const broken = reader.error?.message;
    if (broken !== undefined) tcpdump.stop();
    const said = await tcpdump.ended;
    const trouble = broken ?? said;
    close(index, source);
    if (isStopping) break;
    if (performance.now() - startedAt > RETRY_MS_MAX) wait = RETRY_MS;
    setState(index, 'restarting', trouble ?? 'tcpdump ended');
    await pause(wait);
  }
  setState(index, 'ended');
}

/* ---- files and standard input, one after the other, as one stream of packets ---- */

async function readInOrder(of: ChildSpec): Promise<void> {
  for (const [index, source] of of.sources.entries()) {
    if (source.kind !== 'file' && source.kind !== 'stdin') continue;
    if (isStopping) break;
    await readWhole(index, source);
  }
}

async function readWhole(index: number, from: EngineSource): Promise<void> {
  let reader: CaptureReader | false;
  try {
    const opening =
      from.kind === 'file' ? openCapture(from.path) : openStdin((stream) => stops.set('stdin', () => stream.destroy()));
    reader = await Promise.race([opening, stopping]);
  } catch (error) {
    setState(index, 'failed', error instanceof Error ? error.message : String(error));
    return;
  }
  if (reader === false) return;
  setState(index, 'running');
  const source = judging!.open(reader, { isLive: false });
  readers[index] = source;
  await pump(source);
  close(index, source);
  const isCut = reader.error !== undefined && !isStopping;
  setState(index, isCut ? 'failed' : 'ended', isCut ? reader.error?.message : undefined);
}

/** Standard input of the process, which a thread does not have as `process.stdin`. */
function openStdin(onStream: (stream: Readable) => void): Promise<CaptureReader> {
  const stat = fstatSync(0);
  const stream: Readable = stat.isFIFO() || stat.isSocket() ? new Socket({ fd: 0 }) : createReadStream('', { fd: 0 });
  onStream(stream);
  return openSource('standard input', new StreamSource('standard input', stream), undefined);
}

/* ---- judging ---- */

/** Judges what comes from `source` until it ends, or (for what would wait for us) all is to end. */
async function pump(source: SourceReader): Promise<void> {
  for (;;) {
    if (judging!.drain(source)) {
      await turn();
      if (isStopping && !source.isLive) return;
      continue;
    }
    const more = source.fill();
    const mayWait = source.isLive || typeof more === 'boolean';
    if (!(await (mayWait ? more : Promise.race([more, stopping])))) return;
    if (typeof more === 'boolean') await turn();
    if (isStopping && !source.isLive) return;
  }
}

/** What a source has counted stays; its memory goes. */
function close(index: number, source: SourceReader): void {
  seenBefore[index] = (seenBefore[index] ?? 0) + source.seen;
  readers[index] = undefined;
  judging!.close(source);
}

/** Lets messages and timers have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report(): void {
  // What is not told now is told with the next report; it is only totals that change.
  if (link.pendingBytes > PENDING_BYTES_MAX) return;
  tell(judging!.turn());
}

function tell({ flows, hits }: ReturnType<Judging['turn']>): void {
  const seen = statuses.map((_, i) => (seenBefore[i] ?? 0) + (readers[i]?.seen ?? 0));
  link.send({ kind: 'report', flows, hits, seen, counts: [...ledger!.counts] });
}

function stop(): void {
  if (isStopping) return;
  isStopping = true;
  tellStopping();
  for (const end of stops.values()) end();
  if (judging === undefined) void end();
}

async function end(): Promise<void> {
  if (judging !== undefined) {
    tell(judging.finish((flows) => tell({ flows, hits: [] })));
    link.send({ kind: 'findings', request: 0 }, judging.findings.capture());
  }
  link.send({ kind: 'done' });
  await link.close();
  // An orderly exit would wait for a read from a pipe that nobody writes to; everything has been said.
  vanish();
}
