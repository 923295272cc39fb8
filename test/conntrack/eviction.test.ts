import { describe, expect, test } from 'vitest';
import { mayHaveBeenEvicted } from '../../src/conntrack/entries.ts';
import type { Conntrack } from '../../src/conntrack/table.ts';
import {
  createConntrack,
  ENTRY_NEXT,
  ENTRY_WORDS,
  evictedEntries,
  liveEntries,
  NO_ENTRY,
} from '../../src/conntrack/table.ts';
import { Harness, Talk } from './harness.ts';
import { ACK, ip, packet, SYN, udpPayload } from './packets.ts';

const flow = (index: number, isReply = false): Uint8Array => {
  const host = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  return isReply ? ip('192.0.2.1', host, 17, udpPayload(53, 4000)) : ip(host, '192.0.2.1', 17, udpPayload(4000, 53));
};

function mayBeMissing(ct: Conntrack, bytes: Uint8Array, node = 1): boolean {
  const { record, view } = packet(bytes);
  return mayHaveBeenEvicted(ct, node, record, 0, view);
}

describe('a full table', () => {
  test('stays inside its bound, counts what it threw out, and knows it again', () => {
    const harness = new Harness({ capacityEntries: 640 });
    const flows = 4000;
    for (let index = 0; index < flows; index++) harness.accept(flow(index));
    expect(liveEntries(harness.ct)).toBeLessThanOrEqual(640);
    expect(liveEntries(harness.ct)).toBeGreaterThan(600);
    expect(evictedEntries(harness.ct)).toBe(flows - liveEntries(harness.ct));
    let lost = 0;
    for (let index = 0; index < flows; index++) {
      if (harness.find(flow(index)) !== NO_ENTRY) continue;
      lost++;
      // Asked from either direction: an eviction is never missed.
      expect(mayBeMissing(harness.ct, flow(index))).toBe(true);
      expect(mayBeMissing(harness.ct, flow(index, true))).toBe(true);
    }
    expect(lost).toBe(evictedEntries(harness.ct));
    let accused = 0;
    for (let index = 100_000; index < 110_000; index++) if (mayBeMissing(harness.ct, flow(index))) accused++;
    expect(accused).toBeLessThan(50);
  });

  test('the other node has lost nothing', () => {
    const harness = new Harness({ capacityEntries: 64 });
    for (let index = 0; index < 1000; index++) harness.accept(flow(index), 1);
    let accused = 0;
    for (let index = 0; index < 1000; index++) if (mayBeMissing(harness.ct, flow(index), 2)) accused++;
    expect(accused).toBeLessThan(10);
  });

  test('keeps what is answered before what is not', () => {
    const harness = new Harness({ capacityEntries: 640 });
    for (let index = 0; index < 200; index++) {
      harness.accept(flow(index));
      harness.accept(flow(index, true));
    }
    for (let index = 1000; index < 6000; index++) harness.accept(flow(index));
    let kept = 0;
    for (let index = 0; index < 200; index++) if (harness.find(flow(index)) !== NO_ENTRY) kept++;
    expect(kept).toBe(200);
  });

  test('gives up closing connections first', () => {
    const harness = new Harness({ capacityEntries: 64 * 16 });
    const talks: Talk[] = [];
    for (let index = 0; index < 400; index++) {
      const talk = new Talk(harness, `10.1.${index >> 8}.${index & 255}`);
      talk.send(0, SYN);
      talk.send(1, SYN | ACK);
      talk.send(0, ACK);
      if (index % 2 === 0) talk.send(0, 1 | ACK);
      talks.push(talk);
    }
    const before = evictedEntries(harness.ct);
    expect(before).toBe(0);
    for (let index = 0; evictedEntries(harness.ct) < 60; index++) harness.accept(flow(index));
    const isGone = (talk: Talk): boolean => talk.state === -1;
    expect(talks.filter((_, index) => index % 2 === 1).filter(isGone)).toHaveLength(0);
    expect(talks.filter((_, index) => index % 2 === 0).filter(isGone).length).toBeGreaterThan(40);
  });

  test('throws out the expired without counting them', () => {
    const harness = new Harness({ capacityEntries: 64 * 48 });
    for (let index = 0; index < 1600; index++) harness.accept(flow(index));
    expect(evictedEntries(harness.ct)).toBe(0);
    harness.nowMs += 30_000;
    for (let index = 10_000; index < 11_600; index++) harness.accept(flow(index));
    expect(evictedEntries(harness.ct)).toBe(0);
    expect(liveEntries(harness.ct)).toBeLessThanOrEqual(64 * 48);
    for (let index = 10_000; index < 11_600; index++) expect(harness.find(flow(index))).not.toBe(NO_ENTRY);
  });

  test('frees expired entries as it goes, without being full', () => {
    const harness = new Harness({ capacityEntries: 64_000 });
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < 1000; index++) harness.accept(flow(round * 1000 + index));
      harness.nowMs += 31_000;
    }
    expect(liveEntries(harness.ct)).toBeLessThan(3000);
    expect(evictedEntries(harness.ct)).toBe(0);
  });
});

test('nothing was evicted, nothing is accused', () => {
  const harness = new Harness();
  for (let index = 0; index < 1000; index++) {
    harness.accept(flow(index));
    expect(mayBeMissing(harness.ct, flow(index + 5000))).toBe(false);
  }
});

test('entries spread over the buckets, and all are found', () => {
  const harness = new Harness({ capacityEntries: 64_000 });
  for (let index = 0; index < 40_000; index++) harness.accept(flow(index));
  expect(liveEntries(harness.ct)).toBe(40_000);
  const { words, headsAt, shardsAt } = harness.ct;
  let longest = 0;
  for (let bucket = headsAt; bucket < shardsAt; bucket++) {
    let length = 0;
    for (let entry = words[bucket]!; entry !== NO_ENTRY; entry = words[entry * ENTRY_WORDS + ENTRY_NEXT]!) length++;
    longest = Math.max(longest, length);
  }
  expect(longest).toBeLessThan(12);
  for (let index = 0; index < 40_000; index++)
    if (harness.find(flow(index, true)) === NO_ENTRY) throw new Error(`${index}`);
});

test('two threads share a table through its buffer', () => {
  const first = new Harness({ capacityEntries: 1000 });
  const second = new Harness({ capacityEntries: 1000, buffer: first.ct.buffer });
  first.accept(flow(1));
  expect(second.track(flow(1, true))).toBe('established');
  expect(first.track(flow(1))).toBe('established');
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 25])('a capacity of %d is refused', (capacityEntries) => {
  expect(() => createConntrack({ capacityEntries })).toThrow(/capacity/);
});

test('more nodes than an entry can number are refused', () => {
  expect(() => createConntrack({ capacityEntries: 64, nodeCount: 2 ** 22 + 1 })).toThrow(/nodes/);
});

test('a buffer of another capacity is refused', () => {
  const { buffer } = createConntrack({ capacityEntries: 640 });
  expect(() => createConntrack({ capacityEntries: 64_000, buffer })).toThrow(/bytes/);
});
