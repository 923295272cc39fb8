/** Packets over time: a row a verdict, each on its own scale, so that a few denied ones show beside millions of allowed. */

import type { JSX } from 'preact';
import type { ReportTimeline, ReportTotals } from '../../analyze/report-data.ts';
import { formatCount, formatShort, formatSpan } from '../shared/format.ts';
import { Shape } from '../shared/verdict.tsx';
import { VERDICT_MEANINGS } from '../shared/verdict-names.ts';

const ROWS = ['allow', 'deny', 'unpoliced', 'uncertain', 'undecoded'] as const;
const WIDTH = 600;
const HEIGHT = 30;

export function Timeline(props: { readonly timeline: ReportTimeline; readonly totals: ReportTotals }): JSX.Element {
  const { timeline, totals } = props;
  const count = timeline.allow.length;
  const endMs = timeline.start_ms + count * timeline.step_ms;
  return (
    <section class="panel" aria-labelledby="timeline-title">
      <div class="panel-head">
        <h2 id="timeline-title">Packets over time</h2>
        {count > 0 ? <span class="quiet">{formatSpan(timeline.step_ms)} a step</span> : null}
      </div>
      <div class="timeline">
        {ROWS.map((name) => (
          <TimelineRow key={name} name={name} total={totals[name]} counts={timeline[name]} />
        ))}
        <FindingRow name="leak" total={totals.leaks} counts={timeline.leaks} />
        <FindingRow name="blocked" total={totals.blocked} counts={timeline.blocked} />
        {count > 0 ? (
          <div class="timeline-axis quiet">
            <span>{clock(timeline.start_ms)}</span>
            <span>{clock((timeline.start_ms + endMs) / 2)}</span>
            <span>{clock(endMs)}</span>
          </div>
        ) : null}
      </div>
      {totals.seen_again > 0 ? (
        <p class="note">
          {formatCount(totals.seen_again)} sightings of packets that another capture holds, too, are not counted.
        </p>
      ) : null}
    </section>
  );
}

function clock(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(11, 19);
}

function TimelineRow(props: {
  readonly name: (typeof ROWS)[number];
  readonly total: number;
  readonly counts: readonly number[];
}): JSX.Element {
  const { name, total, counts } = props;
  const most = Math.max(0, ...counts);
  const label = `${name}: ${formatCount(total)} packets, at most ${formatCount(most)} a step`;
  return (
    <Row name={name} kind={`verdict-${name}`} total={total} label={label} path={stepArea(counts, most)} pathKind="area">
      <span class="timeline-most quiet" title="most in one step">
        {most > 0 ? formatShort(most) : ''}
      </span>
    </Row>
  );
}

/** Findings are few: a mark each, at the time of the first packet. */
function FindingRow(props: {
  readonly name: 'leak' | 'blocked';
  readonly total: number;
  readonly counts: readonly number[];
}): JSX.Element {
  const { name, total, counts } = props;
  const step = WIDTH / Math.max(1, counts.length);
  const marks = counts.flatMap((count, index) =>
    count > 0 ? [`M${((index + 0.5) * step).toFixed(1)} 3V${HEIGHT - 3}`] : [],
  );
  const label = `${name}: ${formatCount(total)} connections`;
  return (
    <Row name={name} kind={`timeline-${name}`} total={total} label={label} path={marks.join('')} pathKind="mark">
      <span />
    </Row>
  );
}

/** What it is, how many in all, the picture over time, and what stands behind it. */
function Row(props: {
  readonly name: (typeof ROWS)[number] | 'leak' | 'blocked';
  readonly kind: string;
  readonly total: number;
  readonly label: string;
  readonly path: string;
  readonly pathKind: 'area' | 'mark';
  readonly children: JSX.Element;
}): JSX.Element {
  const { name, total } = props;
  return (
    <div class={`timeline-row ${props.kind} ${total === 0 ? 'is-zero' : ''}`}>
      <span class="badge" title={VERDICT_MEANINGS[name]}>
        <Shape name={name} />
        {name}
      </span>
      <span class="timeline-total">{formatCount(total)}</span>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={props.label}>
        <path class="timeline-base" d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
        <path class={`timeline-${props.pathKind}`} d={props.path} />
      </svg>
      {props.children}
    </div>
  );
}

/** A filled line of steps; empty without anything to show. */
function stepArea(counts: readonly number[], most: number): string {
  if (most === 0) return '';
  const step = WIDTH / counts.length;
  let path = `M0 ${HEIGHT}`;
  counts.forEach((count, index) => {
    // What is not zero stays visible.
    const height = count === 0 ? 0 : Math.max(1.5, (count / most) * (HEIGHT - 2));
    path += `V${(HEIGHT - height).toFixed(1)}H${((index + 1) * step).toFixed(1)}`;
  });
  return `${path}V${HEIGHT}z`;
}
