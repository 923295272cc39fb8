/** Connections as they are judged, newest first, with filters. */

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { FlowEntry } from '../../agent/api.ts';
import { End } from '../shared/end.tsx';
import { formatBytes, formatCount, formatPreciseClock } from '../shared/format.ts';
import { formatService, viewDecision, viewEnd } from '../shared/record.ts';
import { handleRowKey } from '../shared/row-keys.ts';
import { FindingBadge, VerdictBadge } from '../shared/verdict.tsx';
import { useApp, useSettled } from './context.ts';
import { type FlowListControl, useFlowList } from './flow-list.ts';
import type { Parameter } from './hash.ts';

const FILTERS = ['verdict', 'namespace', 'account', 'port', 'text'] as const;
const TYPING_MS = 250;

export function Connections(): JSX.Element {
  const { place, change } = useApp();
  const [isPaused, setPaused] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const { flow, ...parameters } = place.parameters;
  const query = Object.fromEntries(FILTERS.map((name) => [name, parameters[name]]));
  const settled = JSON.parse(useSettled(JSON.stringify(query), TYPING_MS)) as typeof query;
  const list = useFlowList(settled, () => {
    return isPaused || flow !== undefined || (box.current?.contains(document.activeElement) ?? false);
  });
  const open = (id: string): void => change({ flow: id }, true);
  return (
    <div class="stack">
      <FilterBar />
      <div class="list-head">
        <span role="status">
          {list.page ? (
            <>
              <b>{formatCount(list.page.matched)}</b> of {formatCount(list.page.kept)} kept connections
            </>
          ) : (
            'Loading…'
          )}
          {list.trouble ? <span class="is-bad"> · {list.trouble}</span> : null}
        </span>
        {list.newerCount > 0 ? (
          <button type="button" onClick={list.showNewer}>
            Show {list.newerCount} newer
          </button>
        ) : null}
        <label class="check">
          <input type="checkbox" checked={isPaused} onChange={(event) => setPaused(event.currentTarget.checked)} />
          hold the list
        </label>
      </div>
      <div ref={box}>
        {list.rows.length > 0 ? <FlowTable rows={list.rows} selected={flow} onOpen={open} /> : <Nothing list={list} />}
      </div>
      {list.next !== undefined && list.rows.length > 0 ? (
        <button type="button" class="older" onClick={list.loadOlder}>
          Load older
        </button>
      ) : null}
    </div>
  );
}

function FilterBar(): JSX.Element {
  const { place, change } = useApp();
  const text = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focusText = (event: KeyboardEvent): void => {
      const isTyping = event.target instanceof HTMLElement && event.target.matches('input, select, textarea');
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      text.current?.focus();
    };
    addEventListener('keydown', focusText);
    return () => removeEventListener('keydown', focusText);
  }, []);
  const field = (name: Parameter) => ({
    id: `filter-${name}`,
    value: place.parameters[name] ?? '',
    onInput: (event: JSX.TargetedInputEvent<HTMLInputElement>) => change({ [name]: event.currentTarget.value }),
  });
  const isFiltered = FILTERS.some((name) => place.parameters[name]);
  return (
    <search class="filters panel">
      <div class="field">
        <label for="filter-verdict">Verdict</label>
        <select
          id="filter-verdict"
          value={place.parameters.verdict ?? ''}
          onChange={(event) => change({ verdict: event.currentTarget.value })}
        >
          <option value="">any</option>
          {['allow', 'deny', 'unpoliced', 'uncertain', 'leak', 'blocked'].map((verdict) => (
            <option key={verdict} value={verdict}>
              {verdict}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="filter-namespace">Namespace</label>
        <input {...field('namespace')} type="text" autocomplete="off" spellcheck={false} />
      </div>
      <div class="field">
        <label for="filter-account">Service account</label>
        <input {...field('account')} type="text" autocomplete="off" spellcheck={false} placeholder="web or prod/web" />
      </div>
      <div class="field field-port">
        <label for="filter-port">Port</label>
        <input {...field('port')} type="text" inputMode="numeric" autocomplete="off" />
      </div>
      <div class="field field-text">
        <label for="filter-text">Text</label>
        <input
          {...field('text')}
          ref={text}
          type="search"
          autocomplete="off"
          spellcheck={false}
          placeholder="address, pod, policy…  ( / )"
        />
      </div>
      <button
        type="button"
        class="quiet-button"
        disabled={!isFiltered}
        onClick={() => change(Object.fromEntries(FILTERS.map((name) => [name, undefined])))}
      >
        Clear
      </button>
    </search>
  );
}

function FlowTable(props: {
  readonly rows: readonly FlowEntry[];
  readonly selected: string | undefined;
  readonly onOpen: (id: string) => void;
}): JSX.Element {
  return (
    <table
      class="flows"
      // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: its rows are chosen with arrow keys, a grid by the ARIA practices
      role="grid"
      aria-label="Connections"
      aria-rowcount={props.rows.length}
      onKeyDown={(event) => handleRowKey(event, props.onOpen)}
    >
      <thead>
        <tr>
          <th scope="col">Verdict</th>
          <th scope="col">Started</th>
          <th scope="col">Source</th>
          <th scope="col">Destination</th>
          <th scope="col">Service</th>
          <th scope="col">Decided by</th>
          <th scope="col" class="number">
            Packets
          </th>
          <th scope="col" class="number">
            Bytes
          </th>
          <th scope="col">Observed</th>
        </tr>
      </thead>
      <tbody>
        {props.rows.map((flow, index) => (
          <FlowRow
            key={flow.id}
            flow={flow}
            isFirst={index === 0}
            isSelected={flow.id === props.selected}
            onOpen={props.onOpen}
          />
        ))}
      </tbody>
    </table>
  );
}

function FlowRow(props: {
  readonly flow: FlowEntry;
  readonly isFirst: boolean;
  readonly isSelected: boolean;
  readonly onOpen: (id: string) => void;
}): JSX.Element {
  const { id, record, isOpen, finding } = props.flow;
  const decision = viewDecision(record);
  return (
    <tr
      data-row={id}
      tabIndex={props.isFirst || props.isSelected ? 0 : -1}
      aria-selected={props.isSelected}
      class={finding ? `has-${finding}` : ''}
      onClick={() => props.onOpen(id)}
    >
      <td class="cell-verdict">
        <VerdictBadge action={record.action} />
        {finding ? <FindingBadge kind={finding} /> : null}
      </td>
      <td class="cell-time mono">
        {formatPreciseClock(record.start_time)}
        <span class="end-detail">{isOpen ? 'open' : 'closed'}</span>
      </td>
      <td class="cell-src">
        <End view={viewEnd(record, 'src')} />
      </td>
      <td class="cell-dst">
        <End view={viewEnd(record, 'dst')} />
      </td>
      <td class="cell-service mono">{formatService(record)}</td>
      <td class="cell-decision">
        <span class="end">
          <span class="end-title mono" title={decision.policy}>
            {decision.policy}
          </span>
          <span class="end-detail">{decision.detail}</span>
        </span>
      </td>
      <td class="cell-packets number">{formatCount(record.packets)}</td>
      <td class="cell-bytes number">{formatBytes(record.bytes)}</td>
      <td class="cell-observed">{record.observed}</td>
    </tr>
  );
}

function Nothing({ list }: { readonly list: FlowListControl }): JSX.Element | null {
  const { change } = useApp();
  if (list.page === undefined) return null;
  if (list.page.kept === 0) {
    return (
      <div class="empty panel">
        <h2>No connection yet</h2>
        <p>
          They appear here as their packets pass. When nothing comes although there is traffic, look at the capture
          sources under <a href="#/node">Node</a>.
        </p>
      </div>
    );
  }
  return (
    <div class="empty panel">
      <h2>No kept connection matches</h2>
      <p>Older ones are in the flow log. A filter may be too narrow:</p>
      <button type="button" onClick={() => change(Object.fromEntries(FILTERS.map((name) => [name, undefined])))}>
        Clear the filters
      </button>
    </div>
  );
}
