/** What a failing world is shown as: a few documents, one flow, and the two answers, ready to become a case folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { compile } from '../../src/compile/compile.ts';
import type { Flow } from '../../src/model/flow.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import type { Document } from '../rows/objects.ts';
import { formatFlow } from '../support/flow-text.ts';
import { type Disagreement, firstDisagreement } from './compare.ts';
import { shrinkDocuments } from './shrink.ts';
import { loadWorld, type World } from './world.ts';

export interface SmallFailure {
  readonly documents: readonly Document[];
  readonly disagreement: Disagreement;
  readonly options: Pick<World, 'permissive' | 'asIs'>;
}

/** The smallest cluster found in which reference and tables still disagree on the flow. */
export function shrinkFailure(world: World, { flow }: Disagreement): SmallFailure {
  const { permissive, asIs } = world;
  const documents = shrinkDocuments(
    loadWorld(world).documents,
    (some) => disagreementIn(world, some, flow) !== undefined,
  );
  return { documents, disagreement: disagreementIn(world, documents, flow)!, options: { permissive, asIs } };
}

/** No disagreement where a document is refused: shrinking must not turn one failure into another kind. */
function disagreementIn(world: World, documents: readonly Document[], flow: Flow): Disagreement | undefined {
  try {
    const loaded = loadWorld({ ...world, documents });
    if (loaded.documents.length < documents.length) return undefined;
    return firstDisagreement(createReference(loaded.resources), openTables(compile(loaded.resources)), [flow]);
  } catch {
    return undefined;
  }
}

/** The failure as text: what would be in the files of its case folder. */
export function failureText({ documents, disagreement, options }: SmallFailure): string {
  const { flow, reference, tables } = disagreement;
  return [
    `reference and tables disagree (options ${JSON.stringify(options)})`,
    '--- policy.yaml',
    yamlOf(documents),
    '--- packets.txt',
    formatFlow(flow),
    '--- the reference says',
    reference,
    '--- the tables say',
    tables,
  ].join('\n');
}

/** Writes the failure as a case folder (test/cases/README.md); verdicts.txt holds what the reference says. */
export function writeCase(folder: string, failure: SmallFailure, origin: string): void {
  const { documents, disagreement, options } = failure;
  mkdirSync(folder, { recursive: true });
  const isPolicy = ({ kind }: Document): boolean => /Policy$|^Tier$/.test(kind);
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  write('README', `Found at random (${origin}); say here what it is about.\n`);
  write('policy.yaml', yamlOf(documents.filter(isPolicy)));
  write('endpoints.yaml', yamlOf(documents.filter((document) => !isPolicy(document))));
  write('packets.txt', `${formatFlow(disagreement.flow)}\n`);
  write('verdicts.txt', `${disagreement.reference.replaceAll('\n', '; ')}\n`);
  if (options.permissive || options.asIs) write('options.json', `${JSON.stringify(options)}\n`);
}

function yamlOf(documents: readonly Document[]): string {
  return documents.map((document) => stringify(document)).join('---\n');
}
