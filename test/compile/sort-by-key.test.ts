import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareBytewise } from '../../src/base/bytewise.ts';
import { ListMemo } from '../../src/compile/memo.ts';
import { sortByKey } from '../../src/compile/sort-by-key.ts';

const unit = fc.constantFrom('a', 'b', 'c', '-', '/', '.', '\u0000', 'é', '\uffff', '😀');
const plain = fc.constantFrom('a', 'b', 'c', '-', '/', '.');
const key = fc.oneof(
  fc.string({ unit: plain, maxLength: 12 }),
  fc.string({ unit: plain, maxLength: 9 }).map((text) => `wep:namespace/${text}`),
  fc.string({ unit, maxLength: 6 }),
);

test('keys in the order of their bytes, items of one key in their own', () => {
  fc.assert(
    fc.property(fc.array(key, { maxLength: 80 }), (keys) => {
      const items = keys.map((each, place) => ({ key: each, place }));
      const expected = [...items].sort((a, b) => compareBytewise(a.key, b.key));
      expect(sortByKey(items, (item) => item.key)).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});

test('many keys that are told apart late', () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `wep:bench/p${(i * 7919) % 5000}`);
  expect(sortByKey(keys, (text) => text)).toEqual([...keys].sort());
});

test('what was made for a list is kept while objects come, go and change', () => {
  const many = Array.from({ length: 1000 }, (_, id) => ({ id }));
  let remade = 0;
  const long = new ListMemo<{ id: number }, number>();
  const number = ({ id }: { id: number }): number => {
    remade++;
    return id;
  };
  long.map(many, number);
  remade = 0;
  expect(long.map(many.slice(300), number)).toHaveLength(700);
  expect(remade).toBeLessThan(100);

  const step = fc.record({ at: fc.nat(), type: fc.constantFrom('add', 'remove', 'replace', 'swap') });
  fc.assert(
    fc.property(fc.nat(8), fc.array(step, { maxLength: 8 }), (count, steps) => {
      let list: { id: number }[] = Array.from({ length: count }, (_, id) => ({ id }));
      let made = 0;
      const memo = new ListMemo<{ id: number }, string>();
      const make = ({ id }: { id: number }): string => {
        made++;
        return `made ${id}`;
      };
      let next = 100;
      for (const { at, type } of [{ at: 0, type: 'none' }, ...steps]) {
        const before = new Set(list);
        const place = list.length === 0 ? 0 : at % list.length;
        list = [...list];
        if (type === 'add') list.splice(place, 0, { id: next++ });
        else if (type === 'remove') list.splice(place, 1);
        else if (type === 'replace' && list.length > 0) list[place] = { id: next++ };
        else if (type === 'swap') list.push(...list.splice(place, 1));
        made = 0;
        expect(memo.map(list, make)).toEqual(list.map(({ id }) => `made ${id}`));
        // One that is moved may be made again.
        const added = list.filter((each) => !before.has(each)).length;
        if (type !== 'none') expect(made - added).toBeLessThanOrEqual(type === 'swap' ? 1 : 0);
      }
    }),
  );
});
