/** A worker thread that judges flows over shared tables, as the workers of `replay` do. */
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { FlowRecord } from '../../src/analyze/record.ts';
import type { Flow } from '../../src/model/flow.ts';
import { builtSources, removeBuiltSources } from './built.ts';

export interface EvalWorker {
  /** The records of `flows`, judged in the worker; `buffer` is shared, not copied. */
  evaluate(buffer: SharedArrayBuffer, flows: readonly Flow[]): Promise<FlowRecord[]>;
  close(): Promise<void>;
}

export function startEvalWorker(): EvalWorker {
  const url = (path: string): string => JSON.stringify(pathToFileURL(`${builtSources()}/${path}`).href);
  const code = `
    import { parentPort } from 'node:worker_threads';
    import { evaluateFlow } from ${url('analyze/evaluate-flow.js')};
    import { openTables } from ${url('tables/tables.js')};
    parentPort.on('message', ({ buffer, flows }) => {
      const tables = openTables(buffer);
      parentPort.postMessage(flows.map((flow) => evaluateFlow(tables, flow)));
    });`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  return {
    evaluate: (buffer, flows) =>
      new Promise((resolve, reject) => {
        worker.once('message', (records: FlowRecord[]) => {
          worker.off('error', reject);
          resolve(records);
        });
        worker.once('error', reject);
        worker.postMessage({ buffer, flows });
      }),
    close: async () => {
      await worker.terminate();
      removeBuiltSources();
    },
  };
}
