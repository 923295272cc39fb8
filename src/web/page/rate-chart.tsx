/** Packets a second by verdict, as uPlot draws them on a canvas, with a legend whose entries switch lines off and on. */

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { RateStep } from '../../agent/api.ts';
import { formatCount, formatShort } from '../shared/format.ts';
import { Shape } from '../shared/verdict.tsx';
import { VERDICT_MEANINGS, VERDICT_NAMES, type VerdictName } from '../shared/verdict-names.ts';
import { useApp } from './context.ts';
import { columnsOf, recentRate } from './rate-columns.ts';
import { THEME_EVENT } from './theme.tsx';

const SPAN_SECONDS = 600;
const HEIGHT_PX = 240;
/** Told apart by more than colour. */
const DASHES: Readonly<Record<VerdictName, number[]>> = {
  allow: [],
  deny: [],
  unpoliced: [2, 3],
  uncertain: [8, 4],
  undecoded: [1, 4],
  lost: [10, 3, 2, 3],
};

export function RateChart({ steps }: { readonly steps: readonly RateStep[] }): JSX.Element {
  const { place, change } = useApp();
  const [hidden, setHidden] = useState<ReadonlySet<VerdictName>>(new Set());
  const isLog = place.parameters.scale === 'log';
  const host = useRef<HTMLDivElement>(null);
  useChart(host, steps, hidden, isLog);
  const toggle = (name: VerdictName): void => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    setHidden(next);
  };
  const words = VERDICT_NAMES.map((name) => `${name} ${formatShort(recentRate(steps, name, 10))}`).join(', ');
  return (
    <section class="panel chart-panel" aria-labelledby="chart-title">
      <div class="panel-head">
        <h2 id="chart-title">Packets a second, last ten minutes</h2>
        <label class="check">
          <input
            type="checkbox"
            checked={isLog}
            onChange={(event) => change({ scale: event.currentTarget.checked ? 'log' : undefined })}
          />
          logarithmic
        </label>
      </div>
      <div
        class="chart"
        ref={host}
        role="img"
        aria-label={`Packets a second by verdict, the last ten seconds: ${words}`}
      />
      <div class="legend">
        {VERDICT_NAMES.map((name) => (
          <button
            key={name}
            type="button"
            class={`legend-entry verdict-${name}`}
            aria-pressed={!hidden.has(name)}
            title={VERDICT_MEANINGS[name]}
            onClick={() => toggle(name)}
          >
            <Shape name={name} />
            {name}
          </button>
        ))}
      </div>
    </section>
  );
}

function useChart(
  host: { readonly current: HTMLDivElement | null },
  steps: readonly RateStep[],
  hidden: ReadonlySet<VerdictName>,
  isLog: boolean,
): void {
  const chart = useRef<uPlot>();
  const [themeCount, setThemeCount] = useState(0);
  useEffect(() => {
    const update = (): void => setThemeCount((count) => count + 1);
    document.addEventListener(THEME_EVENT, update);
    return () => document.removeEventListener(THEME_EVENT, update);
  }, []);
  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const made = new uPlot(settingsFor(element, isLog, hidden), dataOf(steps), element);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = undefined;
    };
  }, [host, isLog, themeCount, hidden]);
  useEffect(() => chart.current?.setData(dataOf(steps)), [steps]);
}

function dataOf(steps: readonly RateStep[]): uPlot.AlignedData {
  const { times, counts } = columnsOf(steps, SPAN_SECONDS);
  return [times, ...VERDICT_NAMES.map((name) => counts[name])];
}

function settingsFor(element: HTMLElement, isLog: boolean, hidden: ReadonlySet<VerdictName>): uPlot.Options {
  const color = (variable: string): string => resolveColor(element, variable);
  const axis = {
    stroke: color('--muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: color('--line'), width: 1 },
    ticks: { stroke: color('--line'), width: 1, size: 4 },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    padding: [8, 26, 0, 0],
    // Times in UTC, as everywhere on the page.
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    scales: { x: { time: true }, y: isLog ? { distr: 4, asinh: 1, range: rangeFromZero } : { range: rangeFromZero } },
    axes: [
      {
        ...axis,
        values: (_, splits) => splits.map((at) => new Date(at * 1000).toISOString().slice(11, 19)),
        space: 80,
        size: 30,
      },
      {
        ...axis,
        size: 48,
        values: (_, splits) => splits.map((count: number | null) => (count === null ? '' : formatShort(count))),
      },
    ],
    series: [
      {},
      ...VERDICT_NAMES.map((name) => ({
        label: name,
        show: !hidden.has(name),
        stroke: color(`--${name}`),
        width: name === 'allow' || name === 'deny' ? 2 : 1.5,
        dash: DASHES[name],
        points: { show: false },
        ...(name === 'allow' ? { fill: color('--allow-wash') } : {}),
      })),
    ],
    hooks: { init: [(made) => made.root.append(tooltip(made))] },
  };
}

function rangeFromZero(_: uPlot, __: number | null, most: number | null): [number, number] {
  return [0, Math.max(1, (most ?? 0) * 1.05)];
}

/** The counts of the second under the pointer. */
function tooltip(made: uPlot): HTMLElement {
  const box = document.createElement('div');
  box.className = 'chart-tip';
  box.hidden = true;
  made.hooks.setCursor = [...(made.hooks.setCursor ?? []), (chart) => move(chart, box)];
  return box;
}

function move(chart: uPlot, box: HTMLElement): void {
  const at = chart.cursor.idx;
  box.hidden = at === null || at === undefined || (chart.cursor.left ?? -1) < 0;
  if (box.hidden || at === null || at === undefined) return;
  const lines = VERDICT_NAMES.map((name, index) => {
    const count = chart.data[index + 1]?.[at];
    return `${name} ${count === null || count === undefined ? '–' : formatCount(count)}`;
  });
  box.textContent = `${new Date(chart.data[0][at]! * 1000).toISOString().slice(11, 19)} UTC\n${lines.join('\n')}`;
  box.classList.toggle('at-right', (chart.cursor.left ?? 0) < chart.bbox.width / devicePixelRatio / 2);
}

/** A variable's value as a canvas takes it: without light-dark(). */
function resolveColor(element: HTMLElement, variable: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${variable})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
