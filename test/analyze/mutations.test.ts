/**
 * 100 000 damaged captures through the whole packet path: no crash, no hang, and every packet counted exactly once, in each form of the
 * path: batches in WebAssembly, batches as a script, tracked batches, and one by one with connection tracking.
 *
 * Each form keeps its replayer through all of them, as an agent would, so that damage in one capture may meet what another left behind.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { totalsOf } from '../../src/analyze/counters.ts';
import { Replayer, type ReplayOptions } from '../../src/analyze/replayer.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openSource } from '../../src/packets/pcap-file.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { MemorySource } from '../packets/read-all.ts';

const ROOT = new URL('../conformance/worlds/', import.meta.url);
const MUTATIONS = 100_000;
const SEED = 20_261_125;

const FORMS: Record<string, ReplayOptions> = {
  WebAssembly: { stateless: true, form: 'wasm' },
  'a script, then WebAssembly': { stateless: true },
  'a script that searches': { stateless: true, form: 'search' },
  'tracked in batches': { conntrackEntries: 256, trackedBatchesFrom: 0 },
  'tracked, connections and lines': {
    conntrackEntries: 256,
    onConnection: () => undefined,
    onPacket: () => undefined,
  },
  'what tunnels carry, at a veth': { conntrackEntries: 256, decapsulate: true, capturePoint: 'veth' },
};

/** Short good captures of one cluster's traffic, and its tables. */
function material(): { captures: Uint8Array[]; tables: Tables } {
  const world = new URL(`${readdirSync(ROOT)[0]}/`, ROOT);
  const text = readFileSync(new URL('cluster.yaml', world), 'utf8');
  return {
    captures: pieces(readFileSync(new URL('packets.pcap', world)), 12),
    tables: openTables(compile(loadResources([{ name: 'cluster.yaml', text }]).resources)),
  };
}

/** The capture as several ones of `count` records. */
function pieces(capture: Uint8Array, count: number): Uint8Array[] {
  const view = new DataView(capture.buffer, capture.byteOffset);
  const header = capture.subarray(0, 24);
  const out: Uint8Array[] = [];
  for (let start = 24; start < capture.length; ) {
    let end = start;
    for (let i = 0; i < count && end < capture.length; i++) end += 16 + view.getUint32(end + 8, true);
    out.push(Buffer.concat([header, capture.subarray(start, end)]));
    start = end;
  }
  return out;
}

/** The capture with some of its bytes changed, its lengths turned, parts cut out or put in twice. */
function mutate(capture: Uint8Array, random: Xorshift32): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(capture);
  for (let i = 1 + random.below(4); i > 0; i--) {
    // Damage to the file header ends the capture, so it is rare.
    const at = Math.min(bytes.length - 1, random.below(20) === 0 ? random.below(24) : 24 + random.below(bytes.length));
    const kind = random.below(10);
    if (kind < 5) bytes[at] = random.below(256);
    else if (kind < 7) bytes[at]! ^= 1 << random.below(8);
    else if (kind === 7) bytes = bytes.slice(0, at + 1);
    else if (kind === 8) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random.below(bytes.length))]);
    else new DataView(bytes.buffer, bytes.byteOffset).setUint32(Math.min(at, bytes.length - 4) & ~3, random.next());
    if (bytes.length < 8) break;
  }
  return bytes;
}

describe('damaged captures', () => {
  const { captures, tables } = material();

  test.each(Object.entries(FORMS))('%s: every packet counted once', async (_name, options) => {
    const random = new Xorshift32(SEED);
    const replayer = new Replayer(tables, options);
    const batch = createRecordBatch();
    let read = 0;
    for (let i = 0; i < MUTATIONS / Object.keys(FORMS).length; i++) {
      const bytes = mutate(captures[random.below(captures.length)]!, random);
      const reader = await openSource(`mutation ${i}`, new MemorySource(bytes, bytes.length), undefined);
      let calls = 0;
      do {
        replayer.drain(reader, batch);
        if (++calls > 20) throw new Error(`seed ${SEED}, mutation ${i}: reading goes on without end`);
      } while (await reader.fill());
      read += reader.packetsRead;
      reader.close();
    }
    replayer.finish();
    const {
      packets,
      allow,
      deny,
      unpoliced,
      uncertain,
      undecoded,
      undecoded_by_reason: reasons,
    } = totalsOf(replayer.counters, replayer.connectionCount);
    expect(packets).toBe(read);
    expect(allow + deny + unpoliced + uncertain + undecoded).toBe(read);
    expect(Object.values(reasons).reduce((sum, count) => sum + count, 0)).toBe(undecoded);
    expect([allow, undecoded].map((count) => count > 1000)).toEqual([true, true]);
  });
});
