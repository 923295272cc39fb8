import { describe, expect, test } from 'vitest';
import { ENTRY_WORDS, NO_ENTRY } from '../../src/conntrack/table.ts';
import { fastAck, synIsSettled } from '../../src/conntrack/tcp-fast.ts';
import {
  TCP_STATE_CLOSE,
  TCP_STATE_CLOSE_WAIT,
  TCP_STATE_ESTABLISHED,
  TCP_STATE_FIN_WAIT,
  TCP_STATE_LAST_ACK,
  TCP_STATE_NONE,
  TCP_STATE_SYN_RECV,
  TCP_STATE_SYN_SENT,
  TCP_STATE_SYN_SENT2,
  TCP_STATE_TIME_WAIT,
} from '../../src/conntrack/tcp-layout.ts';
import { segmentEnd } from '../../src/conntrack/tcp-window.ts';
import { PACKET_TCP_WINDOW } from '../../src/wire/record.ts';
import { Harness, Talk } from './harness.ts';
import { ACK, FIN, ip, PSH, packet, RST, SYN, tcpPayload, URG } from './packets.ts';

const STATES: Record<string, number> = {
  no: TCP_STATE_NONE,
  SS: TCP_STATE_SYN_SENT,
  SR: TCP_STATE_SYN_RECV,
  ES: TCP_STATE_ESTABLISHED,
  FW: TCP_STATE_FIN_WAIT,
  CW: TCP_STATE_CLOSE_WAIT,
  LA: TCP_STATE_LAST_ACK,
  TW: TCP_STATE_TIME_WAIT,
  CL: TCP_STATE_CLOSE,
  S2: TCP_STATE_SYN_SENT2,
};

/** The ways into each state, by sides and flags. */
const WAYS: Record<string, readonly (readonly [0 | 1, number])[]> = {
  no: [],
  SS: [[0, SYN]],
  SR: [
    [0, SYN],
    [1, SYN | ACK],
  ],
  ES: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
  ],
  FW: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
    [0, FIN | ACK],
  ],
  CW: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
    [0, FIN | ACK],
    [1, ACK],
  ],
  LA: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
    [0, FIN | ACK],
    [1, FIN | ACK],
  ],
  TW: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
    [0, FIN | ACK],
    [1, FIN | ACK],
    [0, ACK],
  ],
  CL: [
    [0, SYN],
    [1, SYN | ACK],
    [0, ACK],
    [0, RST | ACK],
  ],
  S2: [
    [0, SYN],
    [1, SYN],
  ],
};

/** The table of semantics 6.7, cell by cell: `-` INVALID, `=` passes and changes nothing. */
const TABLE = `
  from side kind     no SS SR ES FW CW LA TW CL S2
  0    SYN           SS SS =  =  =  =  =  SS SS S2
  0    SYN-ACK       -  -  SR -  -  -  -  -  -  SR
  0    FIN           -  -  FW FW LA LA LA TW CL -
  0    ACK           ES -  ES ES CW CW TW TW CL -
  0    RST           -  CL CL CL CL CL CL CL CL CL
  1    SYN           -  S2 -  -  -  -  -  SS -  S2
  1    SYN-ACK       -  SR =  =  =  =  =  =  =  SR
  1    FIN           -  -  FW FW LA LA LA TW CL -
  1    ACK           -  =  SR ES CW CW TW TW CL =
  1    RST           -  CL CL CL CL CL CL CL CL CL
`;
const KINDS: Record<string, number> = { SYN, 'SYN-ACK': SYN | ACK, FIN: FIN | ACK, ACK, RST: RST | ACK };

const cells = TABLE.trim()
  .split('\n')
  .slice(1)
  .flatMap((line) => {
    const [side, kind, ...targets] = line.trim().split(/ +/);
    return targets.map((target, column) => ({
      side: Number(side) as 0 | 1,
      kind: kind!,
      from: Object.keys(STATES)[column]!,
      target,
    }));
  });

function reach(state: string): Talk {
  const talk = new Talk(new Harness());
  for (const [side, flags] of WAYS[state]!) talk.send(side, flags);
  expect(talk.state).toBe(state === 'no' ? -1 : STATES[state]);
  return talk;
}

describe('the state table', () => {
  test('has all its cells', () => expect(cells).toHaveLength(100));

  // Without an entry there is no responder: whoever sends is the originator.
  test.each(cells.filter(({ side, from }) => side === 0 || from !== 'no'))(
    'side $side sends $kind in $from: $target',
    ({ side, kind, from, target }) => {
      const talk = reach(from);
      const segment = repeatSyn(talk, side, kind);
      const hadReply = from !== 'no' && from !== 'SS';
      const given = talk.harness.track(segment);
      if (target === '-') {
        expect(given).toBe('invalid');
        expect(talk.state).toBe(from === 'no' ? -1 : STATES[from]);
      } else if (target === '=') {
        expect(given).toBe('established');
        expect(talk.state).toBe(STATES[from]);
      } else if (from === 'no' || (target === 'SS' && from !== 'SS')) {
        // The first segment of a new connection: nothing is kept until it is accepted.
        expect(given).toBe('new');
        expect(talk.state).toBe(-1);
        talk.harness.accept(segment);
        expect(talk.state).toBe(STATES[target]);
        expect(talk.harness.lastDirection).toBe(0);
      } else {
        expect(given).toBe(side === 1 || hadReply ? 'established' : 'new');
        // A RST without any answer before it, or as the only answer, ends the entry.
        expect(talk.state).toBe(kind === 'RST' && !hadReply ? -1 : STATES[target]);
      }
    },
  );

  /** SYNs repeat the number of the first one where there was one; everything else goes on in order. */
  function repeatSyn(talk: Talk, side: 0 | 1, kind: string): Uint8Array {
    // With an ACK it would acknowledge what was never sent.
    if (kind === 'RST' && talk.state === TCP_STATE_SYN_SENT && side === 0) return talk.segment(side, RST);
    const flags = KINDS[kind]!;
    const first = side === 0 ? 1000 : 5000;
    const other = side === 0 ? 1 : 0;
    const isFinished = [TCP_STATE_TIME_WAIT, TCP_STATE_CLOSE].includes(talk.state);
    if ((flags & SYN) === 0 || isFinished) return talk.segment(side, flags);
    return talk.segment(side, flags, { seq: first, ack: (flags & ACK) !== 0 ? talk.next[other] : 0 });
  }
});

describe('flags', () => {
  test.each([
    [0, 'invalid'],
    [PSH, 'invalid'],
    [FIN, 'invalid'],
    [SYN | FIN, 'invalid'],
    [SYN | RST, 'invalid'],
    [FIN | RST | ACK, 'invalid'],
    [ACK | PSH, 'established'],
    [ACK | URG, 'established'],
    [ACK | 0xc0, 'established'],
    [FIN | ACK | PSH, 'established'],
  ])('%i on an established connection is %s', (flags, expected) => {
    expect(reach('ES').send(0, flags)).toBe(expected);
  });

  test('they count in the order RST, SYN-ACK, SYN, FIN, ACK', () => {
    const talk = reach('ES');
    talk.send(0, RST | ACK | PSH);
    expect(talk.state).toBe(TCP_STATE_CLOSE);
  });
});

describe('time-outs', () => {
  test.each([
    ['SS', 120],
    ['SR', 60],
    ['ES', 432_000],
    ['FW', 120],
    ['CW', 60],
    ['LA', 30],
    ['TW', 120],
    ['CL', 10],
    ['S2', 120],
  ])('%s lasts %i s', (state, seconds) => {
    const talk = reach(state);
    // The last word of the client must be acknowledged for the long time-out.
    if (state === 'ES') talk.send(1, ACK);
    talk.harness.nowMs += seconds * 1000 - 1;
    expect(talk.state).toBe(STATES[state]);
    talk.harness.nowMs += 1;
    expect(talk.state).toBe(-1);
  });

  test('data that nobody acknowledges: 300 s', () => {
    const talk = reach('ES');
    talk.send(0, ACK, { dataBytes: 100 });
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(300_000);
    talk.send(1, ACK);
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(432_000_000);
  });

  test('the same segment three times more: 300 s', () => {
    const talk = reach('ES');
    for (let count = 0; count < 3; count++) talk.send(1, ACK);
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(432_000_000);
    talk.send(1, ACK);
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(300_000);
  });

  test('picked up in the middle and not answered: 300 s', () => {
    const talk = new Talk(new Harness());
    talk.send(0, ACK, { dataBytes: 10 });
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(300_000);
  });

  test('a repeated SYN is new again and does not prolong', () => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN);
    talk.harness.nowMs += 100_000;
    expect(talk.send(0, SYN, { seq: 1000 })).toBe('new');
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(20_000);
  });

  test('a RST keeps 10 s even when it does not close', () => {
    const talk = reach('ES');
    talk.send(0, ACK, { dataBytes: 100 });
    talk.send(1, ACK);
    expect(talk.send(0, RST, { seq: talk.next[0] + 50 })).toBe('established');
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
    expect(talk.harness.left(talk.segment(0, ACK))).toBe(10_000);
  });
});

describe('windows', () => {
  test.each([
    ['far beyond the window', { seq: 9_000_000 }, 'invalid'],
    ['just beyond the window', { seq: 1001 + 1001 }, 'established'],
    ['acknowledges what was never sent', { ack: 5002 }, 'invalid'],
    ['older than the window', { seq: 1001 - 5000, dataBytes: 1 }, 'established'],
    ['acknowledges something very old', { ack: 5001 - 70_000 }, 'established'],
  ])('%s', (_name, segment, expected) => {
    const talk = reach('ES');
    expect(talk.harness.track(talk.segment(0, ACK, segment))).toBe(expected);
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
  });

  test('liberal tables let them pass', () => {
    const talk = new Talk(new Harness({ liberal: true }));
    talk.send(0, SYN);
    talk.send(1, SYN | ACK);
    talk.send(0, ACK);
    expect(talk.send(0, ACK, { seq: 9_000_000 })).toBe('established');
  });

  const WSCALE_7 = [3, 3, 7];
  test.each([
    ['both sides scale', WSCALE_7, WSCALE_7, 'established'],
    ['only the client asks', WSCALE_7, [], 'invalid'],
    ['nobody scales', [], [], 'invalid'],
  ])('100 000 bytes ahead, %s', (_name, client, server, expected) => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN, { options: client });
    talk.send(1, SYN | ACK, { options: server });
    talk.send(0, ACK, { window: 1000 });
    talk.send(1, ACK, { window: 1000 });
    expect(talk.harness.track(talk.segment(0, ACK, { seq: talk.next[0] + 100_000 }))).toBe(expected);
  });

  test('SACK widens what may be acknowledged', () => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN, { options: [4, 2] });
    talk.send(1, SYN | ACK, { options: [4, 2] });
    talk.send(0, ACK);
    talk.send(1, ACK, { dataBytes: 500 });
    const sack = (edge: number): number[] => [
      1,
      1,
      5,
      10,
      0,
      0,
      0,
      0,
      (edge >>> 24) & 255,
      (edge >> 16) & 255,
      (edge >> 8) & 255,
      edge & 255,
    ];
    expect(talk.harness.track(talk.segment(0, ACK, { ack: 5001, options: sack(5501) }))).toBe('established');
    expect(talk.harness.track(talk.segment(0, ACK, { ack: 5001, options: sack(5502) }))).toBe('invalid');
  });

  test('options that the capture cut off make both directions liberal', () => {
    const talk = new Talk(new Harness());
    const syn = ip(talk.client, talk.server, 6, tcpPayload(40_000, 80, SYN, { seq: 1000, options: WSCALE_7 }));
    talk.harness.accept(packet(syn, 40));
    talk.next[0] = 1001;
    talk.send(1, SYN | ACK, { options: WSCALE_7 });
    talk.send(0, ACK);
    expect(talk.send(0, ACK, { seq: 9_000_000 })).toBe('established');
    expect(talk.send(1, ACK, { seq: 9_000_000 })).toBe('established');
  });

  test('numbers wrap around', () => {
    const talk = new Talk(new Harness());
    talk.next[0] = 0xffff_fff0;
    talk.next[1] = 0xffff_fffe;
    talk.send(0, SYN);
    talk.send(1, SYN | ACK);
    talk.send(0, ACK);
    for (let count = 0; count < 4; count++) {
      expect(talk.send(0, ACK, { dataBytes: 10 })).toBe('established');
      expect(talk.send(1, ACK)).toBe('established');
    }
    expect(talk.next[0]).toBeLessThan(100);
  });
});

describe('opening and reopening', () => {
  test('strict tables pick up nothing', () => {
    expect(new Talk(new Harness({ strict: true })).send(0, ACK)).toBe('invalid');
    expect(new Talk(new Harness({ strict: true })).send(0, SYN)).toBe('new');
  });

  test('a connection picked up in the middle: its first sender is the originator', () => {
    const talk = new Talk(new Harness());
    expect(talk.send(1, ACK, { dataBytes: 10 })).toBe('new');
    expect(talk.send(1, ACK, { dataBytes: 10 })).toBe('new');
    expect(talk.send(0, ACK)).toBe('established');
    expect(talk.send(1, ACK)).toBe('established');
  });

  test('only the SYN was accepted here: the ACK and FIN of its sender are invalid', () => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN);
    expect(talk.harness.track(talk.segment(0, ACK, { ack: 5001 }))).toBe('invalid');
    expect(talk.harness.track(talk.segment(0, FIN | ACK, { ack: 5001 }))).toBe('invalid');
  });

  test('a SYN on a live connection passes; its SYN-ACK brings us in step', () => {
    const talk = reach('ES');
    expect(talk.send(0, SYN, { seq: 777_000 })).toBe('established');
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
    expect(talk.send(1, SYN | ACK, { seq: 888_000, ack: 777_001 })).toBe('established');
    expect(talk.state).toBe(TCP_STATE_SYN_RECV);
    expect(talk.send(0, ACK, { seq: 777_001, ack: 888_001 })).toBe('established');
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
  });

  test('an ACK in answer to a SYN in last ACK may be a challenge and closes nothing', () => {
    const talk = reach('LA');
    expect(talk.send(0, SYN, { seq: 777_000 })).toBe('established');
    expect(talk.send(1, ACK)).toBe('established');
    expect(talk.state).toBe(TCP_STATE_LAST_ACK);
    expect(talk.send(1, ACK)).toBe('established');
    expect(talk.state).toBe(TCP_STATE_TIME_WAIT);
  });

  test('a SYN after a RST of the other side is let through, but opens nothing', () => {
    const talk = reach('ES');
    talk.send(1, RST | ACK);
    expect(talk.state).toBe(TCP_STATE_CLOSE);
    expect(talk.harness.track(talk.segment(0, SYN, { seq: 777_000 }))).toBe('established');
    expect(talk.state).toBe(TCP_STATE_CLOSE);
  });

  test('simultaneous open', () => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN);
    talk.send(1, SYN);
    expect(talk.send(0, SYN | ACK, { seq: 1000 })).toBe('established');
    expect(talk.state).toBe(TCP_STATE_SYN_RECV);
    expect(talk.send(1, ACK)).toBe('established');
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
  });
});

describe('RST', () => {
  test('below what was acknowledged is invalid', () => {
    const talk = reach('ES');
    talk.send(1, ACK);
    expect(talk.harness.track(talk.segment(0, RST, { seq: 1000 }))).toBe('invalid');
    expect(talk.state).toBe(TCP_STATE_ESTABLISHED);
  });

  test('a refused connection leaves nothing', () => {
    const talk = new Talk(new Harness());
    talk.send(0, SYN);
    expect(talk.send(1, RST | ACK, { seq: 0 })).toBe('established');
    expect(talk.state).toBe(-1);
    // The SYN again starts afresh.
    expect(talk.send(0, SYN, { seq: 1000 })).toBe('new');
  });

  test('behind the last data of its sender it closes, though that is not yet acknowledged', () => {
    const talk = reach('ES');
    talk.send(1, ACK);
    talk.send(0, ACK, { dataBytes: 20 });
    expect(talk.send(0, RST | ACK)).toBe('established');
    expect(talk.state).toBe(TCP_STATE_CLOSE);
  });
});

test('plain segments take the short way, others do not', () => {
  const talk = reach('ES');
  talk.send(1, ACK);
  const { ct } = talk.harness;
  const takes = (bytes: Uint8Array, side: number): boolean => {
    const base = talk.harness.find(bytes) * ENTRY_WORDS;
    const { record, view } = packet(bytes);
    return fastAck(ct, base, side, record, 0, view, talk.harness.nowMs);
  };
  expect(takes(talk.segment(0, ACK, { seq: talk.next[0] + 1 }), 0)).toBe(false);
  expect(takes(talk.segment(0, ACK, { ack: talk.next[1] + 1 }), 0)).toBe(false);
  expect(takes(talk.segment(0, ACK, { window: 0 }), 0)).toBe(false);
  expect(takes(talk.segment(0, ACK, { dataBytes: 100 }), 0)).toBe(true);
});

test('timestamps are no reason to take the long way, other options are where SACK was agreed on', () => {
  const talk = new Talk(new Harness());
  talk.send(0, SYN, { options: [4, 2] });
  talk.send(1, SYN | ACK, { options: [4, 2] });
  talk.send(0, ACK);
  const takes = (options: readonly number[]): boolean => {
    const bytes = talk.segment(0, ACK, { dataBytes: 10, options });
    const { record, view } = packet(bytes);
    const base = talk.harness.find(bytes) * ENTRY_WORDS;
    return fastAck(talk.harness.ct, base, 0, record, 0, view, talk.harness.nowMs);
  };
  expect(takes([1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9])).toBe(false);
  expect(takes([1, 1, 1, 1])).toBe(false);
  expect(takes(TIMESTAMPS)).toBe(true);
});

/** A SYN that is settled, by `synIsSettled`, changes no word of its entry when it comes again; nor does its time-out move. */
test('a repeated SYN changes nothing where that is said of it', () => {
  let settled = 0;
  let seed = 4711;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  for (let count = 0; count < 800; count++) {
    const talk = new Talk(new Harness({ capacityEntries: 64 }));
    const syn = (): Uint8Array =>
      talk.segment(0, SYN, {
        seq: 1000 + [0, 0, 0, 1, -1][random(5)]!,
        window: [0, 1, 500, 65_535][random(4)]!,
        options: random(2) === 0 ? [] : [4, 2, 3, 3, 4],
        dataBytes: [0, 0, 0, 5][random(4)]!,
      });
    talk.harness.accept(syn());
    for (let more = random(4); more > 0; more--) {
      talk.harness.accept(random(4) === 0 ? talk.segment(1, [SYN, ACK, SYN | ACK][random(3)]!, { seq: 5 }) : syn());
    }
    const last = syn();
    talk.harness.accept(last);
    const entry = talk.harness.find(last);
    if (entry === NO_ENTRY) continue;
    const { record } = packet(last);
    const { words, times } = talk.harness.ct;
    const base = entry * ENTRY_WORDS;
    if (!synIsSettled(words, base, segmentEnd(record, 0), record[PACKET_TCP_WINDOW]!)) continue;
    settled++;
    const before = [...words.subarray(base, base + ENTRY_WORDS), times[base / ENTRY_WORDS]];
    talk.harness.nowMs += 1000;
    expect(talk.harness.accept(last)).toBe('new');
    expect([...words.subarray(base, base + ENTRY_WORDS), times[base / ENTRY_WORDS]]).toEqual(before);
  }
  expect(settled).toBeGreaterThan(200);
});

const TIMESTAMPS = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

/** The short way of tcp-fast.ts against the long one: an option without effect keeps a segment off the short way. */
test.each([5000, 1000])('the short way does exactly what the long one does, the server counting from %i', (start) => {
  const fast = new Talk(new Harness());
  const slow = new Talk(new Harness());
  // From 1000 both sides have the same numbers, so that one's segments look like repetitions of the other's.
  fast.next[1] = start;
  slow.next[1] = start;
  let seed = 12345;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  for (const talk of [fast, slow]) {
    talk.send(0, SYN, { options: [4, 2, 3, 3, 4] });
    talk.send(1, SYN | ACK, { options: [4, 2, 3, 3, 2] });
    talk.send(0, ACK);
  }
  const seen = new Set<string>();
  for (let count = 0; count < 10_000; count++) {
    const side = random(2) as 0 | 1;
    const odd = random(10);
    const window = [0, 1, 500, 1000, 65_535][random(5)]!;
    const dataBytes = [0, 0, 1, 100, 1400][random(5)]!;
    const seq = odd === 0 ? fast.next[side] + random(5000) - 2500 : undefined;
    const ack = odd === 1 ? fast.next[side === 0 ? 1 : 0] + 50 - random(random(2) * 200_000 + 100) : undefined;
    const segment = { window, dataBytes, ...(seq === undefined ? {} : { seq }), ...(ack === undefined ? {} : { ack }) };
    fast.harness.nowMs += random(50);
    slow.harness.nowMs = fast.harness.nowMs;
    const options = random(2) === 0 ? {} : { options: TIMESTAMPS };
    const states = [
      fast.send(side, ACK, { ...segment, ...options }),
      slow.send(side, ACK, { ...segment, options: [1, 1, 1, 1] }),
    ];
    const kept = [fast, slow].map(({ harness, client, server }) => {
      const base = harness.find(ip(client, server, 6, tcpPayload(40_000, 80, ACK))) * ENTRY_WORDS;
      const words = harness.ct.words.subarray(base, base + ENTRY_WORDS).join(' ');
      return `${words} ${harness.ct.times[base / ENTRY_WORDS]}`;
    });
    if (states[0] !== states[1] || kept[0] !== kept[1])
      throw new Error(`segment ${count}: ${states} ${kept.join('\n')}`);
    seen.add(states[0]!);
  }
  expect([...seen].sort()).toEqual(['established', 'invalid']);
});
