/**
 * IP addresses and prefixes: text to numbers and back.
 *
 * Inside the program an IPv4 address is one int32 (`10.0.0.1` is `0x0a000001`; `192.0.2.1` is negative, so print and
 * order with `>>> 0`), an IPv6 address four int32, most significant first. Text is accepted only in the forms that
 * Go's `net.ParseIP` takes: no octal, no hexadecimal quads, no shortened IPv4 (`10.1`), no zone.
 */
import { isIPv6 } from 'node:net';

/** Four int32 words; IPv4 uses the first and leaves the rest zero. */
export type Words = readonly [number, number, number, number];

export interface IpAddress {
  readonly version: 4 | 6;
  readonly words: Words;
}

export interface IpPrefix extends IpAddress {
  readonly length: number;
}

/** The address, or `undefined` if `text` is none. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is IPv4, as in Go. */
export function parseAddress(text: string): IpAddress | undefined {
  const word = parseIpv4(text);
  if (word !== undefined) return { version: 4, words: [word, 0, 0, 0] };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const words = parseIpv6(text);
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) return { version: 4, words: [words[3], 0, 0, 0] };
  return { version: 6, words };
}

/**
 * `ADDRESS/LENGTH` with host bits cleared, or `undefined`. A bare address is refused: see `parsePrefixOrAddress`.
 *
 * As Go's `net.ParseCIDR`, the length may have leading zeros (`10.0.0.0/08`), and an IPv4-mapped prefix of 96 bits or
 * more is IPv4: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
 */
export function parsePrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const addressText = text.slice(0, slash);
  const address = parseAddress(addressText);
  const lengthText = text.slice(slash + 1);
  if (address === undefined || !/^[0-9]+$/.test(lengthText)) return undefined;
  const isMapped = address.version === 4 && addressText.includes(':');
  const length = Number(lengthText);
  if (length > (address.version === 4 && !isMapped ? 32 : 128)) return undefined;
  if (!isMapped) return { version: address.version, words: maskWords(address, length), length };
  if (length >= 96) return { version: 4, words: maskWords(address, length - 96), length: length - 96 };
  const words = [0, 0, 0xffff, address.words[0]] as const;
  return { version: 6, words: maskWords({ version: 6, words }, length), length };
}

/** A prefix, or a bare address as a prefix of full length. */
export function parsePrefixOrAddress(text: string): IpPrefix | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return fullPrefix(address);
  return parsePrefix(text);
}

/** The address as a prefix of full length, or `undefined`. */
export function parseFullPrefix(text: string): IpPrefix | undefined {
  const word = parseIpv4(text);
  if (word !== undefined) return { version: 4, words: [word, 0, 0, 0], length: 32 };
  const address = parseAddress(text);
  return address === undefined ? undefined : fullPrefix(address);
}

export function fullPrefix(address: IpAddress): IpPrefix {
  return { version: address.version, words: address.words, length: address.version === 4 ? 32 : 128 };
}

/** The words of `address` with all bits after `length` cleared. */
function maskWords(address: IpAddress, length: number): Words {
  if (address.version === 4) return [address.words[0] & maskOfLength(length), 0, 0, 0];
  const out: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0; i < 4; i++) out[i] = address.words[i]! & maskOfLength(Math.min(32, Math.max(0, length - 32 * i)));
  return out;
}

/** int32 with the `length` (0..32) highest bits set. */
function maskOfLength(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

export function prefixContains(prefix: IpPrefix, address: IpAddress): boolean {
  if (prefix.version !== address.version) return false;
  for (let i = 0, left = prefix.length; left > 0; i++, left -= 32) {
    if (((prefix.words[i]! ^ address.words[i]!) & maskOfLength(Math.min(32, left))) !== 0) return false;
  }
  return true;
}

/** Whether all addresses of `inner` lie in `outer`. */
export function prefixCovers(outer: IpPrefix, inner: IpPrefix): boolean {
  return outer.length <= inner.length && prefixContains(outer, inner);
}

/** Order by version, then address (unsigned), then length: a prefix sorts before all that it contains. */
export function comparePrefixes(a: IpPrefix, b: IpPrefix): number {
  if (a.version !== b.version) return a.version - b.version;
  for (let i = 0; i < 4; i++) {
    const x = a.words[i]! >>> 0;
    const y = b.words[i]! >>> 0;
    if (x !== y) return x < y ? -1 : 1;
  }
  return a.length - b.length;
}

export function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** RFC 5952 text: longest run of zero groups (two or more, first on ties) as `::`, lower case. */
export function formatIpv6(a: number, b: number, c: number, d: number): string {
  const groups = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff, c >>> 16, c & 0xffff, d >>> 16, d & 0xffff];
  let bestStart = -1;
  let bestCount = 1;
  for (let i = 0; i < 8; i++) {
    let count = 0;
    while (i + count < 8 && groups[i + count] === 0) count++;
    if (count > bestCount) {
      bestStart = i;
      bestCount = count;
    }
  }
  if (bestStart < 0) return groupsText(groups, 0, 8);
  return `${groupsText(groups, 0, bestStart)}::${groupsText(groups, bestStart + bestCount, 8)}`;
}

function groupsText(groups: readonly number[], start: number, end: number): string {
  let text = '';
  for (let i = start; i < end; i++) text += (i > start ? ':' : '') + groups[i]!.toString(16);
  return text;
}

export function formatAddress(address: IpAddress): string {
  return address.version === 4 ? formatIpv4(address.words[0]) : formatIpv6(...address.words);
}

/** `10.0.0.0/8`; always with the length, as Calico prints IP set members. */
export function formatPrefix(prefix: IpPrefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

const DOT = 46;
const ZERO = 48;

/** The word of four numbers up to 255, without leading zeros, with dots between them; `undefined` for any other text. */
export function parseIpv4(text: string): number | undefined {
  let word = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (digits === 0 || dots === 3) return undefined;
      word = (word << 8) | part;
      part = 0;
      digits = 0;
      dots++;
    } else {
      if (code < ZERO || code > ZERO + 9 || (digits > 0 && part === 0)) return undefined;
      part = part * 10 + code - ZERO;
      digits++;
      if (part > 255) return undefined;
    }
  }
  return dots === 3 && digits > 0 ? (word << 8) | part : undefined;
}

/** `text` has passed `isIPv6`. */
function parseIpv6(text: string): Words {
  let source = text;
  const dot = source.indexOf('.');
  if (dot >= 0) {
    const start = source.lastIndexOf(':') + 1;
    const quad = parseIpv4(source.slice(start))!;
    source = `${source.slice(0, start)}${((quad >>> 16) & 0xffff).toString(16)}:${(quad & 0xffff).toString(16)}`;
  }
  const gap = source.indexOf('::');
  const head = splitGroups(gap < 0 ? source : source.slice(0, gap));
  const tail = gap < 0 ? [] : splitGroups(source.slice(gap + 2));
  const groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  const word = (i: number): number => (groups[2 * i]! << 16) | groups[2 * i + 1]!;
  return [word(0), word(1), word(2), word(3)];
}

function splitGroups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/**
 * The words of an IPv6 address, most significant first, folded to one, for hashes. Of addresses with the same first three words no two have the same
 * fold, so fold and three words stand for the whole (conntrack/flows.ts).
 */
export function foldAddress(w0: number, w1: number, w2: number, w3: number): number {
  return Math.imul(w0, 0x85ebca6b) ^ Math.imul(w1, 0xc2b2ae35) ^ Math.imul(w2, 0x27d4eb2f) ^ w3;
}
