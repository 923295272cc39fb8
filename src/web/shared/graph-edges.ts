/** A graph as it is drawn: boxes, and for each pair of them how many connections of which kind. Pure; the page and the report fill it. */

export interface GraphNode {
  readonly id: string;
  /** In words, where there is room for them. */
  readonly title: string;
  readonly kind: 'account' | 'outside' | 'network-set' | 'host';
  /** The small line of the box: namespace and pods. */
  readonly above: string;
  readonly name: string;
}

/** In the order in which they are laid beside each other, worst last, so that it lies on top. */
export const EDGE_KINDS = ['allowed', 'unpoliced', 'uncertain', 'denied', 'blocked', 'leaking'] as const;
export type EdgeKind = (typeof EDGE_KINDS)[number];

export const EDGE_MEANINGS: Readonly<Record<EdgeKind, string>> = {
  allowed: 'allowed, and answered as far as is known',
  unpoliced: 'not policed by Calico',
  uncertain: 'uncertain: evidence is missing',
  denied: 'denied by policy',
  blocked: 'allowed by policy, and never answered',
  leaking: 'denied by policy, and answered all the same',
};

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** Connections, each counted once: a leak is not among the denied, a blocked one not among the allowed. */
  readonly counts: Readonly<Record<EdgeKind, number>>;
  /** Where it is known. */
  readonly bytes?: number;
  readonly ports: readonly string[];
}

export interface GraphModel {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** What nodes are called, by id. */
export function titlesOf(nodes: readonly GraphNode[]): ReadonlyMap<string, string> {
  return new Map(nodes.map(({ id, title }) => [id, title]));
}

/** Most boxes that a reader can follow. */
export const NODES_SHOWN_MAX = 120;

export interface ShownGraph extends GraphModel {
  /** Nodes that the filter would show, without the limit. */
  readonly matchedCount: number;
}

/**
 * Edges of the wanted kinds between nodes of which one matches the text, and their nodes; the busiest when there are too many, those with
 * findings before all. Sorted by name, so that the same graph gives the same picture.
 */
export function chooseShown(graph: GraphModel, text: string, kinds: ReadonlySet<EdgeKind>): ShownGraph {
  const wanted = text.toLowerCase();
  const matches = (id: string): boolean => id.toLowerCase().includes(wanted);
  const edges = graph.edges.filter(
    ({ from, to, counts }) =>
      (matches(from) || matches(to)) && EDGE_KINDS.some((kind) => kinds.has(kind) && counts[kind] > 0),
  );
  const weights = new Map<string, number>();
  for (const edge of edges) {
    const weight = (edge.bytes ?? connectionsOf(edge)) + 1 + (edge.counts.leaking + edge.counts.blocked) * 1e15;
    for (const id of [edge.from, edge.to]) weights.set(id, (weights.get(id) ?? 0) + weight);
  }
  const ranked = [...weights].sort(([a, x], [b, y]) => y - x || compare(a, b)).map(([id]) => id);
  const shown = new Set(ranked.slice(0, NODES_SHOWN_MAX));
  const known = new Map(graph.nodes.map((node) => [node.id, node]));
  return {
    nodes: [...shown]
      .sort(compare)
      .map((id) => known.get(id) ?? { id, title: id, kind: 'outside' as const, above: '', name: id }),
    edges: edges
      .filter(({ from, to }) => shown.has(from) && shown.has(to))
      .sort((a, b) => compare(a.from, b.from) || compare(a.to, b.to)),
    matchedCount: weights.size,
  };
}

/**
 * The outside, which both calls and is called, as two boxes: they are seldom the same machines, and one box would tie all columns into a
 * knot. Other nodes stay.
 */
export function splitOutside(model: GraphModel): GraphModel {
  const outside = new Set(model.nodes.filter(({ kind }) => kind === 'outside').map(({ id }) => id));
  const callers = new Set(model.edges.map(({ from }) => from));
  const called = new Set(model.edges.map(({ to }) => to));
  const both = new Set([...outside].filter((id) => callers.has(id) && called.has(id)));
  return {
    nodes: model.nodes.flatMap((node) =>
      both.has(node.id)
        ? [
            { ...node, id: `${node.id} (calling)`, title: `${node.title} (calling)`, above: `${node.above}, calling` },
            { ...node, id: `${node.id} (called)`, title: `${node.title} (called)`, above: `${node.above}, called` },
          ]
        : [node],
    ),
    edges: model.edges.map((edge) => ({
      ...edge,
      from: both.has(edge.from) ? `${edge.from} (calling)` : edge.from,
      to: both.has(edge.to) ? `${edge.to} (called)` : edge.to,
    })),
  };
}

/** Worst first: leaking, blocked, denied, uncertain, then by traffic. For lists. */
export function byTrouble(a: GraphEdge, b: GraphEdge): number {
  for (const kind of ['leaking', 'blocked', 'denied', 'uncertain'] as const) {
    if (a.counts[kind] !== b.counts[kind]) return b.counts[kind] - a.counts[kind];
  }
  return (
    (b.bytes ?? connectionsOf(b)) - (a.bytes ?? connectionsOf(a)) || compare(`${a.from} ${a.to}`, `${b.from} ${b.to}`)
  );
}

function connectionsOf({ counts }: GraphEdge): number {
  return EDGE_KINDS.reduce((sum, kind) => sum + counts[kind], 0);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
