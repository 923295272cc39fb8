/**
 * A worker thread of a replay: judges segments of captures, or its share of all packets (replay-parallel.ts divides).
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { SegmentRequest, WorkerStart } from './replay-parallel-messages.ts';
import { judgeSegments } from './replay-worker-segments.ts';
import { judgeShare } from './replay-worker-share.ts';

const start = workerData as WorkerStart;
const port = parentPort as MessagePort;
if (start.division === 'segments') {
  const judge = judgeSegments(start);
  // One after the other: the main thread sends the next one when it has this one's result.
  port.on('message', (request: SegmentRequest) => {
    judge(request).then(
      (result) => port.postMessage(result),
      (error) => {
        // Out of the promise, where the main thread hears of it.
        setImmediate(() => {
          throw error;
        });
      },
    );
  });
} else {
  await judgeShare(start, port);
}
