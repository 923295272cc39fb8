/** What every view is given, and the hooks that read it. */

import { createContext } from 'preact';
import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import { type ApiClient, ApiFailure } from './api-client.ts';
import { formatHash, type Parameter, type Place, parseHash, withParameters } from './hash.ts';
import type { LiveFeed, LiveState } from './live.ts';

export interface AppContext {
  readonly client: ApiClient;
  readonly feed: LiveFeed;
  readonly place: Place;
  /** Changes parameters of this view's address. Without a step in the browser's history unless `isStep`. */
  readonly change: (changes: Partial<Record<Parameter, string | undefined>>, isStep?: boolean) => void;
}

export const Context = createContext<AppContext | undefined>(undefined);

export function useApp(): AppContext {
  const context = useContext(Context);
  if (context === undefined) throw new Error('a view stands outside of the app');
  return context;
}

/** The part of the live state that `choose` returns; draws anew only when that changes. */
export function useLive<T>(choose: (state: LiveState) => T): T {
  const { feed } = useApp();
  const [value, setValue] = useState(() => choose(feed.state));
  useEffect(() => {
    const update = (): void => setValue(() => choose(feed.state));
    update();
    return feed.subscribe(update);
  }, [feed]);
  return value;
}

export interface Answer<T> {
  readonly value: T | undefined;
  /** Of the newest question; empty when it was answered. */
  readonly trouble: string;
}

/** Asks for `path` at once, when it changes, and every `everyMs` while the page is visible. The last answer stays while questions fail. */
export function usePolled<T>(path: string, everyMs: number): Answer<T> {
  const { client } = useApp();
  const [answer, setAnswer] = useState<Answer<T> & { path: string }>({ value: undefined, trouble: '', path });
  const latest = useRef(path);
  latest.current = path;
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      if (!document.hidden) {
        try {
          const value = await client.get<T>(path, ended.signal);
          if (latest.current === path) setAnswer({ value, trouble: '', path });
        } catch (error) {
          if (ended.signal.aborted) return;
          const trouble = error instanceof ApiFailure ? error.message : String(error);
          setAnswer((last) => ({ ...last, trouble }));
        }
      }
      if (!ended.signal.aborted) timer = setTimeout(ask, everyMs);
    };
    void ask();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [client, path, everyMs]);
  return answer;
}

/** The place that the address says, and the way to change it. */
export function usePlace(): [Place, AppContext['change']] {
  const [place, setPlace] = useState(() => parseHash(location.hash));
  const current = useRef(place);
  current.current = place;
  useEffect(() => {
    const update = (): void => setPlace(parseHash(location.hash));
    addEventListener('hashchange', update);
    return () => removeEventListener('hashchange', update);
  }, []);
  const [change] = useState((): AppContext['change'] => (changes, isStep = false) => {
    const next = withParameters(current.current, changes);
    current.current = next;
    const hash = formatHash(next);
    if (isStep) history.pushState(null, '', hash);
    else history.replaceState(null, '', hash);
    setPlace(next);
  });
  return [place, change];
}

/** `value`, after it has stayed the same for `waitMs`. */
export function useSettled<T>(value: T, waitMs: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(() => value), waitMs);
    return () => clearTimeout(timer);
  }, [value, waitMs]);
  return settled;
}
