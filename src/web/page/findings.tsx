/** Where the network did something else than the policy says. */

import type { JSX } from 'preact';
import type { Finding, FindingList } from '../../agent/api.ts';
import { End } from '../shared/end.tsx';
import { formatCount, formatDate } from '../shared/format.ts';
import { formatService, viewEnd } from '../shared/record.ts';
import { handleRowKey } from '../shared/row-keys.ts';
import { FindingBadge } from '../shared/verdict.tsx';
import { VERDICT_MEANINGS } from '../shared/verdict-names.ts';
import { useApp, usePolled } from './context.ts';

const KINDS = ['leak', 'blocked'] as const;

export function Findings(): JSX.Element {
  const { place, change } = useApp();
  const { value, trouble } = usePolled<FindingList>('findings', 2_000);
  const kind = KINDS.find((name) => name === place.parameters.kind);
  const shown = value?.findings.filter((finding) => kind === undefined || finding.kind === kind) ?? [];
  const open = (flowId: string): void => change({ flow: flowId }, true);
  return (
    <div class="stack">
      <div class="filters panel">
        <div class="field">
          <label for="finding-kind">Kind</label>
          <select
            id="finding-kind"
            value={kind ?? ''}
            onChange={(event) => change({ kind: event.currentTarget.value })}
          >
            <option value="">any</option>
            {KINDS.map((name) => (
              <option key={name} value={name}>
                {name}: {VERDICT_MEANINGS[name]}
              </option>
            ))}
          </select>
        </div>
        <span class="filters-note" role="status">
          {value ? `${formatCount(shown.length)} shown, ${formatCount(value.total)} in all` : trouble || 'Loading…'}
        </span>
        <a href="api/v1/findings.pcapng" download>
          Their packets (pcapng)
        </a>
      </div>
      {value && shown.length === 0 ? (
        <div class="empty panel">
          <h2>{value.findings.length === 0 ? 'No findings' : 'None of this kind'}</h2>
          <p>
            {value.findings.length === 0
              ? 'The network did what the policy says, as far as it was watched. To see that a finding would be found, run margay verify over a capture of denied traffic that gets through.'
              : 'Choose another kind.'}
          </p>
        </div>
      ) : null}
      <ol class="findings" aria-label="Findings" onKeyDown={(event) => handleRowKey(event, open)}>
        {shown.map((finding, index) => (
          <FindingCard key={finding.id} finding={finding} isFirst={index === 0} onOpen={open} />
        ))}
      </ol>
    </div>
  );
}

function FindingCard(props: {
  readonly finding: Finding;
  readonly isFirst: boolean;
  readonly onOpen: (flowId: string) => void;
}): JSX.Element {
  const { finding } = props;
  const { record } = finding;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles keys for all of its rows
    <li
      class={`finding panel has-${finding.kind}`}
      data-row={finding.flowId}
      tabIndex={props.isFirst ? 0 : -1}
      onClick={() => props.onOpen(finding.flowId)}
    >
      <div class="finding-head">
        <FindingBadge kind={finding.kind} isWeak={finding.isWeak} />
        <End view={viewEnd(record, 'src')} />
        <span class="quiet" aria-hidden="true">
          →
        </span>
        <End view={viewEnd(record, 'dst')} />
        <span class="mono">{formatService(record)}</span>
        <time class="quiet" dateTime={finding.time}>
          {formatDate(finding.time)}
        </time>
      </div>
      <p class="finding-cause">{finding.cause}</p>
      {finding.rule ? (
        <p class="quiet">
          Rule <span class="mono">{finding.rule}</span>
        </p>
      ) : null}
      <ul class="evidence">
        {finding.evidence.map((sentence, index) => (
          <li key={index}>{sentence}</li>
        ))}
      </ul>
      {finding.isWeak ? <p class="finding-weak">Packets were lost meanwhile: this may be wrong.</p> : null}
    </li>
  );
}
