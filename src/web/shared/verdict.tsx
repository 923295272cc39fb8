/**
 * Verdicts and findings as badges: word, shape and colour, so that none of the three is needed to tell them apart. The colours (tokens.css)
 * are of a scale that the common forms of colour blindness keep apart: blue, vermillion, grey, purple.
 */

import type { JSX } from 'preact';
import { VERDICT_MEANINGS } from './verdict-names.ts';

/** One path a shape, drawn in a box of 16 by 16. */
const SHAPES: Readonly<Record<string, string>> = {
  allow: 'M3 8.5l3.5 3.5L13 4.5',
  deny: 'M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M3.9 3.9l8.2 8.2',
  unpoliced: 'M2.5 8h2M7 8h2M11.5 8h2',
  uncertain: 'M5.5 6a2.5 2.5 0 1 1 3.6 2.2C8.3 8.7 8 9.2 8 10M8 12.7v.6',
  undecoded: 'M4 4h8v8H4z',
  pass: 'M2.5 8h10M9 4.5L12.5 8 9 11.5',
  lost: 'M4 4l8 8M12 4l-8 8',
  leak: 'M8 2.2L14.5 13.5h-13zM8 6.5v3.2M8 11.4v.6',
  blocked: 'M4 2.5h8M4 13.5h8M5 2.5c0 3 6 7 6 11M11 2.5c0 3-6 7-6 11',
};

export function Shape({ name }: { readonly name: string }): JSX.Element {
  return (
    <svg class="shape" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={SHAPES[name] ?? SHAPES.undecoded} />
    </svg>
  );
}

export function VerdictBadge({ action }: { readonly action: string }): JSX.Element {
  const known = Object.hasOwn(VERDICT_MEANINGS, action) ? action : 'undecoded';
  return (
    <span class={`badge verdict-${known}`} title={VERDICT_MEANINGS[action]}>
      <Shape name={known} />
      {action}
    </span>
  );
}

export function FindingBadge({ kind, isWeak }: { readonly kind: string; readonly isWeak?: boolean }): JSX.Element {
  const known = kind === 'leak' ? 'leak' : 'blocked';
  return (
    <span class={`badge finding-badge finding-${known}`} title={VERDICT_MEANINGS[kind]}>
      <Shape name={known} />
      {kind}
      {isWeak ? '?' : ''}
    </span>
  );
}
