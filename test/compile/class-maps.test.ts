import { describe, expect, test } from 'vitest';
import { ClassMaps, type MappedClasses } from '../../src/compile/class-maps.ts';
import { Sections } from '../../src/compile/sections.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { CLASS_MAP_BLOCK, SECTION_CLASS_MAPS } from '../../src/tables/layout.ts';

const COUNT = 1_000;

function mapped(rows: ReadonlyMap<number, number>): MappedClasses {
  const classes = Int32Array.from(rows.keys()).sort();
  return { classes, rows: Int32Array.from(classes, (peerClass) => rows.get(peerClass)!) };
}

function randomRows(random: Xorshift32, count: number): Map<number, number> {
  return new Map(Array.from({ length: count }, () => [random.below(COUNT), 1 + random.below(5)]));
}

function rowsIn(maps: ClassMaps, map: number, classCount: number): number[] {
  return Array.from({ length: classCount }, (_, peerClass) => maps.rowOf(map, peerClass));
}

function plainRows(rows: ReadonlyMap<number, number>, classCount: number): number[] {
  return Array.from({ length: classCount }, (_, peerClass) => rows.get(peerClass) ?? 0);
}

describe('maps of peer classes', () => {
  test.each([0, 1, 3, 60, 900])('say of every class what a plain map says (%i classes named)', (count) => {
    const random = new Xorshift32(count + 1);
    const maps = new ClassMaps(new Sections(), COUNT, 0);
    const made = Array.from({ length: 30 }, () => randomRows(random, count));
    const places = made.map((rows) => maps.add(mapped(rows)));
    made.forEach((rows, i) => {
      expect(rowsIn(maps, places[i]!, COUNT)).toEqual(plainRows(rows, COUNT));
    });
    expect(rowsIn(maps, maps.zero, COUNT)).toEqual(plainRows(new Map(), COUNT));
  });

  test('that are alike are one, and blocks that are alike lie there once', () => {
    const sections = new Sections();
    const maps = new ClassMaps(sections, COUNT, 0);
    const words = sections.section(SECTION_CLASS_MAPS);
    const first = maps.add(mapped(new Map([[130, 2]])));
    const before = words.length;
    expect(maps.add(mapped(new Map([[130, 2]])))).toBe(first);
    expect(maps.add(mapped(new Map()))).toBe(maps.zero);
    expect(words.length).toBe(before);
    // One more map whose one block is known: its offsets of blocks alone.
    maps.add(mapped(new Map([[130 + CLASS_MAP_BLOCK, 2]])));
    expect(words.length - before).toBe(Math.ceil(COUNT / CLASS_MAP_BLOCK));
  });

  test.each([1, 2, 3])('of their own take classes that come, each for itself (seed %i)', (seed) => {
    const random = new Xorshift32(seed);
    const room = 200;
    const maps = new ClassMaps(new Sections(), COUNT, room);
    const made = Array.from({ length: 12 }, () => randomRows(random, 20));
    const places = made.map((rows) => maps.addOwn(mapped(rows)));
    // The same once more: what changes in one is not seen in the other.
    const twins = made.map((rows) => maps.addOwn(mapped(rows)));
    const changed = made.map((rows) => new Map(rows));
    for (let i = 0; i < 2_000; i++) {
      const which = random.below(made.length);
      const [peerClass, row] = [COUNT + random.below(room), random.below(4)];
      maps.set(places[which]!, peerClass, row);
      changed[which]!.set(peerClass, row);
    }
    made.forEach((rows, i) => {
      expect(rowsIn(maps, places[i]!, COUNT + room)).toEqual(plainRows(changed[i]!, COUNT + room));
      expect(rowsIn(maps, twins[i]!, COUNT + room)).toEqual(plainRows(rows, COUNT + room));
    });
    expect(rowsIn(maps, maps.zero, COUNT + room)).toEqual(plainRows(new Map(), COUNT + room));
    expect(() => maps.set(places[0]!, 0, 1)).toThrow('a block of its map alone');
  });
});
