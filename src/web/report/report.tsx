/** The report from top to bottom: the answer, what weakens it, totals over time, matrix, graph, findings, connections, inputs. */

import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { ReportData } from '../../analyze/report-data.ts';
import { formatBytes, formatCount, formatDate } from '../shared/format.ts';
import { EDGE_KINDS, type EdgeKind } from '../shared/graph-edges.ts';
import { GraphPanel } from '../shared/graph-panel.tsx';
import { Connections } from './connections.tsx';
import { type ConnectionFilter, NO_FILTER } from './filter.ts';
import { Findings } from './findings.tsx';
import { graphModel } from './graph-model.ts';
import { Inputs } from './inputs.tsx';
import { Matrix } from './matrix.tsx';
import { Timeline } from './timeline.tsx';

export function Report({ data }: { readonly data: ReportData }): JSX.Element {
  const [filter, setFilter] = useState<ConnectionFilter>(NO_FILTER);
  const list = useRef<HTMLElement>(null);
  const show = (change: Partial<ConnectionFilter>): void => {
    setFilter({ ...NO_FILTER, ...change });
    list.current?.scrollIntoView({ block: 'start' });
    list.current?.focus({ preventScroll: true });
  };
  return (
    <>
      <header class="report-head">
        <p class="report-kind">margay verify</p>
        <Answer data={data} />
        <p class="quiet">
          {spanOf(data)}
          {formatCount(data.totals.packets)} packets, {formatBytes(data.totals.bytes)},{' '}
          {formatCount(data.totals.connections)} connections. Written {formatDate(data.generated_at)} by margay{' '}
          {data.margay}.
        </p>
      </header>
      <main class="stack">
        {data.incomplete.length > 0 ? (
          <section class="panel incomplete" aria-labelledby="incomplete-title">
            <h2 id="incomplete-title">The evidence is incomplete</h2>
            <ul>
              {data.incomplete.map((sentence, index) => (
                <li key={index}>{sentence}</li>
              ))}
            </ul>
          </section>
        ) : null}
        <div class="columns">
          <Timeline timeline={data.timeline} totals={data.totals} />
          <Matrix cells={data.matrix} onChoose={(predicted, observed) => show({ predicted, observed })} />
        </div>
        <Findings data={data} />
        <Graph data={data} onShow={(text) => show({ text })} />
        <Connections data={data} filter={filter} onFilter={setFilter} section={list} />
        <Inputs inputs={data.inputs} />
      </main>
    </>
  );
}

function Answer({ data }: { readonly data: ReportData }): JSX.Element {
  const { leaks, blocked } = data.totals;
  if (leaks === 0 && blocked === 0) {
    return (
      <h1>
        {data.incomplete.length > 0 ? 'No finding, on incomplete evidence' : 'The network does what the policy says'}
      </h1>
    );
  }
  const parts = [
    leaks > 0 ? `${formatCount(leaks)} ${leaks === 1 ? 'connection leaks' : 'connections leak'}` : '',
    blocked > 0 ? `${formatCount(blocked)} ${blocked === 1 ? 'is' : 'are'} blocked` : '',
  ];
  return <h1 class="has-findings">{parts.filter(Boolean).join(', ')}</h1>;
}

function spanOf({ totals }: ReportData): string {
  if (totals.start_time === undefined || totals.end_time === undefined) return '';
  return `${formatDate(totals.start_time)} to ${formatDate(totals.end_time)}: `;
}

function Graph(props: { readonly data: ReportData; readonly onShow: (text: string) => void }): JSX.Element {
  const { graph } = props.data;
  const [text, setText] = useState('');
  const [kinds, setKinds] = useState<ReadonlySet<EdgeKind>>(new Set(EDGE_KINDS));
  const [selected, setSelected] = useState<string>();
  return (
    <section aria-labelledby="graph-title" class="stack">
      <h2 id="graph-title" class="section-title">
        Who talks to whom
      </h2>
      {graph.left_out.edges > 0 ? (
        <p class="note">
          {formatCount(graph.left_out.edges)} pairs and {formatCount(graph.left_out.nodes)} accounts with less traffic
          are left out of this report.
        </p>
      ) : null}
      <GraphPanel
        graph={graphModel(graph)}
        offered={EDGE_KINDS}
        text={text}
        kinds={kinds}
        selected={selected}
        onText={setText}
        onKinds={setKinds}
        onSelect={setSelected}
        linkOf={() => undefined}
        onList={props.onShow}
      />
    </section>
  );
}
