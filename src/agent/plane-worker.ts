/** The thread of policies and identities (plane.ts), between its port and the plane. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyPlane } from './plane.ts';
import type { PlaneOptions, PlaneOrder } from './plane-messages.ts';

const port = parentPort!;
const plane = new PolicyPlane(workerData as PlaneOptions, (report) => port.postMessage(report));
port.on('message', (order: PlaneOrder) => {
  void plane.take(order).then(() => {
    if (order.kind === 'stop') port.close();
  });
});
await plane.start();
