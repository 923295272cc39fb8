/** A verdict of the reference and one of the tables, in one form that can be compared as text. */
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import type { Flow } from '../../src/model/flow.ts';
import type { Reference } from '../../src/reference/evaluate.ts';
import type { Tables } from '../../src/tables/tables.ts';

const CHECKS = ['egress', 'ingress', 'forward', 'untracked', 'prednat'] as const;

interface Answer {
  readonly action: string;
  readonly reason?: string | undefined;
  readonly direction?: string | undefined;
  readonly pending?: PendingLike | undefined;
  readonly egress?: CheckLike | undefined;
  readonly ingress?: CheckLike | undefined;
  readonly forward?: CheckLike | undefined;
  readonly untracked?: CheckLike | undefined;
  readonly prednat?: CheckLike | undefined;
}

interface PendingLike {
  readonly action: string;
  readonly egress?: readonly string[] | undefined;
  readonly ingress?: readonly string[] | undefined;
  readonly forward?: readonly string[] | undefined;
  readonly untracked?: readonly string[] | undefined;
  readonly prednat?: readonly string[] | undefined;
}

interface CheckLike {
  readonly action: string;
  readonly trace: readonly string[];
}

/** Action, reason, direction, every trace, pending: one line each. Checks of an uncertain verdict are of no meaning. */
export function answerText(answer: Answer): string {
  const lines = [line(answer.action, answer.reason, answer.direction)];
  if (answer.action !== 'uncertain') {
    for (const name of CHECKS) {
      const check = answer[name];
      if (check !== undefined) lines.push(line(name, check.action, ...check.trace));
    }
  }
  const { pending } = answer;
  if (pending !== undefined) {
    lines.push(line('pending', pending.action));
    for (const name of CHECKS) {
      const trace = pending[name];
      if (trace !== undefined) lines.push(line('pending', name, ...trace));
    }
  }
  return lines.join('\n');
}

/** The parts that there are, with single spaces. */
function line(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}

export interface Disagreement {
  readonly flow: Flow;
  readonly reference: string;
  readonly tables: string;
}

/** The first of `flows` that the two answer differently, if any. Counts in `endings` how flows ended. */
export function firstDisagreement(
  reference: Reference,
  tables: Tables,
  flows: readonly Flow[],
  endings: Map<string, number> = new Map(),
): Disagreement | undefined {
  for (const flow of flows) {
    const wanted = reference.evaluate(flow);
    const found = evaluateFlow(tables, flow);
    const [a, b] = [answerText(wanted), answerText(found)];
    if (a !== b) return { flow, reference: a, tables: b };
    count(endings, `${wanted.action} ${wanted.reason}`.trim());
    if (wanted.pending !== undefined) count(endings, 'pending');
  }
  return undefined;
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
