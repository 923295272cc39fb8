/** On top of every view: whatever makes the answers below weaker, told by the agent or noticed by the page itself. */

import type { JSX } from 'preact';
import type { Banner } from '../../agent/api.ts';
import { formatClock, formatSpan } from '../shared/format.ts';
import { useApp, useLive } from './context.ts';
import type { LiveState } from './live.ts';

/** An answer older than that is told to be old. */
const OLD_MS = 10_000;

const TITLES: Readonly<Record<string, string>> = {
  loss: 'Packets lost',
  'stale-identity': 'Identities are stale',
  'stale-policy': 'Policies are stale',
  'capture-down': 'Capture is down',
  'compile-failed': 'A change does not compile',
  'flow-log': 'Flow log',
  evicted: 'Connections evicted',
};

export function Banners(): JSX.Element {
  const banners = useLive((state) => state.status?.banners);
  const now = useLive((state) => state.status?.now);
  const lost = useLive(noticeLoss);
  const { feed } = useApp();
  return (
    <div class="banners" role="status" aria-label="Warnings">
      {lost === '' ? null : (
        <p class="banner banner-connection">
          <BannerSign />
          <span>
            <strong>No connection.</strong> {lost}
          </span>
          <button type="button" onClick={() => feed.retry()}>
            Try now
          </button>
        </p>
      )}
      {banners?.map((banner) => (
        <p key={`${banner.kind} ${banner.text}`} class={`banner banner-${banner.kind}`} data-banner={banner.kind}>
          <BannerSign />
          <span>
            <strong>{TITLES[banner.kind] ?? 'Warning'}.</strong> {banner.text}
          </span>
          <span class="banner-since">{since(banner, now)}</span>
        </p>
      ))}
    </div>
  );
}

function BannerSign(): JSX.Element {
  return (
    <svg class="shape" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d="M8 2.2L14.5 13.5h-13zM8 6.5v3.2M8 11.4v.6" />
    </svg>
  );
}

function since(banner: Banner, now: string | undefined): string {
  const spanMs = Date.parse(now ?? '') - Date.parse(banner.since);
  const clock = `since ${formatClock(banner.since)}`;
  return Number.isFinite(spanMs) && spanMs >= 1000 ? `${clock} (${formatSpan(spanMs)})` : clock;
}

/** A sentence when what is shown is old; empty otherwise. */
function noticeLoss(state: LiveState): string {
  if (state.connection !== 'lost') return '';
  if (state.heardAtMs === 0)
    return `${capitalise(state.trouble)}. Check that margay agent is running; the page keeps trying.`;
  const at = new Date(state.heardAtMs).toISOString();
  const age = Date.now() - state.heardAtMs;
  const old = age > OLD_MS ? `, ${formatSpan(age)} ago` : '';
  return `${capitalise(state.trouble)}. What is shown is from ${formatClock(at)} UTC${old}; the page keeps trying.`;
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
