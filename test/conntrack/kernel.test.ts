/**
 * The kernel's word: random packet sequences that a Linux kernel tracked (kernel/record.py), tracked again here.
 * Every state must be the kernel's, and so must the entries left at the end, with their states, flags and time-outs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Conntrack } from '../../src/conntrack/table.ts';
import {
  createConntrack,
  ENTRY_META,
  ENTRY_STATUS,
  ENTRY_WORDS,
  STATUS_ASSURED,
  STATUS_SEEN_REPLY,
  STATUS_STATE_MASK,
} from '../../src/conntrack/table.ts';
import { CT_NEW, CT_STATE_NAMES, confirmPacket, trackError, trackPacket } from '../../src/conntrack/track.ts';
import { isIcmpError } from '../../src/wire/quoted.ts';
import { packet } from './packets.ts';

const TCP_STATES = 'NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2'.split(
  ' ',
);
const SCTP_STATES =
  'NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT'.split(
    ' ',
  );

interface Entry {
  readonly protocol: number;
  readonly seconds: number;
  readonly text: string;
}

/** Entries of a small table, sorted; UDP's flags and time-out differ on purpose (track.ts), so they are left out. */
function entriesOf(ct: Conntrack, nowMs: number): Entry[] {
  const entries: Entry[] = [];
  for (let base = 0; base < ct.headsAt; base += ENTRY_WORDS) {
    const meta = ct.words[base + ENTRY_META]!;
    if (meta === 0) continue;
    const protocol = meta & 255;
    const status = ct.words[base + ENTRY_STATUS]!;
    const names = protocol === 6 ? TCP_STATES : protocol === 132 ? SCTP_STATES : ['-'];
    const assured = (status & STATUS_ASSURED) !== 0 ? '[ASSURED]' : '';
    const flags = (status & STATUS_SEEN_REPLY) === 0 ? `[UNREPLIED]${assured}` : assured;
    const seconds = (ct.times[base >> 5]! - nowMs) / 1000;
    entries.push(comparable(protocol, seconds, names[status & STATUS_STATE_MASK]!, flags === '' ? '-' : flags));
  }
  return sorted(entries);
}

function comparable(protocol: number, seconds: number, state: string, flags: string): Entry {
  if (protocol === 17 || protocol === 136) return { protocol, seconds: 0, text: `${protocol}` };
  return { protocol, seconds, text: `${protocol} ${state} ${flags}` };
}

function sorted(entries: Entry[]): Entry[] {
  return entries.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.seconds - b.seconds));
}

function groupBySequence(lines: readonly string[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const line of lines) {
    const sequence = line.slice(0, line.indexOf(' '));
    const group = groups.get(sequence);
    if (group === undefined) groups.set(sequence, [line]);
    else group.push(line);
  }
  return groups;
}

/** Problems of one recorded sequence. */
function replay(lines: readonly string[]): string[] {
  const problems: string[] = [];
  const ct = createConntrack({ capacityEntries: 640 });
  const left: Entry[] = [];
  let nowMs = 0;
  for (const line of lines) {
    const [sequence, expected, text, ...rest] = line.split(' ') as [string, string, string, ...string[]];
    if (expected === '=') {
      left.push(comparable(Number(text), Number(rest[0]), rest[1]!, rest[2]!));
      continue;
    }
    nowMs++;
    const { record, quoted, view } = packet(Uint8Array.from(Buffer.from(text, 'hex')));
    const state = isIcmpError(record, 0)
      ? trackError(ct, 1, record, 0, quoted, 0, view, nowMs)
      : trackPacket(ct, 1, record, 0, view, nowMs);
    // A packet that the lab dropped was tracked there, and not confirmed.
    if (expected === '-') continue;
    const given = CT_STATE_NAMES[state]!;
    if (given !== expected) problems.push(`sequence ${sequence}, packet ${nowMs}: ${given}, kernel ${expected}`);
    if (state === CT_NEW) confirmPacket(ct, 1, record, 0, view, nowMs);
  }
  const ours = entriesOf(ct, nowMs);
  const theirs = sorted(left);
  const same =
    ours.length === theirs.length &&
    ours.every((entry, index) => {
      // The kernel prints whole seconds, a little after the last packet.
      const lag = entry.seconds - theirs[index]!.seconds;
      return entry.text === theirs[index]!.text && lag > -0.1 && lag < 3;
    });
  if (!same) {
    problems.push(
      `sequence ${lines[0]!.split(' ')[0]} leaves ${JSON.stringify(ours)}, kernel ${JSON.stringify(theirs)}`,
    );
  }
  return problems;
}

const directory = new URL('./kernel/', import.meta.url).pathname;
const recordings = readdirSync(directory)
  .filter((name) => name.endsWith('.txt.gz'))
  .map((name) => directory + name);
const extra = process.env.MARGAY_CONNTRACK_RECORDING;
if (extra !== undefined) recordings.push(extra);

test('there are recordings', () => expect(recordings).not.toEqual([]));

describe.each(recordings)('%s', (path) => {
  test('states and entries are those of the kernel', () => {
    const lines = gunzipSync(readFileSync(path)).toString().trimEnd().split('\n').slice(1);
    const sequences = groupBySequence(lines);
    expect(sequences.size).toBeGreaterThan(1000);
    expect([...sequences.values()].flatMap(replay)).toEqual([]);
  });
});
