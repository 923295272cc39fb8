/** Checks of Kubernetes' core kinds: their metadata, and the addresses that make endpoints. */
import { isIPv4 } from 'node:net';
import { quoteText } from '../base/errors.ts';
import { parseAddress, parsePrefix } from '../base/ip.ts';
import type { RawEndpointSlice, RawNode, RawPod } from './convert-core.ts';
import type { ObjectContext } from './object.ts';
import { listOf, type RawObject } from './raw.ts';
import { checkMeta, labelName, subdomainName } from './validate-meta.ts';

export function checkNamespaced(raw: RawObject, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
}

export function checkNamespace(raw: RawObject, context: ObjectContext): void {
  checkMeta(raw, false, labelName, context);
}

/** Calico takes a pod with a malformed address for none at all (semantics 2.1). */
export function checkPod(raw: RawPod, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
  const status = raw.status ?? {};
  for (const [index, { ip }] of listOf(status.podIPs).entries()) {
    if (!isAddress(ip ?? '')) warnOfAddress(ip ?? '', ['status', 'podIPs', index, 'ip'], context);
  }
  const podIP = status.podIP ?? '';
  if (podIP !== '' && !isAddress(podIP)) warnOfAddress(podIP, ['status', 'podIP'], context);
}

/** The quick answer for most pods first. */
function isAddress(text: string): boolean {
  return isIPv4(text) || parseAddress(text) !== undefined;
}

function warnOfAddress(text: string, path: readonly (string | number)[], context: ObjectContext): void {
  const message = `${quoteText(text)} is not an IP address: Calico then sees no endpoint in the pod`;
  context.warn(path, message, 'correct it');
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
