/** Requests as JSON: one line of `can-i --requests`. */
import { PolicyError, quoteText } from '../base/errors.ts';
import { impliedGroups } from './rbac-index.ts';
import { type AccessRequest, splitResource } from './rule-match.ts';

/**
 * The request of a parsed JSON line: `user`, `groups`, `verb`, and either `path` or `resource` (with its subresource),
 * `api_group`, `name`, `namespace`. Groups that are given are the only ones; without them the user has those that the API
 * server gives everybody of its kind. Other fields are ignored. Throws a `PolicyError` that names the bad field.
 */
export function parseAccessRequest(value: unknown): AccessRequest {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw requestError('not a JSON object', 'give one with at least user, verb and resource or path');
  }
  const fields = value as Readonly<Record<string, unknown>>;
  const verb = textOf(fields, 'verb');
  if (verb === '') throw requestError('verb is missing', 'give the verb, such as get');
  const path = textOf(fields, 'path');
  const [resource, subresource] = splitResource(textOf(fields, 'resource'));
  if (path === '' && resource === '') throw requestError('resource is missing', 'give a resource or a path');
  const user = textOf(fields, 'user');
  return {
    user,
    groups: groupsOf(fields, user),
    verb,
    apiGroup: textOf(fields, 'api_group'),
    resource,
    subresource,
    name: textOf(fields, 'name'),
    namespace: textOf(fields, 'namespace'),
    path: path === '' ? undefined : path,
  };
}

function textOf(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name] ?? '';
  if (typeof value !== 'string') {
    throw requestError(`${name} is ${quoteText(JSON.stringify(value))}, which is no text`, 'put it in quotes');
  }
  return value;
}

function groupsOf(fields: Readonly<Record<string, unknown>>, user: string): readonly string[] {
  const groups = fields.groups ?? undefined;
  if (groups === undefined) return impliedGroups(user);
  if (!Array.isArray(groups) || groups.some((group) => typeof group !== 'string')) {
    throw requestError('groups is no list of texts', 'give a list such as ["interns"]');
  }
  return groups as readonly string[];
}

function requestError(problem: string, fix: string): PolicyError {
  return new PolicyError('request', problem, { fix });
}
