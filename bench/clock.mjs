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
import { isMainThread } from 'node:worker_threads';

const capture = process.env.MARGAY_BENCH_CAPTURE;
const report = process.env.MARGAY_BENCH_REPORT;

if (capture !== undefined && report !== undefined) {
  const nowMs = () => performance.timeOrigin + performance.now();
  /** @param {object} line */
  const say = (line) => fs.appendFileSync(report, `${JSON.stringify(line)}\n`);
  const open = fs.openSync;
  /** @type {typeof fs.openSync} */
  const timedOpen = (path, flags, mode) => {
    if (path === capture) say({ openedMs: nowMs() });
    return open(path, flags, mode);
  };
  fs.openSync = timedOpen;
  syncBuiltinESMExports();
  if (isMainThread) {
    process.on('exit', () => {
      const { rss, heapUsed } = process.memoryUsage();
      const { maxRSS } = process.resourceUsage();
      say({ endedMs: nowMs(), rss, heapUsed, maxRssBytes: maxRSS * 1024 });
    });
  }
}
