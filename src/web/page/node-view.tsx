/** The agent itself: where packets, policies and identities come from, and every setting. */

import type { JSX } from 'preact';
import type { AgentStatus, ConfigValue, SourceStatus } from '../../agent/api.ts';
import { formatBytes, formatCount, formatDate, formatSpan } from '../shared/format.ts';
import { useLive, usePolled } from './context.ts';

export function NodeView(): JSX.Element {
  const status = useLive((state) => state.status);
  const { value, trouble } = usePolled<readonly ConfigValue[]>('config', 30_000);
  return (
    <div class="stack">
      {status ? (
        <>
          <Sources sources={status.sources} />
          <div class="columns">
            <Inputs status={status} />
            <Process status={status} />
          </div>
          <Reasons status={status} />
        </>
      ) : null}
      <section class="panel" aria-labelledby="settings-title">
        <h2 id="settings-title">Settings</h2>
        {value === undefined ? <p class="empty-note">{trouble || 'Loading…'}</p> : <Settings values={value} />}
      </section>
    </div>
  );
}

function Sources({ sources }: { readonly sources: readonly SourceStatus[] }): JSX.Element {
  return (
    <section class="panel" aria-labelledby="sources-title">
      <h2 id="sources-title">Capture sources</h2>
      {sources.length === 0 ? <p class="empty-note">None: start margay agent with --interface or --source.</p> : null}
      <ul class="sources">
        {sources.map((source) => (
          <li key={source.name} class={`source source-${source.state}`}>
            <span class="source-name mono">{source.name}</span>
            <span class="source-state">{source.state}</span>
            <span>{formatCount(source.seen)} packets</span>
            <span class="quiet">
              {source.restarts === 1 ? '1 restart' : `${formatCount(source.restarts)} restarts`}
              {source.pid === undefined ? '' : `, process ${source.pid}`}
            </span>
            {source.trouble ? <span class="source-trouble">{source.trouble}</span> : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Inputs({ status }: { readonly status: AgentStatus }): JSX.Element {
  const { policySource, identitySource, generation } = status;
  return (
    <section class="panel" aria-labelledby="inputs-title">
      <h2 id="inputs-title">Policies and identities</h2>
      <List
        entries={[
          ['Policies from', policySource.name],
          ['', policySource.trouble ?? (policySource.isInSync ? 'in sync' : 'not in sync')],
          ['Warnings of the load', formatCount(generation.warnings)],
          ['Identities from', identitySource.name],
          ['Revision', `${formatCount(identitySource.revision)}, ${formatSpan(identitySource.lagMs)} behind`],
          ['', identitySource.trouble ?? (identitySource.isStale ? 'stale' : 'current')],
        ]}
      />
    </section>
  );
}

function Process({ status }: { readonly status: AgentStatus }): JSX.Element {
  return (
    <section class="panel" aria-labelledby="process-title">
      <h2 id="process-title">Process</h2>
      <List
        entries={[
          ['Version', status.version],
          ['Node', status.node ?? 'all of the cluster'],
          ['Ready', status.isReady ? 'yes' : 'no'],
          [
            'Started',
            `${formatDate(status.startedAt)} (${formatSpan(Date.parse(status.now) - Date.parse(status.startedAt))} ago)`,
          ],
          ['Memory', formatBytes(status.memoryBytes)],
          ['Main loop late by', `${Math.round(status.eventLoopLagMs)} ms`],
        ]}
      />
    </section>
  );
}

function Reasons({ status }: { readonly status: AgentStatus }): JSX.Element | null {
  const { undecodedByReason, lostByReason } = status.accounting;
  const entries: [string, string][] = [
    ...Object.entries(undecodedByReason).map(([reason, count]): [string, string] => [
      `undecoded: ${reason}`,
      formatCount(count),
    ]),
    ...Object.entries(lostByReason).map(([reason, count]): [string, string] => [`lost: ${reason}`, formatCount(count)]),
  ];
  if (entries.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="reasons-title">
      <h2 id="reasons-title">Packets without a verdict, by reason</h2>
      <List entries={entries} />
    </section>
  );
}

function List({ entries }: { readonly entries: readonly (readonly [string, string])[] }): JSX.Element {
  return (
    <dl class="record-facts">
      {entries.map(([name, value], index) => (
        <div key={index}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function textOf(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–';
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.map(textOf).join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What somebody set comes first. */
function Settings({ values }: { readonly values: readonly ConfigValue[] }): JSX.Element {
  return (
    <table class="settings">
      <thead>
        <tr>
          <th scope="col">Setting</th>
          <th scope="col">Value</th>
          <th scope="col">From</th>
        </tr>
      </thead>
      <tbody>
        {[...values]
          .sort((a, b) => Number(a.from === 'default') - Number(b.from === 'default'))
          .map(({ key, value, from }) => (
            <tr key={key}>
              <th scope="row" class="mono">
                {key}
              </th>
              <td class="mono">{textOf(value)}</td>
              <td class={from === 'default' ? 'quiet' : ''}>{from}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}
