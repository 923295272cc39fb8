/**
 * An engine without processes: capture files, judged in this one. For tests of the main process, and for pages under development.
 */
import { totalsOf } from '../analyze/counters.ts';
import { Replayer } from '../analyze/replayer.ts';
import { openCapture } from '../packets/pcap-file.ts';
import { createRecordBatch } from '../packets/source.ts';
import { openTables } from '../tables/tables.ts';
import type { Accounting, SourceStatus } from './api.ts';
import type { CaptureEngine, EngineEvents, EngineOptions } from './engine.ts';

export async function createFileEngine(options: EngineOptions, events: EngineEvents): Promise<CaptureEngine> {
  let sources: SourceStatus[] = options.sources.map((source) => ({
    name: source.kind === 'file' ? `file:${source.path}` : source.kind,
    state: 'starting',
    restarts: 0,
    seen: 0,
  }));
  let accounting: Accounting = accountingOf(undefined);
  let flows = 0;
  let isStarted = false;
  const run = async (buffer: SharedArrayBuffer, generation: number): Promise<void> => {
    const tables = openTables(buffer);
    for (const [index, source] of options.sources.entries()) {
      if (source.kind !== 'file') continue;
      const replayer = new Replayer(tables, {
        onConnection: (record) => events.onFlows([{ id: `0-${++flows}`, isOpen: false, generation, record }]),
      });
      const reader = await openCapture(source.path);
      const batch = createRecordBatch();
      for (let more = true; more; ) {
        replayer.drain(reader, batch);
        const next = reader.fill();
        more = typeof next === 'boolean' ? next : await next;
      }
      replayer.finish();
      reader.close();
      accounting = accountingOf(totalsOf(replayer.counters, 0));
      const hits: { rule: number; packets: number; bytes: number }[] = [];
      replayer.counters.stepPackets.forEach((packets, rule) => {
        if (packets > 0) hits.push({ rule, packets, bytes: replayer.counters.stepBytes[rule]! });
      });
      replayer.counters.otherPackets.forEach((packets, at) => {
        if (packets > 0) hits.push({ rule: -1 - at, packets, bytes: replayer.counters.otherBytes[at]! });
      });
      events.onRuleHits({ generation, hits });
      sources = sources.map((each, i) => (i === index ? { ...each, state: 'ended', seen: reader.packetsRead } : each));
      events.onSources(sources);
    }
    events.onEnd();
  };
  return {
    publish: async (buffer, generation) => {
      if (isStarted) return;
      isStarted = true;
      await run(buffer, generation);
    },
    setOwners: () => {},
    setStale: () => {},
    accounting: () => accounting,
    sources: () => sources,
    flows: () => ({ active: 0, evicted: 0 }),
    findingsCapture: async () => new Uint8Array(),
    stop: async () => accounting,
  };
}

function accountingOf(totals: ReturnType<typeof totalsOf> | undefined): Accounting {
  const { allow = 0, deny = 0, unpoliced = 0, uncertain = 0, undecoded = 0, bytes = 0, packets = 0 } = totals ?? {};
  return {
    seen: packets,
    judged: packets - undecoded,
    duplicate: 0,
    undecoded,
    lost: 0,
    droppedByKernel: 0,
    isKernelDropEstimated: false,
    allow,
    deny,
    unpoliced,
    uncertain,
    bytes,
    undecodedByReason: totals?.undecoded_by_reason ?? {},
    lostByReason: {},
  };
}
