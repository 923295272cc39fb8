/** The graph with its filter, legend, zoom and table: the same on the agent's page and in a report. */

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { GraphPicture, useLayout } from './account-graph.tsx';
import { formatBytes, formatCount } from './format.ts';
import {
  byTrouble,
  chooseShown,
  EDGE_MEANINGS,
  type EdgeKind,
  type GraphEdge,
  type GraphModel,
  splitOutside,
  titlesOf,
} from './graph-edges.ts';

const SCALE_MIN = 0.15;
const SCALE_MAX = 2;
/** Below that, fitting makes names unreadable: the picture scrolls instead. */
const SCALE_FIT_MIN = 0.72;
const ROWS_SHOWN_MAX = 200;

export interface GraphPanelProps {
  readonly graph: GraphModel;
  /** Those that its edges can have. */
  readonly offered: readonly EdgeKind[];
  readonly text: string;
  readonly kinds: ReadonlySet<EdgeKind>;
  readonly selected: string | undefined;
  readonly onText: (text: string) => void;
  readonly onKinds: (kinds: ReadonlySet<EdgeKind>) => void;
  readonly onSelect: (id: string | undefined) => void;
  /** Where connections of an account are shown; undefined for none. */
  readonly linkOf: (id: string) => string | undefined;
  /** Lists connections of the chosen account elsewhere, by its title. */
  readonly onList?: (title: string) => void;
}

export function GraphPanel(props: GraphPanelProps): JSX.Element {
  const shown = chooseShown(splitOutside(props.graph), props.text, props.kinds);
  const layout = useLayout(shown);
  const selected = shown.nodes.some(({ id }) => id === props.selected) ? props.selected : undefined;
  const [zoom, setZoom] = useState<number | 'fit'>('fit');
  const [box, width] = useWidth();
  const fitted = layout.width === 0 ? 1 : Math.min(1, Math.max(SCALE_FIT_MIN, width / layout.width));
  const scale = zoom === 'fit' ? fitted : zoom;
  const change = (factor: number): void => setZoom(Math.min(SCALE_MAX, Math.max(SCALE_MIN, scale * factor)));
  const titles = titlesOf(shown.nodes);
  const title = selected === undefined ? undefined : titles.get(selected);
  const edges = shown.edges.filter(({ from, to }) => selected === undefined || from === selected || to === selected);
  return (
    <div class="stack">
      <GraphFilters {...props} />
      {shown.nodes.length < shown.matchedCount ? (
        <p class="note">
          The busiest {formatCount(shown.nodes.length)} of {formatCount(shown.matchedCount)} accounts, those with
          findings first. A filter shows the others.
        </p>
      ) : null}
      {shown.nodes.length === 0 ? (
        <div class="empty panel">
          <h2>{props.graph.edges.length === 0 ? 'Nobody has talked yet' : 'No edge matches'}</h2>
          <p>
            {props.graph.edges.length === 0
              ? 'Accounts appear here with their first connection.'
              : 'Take a shorter text, or more kinds of edges.'}
          </p>
        </div>
      ) : (
        <div class="graph-frame panel">
          <div class="graph-tools">
            <button type="button" onClick={() => change(1 / 1.25)} aria-label="Smaller">
              −
            </button>
            <button type="button" onClick={() => setZoom('fit')}>
              Fit
            </button>
            <button type="button" onClick={() => change(1.25)} aria-label="Larger">
              +
            </button>
          </div>
          <div class="graph-scroll" ref={box}>
            <GraphPicture
              shown={shown}
              layout={layout}
              kinds={props.kinds}
              selected={selected}
              scale={scale}
              onSelect={props.onSelect}
            />
          </div>
        </div>
      )}
      {edges.length > 0 ? (
        <EdgeTable edges={edges} offered={props.offered} title={title} titles={titles} linkOf={props.linkOf}>
          {title !== undefined && props.onList ? (
            <button type="button" onClick={() => props.onList?.(title)}>
              List its connections
            </button>
          ) : null}
          {title === undefined ? null : (
            <button type="button" onClick={() => props.onSelect(undefined)}>
              Show all
            </button>
          )}
        </EdgeTable>
      ) : null}
    </div>
  );
}

function GraphFilters(props: GraphPanelProps): JSX.Element {
  const toggle = (kind: EdgeKind): void => {
    const next = new Set(props.kinds);
    if (!next.delete(kind)) next.add(kind);
    props.onKinds(next);
  };
  return (
    <search class="filters panel">
      <div class="field field-text">
        <label for="graph-text">Account</label>
        <input
          id="graph-text"
          type="search"
          autocomplete="off"
          spellcheck={false}
          placeholder="namespace or name"
          value={props.text}
          onInput={(event) => props.onText(event.currentTarget.value)}
        />
      </div>
      <fieldset class="legend">
        <legend class="visually-hidden">Kinds of edges</legend>
        {props.offered.map((kind) => (
          <button
            key={kind}
            type="button"
            class={`legend-entry edge-${kind}`}
            aria-pressed={props.kinds.has(kind)}
            title={EDGE_MEANINGS[kind]}
            onClick={() => toggle(kind)}
          >
            <LineSample kind={kind} />
            {kind}
          </button>
        ))}
      </fieldset>
    </search>
  );
}

function LineSample({ kind }: { readonly kind: EdgeKind }): JSX.Element {
  return (
    <svg class="line-sample" viewBox="0 0 36 14" aria-hidden="true" focusable="false">
      <g class={`edge-${kind}`}>
        <path class="edge-line" d="M1 7H32" stroke-width={kind === 'leaking' ? 3 : 1.8} />
        {kind === 'denied' ? <path class="stop" d="M32 2V12" /> : null}
        {kind === 'blocked' ? <circle class="open" cx="32" cy="7" r="3" /> : null}
        {kind !== 'denied' && kind !== 'blocked' ? <path class="arrow" d="M27 3.5L34 7L27 10.5z" /> : null}
        {kind === 'leaking' ? <path class="sample-sign" d="M14 1L19 10H9z" /> : null}
      </g>
    </svg>
  );
}

function EdgeTable(props: {
  readonly edges: readonly GraphEdge[];
  readonly offered: readonly EdgeKind[];
  /** Of the chosen node. */
  readonly title: string | undefined;
  readonly titles: ReadonlyMap<string, string>;
  readonly linkOf: GraphPanelProps['linkOf'];
  readonly children: ComponentChildren;
}): JSX.Element {
  const sorted = [...props.edges].sort(byTrouble);
  const hasBytes = sorted.some(({ bytes }) => bytes !== undefined);
  return (
    <section class="panel" aria-labelledby="edges-title">
      <div class="panel-head">
        <h2 id="edges-title">
          {props.title === undefined ? 'Edges' : `Edges of ${props.title}`}{' '}
          <span class="quiet">{formatCount(sorted.length)}</span>
        </h2>
        {props.children}
      </div>
      <table class="edges">
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            {props.offered.map((kind) => (
              <th key={kind} scope="col" class="number">
                {kind}
              </th>
            ))}
            {hasBytes ? (
              <th scope="col" class="number">
                Bytes
              </th>
            ) : null}
            <th scope="col">Ports</th>
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, ROWS_SHOWN_MAX).map((edge) => (
            <EdgeRow
              key={`${edge.from} ${edge.to}`}
              edge={edge}
              offered={props.offered}
              titles={props.titles}
              linkOf={props.linkOf}
            />
          ))}
        </tbody>
      </table>
      {sorted.length > ROWS_SHOWN_MAX ? (
        <p class="note">
          The first {ROWS_SHOWN_MAX} of {formatCount(sorted.length)}; a filter shows the others.
        </p>
      ) : null}
    </section>
  );
}

function EdgeRow(props: {
  readonly edge: GraphEdge;
  readonly offered: readonly EdgeKind[];
  readonly titles: ReadonlyMap<string, string>;
  readonly linkOf: GraphPanelProps['linkOf'];
}): JSX.Element {
  const { from, to, counts, bytes, ports } = props.edge;
  return (
    <tr>
      <th scope="row" class="cell-from">
        <NodeLink title={props.titles.get(from) ?? from} link={props.linkOf(from)} />
      </th>
      <td class="cell-to">
        <NodeLink title={props.titles.get(to) ?? to} link={props.linkOf(to)} />
      </td>
      {props.offered.map((kind) => (
        <td key={kind} class={`number edge-${kind} ${counts[kind] === 0 ? 'is-zero' : 'edge-count'}`} data-kind={kind}>
          {formatCount(counts[kind])}
        </td>
      ))}
      {bytes === undefined ? null : <td class="number cell-bytes">{formatBytes(bytes)}</td>}
      <td class="mono quiet cell-ports">{ports.join(', ')}</td>
    </tr>
  );
}

function NodeLink({ title, link }: { readonly title: string; readonly link: string | undefined }): JSX.Element {
  return link === undefined ? <span>{title}</span> : <a href={link}>{title}</a>;
}

function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1000);
  const has = box.current;
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, [has]);
  return [box, width];
}
