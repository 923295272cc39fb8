/** The chain of an explanation: every step that ran, in order, the deciding one marked and with the lines of its source. */

import type { JSX } from 'preact';
import type { ExplainStep } from '../../agent/api.ts';
import { VerdictBadge } from './verdict.tsx';

export interface ChainProps {
  readonly steps: readonly ExplainStep[];
  /** Where a policy is shown. */
  readonly linkOf: (policy: string) => string;
}

export function Chain({ steps, linkOf }: ChainProps): JSX.Element {
  if (steps.length === 0) {
    return <p class="empty-note">No policy was asked: the verdict was reached before any.</p>;
  }
  return (
    <ol class="chain">
      {steps.map((step, index) => (
        <li key={index} class={step.isDeciding ? 'chain-step deciding' : 'chain-step'}>
          <div class="chain-head">
            <span class="chain-check">{step.check}</span>
            <span class="chain-tier">{nameTier(step.tier)}</span>
            <VerdictBadge action={step.action} />
          </div>
          <div class="chain-policy">
            {step.tier === '' ? (
              <span class="mono">{step.policy}</span>
            ) : (
              <a class="mono" href={linkOf(step.policy)}>
                {step.policy}
              </a>
            )}
            <span class="quiet"> {step.rule < 0 ? 'end of tier' : `rule ${step.rule}`}</span>
            {step.isDeciding ? <strong class="chain-decides">decides</strong> : null}
          </div>
          <Source step={step} />
        </li>
      ))}
    </ol>
  );
}

/** The lines of the deciding step are open, those of the others a key away. */
function Source({ step }: { readonly step: ExplainStep }): JSX.Element | null {
  if (step.source === undefined) return null;
  if (step.snippet === undefined) return <div class="chain-source mono">{step.source}</div>;
  return (
    <details open={step.isDeciding}>
      <summary class="chain-source mono">{step.source}</summary>
      <Snippet text={step.snippet} source={step.source} />
    </details>
  );
}

function nameTier(tier: string): string {
  if (tier === '') return 'before any policy';
  return tier === '__PROFILE__' ? 'profiles' : `tier ${tier}`;
}

function Snippet({ text, source }: { readonly text: string; readonly source: string | undefined }): JSX.Element {
  const marked = /:(\d+)$/.exec(source ?? '')?.[1];
  return (
    // A region that scrolls sideways must be reachable by keyboard.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
    <section class="snippet" tabIndex={0} aria-label={source ? `lines around ${source}` : 'source lines'}>
      <pre>
        {text.split('\n').map((line, index) => (
          <span key={index} class={marked !== undefined && numberOf(line) === marked ? 'line is-marked' : 'line'}>
            {line}
            {'\n'}
          </span>
        ))}
      </pre>
    </section>
  );
}

/** Lines come with their number in front: `  12  kind: Tier`. */
function numberOf(line: string): string | undefined {
  return /^\s*(\d+) /.exec(line)?.[1];
}
