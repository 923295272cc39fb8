#!/usr/bin/env node
/** The entry of the command line: the process around `run`. */
import { processOutput } from './output.ts';
import { run } from './program.ts';

const output = processOutput();
process.exitCode = await run(process.argv.slice(2), output);
output.flush();
