import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  byTrouble,
  chooseShown,
  EDGE_KINDS,
  type GraphEdge,
  type GraphModel,
  NODES_SHOWN_MAX,
  splitOutside,
} from '../../src/web/shared/graph-edges.ts';
import { BOX_HEIGHT, BOX_WIDTH, curveThrough, layoutGraph } from '../../src/web/shared/graph-layout.ts';
import { nextBox, targetIndex } from '../../src/web/shared/key-target.ts';

const NO_COUNTS = { allowed: 0, unpoliced: 0, uncertain: 0, denied: 0, blocked: 0, leaking: 0 };

function edge(from: string, to: string, counts: Partial<GraphEdge['counts']> = { allowed: 1 }, bytes = 1): GraphEdge {
  return { from, to, counts: { ...NO_COUNTS, ...counts }, bytes, ports: [] };
}

function model(edges: readonly GraphEdge[]): GraphModel {
  const ids = [...new Set(edges.flatMap(({ from, to }) => [from, to]))];
  return {
    nodes: ids.map((id) => ({ id, title: id, kind: id === 'net' ? 'outside' : 'account', above: '', name: id })),
    edges,
  };
}

describe('layout', () => {
  test('the worked example: a chain with a shortcut and an arrow back', () => {
    const edges = [
      { from: 'a', to: 'b' },
      { from: 'b', to: 'c' },
      { from: 'a', to: 'c' },
      { from: 'c', to: 'a' },
    ];
    const layout = layoutGraph([{ id: 'a' }, { id: 'b' }, { id: 'c' }], edges);
    expect(Object.fromEntries(layout.columns)).toEqual({ a: 0, b: 1, c: 2 });
    // The shortcut goes around b: two points of its bend between the ends.
    expect(layout.routes[2]).toHaveLength(4);
    // The arrow back starts at the left side of c and ends at the right side of a.
    expect(layout.routes[3]![0]!.x).toBe(layout.boxes.get('c')!.x);
    expect(layout.routes[3]!.at(-1)!.x).toBe(layout.boxes.get('a')!.x + BOX_WIDTH);
  });

  test('the heavier arrow of a pair points right', () => {
    const edges = [
      { from: 'a', to: 'b', weight: 1 },
      { from: 'b', to: 'a', weight: 3 },
    ];
    expect(Object.fromEntries(layoutGraph([{ id: 'a' }, { id: 'b' }], edges).columns)).toEqual({ b: 0, a: 1 });
  });

  const arbGraph = fc
    .integer({ min: 0, max: 14 })
    .chain((count) =>
      fc.tuple(
        fc.constant(Array.from({ length: count }, (_, index) => ({ id: `n${index}` }))),
        fc.array(fc.tuple(fc.nat({ max: 15 }), fc.nat({ max: 15 })), { maxLength: 40 }),
      ),
    );

  test('of any graph: boxes apart and inside, every edge between known nodes from box to box', () => {
    fc.assert(
      fc.property(arbGraph, ([nodes, pairs]) => {
        const edges = pairs.map(([from, to]) => ({ from: `n${from}`, to: `n${to}` }));
        const layout = layoutGraph(nodes, edges);
        const boxes = [...layout.boxes.values()];
        expect(boxes).toHaveLength(nodes.length);
        for (const [index, a] of boxes.entries()) {
          expect(a.x >= 0 && a.y >= 0).toBe(true);
          expect(a.x + BOX_WIDTH <= layout.width && a.y + BOX_HEIGHT <= layout.height).toBe(true);
          for (const b of boxes.slice(index + 1)) {
            expect(Math.abs(a.x - b.x) >= BOX_WIDTH || Math.abs(a.y - b.y) >= BOX_HEIGHT).toBe(true);
          }
        }
        edges.forEach(({ from, to }, index) => {
          const [start, end] = [layout.boxes.get(from), layout.boxes.get(to)];
          const route = layout.routes[index]!;
          if (start === undefined || end === undefined) expect(route).toEqual([]);
          else {
            expect([start.x, start.x + BOX_WIDTH]).toContain(route[0]!.x);
            expect([end.x, end.x + BOX_WIDTH]).toContain(route.at(-1)!.x);
            expect(curveThrough(route, 3)).toMatch(/^M[\d.-]+ [\d.-]+([LC][\d. -]+)+$/);
          }
        });
      }),
    );
  });

  test('does not depend on the order of nodes', () => {
    fc.assert(
      fc.property(arbGraph, ([nodes, pairs]) => {
        const edges = pairs.map(([from, to]) => ({ from: `n${from}`, to: `n${to}` }));
        const sorted = (layout: ReturnType<typeof layoutGraph>) =>
          [...layout.boxes].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(sorted(layoutGraph([...nodes].reverse(), edges))).toEqual(sorted(layoutGraph(nodes, edges)));
      }),
    );
  });
});

describe('what is drawn', () => {
  const all = new Set(EDGE_KINDS);
  const graph = model([
    edge('prod/web', 'prod/db', { denied: 4 }),
    edge('prod/web', 'prod/api', { allowed: 9 }),
    edge('dev/x', 'dev/y', { leaking: 1 }),
  ]);

  test('kinds and text choose edges, and the nodes at their ends', () => {
    expect(chooseShown(graph, 'PROD', all).nodes.map(({ id }) => id)).toEqual(['prod/api', 'prod/db', 'prod/web']);
    expect(chooseShown(graph, '', new Set(['leaking'] as const)).edges.map(({ from }) => from)).toEqual(['dev/x']);
    expect(chooseShown(graph, '', new Set()).nodes).toEqual([]);
    expect(chooseShown(graph, 'nobody', all).nodes).toEqual([]);
  });

  test('too many: the busiest stay, findings first', () => {
    const edges = Array.from({ length: 300 }, (_, index) => edge('hub', `n${index}`, { allowed: 1 }, index));
    const shown = chooseShown(model([...edges, edge('quiet', 'leak', { leaking: 1 }, 0)]), '', all);
    expect(shown.nodes).toHaveLength(NODES_SHOWN_MAX);
    expect(shown.matchedCount).toBe(303);
    const ids = new Set(shown.nodes.map(({ id }) => id));
    for (const id of ['quiet', 'leak', 'hub', 'n299']) expect(ids.has(id), id).toBe(true);
    expect(ids.has('n0')).toBe(false);
  });

  test('the outside is two boxes when it calls and is called', () => {
    const split = splitOutside(model([edge('net', 'a'), edge('a', 'net'), edge('net', 'net')]));
    expect(split.nodes.map(({ id }) => id).sort()).toEqual(['a', 'net (called)', 'net (calling)']);
    expect(split.edges.map(({ from, to }) => `${from} > ${to}`)).toEqual([
      'net (calling) > a',
      'a > net (called)',
      'net (calling) > net (called)',
    ]);
    expect(splitOutside(model([edge('net', 'a')])).nodes.map(({ id }) => id)).toContain('net');
  });

  test('the list has the worst first', () => {
    const sorted = [edge('a', 'b', { denied: 5 }), edge('c', 'd', { blocked: 1 }), edge('e', 'f', { leaking: 1 })].sort(
      byTrouble,
    );
    expect(sorted.map(({ from }) => from)).toEqual(['e', 'c', 'a']);
  });
});

describe('keys', () => {
  test.each([
    ['ArrowDown', 0, 1],
    ['ArrowDown', 29, 29],
    ['ArrowUp', 0, 0],
    ['PageDown', 5, 15],
    ['PageUp', 5, 0],
    ['Home', 9, 0],
    ['End', 9, 29],
    ['x', 9, undefined],
  ])('%s at %d of 30', (key, at, expected) => expect(targetIndex(key, at, 30)).toBe(expected));

  test('in a graph: up and down the column, left and right to the nearest', () => {
    const edges = [
      { from: 'a', to: 'b' },
      { from: 'a', to: 'c' },
    ];
    const layout = layoutGraph([{ id: 'a' }, { id: 'b' }, { id: 'c' }], edges);
    expect(nextBox('ArrowRight', 'a', layout)).toMatch(/^[bc]$/);
    expect(nextBox('ArrowLeft', 'c', layout)).toBe('a');
    expect(nextBox('ArrowLeft', 'a', layout)).toBeUndefined();
    expect(new Set([nextBox('Home', 'b', layout), nextBox('End', 'b', layout)])).toEqual(new Set(['b', 'c']));
    expect(nextBox('ArrowRight', 'nobody', layout)).toBeUndefined();
  });
});
