/** `margay schema`: the record's JSON schema, also under `--schema` of the verbs that print records. */
import type { Command } from 'commander';
import { EXIT_FINE } from '../exit.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderJson } from '../render.ts';

export function addSchema(program: Command, output: Output, finish: Finish): void {
  program
    .command('schema')
    .summary('print the JSON schema of records')
    .description('Prints the JSON schema of the records that eval and replay print with -o json and -o jsonl.')
    .addHelpText('after', '\nExample:\n  margay schema > record.schema.json')
    .action(async () => finish(await printSchema(output)));
}

export async function printSchema(output: Output): Promise<number> {
  const { RECORD_SCHEMA } = await import('../../analyze/record-schema.ts');
  output.stdout.write(renderJson(RECORD_SCHEMA));
  return EXIT_FINE;
}
