/** The rows of the list of connections, and what becomes of them when an answer comes. Pure. */

import type { FlowEntry, FlowPage } from '../../agent/api.ts';

export interface FlowList {
  readonly rows: readonly FlowEntry[];
  readonly page: FlowPage | undefined;
  /** Of the newest page, not yet shown. */
  readonly newerCount: number;
  /** For `before`, when there is more. */
  readonly next: string | undefined;
  readonly trouble: string;
}

export const NOTHING: FlowList = { rows: [], page: undefined, newerCount: 0, next: undefined, trouble: '' };

export function fresh(page: FlowPage): FlowList {
  return { rows: page.flows, page, newerCount: 0, next: page.next, trouble: '' };
}

/** The same rows in the same places with what is new about them. */
export function updated(last: FlowList, page: FlowPage): FlowList {
  const byId = new Map(page.flows.map((flow) => [flow.id, flow]));
  const rows = last.rows.map((row) => byId.get(row.id) ?? row);
  const shown = new Set(last.rows.map(({ id }) => id));
  const newerCount = page.flows.filter(({ id }) => !shown.has(id)).length;
  return { rows, page, newerCount, next: last.next, trouble: '' };
}

/** The next page below, without what is shown already (rows move down while pages are read). */
export function appended(last: FlowList, page: FlowPage): FlowList {
  const shown = new Set(last.rows.map(({ id }) => id));
  const rows = [...last.rows, ...page.flows.filter(({ id }) => !shown.has(id))];
  return { ...last, rows, next: page.next, trouble: '' };
}
