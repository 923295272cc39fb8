/**
 * `replay --check`: every connection's flow once more through the reference evaluator, which shares nothing with the
 * compiler and the matcher but the model and the selector language.
 *
 * Both are asked about the flow as the first packet of a new connection, so that connection tracking plays no part.
 */

import { flowOfRecord } from '../analyze/read-record.ts';
import type { FlowRecord } from '../analyze/record.ts';
import { escapeControls } from '../base/errors.ts';
import type { Resources } from '../model/resources.ts';
import type { Tables } from '../tables/tables.ts';
import type { JudgeOptions } from './options.ts';
import type { Output } from './output.ts';
import { endText, targetText } from './record-text.ts';
import { counted } from './render.ts';

export interface Checker {
  connection(record: FlowRecord): void;
  /** Prints the result; true if there was a difference. */
  report(output: Output, isQuiet: boolean): boolean;
}

/** Differences printed one by one. */
const SHOWN_MAX = 20;

export async function createChecker(
  resources: Resources,
  tables: Tables,
  { node, dataplane }: Pick<JudgeOptions, 'node' | 'dataplane'>,
): Promise<Checker> {
  const [{ createReference }, { evaluateFlow }] = await Promise.all([
    import('../reference/evaluate.ts'),
    import('../analyze/evaluate-flow.ts'),
  ]);
  const reference = createReference(resources, node === undefined ? { dataplane } : { node, dataplane });
  const differences: string[] = [];
  let checked = 0;
  return {
    connection(record) {
      const flow = flowOfRecord(record);
      if (flow === undefined) return;
      checked++;
      const ours = answerText(evaluateFlow(tables, flow));
      const theirs = answerText(reference.evaluate(flow));
      if (ours === theirs) return;
      const who = `${endText(record, 'source')} -> ${targetText(record)}`;
      differences.push(`${who}: the tables say ${ours}, the reference says ${theirs}`);
    },
    report(output, isQuiet) {
      for (const line of differences.slice(0, SHOWN_MAX)) output.stderr.write(`margay: ${escapeControls(line)}\n`);
      if (!isQuiet || differences.length > 0) {
        const agree = checked - differences.length;
        output.stderr.write(
          `margay: check: the reference evaluator agrees on ${agree} of ${counted(checked, 'connection')}\n`,
        );
      }
      return differences.length > 0;
    },
  };
}

interface Answer {
  readonly action: string;
  readonly egress?: { readonly trace: readonly string[] };
  readonly ingress?: { readonly trace: readonly string[] };
  readonly forward?: { readonly trace: readonly string[] };
}

function answerText({ action, egress, ingress, forward }: Answer): string {
  const traces = Object.entries({ egress, ingress, forward })
    .filter(([, check]) => check !== undefined)
    .map(([name, check]) => `${name} ${check!.trace.join(' ') || 'before any policy'}`);
  return [action, ...traces].join(', ');
}
