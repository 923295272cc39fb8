/** Requests as JSON: one line of `authz --requests`. */
import { PolicyError, quoteText } from '../base/errors.ts';
import { parseAddress } from '../base/ip.ts';
import { PROTOCOL_NUMBERS, PROTOCOL_TCP } from '../model/flow.ts';
import type { AuthzRequest } from './authorizer.ts';

/** As in flows of `eval`. */
const DEFAULT_SRC_PORT = 49_152;

/**
 * The request of a parsed JSON line: `src`, `dst`, `dst_port`; and if given `src_port`, `protocol` (name or number, default tcp),
 * `source_principal`, `dest_principal`, `http_method`, `http_path` (neither: no HTTP attributes), `source_labels`, `dest_labels`.
 * Other fields are ignored, `null` is as good as absent. Throws a `PolicyError` that names the bad field.
 */
export function parseAuthzRequest(value: unknown): AuthzRequest {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw requestError('not a JSON object', 'give one with at least src, dst and dst_port');
  }
  const fields = value as Readonly<Record<string, unknown>>;
  const method = optionalText(fields, 'http_method');
  const path = optionalText(fields, 'http_path');
  return {
    src: addressOf(fields, 'src'),
    dst: addressOf(fields, 'dst'),
    srcPort: portOf(fields, 'src_port', DEFAULT_SRC_PORT),
    dstPort: portOf(fields, 'dst_port', undefined),
    protocol: protocolOf(fields.protocol),
    sourcePrincipal: optionalText(fields, 'source_principal') ?? '',
    destinationPrincipal: optionalText(fields, 'dest_principal') ?? '',
    sourceLabels: labelsOf(fields, 'source_labels'),
    destinationLabels: labelsOf(fields, 'dest_labels'),
    http: method === undefined && path === undefined ? undefined : { method: method ?? '', path: path ?? '' },
  };
}

function optionalText(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = fields[name] ?? undefined;
  if (value !== undefined && typeof value !== 'string') {
    throw requestError(`${name} is ${quoteText(JSON.stringify(value))}, which is no text`, 'put it in quotes');
  }
  return value;
}

function addressOf(fields: Readonly<Record<string, unknown>>, name: string): string {
  const text = optionalText(fields, name);
  if (text === undefined) throw requestError(`${name} is missing`, 'give the address of both ends');
  if (parseAddress(text) === undefined) {
    throw requestError(`${name} ${quoteText(text)} is not an IP address`, 'give an IPv4 or IPv6 address');
  }
  return text;
}

function portOf(fields: Readonly<Record<string, unknown>>, name: string, fallback: number | undefined): number {
  const value = fields[name] ?? fallback;
  if (value === undefined) throw requestError(`${name} is missing`, 'give the destination port');
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 65_535) {
    throw requestError(`${name} ${quoteText(JSON.stringify(value))} is no port`, 'give a whole number from 0 to 65535');
  }
  return value;
}

function protocolOf(value: unknown): number {
  const given = value ?? PROTOCOL_TCP;
  const text = typeof given === 'string' ? given.toLowerCase() : JSON.stringify(given);
  const number = /^\d{1,3}$/.test(text) ? Number(text) : PROTOCOL_NUMBERS.get(text);
  if (number === undefined || number > 255) {
    const fix = `use ${[...PROTOCOL_NUMBERS.keys()].join(', ')} or a number from 0 to 255`;
    throw requestError(`unknown protocol ${quoteText(text)}`, fix);
  }
  return number;
}

function labelsOf(
  fields: Readonly<Record<string, unknown>>,
  name: string,
): Readonly<Record<string, string>> | undefined {
  const value = fields[name] ?? undefined;
  if (value === undefined) return undefined;
  const isMap = typeof value === 'object' && !Array.isArray(value);
  if (!isMap || Object.values(value as object).some((text) => typeof text !== 'string')) {
    throw requestError(`${name} is no object of texts`, 'give one such as {"app": "web"}');
  }
  return value as Readonly<Record<string, string>>;
}

function requestError(problem: string, fix: string): PolicyError {
  return new PolicyError('request', problem, { fix });
}
