/** Shown when the agent refuses to answer: asks for its token. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { useApp, useLive } from './context.ts';

export function TokenForm(): JSX.Element {
  const { client, feed } = useApp();
  const trouble = useLive((state) => state.trouble);
  const [token, setToken] = useState('');
  const submit = (event: Event): void => {
    event.preventDefault();
    client.setToken(token.trim());
    feed.retry();
  };
  return (
    <section class="panel token-form">
      <h2>This agent asks for a token</h2>
      <p>{trouble}</p>
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <button type="submit">Connect</button>
      </form>
      <p class="quiet">
        It is the one that <code>margay agent</code> was started with. It is kept for this tab only.
      </p>
    </section>
  );
}
