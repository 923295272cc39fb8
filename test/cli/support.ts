/** Runs a command line in this process, with memory for a terminal. */
import type { Output } from '../../src/cli/output.ts';
import { run } from '../../src/cli/program.ts';

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Terminal {
  readonly hasColor?: boolean;
  /** Standard error is a terminal of this many columns. */
  readonly columns?: number;
  /** Aborted when the command asks for it: a Ctrl-C at once. */
  readonly isInterrupted?: boolean;
}

export async function margay(args: readonly string[], terminal: Terminal = {}): Promise<Result> {
  const text = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof text, isTerminal: boolean): Output['stdout'] => ({
    write: (piece) => {
      text[name] += piece;
    },
    isTerminal,
    columns: isTerminal ? terminal.columns : undefined,
  });
  const output: Output = {
    stdout: stream('stdout', terminal.hasColor === true),
    stderr: stream('stderr', terminal.columns !== undefined),
    hasColor: terminal.hasColor === true,
    isClosed: () => false,
    interruptible: () => (terminal.isInterrupted === true ? AbortSignal.abort() : new AbortController().signal),
    flush: () => {},
  };
  const code = await run(args, output);
  return { code, ...text };
}

/** The lessons, by the paths that a user at the top level of the repository would type. */
export const LESSONS = ['sa-names', 'sa-labels', 'sa-selector', 'tiers'] as const;

export function lesson(name: string): string[] {
  return ['-f', `pcaps/${name}`];
}

export function capture(name: string): string[] {
  return [...lesson(name), '-r', `pcaps/${name}/capture.pcapng`];
}
