/** The kernel's word on fragments: sequences of parts that it did or did not put together (kernel/record.py), again here. */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { addFragment, createReassembler, expireFragments } from '../../src/conntrack/reassembly.ts';
import {
  FLAG_FRAGMENT,
  FLAG_IPV6,
  PACKET_FLAGS,
  PACKET_FRAGMENT_DATA_BYTES,
  PACKET_FRAGMENT_OFFSET_BYTES,
} from '../../src/wire/record.ts';
import { packet } from './packets.ts';

const directory = new URL('./kernel/', import.meta.url).pathname;
const recordings = readdirSync(directory)
  .filter((name) => name.endsWith('.frag.gz'))
  .map((name) => directory + name);
const extra = process.env.MARGAY_FRAGMENT_RECORDING;
if (extra !== undefined) recordings.push(extra);

test('there are recordings', () => expect(recordings).not.toEqual([]));

describe.each(recordings)('%s', (path) => {
  test('as many datagrams come out as did from the kernel, and every ticket comes back once', () => {
    const lines = gunzipSync(readFileSync(path)).toString().trimEnd().split('\n').slice(1);
    expect(lines.length).toBeGreaterThan(1000);
    const reassembler = createReassembler();
    const whole = new Map<string, number>();
    const returned: number[] = [];
    const expected = new Map<string, number>();
    let current = '';
    const events = {
      complete: (_view: DataView, _captured: number, _wire: number, tickets: number[]) => {
        whole.set(current, whole.get(current)! + 1);
        returned.push(...tickets);
      },
      incomplete: (tickets: number[]) => returned.push(...tickets),
    };
    lines.forEach((line, ticket) => {
      const [sequence, count, hex] = line.split(' ') as [string, string, string];
      if (sequence !== current) {
        // Sequences don't meet: the kernel counts how many other fragments of a source came in between.
        expireFragments(reassembler, Number.POSITIVE_INFINITY, events);
        current = sequence;
        expected.set(sequence, Number(count));
        whole.set(sequence, 0);
      }
      const { record, view } = packet(Uint8Array.from(Buffer.from(hex, 'hex')));
      if ((record[PACKET_FLAGS]! & FLAG_FRAGMENT) === 0) {
        // A part at offset 0 that is also the last one is a whole datagram: both let it pass.
        whole.set(sequence, whole.get(sequence)! + 1);
        returned.push(ticket);
      } else {
        addFragment(reassembler, record, 0, view, 0, ticket, events);
        // Linux lets a first fragment of IPv6 pass alone if it is shorter than its headers or has an odd length.
        const isFirst = record[PACKET_FRAGMENT_OFFSET_BYTES] === 0 && (record[PACKET_FLAGS]! & FLAG_IPV6) !== 0;
        const isOdd = record[PACKET_FRAGMENT_DATA_BYTES]! < 8 || (record[PACKET_FRAGMENT_DATA_BYTES]! & 7) !== 0;
        if (isFirst && isOdd) whole.set(sequence, whole.get(sequence)! + 1);
      }
    });
    expireFragments(reassembler, Number.POSITIVE_INFINITY, events);
    const wrong = [...expected].filter(([sequence, count]) => whole.get(sequence) !== count);
    expect(wrong.map(([sequence, count]) => `sequence ${sequence}: ${whole.get(sequence)}, kernel ${count}`)).toEqual(
      [],
    );
    expect(returned.sort((a, b) => a - b)).toEqual(lines.map((_, index) => index));
  });
});
