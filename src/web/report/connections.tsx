/** Every connection of a report that a filter lets through, a page at a time: thousands of rows at once would stop the browser. */

import type { JSX, RefObject } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { ReportConnection, ReportData } from '../../analyze/report-data.ts';
import { End } from '../shared/end.tsx';
import { formatClock, formatCount } from '../shared/format.ts';
import { handleRowKey } from '../shared/row-keys.ts';
import { FindingBadge, VerdictBadge } from '../shared/verdict.tsx';
import { Detail, endView } from './connection-detail.tsx';
import { type ConnectionFilter, filterConnections, NO_FILTER, searchTexts, serviceOf } from './filter.ts';

const PAGE_ROWS = 100;

export function Connections(props: {
  readonly data: ReportData;
  readonly filter: ConnectionFilter;
  readonly onFilter: (filter: ConnectionFilter) => void;
  readonly section: RefObject<HTMLElement>;
}): JSX.Element {
  const { data, filter } = props;
  const { items, left_out } = data.connections;
  const texts = useMemo(() => searchTexts(items), [items]);
  const matching = useMemo(() => filterConnections(items, texts, filter), [items, texts, filter]);
  const [page, setPage] = useState(0);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setPage(0), [filter]);
  const first = page * PAGE_ROWS;
  const rows = matching.slice(first, first + PAGE_ROWS);
  const toggle = (id: string): void => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };
  return (
    <section aria-labelledby="connections-title" class="stack" ref={props.section} tabIndex={-1}>
      <h2 id="connections-title" class="section-title">
        Connections <span class="quiet">{formatCount(items.length + left_out)}</span>
      </h2>
      <Filters filter={filter} onFilter={props.onFilter} matchCount={matching.length} />
      {left_out > 0 ? (
        <p class="note">
          {formatCount(left_out)} are not in this report, none of them a finding that was kept; margay verify -o jsonl
          lists all.
        </p>
      ) : null}
      {rows.length === 0 ? (
        <div class="empty panel">
          <p>{items.length === 0 ? 'The captures hold no connection.' : 'No connection matches the filter.'}</p>
        </div>
      ) : (
        <ol class="connections panel" onKeyDown={(event) => handleRowKey(event, toggle)}>
          {rows.map((connection, index) => (
            <Row
              key={connection.id}
              connection={connection}
              data={data}
              isFirst={index === 0}
              isOpen={open.has(String(connection.id))}
              onToggle={toggle}
            />
          ))}
        </ol>
      )}
      <Pager page={page} count={matching.length} onPage={setPage} />
    </section>
  );
}

function Row(props: {
  readonly connection: ReportConnection;
  readonly data: ReportData;
  readonly isFirst: boolean;
  readonly isOpen: boolean;
  readonly onToggle: (id: string) => void;
}): JSX.Element {
  const { connection, isOpen } = props;
  const id = String(connection.id);
  return (
    <li class={isOpen ? 'connection is-open' : 'connection'}>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the list handles keys for all of its rows */}
      {/* biome-ignore lint/a11y/useSemanticElements: a button may not hold what a row holds */}
      <div
        class="connection-row"
        role="button"
        data-row={id}
        tabIndex={props.isFirst ? 0 : -1}
        aria-expanded={isOpen}
        onClick={() => props.onToggle(id)}
      >
        <span class="mono connection-time">{formatClock(connection.start_time)}</span>
        <span class="connection-verdict">
          <VerdictBadge action={connection.predicted} />
          {connection.finding ? (
            <FindingBadge kind={connection.finding} isWeak={connection.certainty === 'possible'} />
          ) : null}
        </span>
        <End view={endView(connection.source)} />
        <End view={endView(connection.dest)} />
        <span class="mono">{serviceOf(connection)}</span>
        <span>{connection.outcome}</span>
        <span class="number">{formatCount(connection.packets)}</span>
      </div>
      {isOpen ? <Detail connection={connection} data={props.data} /> : null}
    </li>
  );
}

function Filters(props: {
  readonly filter: ConnectionFilter;
  readonly onFilter: (filter: ConnectionFilter) => void;
  readonly matchCount: number;
}): JSX.Element {
  const { filter, onFilter } = props;
  const choice = (
    name: 'predicted' | 'observed' | 'finding',
    label: string,
    values: readonly string[],
  ): JSX.Element => (
    <div class="field">
      <label for={`filter-${name}`}>{label}</label>
      <select
        id={`filter-${name}`}
        value={filter[name]}
        onChange={(event) => onFilter({ ...filter, [name]: event.currentTarget.value })}
      >
        <option value="">any</option>
        {values.map((value) => (
          <option key={value} value={value}>
            {value}
          </option>
        ))}
      </select>
    </div>
  );
  return (
    <search class="filters panel">
      <div class="field field-text">
        <label for="filter-text">Text</label>
        <input
          id="filter-text"
          type="search"
          autocomplete="off"
          spellcheck={false}
          placeholder="account, address, policy, tcp/5432…"
          value={filter.text}
          onInput={(event) => onFilter({ ...filter, text: event.currentTarget.value })}
        />
      </div>
      {choice('predicted', 'Predicted', ['allow', 'deny', 'unpoliced', 'uncertain'])}
      {choice('observed', 'Observed', ['delivered', 'refused', 'unanswered', 'unknown'])}
      {choice('finding', 'Finding', ['leak', 'blocked'])}
      <span class="filters-note" role="status">
        {formatCount(props.matchCount)} match
      </span>
      <button type="button" onClick={() => onFilter(NO_FILTER)}>
        Clear
      </button>
    </search>
  );
}

function Pager(props: {
  readonly page: number;
  readonly count: number;
  readonly onPage: (page: number) => void;
}): JSX.Element | null {
  const last = Math.ceil(props.count / PAGE_ROWS) - 1;
  if (last <= 0) return null;
  const first = props.page * PAGE_ROWS;
  return (
    <nav class="pager" aria-label="Pages of connections">
      <button type="button" disabled={props.page === 0} onClick={() => props.onPage(props.page - 1)}>
        Previous
      </button>
      <span>
        {formatCount(first + 1)} to {formatCount(Math.min(props.count, first + PAGE_ROWS))} of{' '}
        {formatCount(props.count)}
      </span>
      <button type="button" disabled={props.page >= last} onClick={() => props.onPage(props.page + 1)}>
        Next
      </button>
    </nav>
  );
}
