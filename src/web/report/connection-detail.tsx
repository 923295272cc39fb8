/** Everything that a report knows of one connection. */

import type { JSX } from 'preact';
import type { ReportConnection, ReportData, ReportEnd } from '../../analyze/report-data.ts';
import { formatBytes, formatCount, formatDate } from '../shared/format.ts';
import { LabelList } from '../shared/label-list.tsx';
import { type EndView, viewFacts } from '../shared/record.ts';
import { TraceList } from '../shared/trace-list.tsx';

export function endView(end: ReportEnd): EndView {
  return viewFacts({ ...end, account: end.service_account });
}

export function Detail(props: { readonly connection: ReportConnection; readonly data: ReportData }): JSX.Element {
  const { connection, data } = props;
  return (
    <div class="detail">
      <p>{connection.text}</p>
      {connection.causes.length > 0 ? (
        <ul class="causes">
          {connection.causes.map(({ cause, text }) => (
            <li key={cause}>{text}</li>
          ))}
        </ul>
      ) : null}
      {connection.traces.map(({ check, trace }) => (
        <TraceList key={check} check={check} trace={trace} isDeciding={check === connection.direction} />
      ))}
      {connection.rule ? (
        <p>
          <span class="quiet">Decided at</span> <span class="mono">{connection.rule}</span>
        </p>
      ) : null}
      {connection.explanation ? (
        <details>
          <summary>The whole chain, as margay explain prints it</summary>
          <pre class="explanation">{connection.explanation.join('\n')}</pre>
        </details>
      ) : null}
      {connection.evidence.length > 0 ? (
        <ul class="evidence" aria-label="Evidence">
          {connection.evidence.map(({ capture, packet, what }, index) => (
            <li key={index}>
              <b>{what}</b>{' '}
              <span class="quiet">
                packet {formatCount(packet)} of {data.inputs.captures[capture]?.file ?? `capture ${capture + 1}`}
              </span>
            </li>
          ))}
        </ul>
      ) : null}
      <p class="quiet">
        {formatDate(connection.start_time)} to {formatDate(connection.end_time)} · {formatCount(connection.packets)}{' '}
        packets · {formatBytes(connection.bytes)}
      </p>
      <LabelLine title="source" end={connection.source} />
      <LabelLine title="destination" end={connection.dest} />
    </div>
  );
}

function LabelLine(props: { readonly title: string; readonly end: ReportEnd }): JSX.Element | null {
  const entries = Object.entries(props.end.labels ?? {});
  if (entries.length === 0) return null;
  return (
    <div class="label-line">
      <span class="quiet">{props.title}</span>
      <LabelList entries={entries} />
    </div>
  );
}
