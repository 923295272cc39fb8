import { createHash } from 'node:crypto';

/** Prefixes of Calico's IDs: selector set, named port, destination service, source service. */
export type UniqueIdPrefix = 's:' | 'n:' | 'svc:' | 'svcnoport:';

/**
 * Calico's unique ID of a text: `prefix + base64url(SHA-224(prefix + text))` without padding, the text as UTF-8.
 *
 * The prefix is hashed too, so equal texts of two kinds never share an ID. The hash is 28 bytes, the ID `prefix` plus
 * 38 characters. Source: Calico libcalico-go/lib/hash/unique_id.go, MakeUniqueID; base64url is RFC 4648 section 5.
 */
export function uniqueId(prefix: UniqueIdPrefix, text: string): string {
  return prefix + createHash('sha224').update(prefix, 'utf8').update(text, 'utf8').digest('base64url');
}
