/**
 * The state of the page as the part of its address after `#`, so that a view can be shared: `#/connections?verdict=deny&flow=17`.
 * Nothing of it is sent to the server by the browser. What an address says is checked here: an unknown view becomes the first one,
 * unknown parameters are dropped, long ones cut.
 */

export const VIEWS = ['overview', 'connections', 'policies', 'graph', 'findings', 'node'] as const;
export type View = (typeof VIEWS)[number];

/** In the order in which they are written. `flow` is the connection that the explainer shows, on every view. */
const PARAMETERS = [
  'verdict',
  'namespace',
  'account',
  'port',
  'text',
  'policy',
  'edges',
  'select',
  'scale',
  'kind',
  'flow',
] as const;
export type Parameter = (typeof PARAMETERS)[number];

/** Longest value that is taken over from an address. */
const VALUE_LENGTH_MAX = 300;

export interface Place {
  readonly view: View;
  readonly parameters: Readonly<Partial<Record<Parameter, string>>>;
}

export function parseHash(hash: string): Place {
  const [path = '', query = ''] = splitOnce(hash.replace(/^#\/?/, ''), '?');
  const view = VIEWS.find((name) => name === path) ?? 'overview';
  const given = new URLSearchParams(query);
  const parameters: Partial<Record<Parameter, string>> = {};
  for (const name of PARAMETERS) {
    const value = given.get(name)?.slice(0, VALUE_LENGTH_MAX);
    if (value) parameters[name] = value;
  }
  return { view, parameters };
}

export function formatHash(place: Place): string {
  const query = new URLSearchParams();
  for (const name of PARAMETERS) {
    const value = place.parameters[name];
    if (value) query.set(name, value);
  }
  const text = query.toString();
  return `#/${place.view}${text === '' ? '' : `?${text}`}`;
}

/** The same place with some parameters changed; undefined or empty removes one. */
export function withParameters(place: Place, changes: Partial<Record<Parameter, string | undefined>>): Place {
  const parameters: Partial<Record<Parameter, string>> = {};
  for (const name of PARAMETERS) {
    const value = name in changes ? changes[name] : place.parameters[name];
    if (value) parameters[name] = value;
  }
  return { view: place.view, parameters };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
