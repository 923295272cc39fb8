/** Results as tables. */
import Table from 'cli-table3';
import type { FigureRow } from './figures.ts';
import type { Results } from './measurement.ts';
import { short } from './text.ts';

export function printTable(results: Results): string {
  const table = new Table({
    head: ['scenario', 'what', 'median', 'min', 'max', 'runs', 'unit'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const { scenario, name, note, median, min, max, runs, unit } of results.measurements) {
    table.push([
      scenario,
      note === undefined ? name : `${name} (${note})`,
      short(median),
      short(min),
      short(max),
      runs,
      unit,
    ]);
  }
  return `${head(results)}${table.toString()}\n${tail(results)}`;
}

export function printFigures(results: Results, rows: readonly FigureRow[]): string {
  const table = new Table({
    head: ['figure', 'goal', 'measured', 'reached'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'left'],
  });
  for (const { what, goal, isAtMost, unit, value, spread } of rows) {
    const sign = isAtMost ? '<=' : '>=';
    const isReached = value !== undefined && (isAtMost ? value <= goal : value >= goal);
    table.push([
      what,
      `${sign} ${goal} ${unit}`,
      value === undefined ? 'not measured' : `${short(value)} ${unit}${spread === undefined ? '' : ` (${spread})`}`,
      value === undefined ? '-' : isReached ? 'yes' : 'NO',
    ]);
  }
  return `${head(results)}${table.toString()}\n${reservations(results)}${tail(results)}`;
}

/** What keeps these from being figures of record. */
function reservations({ packets, machine }: Results): string {
  const few =
    packets < FULL_PACKETS ? [`captures of ${packets.toLocaleString('en')} packets: 10 000 000 are asked for`] : [];
  const busy = machine.loadAverage > LOAD_MAX ? [`the machine was busy (load ${machine.loadAverage})`] : [];
  return [...few, ...busy].map((reason) => `no figures of record: ${reason}\n`).join('');
}

const FULL_PACKETS = 10_000_000;
const LOAD_MAX = 1;

function head({ machine, command }: Results): string {
  const { cpu, cores, memoryGiB, system, node, loadAverage, versions } = machine;
  const others = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node.js ${node}, load ${loadAverage}\n${others.join(', ')}\n${command}\n`;
}

function tail({ seconds, skipped }: Results): string {
  const left = skipped.map((reason) => `skipped: ${reason}\n`).join('');
  return `${left}${Math.round(seconds)} s in all\n`;
}
