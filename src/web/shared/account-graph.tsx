/**
 * The account graph as SVG: boxes for accounts, and for each pair one line a kind, beside each other. Kinds differ in line, end and sign:
 *
 *   allowed    ────▶      unpoliced  ─·─·─▶      uncertain  · · ? · ·▶
 *   denied     - - - ┤    blocked    ···⧗···○    leaking    ━━━▲━━▶
 */

import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { formatCount } from './format.ts';
import {
  EDGE_KINDS,
  EDGE_MEANINGS,
  type EdgeKind,
  type GraphEdge,
  type GraphNode,
  type ShownGraph,
  titlesOf,
} from './graph-edges.ts';
import {
  BOX_HEIGHT,
  BOX_WIDTH,
  curveThrough,
  type GraphLayout,
  layoutGraph,
  type Point,
  pointOn,
} from './graph-layout.ts';
import { nextBox } from './key-target.ts';

/** How far lines of one edge lie apart. */
const LINE_GAP = 6;
const LABEL_LENGTH_MAX = 20;

export interface GraphProps {
  readonly shown: ShownGraph;
  readonly kinds: ReadonlySet<EdgeKind>;
  /** The chosen node: its lines stay strong, all others fade. */
  readonly selected: string | undefined;
  readonly scale: number;
  readonly onSelect: (id: string | undefined) => void;
}

/** The places, remembered while nodes and edges stay the same. What is allowed shapes the picture, what is denied is laid over it. */
export function useLayout(shown: ShownGraph): GraphLayout {
  const edges = shown.edges.map(({ from, to, counts }) => ({ from, to, weight: counts.allowed > 0 ? 3 : 1 }));
  const key = JSON.stringify([shown.nodes.map(({ id }) => id), edges]);
  return useMemo(() => layoutGraph(shown.nodes, edges), [key]);
}

export function GraphPicture(props: GraphProps & { readonly layout: GraphLayout }): JSX.Element {
  const { shown, layout, selected, scale } = props;
  const titles = titlesOf(shown.nodes);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a drawing made of parts that can be chosen has no element of its own
    <svg
      class="graph"
      viewBox={`0 0 ${layout.width} ${layout.height}`}
      width={layout.width * scale}
      height={layout.height * scale}
      role="group"
      aria-label="Who talks to whom; the same as a table below"
      onKeyDown={(event) => moveFocus(event, layout, props.onSelect)}
    >
      <defs>
        {EDGE_KINDS.map((kind) => (
          <EndMark key={kind} kind={kind} />
        ))}
      </defs>
      <g>
        {shown.edges.map((edge, index) => (
          <EdgeLines
            title={`${titles.get(edge.from) ?? edge.from} to ${titles.get(edge.to) ?? edge.to}`}
            key={`${edge.from} ${edge.to}`}
            edge={edge}
            index={index}
            route={layout.routes[index] ?? []}
            kinds={props.kinds}
            isBack={(layout.columns.get(edge.from) ?? 0) > (layout.columns.get(edge.to) ?? 0)}
            isFaded={selected !== undefined && edge.from !== selected && edge.to !== selected}
          />
        ))}
      </g>
      <g>
        {shown.nodes.map((node, index) => (
          <Box
            key={node.id}
            node={node}
            at={layout.boxes.get(node.id)!}
            isSelected={node.id === selected}
            isFaded={selected !== undefined && !isNear(node.id, selected, shown.edges)}
            isInTabOrder={selected === undefined ? index === 0 : node.id === selected}
            onSelect={props.onSelect}
          />
        ))}
      </g>
    </svg>
  );
}

function EndMark({ kind }: { readonly kind: EdgeKind }): JSX.Element {
  const isStop = kind === 'denied';
  const isOpen = kind === 'blocked';
  return (
    <marker
      id={`end-${kind}`}
      class={`edge-end edge-${kind}`}
      viewBox="0 0 10 10"
      refX={isStop ? 8 : 9}
      refY="5"
      markerWidth="9"
      markerHeight="9"
      markerUnits="userSpaceOnUse"
      orient="auto"
    >
      {isStop ? <path class="stop" d="M8 0V10" /> : null}
      {isOpen ? <circle class="open" cx="5.5" cy="5" r="3.4" /> : null}
      {isStop || isOpen ? null : <path class="arrow" d="M0 1L9 5L0 9z" />}
    </marker>
  );
}

function EdgeLines(props: {
  /** `A to B` */
  readonly title: string;
  readonly edge: GraphEdge;
  /** Of the edge, so that signs of neighbours do not cover each other. */
  readonly index: number;
  readonly route: readonly Point[];
  readonly kinds: ReadonlySet<EdgeKind>;
  readonly isBack: boolean;
  readonly isFaded: boolean;
}): JSX.Element | null {
  const { edge, route } = props;
  if (route.length === 0) return null;
  const { counts } = edge;
  const lines = EDGE_KINDS.filter((kind) => props.kinds.has(kind) && counts[kind] > 0);
  const base = (props.isBack ? 9 : 0) - ((lines.length - 1) * LINE_GAP) / 2;
  return (
    <g class={props.isFaded ? 'edge is-faded' : 'edge'}>
      {lines.map((kind, index) => {
        const shift = base + index * LINE_GAP;
        return (
          <g key={kind} class={`edge-${kind}`} data-edge={`${edge.from} ${edge.to} ${kind}`}>
            <path
              class="edge-line"
              d={curveThrough(route, shift)}
              stroke-width={widthOf(kind, counts[kind])}
              marker-end={`url(#end-${kind})`}
            />
            <EdgeSign kind={kind} at={signPlace(route, props.index)} shift={shift} />
            <title>
              {`${props.title}: ${formatCount(counts[kind])} ${EDGE_MEANINGS[kind]}${edge.ports.length > 0 ? ` (${edge.ports.join(', ')})` : ''}`}
            </title>
          </g>
        );
      })}
    </g>
  );
}

function widthOf(kind: EdgeKind, count: number): string {
  const base = kind === 'leaking' ? 2.4 : 1.2;
  return (base + Math.min(2, Math.log10(count) * 0.6)).toFixed(2);
}

/** What tells the line apart without colour and without its end. */
function EdgeSign(props: { readonly kind: EdgeKind; readonly at: Point; readonly shift: number }): JSX.Element | null {
  const { kind, at } = props;
  if (kind !== 'leaking' && kind !== 'blocked' && kind !== 'uncertain') return null;
  const place = `translate(${at.x} ${at.y + props.shift})`;
  if (kind === 'uncertain') {
    return (
      <g class="edge-sign" transform={place}>
        <circle r="7" />
        <text y="4" text-anchor="middle">
          ?
        </text>
      </g>
    );
  }
  return (
    <g class="edge-sign" transform={place}>
      <circle r="9" />
      {kind === 'leaking' ? <path d="M0 -5.5L5.5 4h-11zM0 -2.4V.8M0 2.2v.6" /> : null}
      {kind === 'blocked' ? <path d="M-3.5 -5h7M-3.5 5h7M-2.5 -5c0 3 5 7 5 10M2.5 -5c0 3 -5 7 -5 10" /> : null}
    </g>
  );
}

const SIGN_SHARES = [0.5, 0.36, 0.64, 0.43, 0.57];

/** On the middle stretch of the line, about halfway. */
function signPlace(route: readonly Point[], index: number): Point {
  const last = route.length - 1;
  const from = route[Math.floor((last - 1) / 2)]!;
  const to = route[Math.floor((last - 1) / 2) + 1]!;
  return pointOn(from, to, SIGN_SHARES[index % SIGN_SHARES.length]!);
}

function Box(props: {
  readonly node: GraphNode;
  readonly at: Point;
  readonly isSelected: boolean;
  readonly isFaded: boolean;
  readonly isInTabOrder: boolean;
  readonly onSelect: (id: string | undefined) => void;
}): JSX.Element {
  const { at } = props;
  const { id, title, kind, above, name } = props.node;
  const classes = ['box', `box-${kind}`, props.isSelected ? 'is-selected' : '', props.isFaded ? 'is-faded' : ''];
  return (
    // biome-ignore lint/a11y/useSemanticElements: SVG has no button
    <g
      class={classes.filter(Boolean).join(' ')}
      transform={`translate(${at.x} ${at.y})`}
      role="button"
      tabindex={props.isInTabOrder ? 0 : -1}
      aria-pressed={props.isSelected}
      aria-label={`${above} ${name}`}
      data-node={id}
      onClick={() => props.onSelect(props.isSelected ? undefined : id)}
    >
      <rect width={BOX_WIDTH} height={BOX_HEIGHT} rx={kind === 'outside' ? BOX_HEIGHT / 2 : 5} />
      {/* Cuts what is too wide, whatever the font. */}
      <svg x="12" width={BOX_WIDTH - 18} height={BOX_HEIGHT} aria-hidden="true" focusable="false">
        <text class="box-above" y="15">
          {shorten(above)}
        </text>
        <text class="box-name" y="31">
          {shorten(name)}
        </text>
      </svg>
      <title>{title}</title>
    </g>
  );
}

/** Both ends of a name tell more than its beginning alone. */
function shorten(text: string): string {
  const signs = [...text];
  if (signs.length <= LABEL_LENGTH_MAX) return text;
  return `${signs.slice(0, 10).join('')}…${signs.slice(-(LABEL_LENGTH_MAX - 11)).join('')}`;
}

function isNear(id: string, selected: string, edges: readonly GraphEdge[]): boolean {
  if (id === selected) return true;
  return edges.some(({ from, to }) => (from === selected && to === id) || (to === selected && from === id));
}

/** Up and down within a column, left and right to the nearest box of the next one. */
function moveFocus(event: KeyboardEvent, layout: GraphLayout, onSelect: (id: string | undefined) => void): void {
  const box = (document.activeElement as Element | null)?.closest<SVGGElement>('[data-node]');
  const id = box?.dataset.node;
  if (box === null || box === undefined || id === undefined) return;
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    onSelect(box.getAttribute('aria-pressed') === 'true' ? undefined : id);
    return;
  }
  const target = nextBox(event.key, id, layout);
  if (target === undefined) return;
  event.preventDefault();
  const boxes = (event.currentTarget as Element).querySelectorAll<SVGGElement>('[data-node]');
  for (const other of boxes) {
    const isTarget = other.dataset.node === target;
    other.setAttribute('tabindex', isTarget ? '0' : '-1');
    if (isTarget) other.focus();
  }
}
