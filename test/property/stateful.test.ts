/** Conversations through random worlds: the tracked path of the tables against the reference and its own tracker. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addPending, flowRecord } from '../../src/analyze/record.ts';
import { compile } from '../../src/compile/compile.ts';
import { type Conntrack, createConntrack } from '../../src/conntrack/table.ts';
import { judgeTrackedPacket } from '../../src/match/judge.ts';
import { createJudge, type Judge } from '../../src/match/state.ts';
import { createReferenceTracker } from '../../src/reference/conntrack.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { isIcmpError } from '../../src/wire/quoted.ts';
import { packet } from '../conntrack/packets.ts';
import { readPacket } from '../reference/capture.ts';
import { answerText } from './compare.ts';
import { drawPackets, type Sent } from './conversation.ts';
import { dropParts, shrinkDocuments } from './shrink.ts';
import { loadWorld, type World, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_260_801) + 3;
const WORLDS = 150;
const PACKETS_A_WORLD = 120;

test('tracked packets have the verdicts of the reference', () => {
  const states = new Map<string, number>();
  fc.assert(
    fc.property(world, (drawn) => {
      const sent = drawPackets(drawn.flowSeed, PACKETS_A_WORLD);
      if (firstDifference(drawn, sent, states) !== undefined) throw new Error(smallestFailure(drawn, sent));
    }),
    { numRuns: WORLDS, seed: SEED, endOnFailure: true },
  );
  for (const state of ['new', 'established', 'related', 'invalid', 'untracked']) {
    expect([state, (states.get(state) ?? 0) > 50]).toEqual([state, true]);
  }
});

/** The first packet that is answered differently, as text. Counts in `states` what the nodes knew of the packets. */
function firstDifference(drawn: World, sent: readonly Sent[], states = new Map<string, number>()): string | undefined {
  const { resources } = loadWorld(drawn);
  const judge = createJudge(openTables(compile(resources)));
  const ct = createConntrack({ capacityEntries: 6400 });
  const tracker = createReferenceTracker(createReference(resources));
  for (const one of sent) {
    const verdict = tracker.packet(readPacket(Buffer.from(one.bytes), one.timeMs)!);
    const [wanted, found] = [answerText(verdict), judged(judge, ct, one)];
    if (wanted !== found) return `${one.text}\n--- the reference says\n${wanted}\n--- the tables say\n${found}`;
    for (const { state } of verdict.states) states.set(state, (states.get(state) ?? 0) + 1);
  }
  return undefined;
}

function judged(judge: Judge, ct: Conntrack, { bytes, timeMs }: Sent): string {
  const { record, quoted, view } = packet(bytes);
  judgeTrackedPacket(judge, ct, record, 0, view, timeMs, quoted, isIcmpError(record, 0) ? 0 : -1);
  const answer = flowRecord(judge, record, 0);
  addPending(answer, judge, judge, record, 0);
  return answerText(answer);
}

/** Fewest packets, then fewest documents, with which the two still differ. */
function smallestFailure(drawn: World, sent: readonly Sent[]): string {
  const differs = (world: World, packets: readonly Sent[]): boolean => {
    try {
      const isWhole = loadWorld(world).documents.length === world.documents.length;
      return isWhole && firstDifference(world, packets) !== undefined;
    } catch {
      return false;
    }
  };
  const loaded = { ...drawn, documents: loadWorld(drawn).documents };
  const packets = dropParts(sent, (some) => differs(loaded, some));
  const documents = shrinkDocuments(loaded.documents, (some) => differs({ ...loaded, documents: some }, packets));
  const small = { ...loaded, documents };
  return [
    ...documents.map((document) => JSON.stringify(document)),
    ...packets.map(({ text, timeMs }) => `${timeMs} ${text}`),
    firstDifference(small, packets),
  ].join('\n');
}
