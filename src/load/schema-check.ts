/**
 * Runs our JSON schemas over documents and puts what they find into words: what is wrong, and what to do.
 *
 * Schemas are walked, not compiled: compiling them costs more than all the rest of a small load (ajv 8.20: 0.1 s for
 * the kinds of one lesson), and a walk of the narrow vocabulary of `schemas/build.ts` is fast enough for a dump of a big cluster.
 * A value is first walked without keeping track of where; only one that fails is walked again for its problems.
 * Fields no schema knows are reported apart, since they are warnings unless `strict` is on.
 */
import { quoteText } from '../base/errors.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import type { Schema, TypeName } from './schemas/build.ts';
import { nearestWord } from './suggest.ts';

/**
 * Reports everything in which `value` differs from the schema. Gives the paths of the fields that are not what their
 * type says, and of those that are required and absent: with any, the value is no value of its kind.
 */
export function checkSchema(schema: Schema, value: unknown, context: ObjectContext): readonly FieldPath[] {
  if (isValid(schema, value)) return [];
  const reporter = new Reporter(context);
  reporter.visit(schema, value);
  return reporter.faults;
}

/** True if the value is as the schema says in everything, unknown fields included. */
export function isValid(schema: Schema, value: unknown): boolean {
  const { type } = schema;
  if (type === undefined) return true;
  if (value === null) return schema.nullable === true;
  if (!hasType(type, value) || !isWithin(schema, value)) return false;
  if (schema.items !== undefined && Array.isArray(value)) {
    for (const item of value) if (!isValid(schema.items, item as unknown)) return false;
  } else if (typeof value === 'object' && !Array.isArray(value)) {
    return areFieldsValid(schema, value as Readonly<Record<string, unknown>>);
  }
  return true;
}

function areFieldsValid(schema: Schema, value: Readonly<Record<string, unknown>>): boolean {
  const { properties, additionalProperties } = schema;
  // Values have own keys only; a list of them would be made for every object of the load.
  for (const key in value) {
    const field = properties?.[key] ?? additionalProperties;
    if (field === false || (field !== undefined && !isValid(field, value[key]))) return false;
  }
  return schema.required === undefined || schema.required.every((key) => Object.hasOwn(value, key));
}

function hasType(type: TypeName | readonly TypeName[], value: unknown): boolean {
  if (typeof type !== 'string') return type.some((each) => hasType(each, value));
  switch (type) {
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}

/** Enumeration, bounds, lengths and counts. */
function isWithin(schema: Schema, value: unknown): boolean {
  return firstBreach(schema, value) === undefined;
}

type Breach = 'enum' | 'minimum' | 'maximum' | 'maxLength' | 'minItems' | 'maxItems';

function firstBreach(schema: Schema, value: unknown): Breach | undefined {
  if (schema.enum !== undefined && !schema.enum.includes(value)) return 'enum';
  if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) return 'minimum';
    if (schema.maximum !== undefined && value > schema.maximum) return 'maximum';
  } else if (typeof value === 'string') {
    // The number of code units is at least that of characters.
    const { maxLength } = schema;
    if (maxLength !== undefined && value.length > maxLength && [...value].length > maxLength) return 'maxLength';
  } else if (Array.isArray(value)) {
    if (schema.minItems !== undefined && value.length < schema.minItems) return 'minItems';
    if (schema.maxItems !== undefined && value.length > schema.maxItems) return 'maxItems';
  }
  return undefined;
}

class Reporter {
  readonly faults: FieldPath[] = [];
  private readonly context: ObjectContext;
  private readonly path: (string | number)[] = [];

  constructor(context: ObjectContext) {
    this.context = context;
  }

  visit(schema: Schema, value: unknown): void {
    const { type } = schema;
    if (type === undefined || (value === null && schema.nullable === true)) return;
    if (!hasType(type, value)) {
      this.error(describeType(type, value), true);
      return;
    }
    const breach = firstBreach(schema, value);
    if (breach !== undefined) this.error(describeBreach(breach, schema, value), breach === 'enum');
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) this.at(index, schema.items ?? {}, item as unknown);
    } else if (typeof value === 'object' && value !== null) {
      this.fields(schema, value as Readonly<Record<string, unknown>>);
    }
  }

  private at(part: string | number, schema: Schema, value: unknown): void {
    this.path.push(part);
    this.visit(schema, value);
    this.path.pop();
  }

  private fields(schema: Schema, value: Readonly<Record<string, unknown>>): void {
    const { properties, additionalProperties, required } = schema;
    for (const key of Object.keys(value)) {
      const field = properties?.[key] ?? additionalProperties;
      if (field === false) this.unknownField(key, Object.keys(properties ?? {}));
      else if (field !== undefined) this.at(key, field, value[key]);
    }
    for (const key of required ?? []) {
      if (Object.hasOwn(value, key)) continue;
      this.context.error([...this.path, key], 'required, but not given', 'add it');
      this.faults.push([...this.path, key]);
    }
  }

  private unknownField(key: string, known: readonly string[]): void {
    const nearest = nearestWord(key, known);
    const fix = nearest === undefined ? 'remove it, or correct its name or indentation' : `did you mean '${nearest}'?`;
    this.context.unknownField([...this.path, key], `unknown field ${quoteText(key)}`, fix);
  }

  private error([message, fix]: Wording, isFault: boolean): void {
    const path = [...this.path];
    this.context.error(path, message, fix);
    if (isFault) this.faults.push(path);
  }
}

/** What is wrong, and what to do. */
type Wording = readonly [message: string, fix: string];

function describeBreach(breach: Breach, schema: Schema, value: unknown): Wording {
  const limit = breach === 'enum' ? '' : String(schema[breach]);
  switch (breach) {
    case 'enum':
      return describeEnum(schema.enum ?? [], value);
    case 'maxLength':
      return [`${[...(value as string)].length} characters, and at most ${limit} are allowed`, 'shorten it'];
    case 'maxItems':
      return [`${(value as unknown[]).length} entries, and at most ${limit} are allowed`, 'split the list'];
    case 'minItems':
      return ['an empty list is not allowed here', 'add an entry, or remove the field'];
    case 'minimum':
      return [`${shown(value)} is less than ${limit}`, `use ${limit} or more`];
    default:
      return [`${shown(value)} is more than ${limit}`, `use ${limit} or less`];
  }
}

const TYPE_WORDS: Readonly<Record<TypeName, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of fields',
};

function describeType(type: TypeName | readonly TypeName[], value: unknown): Wording {
  const types = typeof type === 'string' ? [type] : type;
  const words = types.map((each) => TYPE_WORDS[each]).join(' or ');
  const message = `must be ${words}, got ${shown(value)}`;
  if (type === 'string' && (typeof value === 'boolean' || typeof value === 'number')) {
    return [message, 'put the value in quotes'];
  }
  if (typeof value === 'string') {
    const isNumeric = value.trim() !== '' && Number.isFinite(Number(value));
    if ((type === 'integer' || type === 'number') && isNumeric) return [message, 'remove the quotes'];
    if (type === 'boolean') return [message, 'write true or false, without quotes'];
  }
  return [message, `write ${words}`];
}

function describeEnum(allowed: readonly unknown[], value: unknown): Wording {
  const words = allowed.filter((each) => each !== null && each !== '').map(String);
  const nearest = typeof value === 'string' ? nearestWord(value, words) : undefined;
  const list = words.join(', ');
  return [
    `${shown(value)} is not one of ${list}`,
    nearest === undefined ? 'use one of them' : `did you mean '${nearest}'?`,
  ];
}

/** A value for a message: short, and on one line. */
function shown(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return quoteText(value);
  if (Array.isArray(value)) return 'a list';
  // As YAML writes them; of JSON it may be a number that is too large.
  if (Number.isNaN(value)) return '.nan';
  if (value === Number.POSITIVE_INFINITY) return '.inf';
  if (value === Number.NEGATIVE_INFINITY) return '-.inf';
  return typeof value === 'object' ? 'a map' : String(value);
}
