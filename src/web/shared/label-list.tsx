/** Labels of an object, as text. */

import type { JSX } from 'preact';

export function LabelList(props: { readonly entries: readonly (readonly [string, string])[] }): JSX.Element {
  return (
    <ul class="labels">
      {props.entries.map(([name, value]) => (
        <li key={name} class="mono">
          {name}={value}
        </li>
      ))}
    </ul>
  );
}
