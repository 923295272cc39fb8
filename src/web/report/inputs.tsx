/** What the report was made from. */

import type { JSX } from 'preact';
import type { ReportInputs } from '../../analyze/report-data.ts';
import { formatCount } from '../shared/format.ts';

export function Inputs({ inputs }: { readonly inputs: ReportInputs }): JSX.Element {
  return (
    <section class="panel" aria-labelledby="inputs-title">
      <h2 id="inputs-title">Made from</h2>
      <p>
        <span class="quiet">Policies and objects:</span>{' '}
        <span class="mono">{inputs.manifests.join(', ') || 'none'}</span>
      </p>
      <table class="captures">
        <thead>
          <tr>
            <th scope="col">Capture</th>
            <th scope="col">Taken at</th>
            <th scope="col" class="number">
              Packets
            </th>
            <th scope="col" class="number">
              Lost
            </th>
            <th scope="col" class="number">
              Clock
            </th>
          </tr>
        </thead>
        <tbody>
          {inputs.captures.map((capture, index) => (
            <tr key={index}>
              <th scope="row" class="mono">
                {capture.file}
                {capture.error === null ? null : <span class="is-bad capture-error">{capture.error}</span>}
              </th>
              <td>{capture.point}</td>
              <td class="number">{formatCount(capture.packets)}</td>
              <td class={`number ${capture.lost > 0 ? 'is-bad' : 'is-zero'}`}>{formatCount(capture.lost)}</td>
              <td class="number">
                {capture.clock_offset_ms === undefined ? '–' : `${capture.clock_offset_ms.toFixed(1)} ms`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
