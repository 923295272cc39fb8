/** Both scans of an ordinary pcap file leave the same columns, whatever lies in it. */
import { expect, test } from 'vitest';
import { instantiate } from '../../src/base/wasm.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { createPlainColumns, createPlainScan } from '../../src/wire/plain.ts';
import * as scan from '../../src/wire/plain-wasm.ts';

const LIMIT = 64;
const CAPTURED_MAX = 4096;
const NAMES = ['src', 'dst', 'keys', 'bytes', 'frames', 'others', 'otherNumbers'] as const;
const BUFFER_AT = 8192;

/** Records of all sorts of frames, some damaged, some with lengths that lie, the last one perhaps cut off. */
function records(seed: number): Uint8Array {
  const random = new Xorshift32(seed);
  const parts = Array.from({ length: 1 + random.below(90) }, () => {
    const frame = buildFrame({
      src: random.next() | 0,
      dst: random.next() | 0,
      protocol: [6, 17, 1, 132][random.below(4)]!,
      srcPort: random.below(65_536),
      dstPort: random.below(65_536),
      payload: random.bytes(random.below(30)),
    });
    if (random.float() < 0.4) frame[12 + random.below(12)] = random.below(256);
    const kept = random.float() < 0.2 ? frame.subarray(0, random.below(frame.length + 1)) : frame;
    const record = new Uint8Array(16 + kept.length);
    const view = new DataView(record.buffer);
    view.setUint32(8, kept.length, true);
    view.setUint32(12, random.float() < 0.1 ? random.next() : frame.length, true);
    if (random.float() < 0.003) view.setUint32(8, random.next(), true);
    record.set(kept, 16);
    return record;
  });
  const all = Buffer.concat(parts);
  return random.float() < 0.3 ? all.subarray(0, random.below(all.length + 1)) : all;
}

test('the same rows, others and position', () => {
  const at = Object.fromEntries(NAMES.map((name, i) => [name, 1024 + i * 512])) as Record<
    (typeof NAMES)[number],
    number
  >;
  const instance = instantiate([scan.scanFunction({ ...at, results: 16 }, LIMIT, CAPTURED_MAX)], 2)!;
  const run = instance.exports.scan as (base: number, position: number, end: number) => void;
  const script = createPlainColumns(LIMIT);
  const scriptScan = createPlainScan(script, CAPTURED_MAX);
  const results = new Int32Array(instance.memory, 16, scan.SCAN_WORDS);
  const memory = new Uint8Array(instance.memory);
  const view = new DataView(instance.memory, BUFFER_AT);
  let plain = 0;
  let other = 0;
  for (let seed = 1; seed <= 2000; seed++) {
    const bytes = records(seed);
    memory.set(bytes, BUFFER_AT);
    for (let position = 0; ; position = script.position) {
      scriptScan(view, position, bytes.length);
      run(BUFFER_AT, BUFFER_AT + position, BUFFER_AT + bytes.length);
      const { count, byteCount, otherCount, recordCount } = script;
      expect([...results]).toEqual([count, byteCount, otherCount, recordCount, script.position]);
      for (const name of NAMES) {
        const rows = name.startsWith('other') ? otherCount : count;
        expect(new Int32Array(instance.memory, at[name], rows)).toEqual(script[name].subarray(0, rows));
      }
      plain += count;
      other += otherCount;
      if (recordCount === 0) break;
    }
  }
  expect(plain).toBeGreaterThan(2000);
  expect(other).toBeGreaterThan(2000);
});
