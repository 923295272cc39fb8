/** Predicted against observed, in connections. The cells that contradict the policy are marked; each leads to its connections. */

import type { JSX } from 'preact';
import type { ObservedColumn, Predicted, ReportCell } from '../../analyze/report-data.ts';
import { formatCount } from '../shared/format.ts';
import { VerdictBadge } from '../shared/verdict.tsx';

const PREDICTED: readonly Predicted[] = ['allow', 'deny', 'unpoliced', 'uncertain'];
const OBSERVED: readonly ObservedColumn[] = ['delivered', 'refused', 'unanswered', 'unknown'];

const OBSERVED_MEANINGS: Readonly<Record<ObservedColumn, string>> = {
  delivered: 'the packets arrived, or were answered',
  refused: 'refused by a reset or an ICMP error',
  unanswered: 'nobody answered while it was watched',
  unknown: 'the captures show too little',
};

export function Matrix(props: {
  readonly cells: readonly ReportCell[];
  readonly onChoose: (predicted: Predicted, observed: ObservedColumn) => void;
}): JSX.Element {
  const total = props.cells.reduce((sum, cell) => sum + cell.connections, 0);
  return (
    <section class="panel" aria-labelledby="matrix-title">
      <div class="panel-head">
        <h2 id="matrix-title">Connections: predicted and observed</h2>
        <span class="quiet">{formatCount(total)}</span>
      </div>
      <table class="matrix">
        <thead>
          <tr>
            <td />
            {OBSERVED.map((observed) => (
              <th key={observed} scope="col" title={OBSERVED_MEANINGS[observed]}>
                {observed}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {PREDICTED.map((predicted) => (
            <tr key={predicted}>
              <th scope="row">
                <VerdictBadge action={predicted} />
              </th>
              {OBSERVED.map((observed) => (
                <Cell
                  key={observed}
                  cell={props.cells.find((cell) => cell.predicted === predicted && cell.observed === observed)}
                  onChoose={() => props.onChoose(predicted, observed)}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <p class="note">A marked cell holds findings: what happened is not what the policy says.</p>
    </section>
  );
}

function Cell(props: { readonly cell: ReportCell | undefined; readonly onChoose: () => void }): JSX.Element {
  const { cell } = props;
  if (cell === undefined || cell.connections === 0) return <td class="matrix-cell is-zero">0</td>;
  const kind = cell.findings === 0 ? '' : cell.predicted === 'deny' ? 'has-leak' : 'has-blocked';
  return (
    <td class={`matrix-cell ${kind}`}>
      <button
        type="button"
        onClick={props.onChoose}
        title={`${formatCount(cell.packets)} packets. Lists these connections.`}
      >
        <b>{formatCount(cell.connections)}</b>
        {cell.findings > 0 ? (
          <span class="matrix-findings">
            {formatCount(cell.findings)} {cell.findings === 1 ? 'finding' : 'findings'}
          </span>
        ) : null}
      </button>
    </td>
  );
}
