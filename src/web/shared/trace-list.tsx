/** The trace of one check, a line a tier. */

import type { JSX } from 'preact';
import { parseTrace } from './record.ts';
import { VerdictBadge } from './verdict.tsx';

export function TraceList(props: {
  readonly check: string;
  readonly trace: readonly string[];
  readonly isDeciding: boolean;
}): JSX.Element {
  return (
    <ol class={props.isDeciding ? 'trace is-deciding' : 'trace'} aria-label={`Chain of ${props.check}`}>
      {props.trace.length === 0 ? (
        <li>
          <b>{props.check}</b> <span class="quiet">decided before any policy</span>
        </li>
      ) : null}
      {props.trace.map((text, index) => {
        const line = parseTrace(text);
        if (line === undefined) {
          return (
            <li key={index} class="mono">
              {text}
            </li>
          );
        }
        return (
          <li key={index}>
            <b>{props.check}</b>{' '}
            <span class="quiet">{line.tier === '__PROFILE__' ? 'profiles' : `tier ${line.tier}`}</span>{' '}
            <span class="mono">{line.policy}</span>{' '}
            <span class="quiet">{line.rule < 0 ? 'end of tier' : `rule ${line.rule}`}</span>{' '}
            <VerdictBadge action={line.action} />
          </li>
        );
      })}
    </ol>
  );
}
