/** Results as a table, at most 100 columns wide. */
import Table from 'cli-table3';
import type { Results } from './measurement.ts';

export function printTable(results: Results): string {
  const { cpu, cores, memoryGiB, system, node } = results.machine;
  const table = new Table({
    head: ['scenario', 'what', 'median', 'min', 'max', 'unit', 'goal'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right', 'right', 'left', 'left'],
  });
  for (const row of results.measurements) {
    table.push([row.scenario, row.name, short(row.median), short(row.min), short(row.max), row.unit, row.goal ?? '']);
  }
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node.js ${node}\n${results.command}\n${table.toString()}\n`;
}

function short(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
