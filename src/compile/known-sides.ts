/**
 * Sides of rules, each converted once.
 *
 * A cluster's rules are many and say few things: 100 000 rules over 1 000 accounts and 20 lists of ports have 21 000 different sides, and
 * most of these are one list of ports or one account. Conversion of a side parses, combines and hashes selectors, so it is done once for each content;
 * and since rules then share the very object, whatever is made of sides later (plan, terms, records) is found by the object itself.
 *
 * What decides a side: its fields, whether it is source or destination, the policy's namespace, and the protocol where there are ports. A side with
 * anything to warn of is converted each time, since a warning names its rule.
 */
import type { EntityRule, Port, Rule } from '../model/rule.ts';
import type { SideDraft } from './draft.ts';
import { framed } from './labels.ts';
import type { PlanIdentityMatch } from './plan.ts';

export interface KnownSide {
  readonly draft: SideDraft;
  readonly identity: PlanIdentityMatch;
}

/** One text for all sides that mean the same; texts in it are framed, so that different ones differ. */
export function sideKey(rule: Rule, side: 'source' | 'destination', namespace: string): string {
  const entity = rule[side];
  const { selector, notSelector, namespaceSelector, serviceAccounts, services, ports, notPorts } = entity;
  let key = side === 'source' ? 's' : 'd';
  key += framed(namespace);
  if (selector !== '') key += `=${framed(selector)}`;
  if (notSelector !== '') key += `!${framed(notSelector)}`;
  if (namespaceSelector !== '') key += `n${framed(namespaceSelector)}`;
  if (serviceAccounts !== undefined) key += `a${list(serviceAccounts.names)}${framed(serviceAccounts.selector)}`;
  if (services !== undefined) key += `v${framed(services.namespace)}${framed(services.name)}`;
  if (entity.nets.length > 0) key += `c${list(entity.nets)}`;
  if (entity.notNets.length > 0) key += `C${list(entity.notNets)}`;
  if (ports.length + notPorts.length === 0) return key;
  // A protocol's name and number are the same here, but not a name and the text of a number.
  const { protocol } = rule;
  key += typeof protocol === 'string' ? `p${framed(protocol)}` : `#${protocol ?? ''} `;
  for (const port of ports) key += portText(port);
  for (const port of notPorts) key += `-${portText(port)}`;
  return key;
}

function list(texts: EntityRule['nets']): string {
  let key = `${texts.length};`;
  for (const text of texts) key += framed(text);
  return key;
}

function portText(port: Port): string {
  return port.type === 'range' ? `${port.min}:${port.max},` : `${framed(port.name)},`;
}
