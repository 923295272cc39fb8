/** `margay schema`: the record's JSON schema, also under `--schema` of the verbs that print records. */
import { Argument, type Command } from 'commander';
import { EXIT_FINE } from '../exit.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderJson } from '../render.ts';

export function addSchema(program: Command, output: Output, finish: Finish): void {
  program
    .command('schema')
    .addArgument(new Argument('[what]', 'whose records').choices(['records', 'factors', 'verify']).default('records'))
    .summary('print the JSON schema of records')
    .description(
      'Prints the JSON schema of the records that eval and replay (or factors, or verify) print with -o json and -o jsonl.',
    )
    .addHelpText('after', '\nExamples:\n  margay schema > record.schema.json\n  margay schema factors')
    .action(async (what: 'records' | 'factors' | 'verify') => {
      const print = { records: printSchema, factors: printFactorsSchema, verify: printVerifySchema }[what];
      finish(await print(output));
    });
}

export async function printSchema(output: Output): Promise<number> {
  const { RECORD_SCHEMA } = await import('../../analyze/record-schema.ts');
  output.stdout.write(renderJson(RECORD_SCHEMA));
  return EXIT_FINE;
}

export async function printFactorsSchema(output: Output): Promise<number> {
  const { FACTORS_SCHEMA } = await import('../../analyze/factors-schema.ts');
  output.stdout.write(renderJson(FACTORS_SCHEMA));
  return EXIT_FINE;
}

export async function printVerifySchema(output: Output): Promise<number> {
  const { VERIFY_SCHEMA } = await import('../../analyze/verify-schema.ts');
  output.stdout.write(renderJson(VERIFY_SCHEMA));
  return EXIT_FINE;
}
