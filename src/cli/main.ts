#!/usr/bin/env node
/** The entry of the command line: the process around `run`. */
import { EXIT_INTERRUPTED } from './exit.ts';
import { processOutput } from './output.ts';
import { run } from './program.ts';

const output = processOutput();
process.exitCode = await run(process.argv.slice(2), output);
output.flush();
// A stream that gives nothing more would keep the process waiting; the answer itself has to be out first.
if (process.exitCode === EXIT_INTERRUPTED) process.stdout.write('', () => process.exit());
