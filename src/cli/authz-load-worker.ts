/** The thread that loads changed input while the authorization service goes on (authz-inputs.ts). It answers once and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { type LoadQuestion, tryOpenForm } from './authz-inputs.ts';

parentPort?.postMessage(await tryOpenForm(workerData as LoadQuestion));
