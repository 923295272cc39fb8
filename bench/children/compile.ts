/** A cluster from its files to tables that answer: `compile.js [--node NAME] FILE…`. Prints one line of JSON. */
import { parseArgs } from 'node:util';
import { expandFiles } from '../../src/load/files.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import { compileCluster } from './load.ts';

const { values, positionals } = parseArgs({ options: { node: { type: 'string' } }, allowPositionals: true });
const start = performance.now();
const { resources, errors } = loadResources(expandFiles(positionals, false));
if (errors.length > 0) throw new Error(errors.slice(0, 5).map(formatProblem).join('\n'));
const loadMs = performance.now() - start;
const loadedMb = process.resourceUsage().maxRSS / 1024;
const { tables, ...times } = compileCluster(resources, values.node === undefined ? {} : { node: values.node });
const residentMb = process.resourceUsage().maxRSS / 1024;
const counts = { pods: resources.pods.length, words: tables.functions.length };
process.stdout.write(`${JSON.stringify({ loadMs, ...times, loadedMb, residentMb, ...counts })}\n`);
