/** Captures of `verify` as the command line names them: `FILE`, or where it was taken and the file, `POINT=FILE`. */
import { existsSync, statSync } from 'node:fs';
import type { CaptureInput, CapturePoint } from '../analyze/capture-places.ts';
import { quoteText } from '../base/errors.ts';
import type { Plan } from '../compile/plan.ts';
import { VERIFY_CAPTURES_MAX } from '../model/limits.ts';
import { checkCaptures } from './captures.ts';
import { UsageError } from './exit.ts';
import { listed } from './inputs.ts';

export interface NamedCaptures {
  readonly read?: readonly string[];
  readonly sent?: readonly string[];
  readonly delivered?: readonly string[];
}

/** A capture whose point is still text. */
interface Told {
  readonly file: string;
  readonly kind: 'unknown' | 'sent' | 'delivered' | 'node' | 'pod' | 'either';
  readonly name: string;
}

/** Throws UsageError for none, too many, ones that are not there, and standard input beside others. */
export function toldCaptures({ read = [], sent = [], delivered = [] }: NamedCaptures): readonly Told[] {
  const told = [
    ...sent.map((file): Told => ({ file, kind: 'sent', name: '' })),
    ...delivered.map((file): Told => ({ file, kind: 'delivered', name: '' })),
    ...read.map(toldOf),
  ];
  if (told.length === 0) {
    throw new UsageError('-r is missing: name the captures to verify, or - for standard input');
  }
  if (told.length > VERIFY_CAPTURES_MAX) {
    throw new UsageError(
      `${told.length} captures are too many, ${VERIFY_CAPTURES_MAX} at most; join some with mergecap`,
    );
  }
  const files = told.map(({ file }) => file);
  checkCaptures(files);
  const once = files.find((file) => !isPlainFile(file));
  if (once !== undefined && files.length > 1) {
    throw new UsageError(
      `${captureName(once)} cannot be laid over other captures, as those are read twice; put it into a file`,
    );
  }
  return told;
}

/** False for what can be read once only: standard input, pipes. */
export function isPlainFile(file: string): boolean {
  return file !== '-' && statSync(file).isFile();
}

export function captureName(file: string): string {
  return file === '-' ? 'standard input' : quoteText(file);
}

/** `pod:prod/db-0=FILE`, `node:node-1=FILE`, `prod/db-0=FILE`, `node-1=FILE`; a file of the whole name comes first. */
function toldOf(text: string): Told {
  const equals = text.indexOf('=');
  if (equals <= 0 || existsSync(text)) return { file: text, kind: 'unknown', name: '' };
  const point = text.slice(0, equals);
  const file = text.slice(equals + 1);
  for (const kind of ['pod', 'node'] as const) {
    if (point.startsWith(`${kind}:`)) return { file, kind, name: point.slice(kind.length + 1) };
  }
  return { file, kind: 'either', name: point };
}

/** Points with the pods and nodes of the cluster. Throws UsageError for one that the input does not have. */
export function resolveCaptures(told: readonly Told[], plan: Plan): readonly CaptureInput[] {
  return told.map(({ file, kind, name }) => ({ file, point: pointOf(kind, name, plan) }));
}

function pointOf(kind: Told['kind'], name: string, plan: Plan): CapturePoint {
  if (kind === 'unknown' || kind === 'sent' || kind === 'delivered') return { kind };
  const isPod = kind === 'pod' || (kind === 'either' && name.includes('/'));
  if (isPod) {
    const endpoint = plan.endpoints.findIndex(({ key }) => key === `wep:${name}`);
    if (endpoint >= 0) return { kind: 'pod', name, endpoint };
    const pods = plan.endpoints.filter((each) => each.kind === 'wep').map((each) => `${each.namespace}/${each.name}`);
    throw new UsageError(
      `-r: the input has no pod ${quoteText(name)}; ${pods.length === 0 ? 'it has none' : `it has ${listed(pods)}`}`,
    );
  }
  const node = plan.nodes.findIndex((each) => each.name === name);
  if (node >= 0) return { kind: 'node', name, node };
  const nodes = plan.nodes.map((each) => each.name);
  throw new UsageError(
    `-r: the input has no node ${quoteText(name)}; ${nodes.length === 0 ? 'it has none' : `it has ${listed(nodes)}`}`,
  );
}
