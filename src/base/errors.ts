/**
 * The operator's errors: something the user wrote is wrong, and the user can put it right.
 *
 * Three kinds of failure are kept apart. `PolicyError` is the operator's; the command line prints it as one line
 * without a stack and exits 2. Trouble of the environment (a store that is away, a missing right) is an ordinary
 * `Error` that names the host or the permission. Ours is `InvariantError` in `assert.ts`.
 */

/** Where a piece of input was read: file name as the user gave it, line from 1. */
export interface Origin {
  readonly file: string;
  readonly line: number;
}

/** What an error or a warning is about: the object, and the path of the field inside it (`spec.ingress[2].action`). */
export interface Subject {
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly field?: string | undefined;
}

/** The parts of one report line, each optional but the problem. */
export interface ReportParts extends Subject {
  readonly origin?: Origin | undefined;
  readonly problem: string;
  readonly fix?: string | undefined;
}

/** Optional details of a `PolicyError`; `column` counts UTF-16 code units of the quoted text from 1. */
export interface PolicyErrorDetails {
  readonly column?: number | undefined;
  readonly origin?: Origin | undefined;
  readonly fix?: string | undefined;
}

/** Code of a selector that the grammar refuses, as Calico's own parser does. */
export const SELECTOR_SYNTAX = 'selector-syntax';

/** Code of a selector that Calico would take but that passes one of our limits. */
export const SELECTOR_LIMIT = 'selector-limit';

/**
 * An error in what the user wrote.
 *
 * `code` is a stable kebab-case word for programs. `problem` says what is wrong and quotes the offending text, `fix`
 * what to do about it; `message` is both, joined by `; `, and always a single line.
 */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: string;
  readonly problem: string;
  readonly column: number | undefined;
  readonly origin: Origin | undefined;
  readonly fix: string | undefined;

  constructor(code: string, problem: string, details: PolicyErrorDetails = {}) {
    super(formatReport({ problem, fix: details.fix }));
    this.code = code;
    this.problem = problem;
    this.column = details.column;
    this.origin = details.origin;
    this.fix = details.fix;
  }
}

/**
 * One line for people: `file:line: Kind namespace/name: field: what is wrong; what to do`, without the absent parts.
 *
 * Control characters of the input are shown as escapes, so that the result is one line whatever the user wrote.
 */
export function formatReport(parts: ReportParts): string {
  const where: string[] = [];
  if (parts.origin !== undefined) where.push(`${parts.origin.file}:${parts.origin.line}`);
  const object = formatObject(parts);
  if (object !== '') where.push(object);
  if (parts.field !== undefined) where.push(parts.field);
  const what = parts.fix === undefined ? parts.problem : `${parts.problem}; ${parts.fix}`;
  return escapeControls([...where, what].join(': '));
}

/** The report line of an error, with what the caller knows about the object that holds the text. */
export function formatPolicyError(error: PolicyError, subject: Subject = {}): string {
  return formatReport({ ...subject, origin: error.origin, problem: error.problem, fix: error.fix });
}

/** Input text for a message, in single quotes: see `shownText`. */
export function quoteText(text: string): string {
  return `'${shownText(text)}'`;
}

/** Input text for the inside of a message: control characters as escapes, cut after 40 code units. */
export function shownText(text: string): string {
  return escapeControls(text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text);
}

const SHOWN_LENGTH_MAX = 40;

/** `Kind namespace/name`, or as much of it as is known. */
function formatObject(subject: Subject): string {
  const path = [subject.namespace, subject.name].filter((part) => part !== undefined && part !== '').join('/');
  return [subject.kind, path].filter((part) => part !== undefined && part !== '').join(' ');
}

/** Shows control characters, line separators, bidirectional overrides and lone surrogates as `\n`, `\t`, `\r` or `\u{…}`. */
export function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\r') return '\\r';
    if (character === '\t') return '\\t';
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}
