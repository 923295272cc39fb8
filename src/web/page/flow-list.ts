/**
 * The list of connections as it is shown: refreshed every two seconds, but held still while somebody reads it. While it is held, rows keep
 * their places and only their contents change; what is newer is counted and waits for a key.
 */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { FlowPage } from '../../agent/api.ts';
import { ApiFailure, withQuery } from './api-client.ts';
import { useApp } from './context.ts';
import { appended, type FlowList, fresh, NOTHING, updated } from './flow-rows.ts';

const REFRESH_MS = 2_000;
const PAGE_ROWS = '100';

export type FlowQuery = Readonly<Record<string, string | undefined>>;

export interface FlowListControl extends FlowList {
  readonly showNewer: () => void;
  readonly loadOlder: () => void;
}

/** @param isHeld asked at every answer: whether somebody is reading */
export function useFlowList(query: FlowQuery, isHeld: () => boolean): FlowListControl {
  const { client } = useApp();
  const path = withQuery('flows', { ...query, limit: PAGE_ROWS });
  const [list, setList] = useState<FlowList>(NOTHING);
  const held = useRef(isHeld);
  held.current = isHeld;
  const hasOlder = useRef(false);

  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    hasOlder.current = false;
    let isFirst = true;
    const ask = async (): Promise<void> => {
      if (!document.hidden || isFirst) {
        try {
          const page = await client.get<FlowPage>(path, ended.signal);
          const mayMove = isFirst || !(hasOlder.current || held.current());
          isFirst = false;
          setList((last) => (mayMove ? fresh(page) : updated(last, page)));
        } catch (error) {
          if (ended.signal.aborted) return;
          setList((last) => ({ ...last, trouble: messageOf(error) }));
        }
      }
      if (!ended.signal.aborted) timer = setTimeout(ask, REFRESH_MS);
    };
    void ask();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [client, path]);

  const showNewer = (): void => {
    hasOlder.current = false;
    setList((last) => (last.page === undefined ? last : fresh(last.page)));
  };
  const loadOlder = async (): Promise<void> => {
    const before = list.next;
    if (before === undefined) return;
    hasOlder.current = true;
    try {
      const page = await client.get<FlowPage>(withQuery('flows', { ...query, limit: PAGE_ROWS, before }));
      setList((last) => (last.next === before ? appended(last, page) : last));
    } catch (error) {
      setList((last) => ({ ...last, trouble: messageOf(error) }));
    }
  };
  return { ...list, showNewer, loadOlder: () => void loadOlder() };
}

function messageOf(error: unknown): string {
  return error instanceof ApiFailure ? error.message : String(error);
}
