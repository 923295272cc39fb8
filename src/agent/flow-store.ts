/**
 * Connections that the page can show: the newest so many, whether they are open still or not.
 *
 * They are kept in the order they were first seen. What a filter matches is found by going through all of them, newest first: a look at ten
 * thousand takes some milliseconds, and there are no indexes to keep right.
 */
import type { ConnectionRecord } from '../analyze/connections.ts';
import type { FlowEntry, FlowPage } from './api.ts';
import type { FlowUpdate } from './engine.ts';
import { isOver } from './flow-findings.ts';
import { FlowLives } from './flow-lives.ts';

export interface FlowFilter {
  readonly verdict?: string | undefined;
  readonly namespace?: string | undefined;
  /** `web` or `prod/web`. */
  readonly account?: string | undefined;
  readonly port?: number | undefined;
  /** Anywhere in addresses, names, labels, policies; whatever the case. */
  readonly text?: string | undefined;
}

interface Kept {
  /** Counts upwards; what `before` names. */
  readonly number: number;
  entry: FlowEntry;
}

export const PAGE_MAX = 1_000;

export class FlowStore {
  readonly #capacity: number;
  readonly #flows = new Map<string, Kept>();
  readonly #lives = new FlowLives();
  #count = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#flows.size;
  }

  take({ id, isOpen, generation, finding, record }: FlowUpdate): void {
    const over = this.#lives.over(id);
    if (over !== undefined) this.#close(over);
    const known = this.#flows.get(id);
    const before = known?.entry.finding;
    const found = finding ?? (isOver(before, record) ? undefined : before);
    const entry: FlowEntry = { id, isOpen, generation, ...(found === undefined ? {} : { finding: found }), record };
    if (known !== undefined) {
      known.entry = entry;
      return;
    }
    this.#flows.set(id, { number: ++this.#count, entry });
    if (this.#flows.size > this.#capacity) this.#flows.delete(this.#flows.keys().next().value!);
  }

  #close(prefix: string): void {
    for (const [id, kept] of this.#flows) {
      if (kept.entry.isOpen && id.startsWith(prefix)) kept.entry = { ...kept.entry, isOpen: false };
    }
  }

  /** A finding about a flow; one that came before it is told by its next update. */
  mark(id: string, finding: 'leak' | 'blocked'): void {
    const kept = this.#flows.get(id);
    if (kept !== undefined) kept.entry = { ...kept.entry, finding };
  }

  get(id: string): FlowEntry | undefined {
    return this.#flows.get(id)?.entry;
  }

  /** `before`: as `next` of the page before. */
  page(filter: FlowFilter, limit: number, before: number): FlowPage {
    const matches = matcherOf(filter);
    const kept = [...this.#flows.values()].reverse();
    const flows: FlowEntry[] = [];
    let matched = 0;
    let last = 0;
    let hasMore = false;
    for (const { number, entry } of kept) {
      if (!matches(entry)) continue;
      matched++;
      if (number >= before) continue;
      if (flows.length === limit) {
        hasMore = true;
        continue;
      }
      flows.push(entry);
      last = number;
    }
    return { flows, ...(hasMore ? { next: String(last) } : {}), matched, kept: kept.length };
  }
}

function matcherOf({ verdict, namespace, account, port, text }: FlowFilter): (entry: FlowEntry) => boolean {
  const needle = text?.toLowerCase();
  const name = account?.includes('/') === true ? account.slice(account.indexOf('/') + 1) : account;
  const space = account?.includes('/') === true ? account.slice(0, account.indexOf('/')) : undefined;
  return ({ record, finding, id }) => {
    if (verdict !== undefined && record.action !== verdict && finding !== verdict) return false;
    if (namespace !== undefined && record.source_namespace !== namespace && record.dest_namespace !== namespace)
      return false;
    if (name !== undefined) {
      const isSource =
        record.source_service_account === name && (space === undefined || record.source_namespace === space);
      const isDest = record.dest_service_account === name && (space === undefined || record.dest_namespace === space);
      if (!isSource && !isDest) return false;
    }
    if (port !== undefined && record.dest_port !== port && record.source_port !== port) return false;
    return needle === undefined || needle === '' || textOf(record, id).includes(needle);
  };
}

function textOf(record: FlowEntry['record'], id: string): string {
  const { egress, ingress, forward, untracked, prednat } = record;
  const parts: (string | number | undefined)[] = [
    id,
    record.proto,
    record.source_ip,
    record.source_port,
    record.dest_ip,
    record.dest_port,
    record.source_namespace,
    record.source_name,
    record.source_service_account,
    record.dest_namespace,
    record.dest_name,
    record.dest_service_account,
    record.action,
    record.reason,
    record.observed,
    record.community_id,
  ];
  for (const check of [egress, ingress, forward, untracked, prednat]) {
    if (check !== undefined) parts.push(...check.trace, check.rule);
  }
  for (const labels of [record.source_labels, record.dest_labels]) {
    if (labels !== undefined) for (const key in labels) parts.push(`${key}=${labels[key]}`);
  }
  return parts.join('\n').toLowerCase();
}

/** What a flow has added since it was last told of. */
export interface FlowDelta {
  readonly id: string;
  readonly isNew: boolean;
  readonly isClosed: boolean;
  readonly generation: number;
  readonly record: ConnectionRecord;
  readonly packets: number;
  readonly bytes: number;
  /** Set when it became one with this update. */
  readonly finding: 'leak' | 'blocked' | undefined;
}

/** From totals to differences, for whoever adds them up: graph, metrics, flow log. As many flows as the engine follows. */
export class FlowDeltas {
  readonly #open = new Map<string, { packets: number; bytes: number; finding: 'leak' | 'blocked' | undefined }>();
  readonly #lives = new FlowLives();

  get size(): number {
    return this.#open.size;
  }

  of({ id, isOpen, generation, finding, record }: FlowUpdate): FlowDelta {
    const over = this.#lives.over(id);
    if (over !== undefined) for (const known of this.#open.keys()) if (known.startsWith(over)) this.#open.delete(known);
    const before = this.#open.get(id);
    const isFound = finding !== undefined && before?.finding === undefined;
    const packets = record.packets - (before?.packets ?? 0);
    const bytes = record.bytes - (before?.bytes ?? 0);
    if (!isOpen) this.#open.delete(id);
    else if (before === undefined) this.#open.set(id, { packets: record.packets, bytes: record.bytes, finding });
    else {
      before.packets = record.packets;
      before.bytes = record.bytes;
      before.finding ??= finding;
    }
    return {
      id,
      isNew: before === undefined,
      isClosed: !isOpen,
      generation,
      record,
      packets,
      bytes,
      finding: isFound ? finding : undefined,
    };
  }
}
