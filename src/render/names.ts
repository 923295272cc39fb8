/**
 * Names that reach the kernel: chains, sets, interfaces, comments.
 *
 * Names of objects are text from outside. Whatever is not plainly safe in both tools' grammar is hashed in names and replaced in
 * comments, so that no object's name can end a rule and begin another.
 */
import { createHash } from 'node:crypto';

/** XT_EXTENSION_MAXNAMELEN of the kernel is 29 with its NUL. */
const CHAIN_NAME_MAX = 28;
/** IPSET_MAXNAMELEN is 32 with its NUL. */
const SET_NAME_MAX = 31;
/** Comments: nftables takes 128 bytes, iptables 256. */
const COMMENT_MAX = 120;
const NOTE_MAX = 1000;

const DEFAULT_INTERFACE_PREFIX = 'cali';
/** IFNAMSIZ is 16 with its NUL. */
const INTERFACE_NAME_MAX = 15;

/** Felix's `interfacePrefix`, of `prefixes` separated by commas those that an interface's name can start with. */
export function interfacePrefixes(prefixes: string): string[] {
  const usable = prefixes.split(',').filter((prefix) => isInterfaceName(`${prefix}0`));
  return usable.length === 0 ? [DEFAULT_INTERFACE_PREFIX] : usable;
}

/**
 * The node's end of a pod's cable: the first prefix and the first 11 hex digits of SHA-1 of `<namespace>.<pod>`.
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go.
 */
export function podInterface(prefix: string, namespace: string, pod: string): string {
  const hash = createHash('sha1').update(`${namespace}.${pod}`).digest('hex').slice(0, 11);
  return (prefix + hash).slice(0, INTERFACE_NAME_MAX);
}

/** `prefix` and `suffix`, or `prefix_` and a hash where that is too long or not plain. Source: Calico felix/hashutils. */
export function chainName(prefix: string, suffix: string): string {
  const plain = prefix + suffix;
  if (plain.length <= CHAIN_NAME_MAX && /^[A-Za-z0-9./-][A-Za-z0-9_./-]*$/.test(suffix)) return plain;
  const hash = createHash('sha256').update(suffix, 'utf8').digest('base64url');
  return `${prefix}_${hash}`.slice(0, CHAIN_NAME_MAX);
}

/** The kernel's name of an IP set: `cali40` or `cali60` and its ID, cut to 31 characters (semantics 7.1). */
export function setName(version: 4 | 6, id: string): string {
  return `cali${version}0${id}`.slice(0, SET_NAME_MAX);
}

/** A name that the kernel and both tools take as it is. */
export function isInterfaceName(text: string): boolean {
  return /^[A-Za-z0-9_.-]{1,15}$/.test(text) && text !== '.' && text !== '..';
}

/** For comment lines, where only the end of the line matters. */
export function noteText(text: string): string {
  return text.replace(/[^ -~]/g, '_').slice(0, NOTE_MAX);
}

/** For comments of rules, between double quotes. */
export function commentText(text: string): string {
  return text.replace(/[^A-Za-z0-9 _.,:/()='&|!<>{}[\]-]/g, '_').slice(0, COMMENT_MAX);
}
