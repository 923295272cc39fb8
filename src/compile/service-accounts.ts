/**
 * Service-account matches of rules as selectors.
 *
 * Every pod carries the name of its account as the label `projectcalico.org/serviceaccount` and inherits the account's
 * labels with `pcsa.` before their keys. So `serviceAccounts: {names: [api, web], selector: tier == "gold"}` is a
 * selector over endpoints,
 *
 *     (pcsa.tier == "gold") && (projectcalico.org/serviceaccount in {"api", "web"})
 *
 * and its IP set needs no notion of accounts. Names are pasted between single quotes and parsed, not escaped, exactly as
 * Calico does: a name with a quote in it breaks the text, and then the whole match is dropped, selector included. The
 * rule applies to any account after that, which is why the caller warns (corner case 38).
 * Source: Calico libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go, parseServiceAccounts.
 */
import type { ServiceAccountMatch } from '../model/rule.ts';
import { isSyntaxError, LABEL_SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX, type SelectorCache } from './selectors.ts';

/** Selector text of the match; `''` = no constraint. `isDropped`: the names were unusable and nothing is left of the match. */
export interface ServiceAccountSelector {
  readonly text: string;
  readonly isDropped: boolean;
}

export function serviceAccountSelector(match: ServiceAccountMatch, selectors: SelectorCache): ServiceAccountSelector {
  // A selector that does not parse contributes nothing here; the validator drops the whole policy for it.
  const bySelector = match.selector === '' ? '' : (selectors.prefixed(match.selector, SERVICE_ACCOUNT_PREFIX) ?? '');
  if (match.names.length === 0) return { text: bySelector, isDropped: false };
  const byName = selectors.parse(`${LABEL_SERVICE_ACCOUNT} in { '${match.names.join("', '")}' }`);
  if (isSyntaxError(byName)) return { text: '', isDropped: true };
  if (bySelector === '') return { text: byName.canonical, isDropped: false };
  return { text: `(${bySelector}) && (${byName.canonical})`, isDropped: false };
}
