/** Why a connection has its verdict: a panel beside every view, opened by the `flow` of the address, closed by Escape. */

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiRecord, FindingList, FlowDetail } from '../../agent/api.ts';
import { Chain } from '../shared/chain.tsx';
import { End } from '../shared/end.tsx';
import { formatBytes, formatCount, formatDate, formatSpan } from '../shared/format.ts';
import { LabelList } from '../shared/label-list.tsx';
import { decidingCheck, formatService, viewEnd, viewPending } from '../shared/record.ts';
import { TraceList } from '../shared/trace-list.tsx';
import { FindingBadge, VerdictBadge } from '../shared/verdict.tsx';
import { useApp, usePolled } from './context.ts';
import { formatHash } from './hash.ts';

export function Explainer({ id }: { readonly id: string }): JSX.Element {
  const { change } = useApp();
  const { value, trouble } = usePolled<FlowDetail>(`flows/${encodeURIComponent(id)}`, 3_000);
  const panel = useRef<HTMLElement>(null);
  const close = (): void => {
    change({ flow: undefined });
    // After the panel is gone: what it covered cannot take the focus before.
    setTimeout(() => returnFocus(id));
  };
  useEffect(() => {
    panel.current?.focus();
    return hideBehind();
  }, []);
  useEffect(() => {
    const closeOnEscape = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && !event.defaultPrevented) close();
    };
    addEventListener('keydown', closeOnEscape);
    return () => removeEventListener('keydown', closeOnEscape);
  });
  return (
    <section ref={panel} class="explainer" role="dialog" aria-labelledby="explainer-title" tabIndex={-1}>
      <div class="explainer-head">
        <h2 id="explainer-title">Why this verdict</h2>
        <button type="button" onClick={close} aria-keyshortcuts="Escape">
          Close <kbd>Esc</kbd>
        </button>
      </div>
      {value ? <Detail detail={value} /> : <p class="empty-note">{missing(trouble)}</p>}
    </section>
  );
}

/** On narrow screens the panel covers all else, which keys must not reach then. Returns what undoes it. */
function hideBehind(): () => void {
  const wide = matchMedia('(min-width: 761px)');
  const behind = document.querySelectorAll<HTMLElement>('.head, .banners, main');
  const update = (): void => {
    for (const each of behind) each.inert = !wide.matches;
  };
  update();
  wide.addEventListener('change', update);
  return () => {
    wide.removeEventListener('change', update);
    for (const each of behind) each.inert = false;
  };
}

function missing(trouble: string): string {
  if (trouble === '') return 'Loading…';
  return `${trouble}. A connection that was pushed out by newer ones is in the flow log only.`;
}

function Detail({ detail }: { readonly detail: FlowDetail }): JSX.Element {
  const { record } = detail;
  return (
    <>
      <div class="explainer-sum">
        <VerdictBadge action={record.action} />
        {detail.finding ? <FindingBadge kind={detail.finding} /> : null}
        <span>{reasonOf(record)}</span>
      </div>
      <div class="explainer-ends">
        <End view={viewEnd(record, 'src')} />
        <span class="explainer-arrow mono">
          <span aria-hidden="true">→</span> {formatService(record)}
        </span>
        <End view={viewEnd(record, 'dst')} />
      </div>
      {detail.finding ? <FindingOf id={detail.id} /> : null}
      <h3>Chain</h3>
      <Chain steps={detail.steps} linkOf={linkToPolicy} />
      <SelectedBy record={record} />
      <Pending record={record} />
      <h3>Facts</h3>
      <RecordFacts detail={detail} />
      <Labels title="Labels of the source" labels={record.source_labels} />
      <Labels title="Labels of the destination" labels={record.dest_labels} />
      <AsText text={detail.text} />
    </>
  );
}

/** Why the agent thinks that the network did something else. */
function FindingOf({ id }: { readonly id: string }): JSX.Element | null {
  const { value } = usePolled<FindingList>('findings', 10_000);
  const finding = value?.findings.find(({ flowId }) => flowId === id);
  if (finding === undefined) return null;
  return (
    <>
      <h3>Finding</h3>
      <p>{finding.cause}</p>
      <ul class="evidence">
        {finding.evidence.map((sentence, index) => (
          <li key={index}>{sentence}</li>
        ))}
      </ul>
      {finding.isWeak ? <p class="finding-weak">Packets were lost meanwhile: this may be wrong.</p> : null}
    </>
  );
}

/** At the end of a tier no rule decides: what selected the endpoint there is what has to change. */
function SelectedBy({ record }: { readonly record: ApiRecord }): JSX.Element | null {
  const policies = decidingCheck(record)?.selected_by ?? [];
  if (policies.length === 0) return null;
  return (
    <>
      <h3>Policies that select the endpoint there</h3>
      <ul class="labels">
        {policies.map((policy) => (
          <li key={policy} class="mono">
            <a href={linkToPolicy(policy)}>{policy}</a>
          </li>
        ))}
      </ul>
    </>
  );
}

function Pending({ record }: { readonly record: ApiRecord }): JSX.Element | null {
  const pending = viewPending(record.pending);
  if (pending === undefined) return null;
  return (
    <>
      <h3>If staged policies were enforced</h3>
      <p>
        <VerdictBadge action={pending.action} />
      </p>
      {pending.traces.map(({ check, trace }) => (
        <TraceList key={check} check={check} trace={trace} isDeciding={false} />
      ))}
    </>
  );
}

function linkToPolicy(policy: string): string {
  return formatHash({ view: 'policies', parameters: { policy } });
}

function reasonOf(record: ApiRecord): string {
  const words = [record.reason, record.direction ? `at ${record.direction}` : undefined];
  return words.filter((word) => word !== undefined).join(', ');
}

function RecordFacts({ detail }: { readonly detail: FlowDetail }): JSX.Element {
  const { record } = detail;
  const spanMs = Date.parse(record.end_time) - Date.parse(record.start_time);
  const facts: [string, string][] = [
    ['Observed', record.observed],
    ['First packet', formatDate(record.start_time)],
    ['Last packet', `${formatDate(record.end_time)}${Number.isFinite(spanMs) ? ` (${formatSpan(spanMs)} later)` : ''}`],
    ['Packets', `${formatCount(record.packets)}${byAction(record)}`],
    ['Bytes', formatBytes(record.bytes)],
    ['State', detail.isOpen ? 'open' : 'closed'],
    ['Generation', String(detail.generation)],
    ['Community ID', record.community_id],
  ];
  return (
    <dl class="record-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** ` (allow 9, deny 4)` where the packets of one connection were not all judged alike. */
function byAction({ packets_by_action }: ApiRecord): string {
  const entries = Object.entries(packets_by_action ?? {}).filter(([, count]) => count > 0);
  if (entries.length < 2) return '';
  return ` (${entries.map(([action, count]) => `${action} ${formatCount(count)}`).join(', ')})`;
}

function Labels(props: {
  readonly title: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
}): JSX.Element | null {
  const entries = Object.entries(props.labels ?? {});
  if (entries.length === 0) return null;
  return (
    <>
      <h3>{props.title}</h3>
      <LabelList entries={entries} />
    </>
  );
}

function AsText({ text }: { readonly text: string }): JSX.Element | null {
  const [note, setNote] = useState('');
  if (text === '') return null;
  const copy = (): void => {
    // Browsers allow it over HTTPS and on the own machine only.
    const written = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('no clipboard here'));
    written.then(
      () => setNote('Copied.'),
      () => setNote('This browser does not allow it here: select the text instead.'),
    );
  };
  return (
    <details class="as-text">
      <summary>As margay explain prints it</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls sideways must be reachable by keyboard */}
      <pre tabIndex={0}>{text}</pre>
      <button type="button" onClick={copy}>
        Copy
      </button>{' '}
      <span role="status">{note}</span>
    </details>
  );
}

/** To the row that the explainer was opened from, or to the content when that is gone. */
function returnFocus(id: string): void {
  const row = document.querySelector<HTMLElement>(`[data-row="${CSS.escape(id)}"]`);
  (row ?? document.getElementById('main'))?.focus();
}
