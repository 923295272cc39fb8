/**
 * Places for a directed graph, in columns from left to right, so that most arrows point right and few cross.
 *
 * The problem: accounts and who talks to whom, up to a few hundred nodes, drawn so that a reader follows an arrow with the eye; and the
 * same graph must look the same at every refresh, so nothing here is random and everything is sorted by name first.
 *
 * The idea is that of Sugiyama, Tagawa and Toda (1981), each step in its simplest form:
 *   1. Cycles: nodes into one row so that few and light arrows point back (Eades, Lin and Smyth 1993): again and again the nodes that
 *      nobody talks to go to its front, those that talk to nobody to its end, and else the one that sends most and gets least to the
 *      front. Arrows that point back in that row are turned, for the layout only.
 *   2. Columns: longest path from a node without incoming arrows. A turned graph has no cycle, so this ends.
 *   3. Long arrows: one bend in each column that they pass, a node without size, so that they go around boxes.
 *   4. Order within a column: by the mean place of the neighbours in the column before, then after, four times; ties keep their order.
 *   5. Heights: each column stacked and centred; a bend takes less room than a box.
 *
 * Worked example: a->b, b->c, a->c, c->a. No node is free; a sends 2 and gets 1, more than b and c: front. Then b is free, then c. The row
 * a,b,c turns c->a to a->c. Columns a=0, b=1, c=2. The arrows a->c and the turned one pass column 1: a bend there for each. Column 1 holds b
 * and the bends; b stays above them, since all have the neighbour a and b was first.
 *
 * Cost: O(nodes^2 + sweeps * (nodes + edges * columns)). Rejected: forces (another picture at every change), full crossing minimisation (NP-hard).
 */

export interface LayoutNode {
  readonly id: string;
}

export interface LayoutEdge {
  readonly from: string;
  readonly to: string;
  /** How much it matters that it points right; 1 if missing. */
  readonly weight?: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface GraphLayout {
  readonly width: number;
  readonly height: number;
  /** Upper left corner of each box, by node. */
  readonly boxes: ReadonlyMap<string, Point>;
  /** Column of each node, from 0. */
  readonly columns: ReadonlyMap<string, number>;
  /** The points that an edge goes through, both ends included, in the order of `edges`; empty for an unknown end. */
  readonly routes: readonly (readonly Point[])[];
}

export const BOX_WIDTH = 168;
export const BOX_HEIGHT = 40;
const COLUMN_GAP = 92;
const ROW_GAP = 22;
const BEND_HEIGHT = 10;
const BEND_GAP = 8;
const MARGIN = 16;
const SWEEPS = 4;
/** How far a loop of a node to itself goes out. */
const LOOP = 26;

/** A box, or a bend of a long edge. `slot` numbers both. */
interface Slot {
  readonly column: number;
  readonly isBend: boolean;
  readonly before: number[];
  readonly after: number[];
}

export function layoutGraph(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): GraphLayout {
  const ids = [...new Set(nodes.map(({ id }) => id))].sort();
  const numberOf = new Map(ids.map((id, index) => [id, index]));
  const pairs = edges.map(({ from, to }): [number, number] => [numberOf.get(from) ?? -1, numberOf.get(to) ?? -1]);
  const forward = withoutCycles(
    ids.length,
    pairs,
    edges.map(({ weight }) => weight ?? 1),
  );
  const columnOf = longestPaths(ids.length, forward);
  const { slots, paths } = withBends(columnOf, forward);
  const order = orderColumns(slots, ids.length);
  const { tops, height } = stack(order, slots);
  const columnX = (column: number): number => MARGIN + column * (BOX_WIDTH + COLUMN_GAP);
  const boxes = new Map(ids.map((id, slot) => [id, { x: columnX(slots[slot]!.column), y: tops[slot]! }]));
  const centre = (slot: number): number => tops[slot]! + (slots[slot]!.isBend ? BEND_HEIGHT : BOX_HEIGHT) / 2;
  const routes = pairs.map(([from, to], index) => {
    if (from < 0 || to < 0) return [];
    if (from === to) return loopOf(boxes.get(ids[from]!)!);
    const path = paths[index]!;
    const points = path.flatMap((slot, at): Point[] => {
      const x = columnX(slots[slot]!.column);
      const y = centre(slot);
      if (slots[slot]!.isBend)
        return [
          { x, y },
          { x: x + BOX_WIDTH, y },
        ];
      return [{ x: at === 0 ? x + BOX_WIDTH : x, y }];
    });
    return path[0] === from ? points : points.reverse();
  });
  const width = Math.max(0, ...slots.map(({ column }) => columnX(column) + BOX_WIDTH + MARGIN + LOOP));
  const columns = new Map(ids.map((id, slot) => [id, slots[slot]!.column]));
  return { width, height, boxes, columns, routes };
}

/** Each pair, turned where it points back in the row. Pairs to the node itself and unknown ends stay as they are. */
function withoutCycles(
  count: number,
  pairs: readonly [number, number][],
  weights: readonly number[],
): [number, number][] {
  const place = rowOf(count, pairs, weights);
  return pairs.map(([from, to]) => {
    const isBack = from >= 0 && to >= 0 && place[from]! > place[to]!;
    return isBack ? [to, from] : [from, to];
  });
}

/** The place of each node in a row with little weight pointing back. Ties go to the lower number. */
function rowOf(count: number, pairs: readonly [number, number][], weights: readonly number[]): Int32Array {
  const sent = new Float64Array(count);
  const got = new Float64Array(count);
  const touching: number[][] = Array.from({ length: count }, () => []);
  pairs.forEach(([from, to], index) => {
    if (from < 0 || to < 0 || from === to) return;
    sent[from]! += weights[index]!;
    got[to]! += weights[index]!;
    touching[from]!.push(index);
    touching[to]!.push(index);
  });
  const rest = new Set(Array.from({ length: count }, (_, node) => node));
  const take = (node: number): number => {
    rest.delete(node);
    for (const index of touching[node]!) {
      const [from, to] = pairs[index]!;
      if (from === node && rest.has(to)) got[to]! -= weights[index]!;
      if (to === node && rest.has(from)) sent[from]! -= weights[index]!;
    }
    return node;
  };
  const front: number[] = [];
  const end: number[] = [];
  while (rest.size > 0) {
    const left = [...rest];
    // Sums of fractions may miss zero by a little.
    const source = left.find((node) => got[node]! < 1e-9);
    const sink = source === undefined ? left.find((node) => sent[node]! < 1e-9) : undefined;
    if (source !== undefined) front.push(take(source));
    else if (sink !== undefined) end.push(take(sink));
    else front.push(take(left.reduce((a, b) => (sent[b]! - got[b]! > sent[a]! - got[a]! ? b : a))));
  }
  const place = new Int32Array(count);
  [...front, ...end.reverse()].forEach((node, index) => {
    place[node] = index;
  });
  return place;
}

function longestPaths(count: number, pairs: readonly [number, number][]): Int32Array {
  const column = new Int32Array(count);
  const waiting = new Int32Array(count);
  const targets: number[][] = Array.from({ length: count }, () => []);
  for (const [from, to] of pairs) {
    if (from < 0 || to < 0 || from === to) continue;
    targets[from]!.push(to);
    waiting[to]!++;
  }
  const ready = [...waiting.keys()].filter((node) => waiting[node] === 0);
  for (const node of ready) {
    for (const target of targets[node]!) {
      column[target] = Math.max(column[target]!, column[node]! + 1);
      if (--waiting[target]! === 0) ready.push(target);
    }
  }
  return column;
}

/** Slots 0 to `columnOf.length - 1` are the nodes; the path of each pair is its slots from left to right. */
function withBends(
  columnOf: Int32Array,
  pairs: readonly [number, number][],
): { readonly slots: Slot[]; readonly paths: number[][] } {
  const slots = Array.from(columnOf, (column): Slot => ({ column, isBend: false, before: [], after: [] }));
  const link = (left: number, right: number): void => {
    slots[left]!.after.push(right);
    slots[right]!.before.push(left);
  };
  const paths = pairs.map(([from, to]) => {
    if (from < 0 || to < 0 || from === to) return [];
    const path = [from];
    for (let column = columnOf[from]! + 1; column < columnOf[to]!; column++) {
      slots.push({ column, isBend: true, before: [], after: [] });
      link(path.at(-1)!, slots.length - 1);
      path.push(slots.length - 1);
    }
    link(path.at(-1)!, to);
    path.push(to);
    return path;
  });
  return { slots, paths };
}

function orderColumns(slots: readonly Slot[], nodeCount: number): number[][] {
  const columns: number[][] = [];
  slots.forEach(({ column }, slot) => {
    while (columns.length <= column) columns.push([]);
    columns[column]!.push(slot);
  });
  const place = new Float64Array(slots.length);
  const settle = (column: number[]): void =>
    column.forEach((slot, index) => {
      place[slot] = (index + 0.5) / column.length;
    });
  columns.forEach(settle);
  const sort = (column: number[], side: 'before' | 'after'): void => {
    const key = new Map(column.map((slot) => [slot, mean(slots[slot]![side], place) ?? place[slot]!]));
    column.sort((a, b) => key.get(a)! - key.get(b)! || place[a]! - place[b]!);
    settle(column);
  };
  for (let sweep = 0; sweep < SWEEPS && nodeCount > 0; sweep++) {
    for (let at = 1; at < columns.length; at++) sort(columns[at]!, 'before');
    for (let at = columns.length - 2; at >= 0; at--) sort(columns[at]!, 'after');
  }
  return columns;
}

function mean(neighbours: readonly number[], place: Float64Array): number | undefined {
  if (neighbours.length === 0) return undefined;
  return neighbours.reduce((sum, slot) => sum + place[slot]!, 0) / neighbours.length;
}

function stack(
  columns: readonly number[][],
  slots: readonly Slot[],
): { readonly tops: Float64Array; readonly height: number } {
  const sizeOf = (slot: number): number => (slots[slot]!.isBend ? BEND_HEIGHT + BEND_GAP : BOX_HEIGHT + ROW_GAP);
  const heights = columns.map((column) => column.reduce((sum, slot) => sum + sizeOf(slot), 0));
  const tallest = Math.max(0, ...heights);
  const tops = new Float64Array(slots.length);
  columns.forEach((column, index) => {
    let y = MARGIN + (tallest - heights[index]!) / 2;
    for (const slot of column) {
      tops[slot] = y;
      y += sizeOf(slot);
    }
  });
  return { tops, height: tallest + 2 * MARGIN };
}

/** Out of the right side of a box and back into it. */
function loopOf({ x, y }: Point): Point[] {
  const right = x + BOX_WIDTH;
  return [
    { x: right, y: y + BOX_HEIGHT * 0.3 },
    { x: right + LOOP, y: y + BOX_HEIGHT * 0.3 },
    { x: right + LOOP, y: y + BOX_HEIGHT * 0.7 },
    { x: right, y: y + BOX_HEIGHT * 0.7 },
  ];
}

/**
 * A smooth line through points for SVG's `d`: a cubic curve for each stretch, level at both ends, so that it leaves and enters boxes
 * straight. `shift` moves it down, to lay several beside each other.
 */
export function curveThrough(points: readonly Point[], shift: number): string {
  const first = points[0];
  if (first === undefined) return '';
  let path = `M${first.x} ${round(first.y + shift)}`;
  for (let at = 1; at < points.length; at++) {
    const from = points[at - 1]!;
    const to = points[at]!;
    const middle = round((from.x + to.x) / 2);
    if (from.x === to.x || from.y === to.y) path += `L${to.x} ${round(to.y + shift)}`;
    else path += `C${middle} ${round(from.y + shift)} ${middle} ${round(to.y + shift)} ${to.x} ${round(to.y + shift)}`;
  }
  return path;
}

/** The point at `share` (0 to 1) of the stretch that `curveThrough` draws between two points. */
export function pointOn(from: Point, to: Point, share: number): Point {
  const rest = 1 - share;
  const middle = (from.x + to.x) / 2;
  const [start, end] = [rest ** 3, share ** 3];
  const [early, late] = [3 * rest * rest * share, 3 * rest * share * share];
  return {
    x: start * from.x + (early + late) * middle + end * to.x,
    y: (start + early) * from.y + (late + end) * to.y,
  };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
