/** The findings of a report: open, with everything that is known, a few at a time. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { ReportConnection, ReportData } from '../../analyze/report-data.ts';
import { End } from '../shared/end.tsx';
import { formatCount } from '../shared/format.ts';
import { FindingBadge } from '../shared/verdict.tsx';
import { Detail, endView } from './connection-detail.tsx';
import { serviceOf } from './filter.ts';

const STEP = 20;
/** So many are open from the start; more would bury what follows. */
const OPEN_COUNT = 3;

export function Findings({ data }: { readonly data: ReportData }): JSX.Element {
  const { items, left_out } = data.findings;
  const [count, setCount] = useState(STEP);
  return (
    <section aria-labelledby="findings-title" class="stack">
      <h2 id="findings-title" class="section-title">
        Findings <span class="quiet">{formatCount(items.length + left_out)}</span>
      </h2>
      {items.length === 0 ? (
        <p class="panel empty-note">
          None: whatever the captures show of a connection fits what the policies say of it.
        </p>
      ) : null}
      <ol class="findings">
        {items.slice(0, count).map((connection, index) => (
          <FindingCard key={connection.id} connection={connection} data={data} isOpen={index < OPEN_COUNT} />
        ))}
      </ol>
      {count < items.length ? (
        <button type="button" class="more" onClick={() => setCount(count + STEP)}>
          Show {formatCount(Math.min(STEP, items.length - count))} more of {formatCount(items.length - count)}
        </button>
      ) : null}
      {left_out > 0 ? (
        <p class="note">{formatCount(left_out)} more are not in this report; margay verify -o jsonl lists all.</p>
      ) : null}
    </section>
  );
}

function FindingCard(props: {
  readonly connection: ReportConnection;
  readonly data: ReportData;
  readonly isOpen: boolean;
}): JSX.Element {
  const { connection } = props;
  const kind = connection.finding ?? 'leak';
  return (
    <li class={`finding panel has-${kind}`}>
      <details open={props.isOpen}>
        <summary>
          <FindingBadge kind={kind} isWeak={connection.certainty === 'possible'} />
          <span class="certainty">{connection.certainty}</span>
          <End view={endView(connection.source)} />
          <span class="quiet arrow-sign" aria-hidden="true">
            →
          </span>
          <End view={endView(connection.dest)} />
          <span class="mono">{serviceOf(connection)}</span>
        </summary>
        <Detail connection={connection} data={props.data} />
      </details>
    </li>
  );
}
