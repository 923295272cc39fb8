/** The first view: how much of what, where it comes from, and what is worth a look. */

import type { JSX } from 'preact';
import type { Accounting, AgentStatus, FindingList, FlowPage, RateStep } from '../../agent/api.ts';
import { End } from '../shared/end.tsx';
import { formatCount, formatShare, formatShort, formatSpan } from '../shared/format.ts';
import { formatService, viewEnd } from '../shared/record.ts';
import { FindingBadge, Shape, VerdictBadge } from '../shared/verdict.tsx';
import { VERDICT_MEANINGS, VERDICT_NAMES, type VerdictName } from '../shared/verdict-names.ts';
import { useLive, usePolled } from './context.ts';
import { RateChart } from './rate-chart.tsx';
import { columnsOf, recentRate, sparkline } from './rate-columns.ts';

const SPARK_SECONDS = 120;
/** Verdicts that connections can have; the others are of packets alone. */
const LISTED: readonly VerdictName[] = ['allow', 'deny', 'unpoliced', 'uncertain'];

export function Overview(): JSX.Element {
  const status = useLive((state) => state.status);
  const steps = useLive((state) => state.steps);
  if (status === undefined) return <p class="empty">Waiting for the first answer of the agent…</p>;
  return (
    <div class="stack">
      <Tiles accounting={status.accounting} steps={steps} />
      <RateChart steps={steps} />
      <AccountingBar accounting={status.accounting} />
      <div class="columns">
        <NewestFindings />
        <NewestDenied />
      </div>
      <Facts status={status} />
    </div>
  );
}

function Tiles(props: { readonly accounting: Accounting; readonly steps: readonly RateStep[] }): JSX.Element {
  const { counts } = columnsOf(props.steps, SPARK_SECONDS);
  return (
    <ul class="tiles" aria-label="Packets by verdict">
      {VERDICT_NAMES.map((name) => (
        <Tile key={name} name={name} accounting={props.accounting} steps={props.steps} counts={counts[name]} />
      ))}
    </ul>
  );
}

function Tile(props: {
  readonly name: VerdictName;
  readonly accounting: Accounting;
  readonly steps: readonly RateStep[];
  readonly counts: readonly (number | null)[];
}): JSX.Element {
  const { name, accounting } = props;
  const points = sparkline(props.counts, 120, 28, SPARK_SECONDS);
  const total = accounting[name];
  return (
    <li class={`tile verdict-${name} ${total === 0 ? 'is-zero' : ''}`} title={VERDICT_MEANINGS[name]}>
      {LISTED.includes(name) ? (
        <a class="tile-name" href={`#/connections?verdict=${name}`}>
          <Shape name={name} />
          {name}
        </a>
      ) : (
        <span class="tile-name">
          <Shape name={name} />
          {name}
        </span>
      )}
      <span class="tile-rate">
        {formatShort(recentRate(props.steps, name, 3))}
        <small>/s</small>
      </span>
      <svg class="spark" viewBox="0 0 120 28" preserveAspectRatio="none" aria-hidden="true" focusable="false">
        {points === '' ? <path d="M0 27H120" /> : <polyline points={points} />}
      </svg>
      <span class="tile-total" title={formatCount(total)}>
        {formatCount(total)} <span class="quiet">{formatShare(total, accounting.seen)}</span>
      </span>
    </li>
  );
}

/** `seen = judged + duplicate + undecoded + lost`, as an equation. */
function AccountingBar({ accounting }: { readonly accounting: Accounting }): JSX.Element {
  const { seen, judged, duplicate, undecoded, lost, droppedByKernel, isKernelDropEstimated } = accounting;
  const isBalanced = seen === judged + duplicate + undecoded + lost;
  const terms: [string, string, number][] = [
    ['=', 'judged', judged],
    ['+', 'duplicate', duplicate],
    ['+', 'undecoded', undecoded],
    ['+', 'lost', lost],
  ];
  return (
    <section class="panel equation" aria-label="Accounting of packets">
      <span class="term">
        <b>{formatCount(seen)}</b> seen
      </span>
      {terms.map(([sign, word, count]) => (
        <span key={word} class={`term ${word === 'lost' && count > 0 ? 'is-bad' : ''}`}>
          <i>{sign}</i> <b>{formatCount(count)}</b> {word}
        </span>
      ))}
      <span class={`term apart ${droppedByKernel > 0 ? 'is-bad' : ''}`}>
        <b>
          {isKernelDropEstimated && droppedByKernel > 0 ? '≈ ' : ''}
          {formatCount(droppedByKernel)}
        </b>{' '}
        dropped by the kernel before
      </span>
      {isBalanced ? null : <span class="term is-bad">the sum does not hold</span>}
    </section>
  );
}

function NewestFindings(): JSX.Element {
  const { value, trouble } = usePolled<FindingList>('findings', 5_000);
  return (
    <section class="panel" aria-labelledby="newest-findings">
      <div class="panel-head">
        <h2 id="newest-findings">Newest findings</h2>
        <a href="#/findings">All{value ? ` ${formatCount(value.total)}` : ''}</a>
      </div>
      {value === undefined ? <p class="empty-note">{trouble || 'Loading…'}</p> : null}
      {value?.findings.length === 0 ? (
        <p class="empty-note">None: what was answered was allowed, what was allowed was answered.</p>
      ) : null}
      <ul class="short-list">
        {value?.findings.slice(0, 5).map((finding) => (
          <li key={finding.id}>
            <a href={`#/findings?flow=${encodeURIComponent(finding.flowId)}`}>
              <FindingBadge kind={finding.kind} isWeak={finding.isWeak} />
              <span class="short-text">
                <span class="two-lines">
                  {viewEnd(finding.record, 'src').title} → {viewEnd(finding.record, 'dst').title}
                </span>
              </span>
              <span class="mono quiet">{formatService(finding.record)}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function NewestDenied(): JSX.Element {
  const { value, trouble } = usePolled<FlowPage>('flows?verdict=deny&limit=5', 3_000);
  return (
    <section class="panel" aria-labelledby="newest-denied">
      <div class="panel-head">
        <h2 id="newest-denied">Newest denied connections</h2>
        <a href="#/connections?verdict=deny">All{value ? ` ${formatCount(value.matched)}` : ''}</a>
      </div>
      {value === undefined ? <p class="empty-note">{trouble || 'Loading…'}</p> : null}
      {value?.flows.length === 0 ? <p class="empty-note">None in what is kept.</p> : null}
      <ul class="short-list">
        {value?.flows.map(({ id, record }) => (
          <li key={id}>
            <a href={`#/connections?verdict=deny&flow=${encodeURIComponent(id)}`}>
              <VerdictBadge action={record.action} />
              <span class="short-text">
                <End view={viewEnd(record, 'src')} /> <span class="quiet">→</span> <End view={viewEnd(record, 'dst')} />
              </span>
              <span class="mono quiet">{formatService(record)}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Facts({ status }: { readonly status: AgentStatus }): JSX.Element {
  const { generation } = status;
  const ageMs = Date.parse(status.now) - Date.parse(generation.publishedAt);
  const age = `${formatSpan(ageMs)} old, ${generation.how} in ${generation.compileMs} ms`;
  const facts: [string, string, string][] = [
    // Number 0 is the time before the first.
    generation.number === 0
      ? ['Generation', 'none yet', 'policies are being read']
      : ['Generation', `${generation.number}`, age],
    [
      'Policies',
      formatCount(generation.policies),
      `${formatCount(generation.rules)} rules in ${generation.tiers} tiers`,
    ],
    ['Endpoints', formatCount(generation.localEndpoints), `here, of ${formatCount(generation.endpoints)}`],
    ['Connections', formatCount(status.activeFlows), `followed, ${formatCount(status.evictedFlows)} evicted`],
  ];
  return (
    <dl class="facts panel">
      {facts.map(([name, value, detail]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <b>{value}</b> <span class="quiet">{detail}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
