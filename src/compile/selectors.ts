/**
 * Parsed selectors, one for each distinct text, and what is made of them.
 *
 * A cluster repeats few selectors in many rules, and an ID costs a hash, so both good and bad parses are kept. The cache
 * outlives one plan: `IncrementalCompiler` hands the same one to every compile.
 */
import { PolicyError, SELECTOR_SYNTAX } from '../base/errors.ts';
import { canonicalText } from '../selector/canonical.ts';
import { prefixKeys } from '../selector/prefix.ts';
import { parseSelector, type Selector } from '../selector/selector.ts';
import type { IpSetSpec } from './draft.ts';
import type { KnownSide } from './known-sides.ts';

/** Prefixes that inherited labels carry on an endpoint (semantics 2.2). */
export const NAMESPACE_PREFIX = 'pcns.';
export const SERVICE_ACCOUNT_PREFIX = 'pcsa.';

/** Labels that Calico puts on endpoints itself (semantics 2.1). */
export const LABEL_NAMESPACE = 'projectcalico.org/namespace';
export const LABEL_ORCHESTRATOR = 'projectcalico.org/orchestrator';
export const LABEL_SERVICE_ACCOUNT = 'projectcalico.org/serviceaccount';
/** Joined to `pcns.` and `pcsa.`, the label with the object's own name. */
export const LABEL_NAME = 'projectcalico.org/name';

export class SelectorCache {
  readonly #byText = new Map<string, Selector | PolicyError>();
  readonly #prefixed = new Map<string, string | undefined>();
  readonly #ipSets = new Map<string, IpSetSpec>();
  /** Sides of rules by what they say (known-sides.ts). */
  readonly sides = new Map<string, KnownSide>();

  /**
   * The selector, or the syntax error that Calico would find too. A text beyond our own limits (`SELECTOR_LIMIT`) is
   * thrown: Calico would take it, so no verdict may be given without it.
   */
  parse(text: string): Selector | PolicyError {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const parsed = parseOrSyntaxError(text);
    this.#byText.set(text, parsed);
    return parsed;
  }

  /** Canonical text with `prefix` before every key, or `undefined` if `text` does not parse. */
  prefixed(text: string, prefix: string): string | undefined {
    const key = prefix + text;
    if (this.#prefixed.has(key)) return this.#prefixed.get(key);
    const parsed = this.parse(text);
    const prefixed = isSyntaxError(parsed) ? undefined : canonicalText(prefixKeys(parsed.root, prefix));
    this.#prefixed.set(key, prefixed);
    return prefixed;
  }

  /** The description of an IP set, made once for each `key`: its ID costs a hash. */
  ipSet(key: string, make: () => IpSetSpec): IpSetSpec {
    const known = this.#ipSets.get(key) ?? make();
    this.#ipSets.set(key, known);
    return known;
  }
}

export function isSyntaxError(parsed: Selector | PolicyError): parsed is PolicyError {
  return parsed instanceof PolicyError;
}

function parseOrSyntaxError(text: string): Selector | PolicyError {
  try {
    return parseSelector(text);
  } catch (error) {
    if (error instanceof PolicyError && error.code === SELECTOR_SYNTAX) return error;
    throw error;
  }
}
