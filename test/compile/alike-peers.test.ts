import { describe, expect, test } from 'vitest';
import { alikePeers } from '../../src/compile/alike-peers.ts';
import { ClassMaps } from '../../src/compile/class-maps.ts';
import { Sections } from '../../src/compile/sections.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { SECTION_FUNCTION_REFS, SECTION_POLICY_CLASSES } from '../../src/tables/layout.ts';

const ROWS = 4;

/** Policy classes with `ROWS` rows of answers each, and answer by policy class and peer class. */
function randomAnswers(random: Xorshift32, peers: number, policyClasses: number, namedMost: number) {
  const sections = new Sections();
  // More classes than are asked about: the last block has some of them, too.
  const all = peers + random.below(40);
  const maps = new ClassMaps(sections, all, 0);
  const answers: number[][] = [];
  for (let policyClass = 0; policyClass < policyClasses; policyClass++) {
    const rows = new Map<number, number>();
    const row = 1 + random.below(ROWS - 1);
    for (let i = random.below(namedMost + 1); i > 0; i--)
      rows.set(random.below(all), random.below(3) === 0 ? random.below(ROWS) : row);
    const classes = Int32Array.from([...rows.keys()].filter((peer) => rows.get(peer)! > 0)).sort();
    const map = maps.add({ classes, rows: classes.map((peer) => rows.get(peer)!) });
    const refs = Array.from({ length: ROWS }, () => random.below(3) - 1);
    const firstRef = sections.section(SECTION_FUNCTION_REFS).append(refs);
    sections.record(SECTION_POLICY_CLASSES, [0, 0, map, firstRef, ROWS]);
    answers.push(Array.from({ length: peers }, (_, peer) => refs[rows.get(peer) ?? 0]!));
  }
  return { sections, answers };
}

describe('peer classes that are alike', () => {
  test.each(Array.from({ length: 40 }, (_, seed) => seed + 1))('are those with equal answers (seed %i)', (seed) => {
    const random = new Xorshift32(seed);
    const peers = 1 + random.below(200);
    const { sections, answers } = randomAnswers(random, peers, random.below(12), 1 + random.below(2 * peers));
    const asked = answers.map((_, policyClass) => policyClass).filter(() => random.below(4) > 0);
    const signature = (peer: number): string => asked.map((policyClass) => answers[policyClass]![peer]).join();
    const first = new Map<string, number>();
    const wanted = Array.from({ length: peers }, (_, peer) => {
      if (!first.has(signature(peer))) first.set(signature(peer), peer);
      return first.get(signature(peer))!;
    });
    expect([...alikePeers(sections, peers, asked)]).toEqual(wanted);
  });
});
