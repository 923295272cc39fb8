/** Exit codes, the same for every verb (design, section 6), and the errors that lead to them. */

/** Answered, and fine. */
export const EXIT_FINE = 0;
/** A finding: a violation, a difference, a denied `eval`. `--exit-zero` turns it into 0. */
const EXIT_FINDING = 1;
/** Bad usage, or input that the API would refuse. */
export const EXIT_BAD_INPUT = 2;
/** Answered, but on incomplete evidence: a damaged capture, too many uncertain packets, too few policed ones. */
export const EXIT_INCOMPLETE = 3;
/** Trouble at run time: a capture that cannot be read, a store that is away, a full disk. */
export const EXIT_TROUBLE = 4;
/** Ended by Ctrl-C: 128 and the number of SIGINT. */
export const EXIT_INTERRUPTED = 130;

/** The command line asks for something that makes no sense. One line: what is wrong, and what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command has said all there is to say and ends with `code`. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** What a run found, and what its options make of it. */
export interface Outcome {
  readonly hasFinding?: boolean;
  readonly isIncomplete?: boolean;
  readonly isInterrupted?: boolean;
  readonly exitZero?: boolean | undefined;
}

/** A finding weighs more than missing evidence; being interrupted more than both. */
export function exitCodeOf(outcome: Outcome): number {
  if (outcome.isInterrupted === true) return EXIT_INTERRUPTED;
  if (outcome.hasFinding === true && outcome.exitZero !== true) return EXIT_FINDING;
  return outcome.isIncomplete === true ? EXIT_INCOMPLETE : EXIT_FINE;
}
