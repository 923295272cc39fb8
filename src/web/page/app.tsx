/** The frame of the page: head, banners, the view that the address names, and the explainer beside it. */

import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { formatCount } from '../shared/format.ts';
import type { ApiClient } from './api-client.ts';
import { Banners } from './banners.tsx';
import { Connections } from './connections.tsx';
import { Context, useLive, usePlace } from './context.ts';
import { Explainer } from './explainer.tsx';
import { Findings } from './findings.tsx';
import { GraphView } from './graph-view.tsx';
import { VIEWS, type View } from './hash.ts';
import type { Connection, LiveFeed } from './live.ts';
import { NodeView } from './node-view.tsx';
import { Overview } from './overview.tsx';
import { Policies } from './policies.tsx';
import { ThemeToggle } from './theme.tsx';
import { TokenForm } from './token-form.tsx';

const TITLES: Readonly<Record<View, string>> = {
  overview: 'Overview',
  connections: 'Connections',
  policies: 'Policies',
  graph: 'Graph',
  findings: 'Findings',
  node: 'Node',
};

export function App({ client, feed }: { readonly client: ApiClient; readonly feed: LiveFeed }): JSX.Element {
  const [place, change] = usePlace();
  const context = useMemo(() => ({ client, feed, place, change }), [client, feed, place, change]);
  useEffect(() => {
    document.title = `${TITLES[place.view]} · margay agent`;
  }, [place.view]);
  return (
    <Context.Provider value={context}>
      {/* biome-ignore lint/a11y/useValidAnchor: it leads to the content as any skip link; the script only spares the address */}
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to the content
      </a>
      <Head view={place.view} />
      <Banners />
      <main id="main" tabIndex={-1} aria-labelledby="view-title">
        <h1 id="view-title" class="visually-hidden">
          {TITLES[place.view]}
        </h1>
        <Body view={place.view} />
      </main>
      {place.parameters.flow ? <Explainer key={place.parameters.flow} id={place.parameters.flow} /> : null}
    </Context.Provider>
  );
}

function Body({ view }: { readonly view: View }): JSX.Element {
  const isRefused = useLive((state) => state.connection === 'refused');
  if (isRefused) return <TokenForm />;
  switch (view) {
    case 'overview':
      return <Overview />;
    case 'connections':
      return <Connections />;
    case 'policies':
      return <Policies />;
    case 'graph':
      return <GraphView />;
    case 'findings':
      return <Findings />;
    case 'node':
      return <NodeView />;
    default: {
      const none: never = view;
      return none;
    }
  }
}

function Head({ view }: { readonly view: View }): JSX.Element {
  const status = useLive((state) => state.status);
  const connection = useLive((state) => state.connection);
  const findings = status ? status.findings.leak + status.findings.blocked : 0;
  return (
    <header class="head">
      <div class="brand">
        <Mark />
        <span class="brand-name">margay</span>
        {status?.node ? <span class="brand-node mono">{status.node}</span> : null}
      </div>
      <nav aria-label="Views">
        {VIEWS.map((name) => (
          <a key={name} href={`#/${name}`} aria-current={name === view ? 'page' : undefined}>
            {TITLES[name]}
            {name === 'findings' && findings > 0 ? <span class="count-mark">{formatCount(findings)}</span> : null}
          </a>
        ))}
      </nav>
      <div class="head-right">
        <ConnectionMark connection={connection} isReady={status?.isReady} />
        <ThemeToggle />
      </div>
    </header>
  );
}

const CONNECTION_WORDS: Readonly<Record<Connection, readonly [word: string, title: string]>> = {
  connecting: ['connecting', 'asking the agent for the first time'],
  live: ['live', 'the agent sends changes as they happen'],
  polling: ['polling', 'no event stream: the page asks every two seconds'],
  lost: ['no connection', 'the agent does not answer; the page keeps trying'],
  refused: ['refused', 'the agent asks for a token'],
};

function ConnectionMark(props: {
  readonly connection: Connection;
  readonly isReady: boolean | undefined;
}): JSX.Element {
  const [word, title] = CONNECTION_WORDS[props.connection];
  const isUnready = props.isReady === false && (props.connection === 'live' || props.connection === 'polling');
  return (
    <span class={`connection connection-${isUnready ? 'unready' : props.connection}`} title={title} role="status">
      {word}
      {isUnready ? ', not ready' : ''}
    </span>
  );
}

function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path class="mark-head" d="M4 3l7 5a14 14 0 0 1 10 0l7-5v15a12 11 0 0 1-24 0z" />
      <circle class="mark-eye" cx="11.5" cy="16" r="2.6" />
      <circle class="mark-eye" cx="20.5" cy="16" r="2.6" />
      <path class="mark-eye" d="M16 20.5l-2 2h4z" />
    </svg>
  );
}

function focusMain(event: Event): void {
  // The address after # is the page's state: the link must not replace it.
  event.preventDefault();
  document.getElementById('main')?.focus();
}
