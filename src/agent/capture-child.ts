/**
 * The process that captures: its main thread does nothing but copy packets into the ring, its worker thread (judge-worker.ts) does the rest.
 *
 *   main process ◄─── link, descriptor 3 ───► judging thread ◄─ ring ─ this thread ◄─ cap ◄─ kernel
 *
 * The thread owns the link, because this one may not come back to its event loop for as long as packets keep coming. Signals of a terminal
 * (Ctrl-C) are for the main process, which says what is to be done over the link.
 */
import { Worker } from 'node:worker_threads';
import { threadEntry } from '../base/thread-entry.ts';
import { type LiveCapture, LiveCaptureError, openLive } from '../packets/live.ts';
import { RingWriter } from '../workers/ring.ts';
import type { CaptureNews, CaptureOrder } from './capture-orders.ts';

/** How long an interface that cannot be opened is left alone. */
const RETRY_MS = 500;

const worker = new Worker(threadEntry(import.meta.url, 'judge-worker'), { name: 'margay judge' });
const captures: (LiveCapture | undefined)[] = [];
let isStopping = false;

worker.on('message', (order: CaptureOrder) => {
  if (order.kind === 'stop') stop();
  else start(order);
});
worker.on('error', (error) => {
  process.stderr.write(
    `margay capture child: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exit(1);
});
worker.on('exit', (code) => process.exit(code));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

function start(order: Extract<CaptureOrder, { kind: 'capture' }>): void {
  const ring = new RingWriter(order.ring);
  order.interfaces.forEach((name, index) => {
    open(order, ring, name, index);
  });
}

function open(order: Extract<CaptureOrder, { kind: 'capture' }>, ring: RingWriter, name: string, index: number): void {
  if (isStopping) return;
  const { snapBytes, filter, captureBytes } = order;
  // What the wall said when this process started; what is added to it is monotonic (live-clock.ts).
  const origin = performance.timeOrigin;
  try {
    captures[index] = openLive(name, filter, captureBytes, (frame, bytes, linkType) => {
      const ms = origin + performance.now();
      const seconds = Math.floor(ms / 1000);
      const nanos = Math.floor((ms - seconds * 1000) * 1e6);
      ring.push(frame, 0, Math.min(bytes, snapBytes), bytes, linkType, index, seconds, nanos);
    });
    tell({ kind: 'interface', index, isOpen: true });
  } catch (error) {
    if (!(error instanceof LiveCaptureError)) throw error;
    const isFinal = error.kind !== 'interface';
    tell({ kind: 'interface', index, isOpen: false, isFinal, trouble: error.message });
    if (!isFinal) setTimeout(() => open(order, ring, name, index), RETRY_MS);
  }
}

function stop(): void {
  isStopping = true;
  for (const capture of captures) capture?.close();
  tell({ kind: 'stopped' });
}

function tell(news: CaptureNews): void {
  worker.postMessage(news);
}
