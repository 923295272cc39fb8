/**
 * Building blocks of our JSON schemas (draft-07 with `nullable`, as OpenAPI has it).
 *
 * The schemas are closed: a field that no API type has is reported. They state shape alone (types, enumerations,
 * lengths, counts); what depends on more than one field, and what text means, is checked in `validate-*.ts`.
 * `null` stands for an absent field wherever a field is optional, as it does for the API server.
 */

export type TypeName = 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';

/** The part of JSON schema that we use; `schema-check.ts` knows every word of it. */
export interface Schema {
  /** Absent = anything goes. */
  readonly type?: TypeName | readonly TypeName[];
  readonly nullable?: boolean;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  /** In Unicode characters. */
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly items?: Schema;
  /** An object without prototype, so that any key may be looked up in it. */
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** `false` = closed; a schema = a map with values of that form; absent = open. */
  readonly additionalProperties?: false | Schema;
}

/** Takes anything: for fields that exist, and that no verdict depends on. */
export const anything: Schema = {};

export function text(limits: { readonly maxLength?: number } = {}): Schema {
  return { type: 'string', nullable: true, ...limits };
}

export function word(...values: readonly string[]): Schema {
  return { type: 'string', nullable: true, enum: [...values, null] };
}

export function flag(): Schema {
  return { type: 'boolean', nullable: true };
}

export function whole(limits: { readonly minimum?: number; readonly maximum?: number } = {}): Schema {
  return { type: 'integer', nullable: true, ...limits };
}

export function wholeWord(...values: readonly number[]): Schema {
  return { type: 'integer', nullable: true, enum: [...values, null] };
}

export function real(): Schema {
  return { type: 'number', nullable: true };
}

/** A number or a name: Kubernetes' IntOrString and Calico's forms of it. */
export function wholeOrText(): Schema {
  return { type: ['integer', 'string'], nullable: true };
}

/** A list; its entries may not be null. */
export function list(items: Schema, limits: { readonly minItems?: number; readonly maxItems?: number } = {}): Schema {
  return { type: 'array', nullable: true, items: required(items), ...limits };
}

/** The schema without `null`. */
function required(schema: Schema): Schema {
  const { enum: values, ...rest } = schema;
  const words = values === undefined ? {} : { enum: values.filter((value) => value !== null) };
  return { ...rest, nullable: false, ...words };
}

/** An object with these fields and no others; fields that are `isRequired` may be neither absent nor null. */
export function closed(properties: Readonly<Record<string, Schema>>, isRequired: readonly string[] = []): Schema {
  const all = fields(properties);
  for (const name of isRequired) all[name] = required(all[name]!);
  return { type: 'object', nullable: true, properties: all, required: isRequired, additionalProperties: false };
}

function fields(properties: Readonly<Record<string, Schema>>): Record<string, Schema> {
  return Object.assign(Object.create(null) as Record<string, Schema>, properties);
}

/** An object of which a verdict needs only some fields: the names of the rest are known, their values are not looked at. */
export function partly(properties: Readonly<Record<string, Schema>>, others: string): Schema {
  const names = others.split(/\s+/).filter((name) => name !== '');
  return closed({ ...Object.fromEntries(names.map((name) => [name, anything])), ...properties });
}

/** An object that anything may stand in, such as a status. */
export function open(properties: Readonly<Record<string, Schema>> = {}): Schema {
  return { type: 'object', nullable: true, properties: fields(properties) };
}

export function textMap(): Schema {
  return { type: 'object', nullable: true, additionalProperties: text() };
}

/** A whole object: the fields every kind has, and its own. */
export function object(properties: Readonly<Record<string, Schema>>, isRequired: readonly string[] = []): Schema {
  return {
    ...closed({ apiVersion: text(), kind: text(), metadata: META, ...properties }, isRequired),
    nullable: false,
  };
}

/** Metadata of an object or of a pod template. */
export const META: Schema = partly(
  {
    name: text(),
    generateName: text(),
    namespace: text(),
    uid: text(),
    deletionTimestamp: text(),
    labels: textMap(),
    annotations: textMap(),
  },
  `selfLink resourceVersion generation creationTimestamp deletionGracePeriodSeconds ownerReferences finalizers
   managedFields clusterName initializers`,
);
