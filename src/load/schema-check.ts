/**
 * Runs our JSON schemas over documents and puts what they find into words: what is wrong, and what to do.
 *
 * A schema is compiled at its first use; most loads need few kinds. Fields no schema knows are reported apart, since
 * they are warnings unless `strict` is on.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { quoteText } from '../base/errors.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import type { Schema } from './schemas/build.ts';
import { nearestWord } from './suggest.ts';

let compiler: Ajv | undefined;
const validators = new Map<Schema, ValidateFunction>();

/** Reports everything in which `value` differs from the schema. True if its types are as the schema says. */
export function checkSchema(schema: Schema, value: unknown, context: ObjectContext): boolean {
  const validate = validatorOf(schema);
  if (validate(value)) return true;
  for (const error of validate.errors ?? []) report(error, value, context);
  return !context.hasErrors;
}

function validatorOf(schema: Schema): ValidateFunction {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  compiler ??= new Ajv({
    allErrors: true,
    verbose: true,
    messages: false,
    ownProperties: true,
    strict: true,
    strictTypes: false,
    validateSchema: false,
    meta: false,
  });
  const validate = compiler.compile(schema);
  validators.set(schema, validate);
  return validate;
}

function report(error: ErrorObject, root: unknown, context: ObjectContext): void {
  const path = pathOf(error.instancePath, root);
  if (error.keyword === 'additionalProperties') {
    reportUnknown(error, path, context);
    return;
  }
  const target = error.keyword === 'required' ? [...path, String(error.params.missingProperty)] : path;
  const [message, fix] = describe(error);
  context.error(target, message, fix);
}

/** The keys of a JSON pointer; a number is an index where the value there is a list. */
function pathOf(pointer: string, root: unknown): FieldPath {
  const path: (string | number)[] = [];
  let value = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    path.push(Array.isArray(value) ? Number(key) : key);
    value = (value as Record<string, unknown>)[key];
  }
  return path;
}

function reportUnknown(error: ErrorObject, path: FieldPath, context: ObjectContext): void {
  const name = String(error.params.additionalProperty);
  const known = Object.keys((error.parentSchema as { readonly properties: object }).properties);
  const nearest = nearestWord(name, known);
  const fix = nearest === undefined ? 'remove it, or correct its name or indentation' : `did you mean '${nearest}'?`;
  context.unknownField([...path, name], `unknown field ${quoteText(name)}`, fix);
}

/** What is wrong, and what to do, for each keyword that our schemas use. */
function describe(error: ErrorObject): readonly [string, string] {
  const data = error.data as unknown;
  const limit = String(error.params.limit);
  switch (error.keyword) {
    case 'type':
      return describeType(error.params.type as string | readonly string[], data);
    case 'enum':
      return describeEnum(
        (error.params.allowedValues as readonly unknown[]).filter((value) => value !== null),
        data,
      );
    case 'required':
      return ['required, but not given', 'add it'];
    case 'maxLength':
      return [`${[...(data as string)].length} characters, and at most ${limit} are allowed`, 'shorten it'];
    case 'maxItems':
      return [`${(data as unknown[]).length} entries, and at most ${limit} are allowed`, 'split the list'];
    case 'minItems':
      return ['an empty list is not allowed here', 'add an entry, or remove the field'];
    case 'minimum':
      return [`${shown(data)} is less than ${limit}`, `use ${limit} or more`];
    case 'maximum':
      return [`${shown(data)} is more than ${limit}`, `use ${limit} or less`];
    default:
      return [`${shown(data)} is not allowed here (${error.keyword})`, 'correct it'];
  }
}

function describeType(types: string | readonly string[], data: unknown): readonly [string, string] {
  const wanted = (typeof types === 'string' ? [types] : types).filter((type) => type !== 'null');
  const names = wanted.map((type) => TYPE_NAMES[type] ?? type).join(' or ');
  const message = `must be ${names}, got ${shown(data)}`;
  const isScalar = typeof data === 'boolean' || typeof data === 'number';
  if (wanted.length === 1 && wanted[0] === 'string' && isScalar) return [message, 'put the value in quotes'];
  if (wanted.includes('boolean') && typeof data === 'string') return [message, 'write true or false without quotes'];
  if (wanted.length === 1 && typeof data === 'string' && data !== '' && Number.isFinite(Number(data))) {
    if (wanted[0] === 'integer' || wanted[0] === 'number') return [message, 'remove the quotes'];
  }
  return [message, `write ${names}`];
}

const TYPE_NAMES: { readonly [type: string]: string } = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of fields',
};

function describeEnum(allowed: readonly unknown[], data: unknown): readonly [string, string] {
  const words = allowed.filter((value) => value !== '').map(String);
  const nearest = typeof data === 'string' ? nearestWord(data, words) : undefined;
  const list =
    words.length === 1
      ? `'${words[0]}'`
      : `${words
          .slice(0, -1)
          .map((w) => `'${w}'`)
          .join(', ')} or '${words.at(-1)}'`;
  const fix = nearest === undefined ? `use ${list}` : `did you mean '${nearest}'?`;
  return [`${shown(data)} is not one of ${words.join(', ')}`, fix];
}

/** A value for a message: short, and on one line. */
export function shown(data: unknown): string {
  if (data === null) return 'null';
  if (typeof data === 'string') return quoteText(data);
  if (Array.isArray(data)) return 'a list';
  if (typeof data === 'object') return 'a map';
  return `${typeof data === 'boolean' ? '' : 'number '}${String(data)}`;
}
