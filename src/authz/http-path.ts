/**
 * Paths of HTTP requests and rules, in the one form in which they are compared (semantics 8.3).
 *
 * A request may spell one path in many ways, and a rule that allows `/pub` must not be reached by `/pub/../admin`. So both sides are
 * brought to a normal form first, and what has no safe one matches nothing:
 *
 *     1. cut at the first `?` or `#`
 *     2. percent-decode once; an escape that is none -> no match
 *     3. `%2e`, `%2f`, `%5c` or a NUL still in it (it was encoded twice) -> no match
 *     4. `\` becomes `/`
 *     5. in each segment, what follows a `;` is cut
 *     6. empty segments and `.` vanish, `..` takes the segment before it away, no `/` at the end
 *
 *     /pub/%2e%2e/admin;v=1//x/?q  ->  /admin/x
 *
 * `exact` is equality of normal forms, `prefix` equality or a prefix of whole segments; the prefix `/` matches every path.
 * Comparison is of bytes, as Go's strings are: an escape may give bytes that are no UTF-8.
 * Source: Calico app-policy/checker/match.go (matchHTTPPaths).
 */

/** Normal form of a path that starts with `/`, one character a byte; `undefined` = matches nothing. */
export function normalisePath(text: string): string | undefined {
  // Most paths are in normal form already.
  if (PLAIN_PATH.test(text)) return text;
  const end = text.search(/[?#]/);
  const decoded = percentDecode(toBytes(end < 0 ? text : text.slice(0, end)));
  if (decoded === undefined || DOUBLE_ENCODED.test(decoded) || decoded.includes('\0')) return undefined;
  const kept: string[] = [];
  for (const segment of decoded.replaceAll('\\', '/').split('/')) {
    const semicolon = segment.indexOf(';');
    const name = semicolon < 0 ? segment : segment.slice(0, semicolon);
    if (name === '..') kept.pop();
    else if (name !== '' && name !== '.') kept.push(name);
  }
  return `/${kept.join('/')}`;
}

/** Rooted, of harmless characters, no empty segment, no segment that starts with a dot, no slash at the end. */
const PLAIN_PATH = /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/;

const DOUBLE_ENCODED = /%2e|%2f|%5c/i;

/** UTF-8, one character a byte. */
function toBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function percentDecode(bytes: string): string | undefined {
  if (!bytes.includes('%')) return bytes;
  if (/%(?![0-9A-Fa-f]{2})/.test(bytes)) return undefined;
  return bytes.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

/** The paths of one rule, ready to compare. */
export interface PathMatch {
  readonly exact: readonly string[];
  readonly prefixes: readonly string[];
  readonly matchesAll: boolean;
}

/** Rule paths that have no normal form match nothing. */
export function compilePaths(
  paths: readonly ({ readonly exact: string } | { readonly prefix: string })[],
): PathMatch | undefined {
  if (paths.length === 0) return undefined;
  // A path of a request is rooted, so what has no root can be left out.
  const rooted = (text: string): string | readonly never[] => (text.startsWith('/') ? (normalisePath(text) ?? []) : []);
  const exact = paths.flatMap((path) => ('exact' in path ? rooted(path.exact) : []));
  const prefixes = paths.flatMap((path) => ('prefix' in path ? rooted(path.prefix) : []));
  return { exact, prefixes, matchesAll: prefixes.includes('/') };
}

/** `path` is in normal form. */
export function matchesPath(match: PathMatch, path: string): boolean {
  if (match.matchesAll) return true;
  for (const each of match.exact) if (each === path) return true;
  for (const each of match.prefixes) {
    if (path.startsWith(each) && (path.length === each.length || path.charCodeAt(each.length) === SLASH)) return true;
  }
  return false;
}

const SLASH = 0x2f;
