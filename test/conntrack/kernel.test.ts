/**
 * The kernel's word: random packet sequences that a Linux kernel tracked (kernel/record.py), tracked again here.
 * Every state must be the kernel's; packets it dropped are tracked and not confirmed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createConntrack } from '../../src/conntrack/table.ts';
import { CT_NEW, CT_STATE_NAMES, confirmPacket, trackError, trackPacket } from '../../src/conntrack/track.ts';
import { isIcmpError } from '../../src/wire/quoted.ts';
import { packet } from './packets.ts';

const directory = new URL('./kernel/', import.meta.url).pathname;
const recordings = (process.env['CONNTRACK_RECORDING']?.split(',') ?? []).concat(
  readdirSync(directory)
    .filter((name) => name.endsWith('.txt'))
    .map((name) => directory + name),
);

describe.each(recordings)('%s', (path) => {
  test('every state is the one the kernel gave', () => {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n').slice(1);
    const ct = createConntrack({ capacityEntries: 100_000 });
    const failures: string[] = [];
    lines.forEach((line, index) => {
      const [sequence, expected, hex] = line.split(' ') as [string, string, string];
      const { record, quoted, view } = packet(Uint8Array.from(Buffer.from(hex, 'hex')));
      // A millisecond a packet: nothing expires in a sequence, whose packets stand together.
      const state = isIcmpError(record, 0)
        ? trackError(ct, 1, record, 0, quoted, 0, view, index)
        : trackPacket(ct, 1, record, 0, view, index);
      if (expected === '-') return;
      if (CT_STATE_NAMES[state] !== expected) {
        failures.push(`line ${index + 2}, sequence ${sequence}: ${CT_STATE_NAMES[state]}, kernel ${expected}`);
      }
      if (state === CT_NEW) confirmPacket(ct, 1, record, 0, view, index);
    });
    expect(lines.length).toBeGreaterThan(1000);
    expect(failures).toEqual([]);
  });
});
