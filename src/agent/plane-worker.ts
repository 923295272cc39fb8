/** The thread of policies and identities (plane.ts), between its port and the plane. */
import { parentPort, workerData } from 'node:worker_threads';
import { LARGE_ENDPOINTS, PolicyPlane } from './plane.ts';
import type { PlaneOptions, PlaneOrder } from './plane-messages.ts';
import { collectGarbage, RetiredMemory } from './retired-memory.ts';

/** More than once: pages are given back little by little. */
const COLLECT_AFTER_MS = [0, 3_000, 10_000];

/** Hundreds of megabytes at 100 000 pods would stay for minutes; this thread has nothing else to do. */
function collectOften(): void {
  for (const afterMs of COLLECT_AFTER_MS) setTimeout(collectGarbage, afterMs).unref();
}

const retired = new RetiredMemory(() => setImmediate(collectGarbage));

const port = parentPort!;
const plane = new PolicyPlane(workerData as PlaneOptions, (report) => {
  port.postMessage(report, report.kind === 'board' ? [report.json.buffer] : []);
  if (report.kind !== 'generation' || report.generation.how === 'written') return;
  const { buffer, begun } = report.generation;
  // What is written to takes turns in two buffers.
  retired.replacedBy(buffer.byteLength * (begun === undefined ? 1 : 2));
  if (report.generation.endpoints >= LARGE_ENDPOINTS) collectOften();
});
port.on('message', (order: PlaneOrder) => {
  void plane.take(order).then(() => {
    if (order.kind === 'stop') port.close();
  });
});
await plane.start();
