/** One end of a connection: its account, and below it pod and address. */

import type { JSX } from 'preact';
import type { EndView } from './record.ts';

export function End({ view }: { readonly view: EndView }): JSX.Element {
  return (
    <span class="end">
      <span class="end-title" title={view.title}>
        <span class="quiet">{view.namespace}</span>
        {view.name}
      </span>
      <span class="end-detail" title={view.detail}>
        {view.detail}
      </span>
    </span>
  );
}
