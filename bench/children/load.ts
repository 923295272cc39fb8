/** From the text of a cluster to tables that answer, each step timed. */
import { readFileSync } from 'node:fs';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { expandFiles } from '../../src/load/files.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import type { Resources } from '../../src/model/resources.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

export interface Loaded {
  readonly resources: Resources;
  readonly tables: Tables;
  readonly times: LoadTimes;
}

export interface LoadTimes {
  /** Read, parsed, validated, taken into the model. */
  readonly loadMs: number;
  /** Objects to plan, plan to buffer, buffer checked and opened. */
  readonly planMs: number;
  readonly packMs: number;
  readonly openMs: number;
  readonly tableBytes: number;
}

export interface CompileOptions {
  readonly node?: string;
}

export function loadCluster(path: string): { readonly resources: Resources; readonly loadMs: number } {
  const start = performance.now();
  const { resources, errors } = loadResources(expandFiles([path], false));
  if (errors.length > 0) throw new Error(errors.slice(0, 5).map(formatProblem).join('\n'));
  return { resources, loadMs: performance.now() - start };
}

export function compileCluster(
  resources: Resources,
  options: CompileOptions = {},
): Omit<LoadTimes, 'loadMs'> & { readonly tables: Tables } {
  const start = performance.now();
  const plan = planCluster(resources);
  const planned = performance.now();
  const buffer = packPlan(plan, options);
  const packed = performance.now();
  const tables = openTables(buffer);
  const opened = performance.now();
  return {
    tables,
    planMs: planned - start,
    packMs: packed - planned,
    openMs: opened - packed,
    tableBytes: buffer.byteLength,
  };
}

export function openCluster(path: string, options: CompileOptions = {}): Loaded {
  const { resources, loadMs } = loadCluster(path);
  const { tables, ...times } = compileCluster(resources, options);
  return { resources, tables, times: { loadMs, ...times } };
}

/** A text of the file by itself: what `JSON.parse` alone takes of it, as a floor. */
export function parseOnlyMs(path: string): number {
  const text = readFileSync(path, 'utf8');
  const start = performance.now();
  JSON.parse(text);
  return performance.now() - start;
}
