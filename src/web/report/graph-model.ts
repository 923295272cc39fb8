/** The graph of a report in the form in which graphs are drawn. */

import type { ReportGraph, ReportGraphNode } from '../../analyze/report-data.ts';
import type { GraphModel } from '../shared/graph-edges.ts';

const ABOVE: Readonly<Record<ReportGraphNode['kind'], string>> = {
  account: '',
  host: 'host',
  'network-set': 'network set',
  outside: 'elsewhere',
};

/** As the filter of connections knows it. */
function titleOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

export function graphModel(graph: ReportGraph): GraphModel {
  return {
    nodes: graph.nodes.map(({ id, kind, namespace, name }) => ({
      id,
      title: titleOf(namespace, name),
      kind,
      name,
      above: kind === 'account' ? namespace : [ABOVE[kind], namespace].filter(Boolean).join(' · '),
    })),
    edges: graph.edges.map(({ from, to, allow, deny, unpoliced, uncertain, leaks, blocked, services }) => ({
      from,
      to,
      // A leak is counted among the denied, too, and what is blocked among the allowed.
      counts: {
        allowed: Math.max(0, allow - blocked),
        unpoliced,
        uncertain,
        denied: Math.max(0, deny - leaks),
        blocked,
        leaking: leaks,
      },
      ports: services,
    })),
  };
}
