/**
 * A worker thread of a replay: judges segments of captures, or its share of all packets (replay-parallel.ts divides). It may be started
 * long before there is anything to judge: loading its code takes longer than a million packets.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { END_THREAD } from '../base/thread-entry.ts';
import type { SegmentRequest, WorkerStart } from './replay-parallel-messages.ts';
import { judgeSegments } from './replay-worker-segments.ts';
import { judgeShare } from './replay-worker-share.ts';

const port = parentPort as MessagePort;

port.on('message', (message: unknown) => {
  if (message === END_THREAD) port.close();
});

port.once('message', (start: WorkerStart | typeof END_THREAD) => {
  if (start === END_THREAD) return;
  if (start.division !== 'segments') {
    judgeShare(start, port).catch(fail);
    return;
  }
  const judge = judgeSegments(start);
  // One after the other, though the main thread sends the next one ahead.
  let judged = Promise.resolve();
  port.on('message', (request: SegmentRequest | typeof END_THREAD) => {
    if (request === END_THREAD) return;
    judged = judged.then(async () => port.postMessage(await judge(request))).catch(fail);
  });
});

/** Out of the promise, where the main thread hears of it. */
function fail(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
