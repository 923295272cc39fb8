/** Checks of Kubernetes' core kinds. What their contents make of them (endpoints or none) is for `compile` to say. */
import { quoteText } from '../base/errors.ts';
import { parsePrefix } from '../base/ip.ts';
import type { RawEndpointSlice, RawNode } from './convert-core.ts';
import type { ObjectContext } from './object.ts';
import { listOf, type RawObject } from './raw.ts';
import { checkMeta, labelName, subdomainName } from './validate-meta.ts';

export function checkNamespaced(raw: RawObject, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
}

export function checkNamespace(raw: RawObject, context: ObjectContext): void {
  checkMeta(raw, false, labelName, context);
}

export function checkNode(raw: RawNode, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  for (const [index, text] of listOf(raw.spec?.podCIDRs).entries()) {
    if (parsePrefix(text) !== undefined) continue;
    context.error(['spec', 'podCIDRs', index], `${quoteText(text)} is not a CIDR`, 'write ADDRESS/LENGTH');
  }
}

export function checkEndpointSlice(raw: RawEndpointSlice, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
  const type = raw.addressType ?? '';
  if (type !== 'IPv4' && type !== 'IPv6' && type !== 'FQDN') {
    context.error(['addressType'], `${quoteText(type)} is not an address type`, "use 'IPv4', 'IPv6' or 'FQDN'");
  }
}
