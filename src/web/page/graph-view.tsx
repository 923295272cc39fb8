/** The account graph of what the agent has kept. */

import type { JSX } from 'preact';
import type { AccountGraph } from '../../agent/api.ts';
import { EDGE_KINDS, type EdgeKind, type GraphModel } from '../shared/graph-edges.ts';
import { GraphPanel } from '../shared/graph-panel.tsx';
import { useApp, usePolled } from './context.ts';

const NO_KIND = 'none';

export function GraphView(): JSX.Element {
  const { place, change } = useApp();
  const { value, trouble } = usePolled<AccountGraph>('graph', 3_000);
  if (value === undefined) return <p class="empty">{trouble || 'Loading…'}</p>;
  return (
    <GraphPanel
      graph={modelOf(value)}
      offered={EDGE_KINDS}
      text={place.parameters.text ?? ''}
      kinds={parseKinds(place.parameters.edges)}
      selected={place.parameters.select}
      onText={(text) => change({ text })}
      onKinds={(kinds) => change({ edges: formatKinds(kinds) })}
      onSelect={(select) => change({ select })}
      linkOf={linkOf}
    />
  );
}

function modelOf(graph: AccountGraph): GraphModel {
  return {
    nodes: graph.nodes.map(({ id, kind, pods }) => ({ id, title: id, kind, ...labelOf(id, kind, pods) })),
    edges: graph.edges.map(({ from, to, allowed, denied, leaking, blocked, unpoliced, uncertain, bytes, ports }) => ({
      from,
      to,
      counts: {
        allowed: Math.max(0, allowed - blocked),
        unpoliced,
        uncertain,
        denied: Math.max(0, denied - leaking),
        blocked,
        leaking,
      },
      bytes,
      ports,
    })),
  };
}

function labelOf(id: string, kind: string, pods: number): { readonly above: string; readonly name: string } {
  const at = id.indexOf(kind === 'account' ? '/' : ':');
  const name = at < 0 ? id : id.slice(at + 1);
  if (kind === 'account') {
    const words = [at < 0 ? '' : id.slice(0, at), pods === 0 ? '' : pods === 1 ? '1 pod' : `${pods} pods`];
    return { above: words.filter(Boolean).join(' · '), name };
  }
  if (kind === 'network-set') return { above: 'network set', name };
  return kind === 'host' ? { above: 'host', name } : { above: 'elsewhere', name };
}

function parseKinds(text: string | undefined): ReadonlySet<EdgeKind> {
  if (text === undefined) return new Set(EDGE_KINDS);
  const named = text.split(',');
  return new Set(EDGE_KINDS.filter((kind) => named.includes(kind)));
}

function formatKinds(kinds: ReadonlySet<EdgeKind>): string | undefined {
  if (kinds.size === EDGE_KINDS.length) return undefined;
  return kinds.size === 0 ? NO_KIND : [...kinds].join(',');
}

/** Only accounts can be filtered by; others have a colon. */
function linkOf(id: string): string | undefined {
  if (id.includes(':') || !id.includes('/')) return undefined;
  return `#/connections?${new URLSearchParams({ account: id })}`;
}
