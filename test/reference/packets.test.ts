/** Calico's own answers for every packet of stateful traffic (test/conformance/README.md), through the reference tracker. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import { createReferenceTracker } from '../../src/reference/conntrack.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { readCapture } from './capture.ts';

const ROOT = join(import.meta.dirname, '..', 'conformance');

describe.each(['basic', 'worlds'])('packets of %s', (folder) => {
  test.each(readdirSync(join(ROOT, folder)))('%s', (seed) => {
    const path = join(ROOT, folder, seed);
    const { resources } = loadResources([{ name: 'c', text: readFileSync(join(path, 'cluster.yaml'), 'utf8') }]);
    const tracker = createReferenceTracker(createReference(resources));
    const lines = readFileSync(join(path, 'packets.jsonl'), 'utf8').trim().split('\n');
    const wanted = lines.map((text) => JSON.parse(text) as { packet: number; expect: string; note: string });
    expect(wanted.length).toBeGreaterThan(0);
    const actions = new Map<number, string>();
    for (const { packet, numbers } of readCapture(readFileSync(join(path, 'packets.pcap')))) {
      const { action } = tracker.packet(packet);
      for (const number of numbers) actions.set(number, action);
    }
    const answers = wanted.map(({ packet, note }) => ({ packet, note, action: actions.get(packet) }));
    expect(answers).toEqual(wanted.map(({ packet, note, expect: action }) => ({ packet, note, action })));
    expect(actions.size).toBe(wanted.length);
  });
});
