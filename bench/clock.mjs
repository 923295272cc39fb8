// @ts-check
// Preloaded into a replay (`node --import bench/clock.mjs …`): when it opened the capture, and when it ended.
//
// The difference of two whole processes, one with an empty capture, is no measure of judging: loading a large cluster takes
// seconds, and a tenth of a second more or less on either side is 10 ns a packet over ten million. So the clock runs from the first
// time that any thread opens the file named by MARGAY_BENCH_CAPTURE to the end of the process, after all output. The program
// knows nothing of it. Lines of JSON go to the file MARGAY_BENCH_REPORT.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';

const capture = process.env.MARGAY_BENCH_CAPTURE;
const report = process.env.MARGAY_BENCH_REPORT;

// The form that is pure TypeScript: the program takes WebAssembly where there is one, and there is none now, in no thread.
if (process.env.MARGAY_BENCH_FORM === 'TS') Reflect.deleteProperty(globalThis, 'WebAssembly');

if (capture !== undefined && report !== undefined) {
  /** Since the process began, as V8's own messages count; the parent's clock is `startedMs` more. */
  const startedMs = performance.timeOrigin;
  /** @param {string} event */
  const say = (event) => {
    const heapBytes = getHeapStatistics().used_heap_size;
    const maxRssBytes = process.resourceUsage().maxRSS * 1024;
    // Of all threads of the process.
    const { user, system } = process.cpuUsage();
    const cpuMs = (user + system) / 1000;
    const line = { event, atMs: performance.now(), startedMs, cpuMs, heapBytes, maxRssBytes };
    fs.appendFileSync(report, `${JSON.stringify(line)}\n`);
  };
  const open = fs.openSync;
  /** @type {typeof fs.openSync} */
  const timedOpen = (path, flags, mode) => {
    if (path === capture) say('opened');
    return open(path, flags, mode);
  };
  fs.openSync = timedOpen;
  syncBuiltinESMExports();
  if (isMainThread) process.on('exit', () => say('ended'));
}
