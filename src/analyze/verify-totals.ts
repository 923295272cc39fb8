/** What a verification counts: the matrix, packets over time, and who talks to whom. All of it bounded. */
import { REPORT_BUCKETS_MAX } from '../model/limits.ts';
import type { FlowRecord } from './record.ts';
import type {
  FindingKind,
  ObservedColumn,
  Predicted,
  ReportCell,
  ReportGraph,
  ReportGraphEdge,
  ReportGraphNode,
  ReportTimeline,
} from './report-data.ts';

export const PREDICTED: readonly Predicted[] = ['allow', 'deny', 'unpoliced', 'uncertain'];
export const OBSERVED: readonly ObservedColumn[] = ['delivered', 'refused', 'unanswered', 'unknown'];

export class Matrix {
  readonly #cells = new Map<string, { connections: number; packets: number; findings: number }>();

  add(predicted: Predicted, observed: ObservedColumn, packets: number, hasFinding: boolean): void {
    const key = `${predicted} ${observed}`;
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = { connections: 0, packets: 0, findings: 0 };
      this.#cells.set(key, cell);
    }
    cell.connections++;
    cell.packets += packets;
    if (hasFinding) cell.findings++;
  }

  /** Every pair, zeros too. */
  cells(): ReportCell[] {
    return PREDICTED.flatMap((predicted) =>
      OBSERVED.map((observed) => ({
        predicted,
        observed,
        ...(this.#cells.get(`${predicted} ${observed}`) ?? { connections: 0, packets: 0, findings: 0 }),
      })),
    );
  }
}

const COLUMNS = ['allow', 'deny', 'unpoliced', 'uncertain', 'undecoded', 'leaks', 'blocked'] as const;
export type TimelineColumn = (typeof COLUMNS)[number];

/** Longest and shortest bucket. */
const STEP_MS_MIN = 100;
const STEP_MS_MAX = 365 * 86_400_000;

/** Counts over time in at most REPORT_BUCKETS_MAX buckets: their length doubles whenever time goes past the last one. */
export class Timeline {
  #startMs = Number.NaN;
  #stepMs = STEP_MS_MIN;
  readonly #columns: Record<TimelineColumn, number[]> = {
    allow: [],
    deny: [],
    unpoliced: [],
    uncertain: [],
    undecoded: [],
    leaks: [],
    blocked: [],
  };

  add(timeMs: number, column: TimelineColumn, count = 1): void {
    if (!Number.isFinite(timeMs)) return;
    if (Number.isNaN(this.#startMs)) this.#startMs = Math.floor(timeMs / STEP_MS_MIN) * STEP_MS_MIN;
    let bucket = Math.floor((timeMs - this.#startMs) / this.#stepMs);
    // What comes before the first packet of all (a capture out of order) counts at the start.
    if (bucket < 0) bucket = 0;
    while (bucket >= REPORT_BUCKETS_MAX && this.#stepMs < STEP_MS_MAX) {
      this.#double();
      bucket = Math.floor((timeMs - this.#startMs) / this.#stepMs);
    }
    bucket = Math.min(bucket, REPORT_BUCKETS_MAX - 1);
    const counts = this.#columns[column];
    while (counts.length <= bucket) counts.push(0);
    counts[bucket]! += count;
  }

  data(): ReportTimeline {
    const length = Math.max(0, ...COLUMNS.map((column) => this.#columns[column].length));
    const padded = (column: TimelineColumn): number[] =>
      Array.from({ length }, (_, i) => this.#columns[column][i] ?? 0);
    return {
      start_ms: Number.isNaN(this.#startMs) ? 0 : this.#startMs,
      step_ms: this.#stepMs,
      allow: padded('allow'),
      deny: padded('deny'),
      unpoliced: padded('unpoliced'),
      uncertain: padded('uncertain'),
      undecoded: padded('undecoded'),
      leaks: padded('leaks'),
      blocked: padded('blocked'),
    };
  }

  #double(): void {
    this.#stepMs *= 2;
    for (const column of COLUMNS) {
      const counts = this.#columns[column];
      const half = Math.ceil(counts.length / 2);
      for (let i = 0; i < half; i++) counts[i] = counts[2 * i]! + (counts[2 * i + 1] ?? 0);
      counts.length = half;
    }
  }
}

/** Accounts and pairs of them that are counted while the captures are read; a report shows the most important. */
const NODES_MAX = 10_000;
const EDGES_MAX = 20_000;
const SERVICES_MAX = 64;
const SERVICES_SHOWN = 4;

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly counts: Record<Predicted, number>;
  leaks: number;
  blocked: number;
  readonly services: Map<string, number>;
}

export class Graph {
  readonly #nodes = new Map<string, { readonly node: Omit<ReportGraphNode, 'connections'>; connections: number }>();
  readonly #edges = new Map<string, Edge>();
  #nodesLeftOut = 0;
  #edgesLeftOut = 0;

  add(record: FlowRecord, predicted: Predicted, finding: FindingKind | undefined): void {
    const from = this.#node(record, 'source');
    const to = this.#node(record, 'dest');
    if (from === undefined || to === undefined) {
      this.#edgesLeftOut++;
      return;
    }
    const key = `${from}\n${to}`;
    let edge = this.#edges.get(key);
    if (edge === undefined) {
      if (this.#edges.size >= EDGES_MAX) {
        this.#edgesLeftOut++;
        return;
      }
      const counts = { allow: 0, deny: 0, unpoliced: 0, uncertain: 0 };
      edge = { from, to, counts, leaks: 0, blocked: 0, services: new Map() };
      this.#edges.set(key, edge);
    }
    edge.counts[predicted]++;
    if (finding !== undefined) edge[COUNT_OF[finding]]++;
    const service = serviceOf(record);
    if (edge.services.has(service) || edge.services.size < SERVICES_MAX) {
      edge.services.set(service, (edge.services.get(service) ?? 0) + 1);
    }
  }

  /** The most important: findings, then denied connections, then the most. */
  data(nodesMax: number, edgesMax: number): ReportGraph {
    const weight = ({ leaks, blocked, counts }: Edge): number =>
      (leaks + blocked) * 1e9 + counts.deny * 1e3 + counts.allow + counts.unpoliced + counts.uncertain;
    const sorted = [...this.#edges.values()].sort((a, b) => weight(b) - weight(a) || compare(a, b));
    const kept = new Set<string>();
    const edges: ReportGraphEdge[] = [];
    for (const edge of sorted) {
      const added = [edge.from, edge.to].filter((id, i, ids) => !kept.has(id) && ids.indexOf(id) === i);
      if (edges.length >= edgesMax || kept.size + added.length > nodesMax) continue;
      for (const id of added) kept.add(id);
      const { from, to, counts, leaks, blocked, services } = edge;
      edges.push({ from, to, ...counts, leaks, blocked, services: mostUsed(services) });
    }
    const nodes = [...this.#nodes.values()]
      .filter(({ node }) => kept.has(node.id))
      .map(({ node, connections }) => ({ ...node, connections }));
    return {
      nodes,
      edges,
      left_out: {
        nodes: this.#nodes.size - nodes.length + this.#nodesLeftOut,
        edges: sorted.length - edges.length + this.#edgesLeftOut,
      },
    };
  }

  #node(record: FlowRecord, side: 'source' | 'dest'): string | undefined {
    const node = nodeOf(record, side);
    let entry = this.#nodes.get(node.id);
    if (entry === undefined) {
      if (this.#nodes.size >= NODES_MAX) {
        this.#nodesLeftOut++;
        return undefined;
      }
      entry = { node, connections: 0 };
      this.#nodes.set(node.id, entry);
    }
    entry.connections++;
    return node.id;
  }
}

const COUNT_OF: Readonly<Record<FindingKind, 'leaks' | 'blocked'>> = { leak: 'leaks', blocked: 'blocked' };

function nodeOf(record: FlowRecord, side: 'source' | 'dest'): Omit<ReportGraphNode, 'connections'> {
  const namespace = record[`${side}_namespace`] ?? '';
  const name = record[`${side}_name`] ?? '';
  switch (record[`${side}_type`]) {
    case 'wep': {
      const account = record[`${side}_service_account`] ?? '';
      return { id: `sa:${namespace}/${account}`, kind: 'account', namespace, name: account };
    }
    case 'hep':
      return { id: `hep:${name}`, kind: 'host', namespace: '', name };
    case 'ns':
      return { id: `ns:${namespace}/${name}`, kind: 'network-set', namespace, name };
    default:
      return { id: 'outside', kind: 'outside', namespace: '', name: 'outside' };
  }
}

function serviceOf({ proto, dest_port: port, icmp_type: type }: FlowRecord): string {
  if (type !== undefined) return `${proto} type ${type}`;
  return port === undefined ? proto : `${proto}/${port}`;
}

function mostUsed(services: ReadonlyMap<string, number>): string[] {
  return [...services]
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, SERVICES_SHOWN)
    .map(([service]) => service);
}

function compare(a: Edge, b: Edge): number {
  const [x, y] = [`${a.from}\n${a.to}`, `${b.from}\n${b.to}`];
  return x < y ? -1 : x > y ? 1 : 0;
}
