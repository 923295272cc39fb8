/**
 * Who talks to whom, as service accounts: connections of one pair of accounts are one edge, with how many were allowed, denied, and what
 * became of them.
 *
 * Pods of one account are one node; addresses outside are one node, network sets and hosts are one each. The number of edges is bounded: where
 * there would be more, the one that was quiet for longest goes.
 */
import type { ConnectionRecord } from '../analyze/connections.ts';
import type { AccountGraph } from './api.ts';
import type { FlowDelta } from './flow-store.ts';

const EDGES_MAX = 2_000;
const PORTS_MAX = 8;
/** Ports that are counted by themselves on one edge, to find the busiest. */
const PORTS_COUNTED_MAX = 64;

type NodeKind = AccountGraph['nodes'][number]['kind'];

interface Edge {
  readonly from: string;
  readonly to: string;
  allowed: number;
  denied: number;
  leaking: number;
  blocked: number;
  unpoliced: number;
  uncertain: number;
  bytes: number;
  readonly ports: Map<string, number>;
}

export class Graph {
  readonly #edges = new Map<string, Edge>();
  #pods: ReadonlyMap<string, number> = new Map();

  /** Pods by `namespace/account`, of the newest generation. */
  setPods(pods: readonly (readonly [string, number])[]): void {
    this.#pods = new Map(pods);
  }

  add({ record, isNew, finding, bytes }: FlowDelta): void {
    const from = endName(record, 'source');
    const to = endName(record, 'dest');
    const key = `${from} ${to}`;
    let edge = this.#edges.get(key);
    if (edge === undefined) {
      const counts = { allowed: 0, denied: 0, leaking: 0, blocked: 0, unpoliced: 0, uncertain: 0, bytes: 0 };
      edge = { from, to, ...counts, ports: new Map() };
      if (this.#edges.size >= EDGES_MAX) this.#edges.delete(this.#edges.keys().next().value!);
    } else this.#edges.delete(key);
    // Last in the order of the map: not quiet.
    this.#edges.set(key, edge);
    edge.bytes += bytes;
    if (finding === 'leak') edge.leaking++;
    if (finding === 'blocked') edge.blocked++;
    if (!isNew) return;
    if (record.action === 'deny') edge.denied++;
    else if (record.action === 'uncertain') edge.uncertain++;
    else if (record.action === 'unpoliced') edge.unpoliced++;
    else edge.allowed++;
    const port = record.dest_port === undefined ? record.proto : `${record.proto}/${record.dest_port}`;
    if (edge.ports.has(port) || edge.ports.size < PORTS_COUNTED_MAX) {
      edge.ports.set(port, (edge.ports.get(port) ?? 0) + 1);
    }
  }

  graph(): AccountGraph {
    const edges = [...this.#edges.values()].map(({ ports, ...edge }) => ({
      ...edge,
      ports: [...ports]
        .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
        .slice(0, PORTS_MAX)
        .map(([port]) => port),
    }));
    const ids = new Set(edges.flatMap(({ from, to }) => [from, to]));
    const nodes = [...ids].sort().map((id) => ({ id, kind: kindOf(id), pods: this.#pods.get(id) ?? 0 }));
    return { nodes, edges };
  }
}

/** `prod/web`, `net:outside`, `ns:NAME`, `hep:NAME`. */
export function endName(record: ConnectionRecord, end: 'source' | 'dest'): string {
  const type = record[`${end}_type`];
  const namespace = record[`${end}_namespace`];
  const name = record[`${end}_name`] ?? '';
  if (type === 'wep') return `${namespace ?? ''}/${record[`${end}_service_account`] ?? 'default'}`;
  if (type === 'hep') return `hep:${name}`;
  if (type === 'ns') return `ns:${namespace === undefined ? name : `${namespace}/${name}`}`;
  return 'net:outside';
}

function kindOf(id: string): NodeKind {
  if (id.startsWith('hep:')) return 'host';
  if (id.startsWith('ns:')) return 'network-set';
  return id === 'net:outside' ? 'outside' : 'account';
}
