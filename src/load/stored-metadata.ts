/**
 * Metadata of objects as Calico stores them in crd.projectcalico.org/v1.
 *
 * Calico keeps the labels and annotations of its v3 objects as JSON in one annotation of the stored object. On reading
 * they are laid over the stored object's own, and the annotation is taken out. The name that policy is known by to the
 * dataplane stays that of the stored object. Source: Calico libcalico-go/lib/backend/k8s/resources/resources.go
 * (ConvertK8sResourceToCalicoResource) and customresource.go (convertResourceToKVPair).
 */
import type { ObjectContext } from './object.ts';

const STORED = 'projectcalico.org/metadata';

type Fields = Readonly<Record<string, unknown>>;

/** `value` with its stored metadata unfolded; reports an annotation that cannot be read. */
export function unfoldMetadata(value: Fields, context: ObjectContext): Fields {
  const metadata = isFields(value.metadata) ? value.metadata : {};
  const annotations = isFields(metadata.annotations) ? metadata.annotations : {};
  const text = Object.hasOwn(annotations, STORED) ? annotations[STORED] : undefined;
  if (typeof text !== 'string') return value;
  const stored = parse(text);
  if (stored === undefined) {
    const path = ['metadata', 'annotations', STORED];
    context.error(path, 'not the JSON that Calico writes, and Calico cannot read the object', 'remove the annotation');
    return value;
  }
  const { [STORED]: _, ...own } = annotations;
  const merged = {
    ...metadata,
    labels: { ...fieldsOf(metadata.labels), ...fieldsOf(stored.labels) },
    annotations: { ...own, ...fieldsOf(stored.annotations) },
  };
  return { ...value, metadata: merged };
}

function parse(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
